"""Lengths and areas in log space: in many dimensions or near a charge they leave the range of floating point."""

from math import lgamma, log, pi

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from efm_jax.fields._sums.differences import squared_lengths
from efm_jax.types import Field


def log_sphere_area(dim: int) -> float:
    """Return the log of the area of the unit sphere in D+1 dimensions, `S_D = 2 pi^((D+1)/2) / Gamma((D+1)/2)`.

    Args:
        dim: D, >= 1.

    Examples:
        >>> from math import exp, pi
        >>> round(exp(log_sphere_area(2)) / pi, 12)  # a ball's surface in three dimensions
        4.0
    """
    return log(2) + 0.5 * (dim + 1) * log(pi) - lgamma(0.5 * (dim + 1))


def direction_and_log_length(vector: Array) -> Field:
    """`v / |v|` and `log |v|`; 0 and -inf where v = 0, where the gradients are finite: 1 of the direction, 0 of the log."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(vector), axis=-1, keepdims=True))
    zero = largest == 0
    largest = jnp.where(zero, 1, largest)
    scaled = vector / largest  # squares of small vectors would underflow
    length = jnp.sqrt(jnp.where(zero, 1, squared_lengths(scaled)[..., None]))
    log_length = jnp.where(zero, -jnp.inf, jnp.log(length) + jnp.log(largest))
    return Field(scaled / length, log_length[..., 0])
