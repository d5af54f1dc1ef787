"""Samples as charges: a plate, a capacitor, a finite stand-in for the endless chain, and two plates far apart."""

from efm_jax.charges.far_plates import FarPlates, far_plates
from efm_jax.charges.plates import Charges, capacitor, capacitor_chain, plate

__all__ = ["Charges", "FarPlates", "capacitor", "capacitor_chain", "far_plates", "plate"]
