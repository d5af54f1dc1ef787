"""Configurations: a whole run as frozen dataclasses that survive JSON.

Nothing below the command line and the experiments reads them; `build` turns one into sources, a recipe, a network
and an optimizer.
"""

from efm_jax.models.configs._completing import complete, named, of_method
from efm_jax.models.configs._json import canonical, from_dict, load, to_dict
from efm_jax.models.configs._recipes import C2FM, CFM, EFM, IFM, METHODS, PFGM, Recipe, Tubes
from efm_jax.models.configs._run import Data, Network, Optimizer, Parallel, Reflow, Run, Sampling

__all__ = [
    "C2FM",
    "CFM",
    "EFM",
    "IFM",
    "METHODS",
    "PFGM",
    "Data",
    "Network",
    "Optimizer",
    "Parallel",
    "Recipe",
    "Reflow",
    "Run",
    "Sampling",
    "Tubes",
    "canonical",
    "complete",
    "from_dict",
    "load",
    "named",
    "of_method",
    "to_dict",
]
