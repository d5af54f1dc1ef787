"""Samples at their heights, and where lines between plates start."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import dtypes
from efm_jax.types import Key


def at_heights(x: Float[Array, "k dim"], z: Float[Array, " k"]) -> Float[Array, "k dim1"]:
    """Return the points `(x, z)`, z last."""
    return jnp.concatenate([x, z[:, None].astype(x.dtype)], axis=1)


def on_plates(gap: float) -> Callable[..., Float[Array, "n dim1"]]:
    """Return `start(key, x, reverse)`: samples on z = 0, or on z = gap when reverse; the key is not used."""
    return partial(_on_plate, gap)


def _on_plate(gap, key: Key, x: Float[Array, "n dim"], reverse: bool = False) -> Float[Array, "n dim1"]:
    del key
    x = dtypes.at_least_float32(x)  # half precision rounds heights
    return at_heights(x, jnp.full(x.shape[0], gap if reverse else 0.0, x.dtype))
