"""Samples as charges: a plate, a capacitor, and a finite stand-in for the endless chain of capacitors."""

from efm_jax.charges.plates import Charges, capacitor, capacitor_chain, plate

__all__ = ["Charges", "capacitor", "capacitor_chain", "plate"]
