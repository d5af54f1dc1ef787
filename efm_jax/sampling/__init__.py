"""Samples carried along learned field lines."""

from efm_jax.sampling._stochastic_map import stochastic_map
from efm_jax.sampling._transport import learned_field, transport

__all__ = ["learned_field", "stochastic_map", "transport"]
