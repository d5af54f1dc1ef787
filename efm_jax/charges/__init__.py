"""Samples as charges: a plate, a capacitor, the endless chain of its mirror images."""

from efm_jax.charges.plates import Charges, capacitor, capacitor_chain, plate

__all__ = [
    "Charges",
    "capacitor",
    "capacitor_chain",
    "plate",
]
