"""Exact fields of charges in log space: point charges, the endless chain, far plates, pairs; flux and potential."""

from efm_jax.fields.endless_chain import chain, chain_fn, chain_velocity, log_density_path
from efm_jax.fields.far_lines import far_lines
from efm_jax.fields.far_plates import directions, far_plate
from efm_jax.fields.interaction import interaction
from efm_jax.fields.point_charges import coulomb, field_fn, log_sphere_area
from efm_jax.fields.potentials import Potential, potential
from efm_jax.fields.surfaces import Flux, Surface, box, flux, patch, random_sphere, sphere

__all__ = [
    "Flux",
    "Potential",
    "Surface",
    "box",
    "chain",
    "chain_fn",
    "chain_velocity",
    "coulomb",
    "directions",
    "far_lines",
    "far_plate",
    "field_fn",
    "flux",
    "interaction",
    "log_density_path",
    "log_sphere_area",
    "patch",
    "potential",
    "random_sphere",
    "sphere",
]
