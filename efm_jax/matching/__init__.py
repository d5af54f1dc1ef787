"""Recipes: what a method is, as a value holding pure functions.

A recipe turns one minibatch of both plates into supervised points and targets, says where lines start, and between
which heights they run. Training, integration and metrics never ask which recipe they serve.

- `efm`, `c2fm`: the field of the samples as charges, of one capacitor or of an endless chain of them.
- `ifm`: the field of pairs of samples, each pair joined by lines of its own.
- `tubes`: pairs that exact lines of plates far apart make, joined by straight tubes.
- `cfm`: flow matching, a field with `E_z = 1` regressed pair by pair.
- `pfgm`: Poisson flow, the field of the data alone, from noise with heavy tails; or flow matching from normal noise with
  exact targets.

The network for directions between two plates: `capacitor_network`.
Networks for targets that are velocities: `velocity_network`, `flow_network`, `tail_network`, `slope_network`.
"""

from efm_jax.matching.capacitor import c2fm, efm
from efm_jax.matching.directions import capacitor_network
from efm_jax.matching.pairs import cfm, ifm, tubes
from efm_jax.matching.single_plate import pfgm
from efm_jax.matching.velocities import (
    flow_network,
    slope_network,
    tail_network,
    velocity_network,
)

__all__ = [
    "c2fm",
    "capacitor_network",
    "cfm",
    "efm",
    "flow_network",
    "ifm",
    "pfgm",
    "slope_network",
    "tail_network",
    "tubes",
    "velocity_network",
]
