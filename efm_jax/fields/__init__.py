"""Exact fields of charges, in log space: Coulomb's law in D+1 dimensions."""

from efm_jax.fields.point_charges import coulomb, field_fn, log_sphere_area

__all__ = ["coulomb", "field_fn", "log_sphere_area"]
