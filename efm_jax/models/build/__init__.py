"""From a configuration to values: sources, recipe, network, optimizer."""

from efm_jax.models.build._classes import check_classes, labeled
from efm_jax.models.build._data import check_noise, encoded, is_noise, opened, sample_shape, sides, sources
from efm_jax.models.build._network import network
from efm_jax.models.build._recipe import lines_recipe, recipe
from efm_jax.models.build._run import Built, Pairs, optimizer, run, stepping

__all__ = [
    "Built",
    "Pairs",
    "check_classes",
    "check_noise",
    "encoded",
    "is_noise",
    "labeled",
    "lines_recipe",
    "network",
    "opened",
    "optimizer",
    "recipe",
    "run",
    "sample_shape",
    "sides",
    "sources",
    "stepping",
]
