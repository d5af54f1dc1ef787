"""Samples at their heights, and where lines start."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core.heights import at_heights
from efm_jax.types import Key


def on_plates(gap: float) -> Callable[..., Float[Array, "n dim1"]]:
    """`start(key, x, reverse)`: samples on z = 0, or on z = gap when reverse; the key is not used."""

    def start(key: Key, x: Float[Array, "n dim"], reverse: bool = False) -> Float[Array, "n dim1"]:
        del key
        return at_heights(x, jnp.full(x.shape[0], gap if reverse else 0.0, x.dtype))

    return start
