"""The field of one plate of charges that obey Coulomb's law in extra dimensions."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core.heights import at_heights
from efm_jax.fields._sums.differences import squared_distances, weighted_displacements
from efm_jax.fields._sums.plates import log_relative_weight


def mean_displacement(
    points: Float[Array, "k dim1"], x: Float[Array, "m dim"], num_extra: int
) -> Float[Array, "k dim1"]:
    """The mean of `points - (x_i, 0)` with weights `r_i^-(D + K)`, relative to the nearest; memory O(points x samples)."""
    charges = at_heights(x, jnp.zeros_like(x[:, 0]))
    squared = squared_distances(points, charges)
    nearest = jnp.min(squared, axis=1, keepdims=True)
    weights = jnp.exp(log_relative_weight(squared, nearest, x.shape[1] + num_extra))
    return weighted_displacements(weights / jnp.sum(weights, axis=1, keepdims=True), points, charges)
