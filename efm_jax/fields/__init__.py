"""Exact fields of charges, in log space: Coulomb's law in D+1 dimensions, and the endless capacitor chain."""

from efm_jax.fields.endless_chain import chain, chain_velocity, log_density_path
from efm_jax.fields.point_charges import coulomb, field_fn, log_sphere_area

__all__ = ["chain", "chain_velocity", "coulomb", "field_fn", "log_density_path", "log_sphere_area"]
