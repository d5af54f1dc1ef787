"""Where lines start."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._types import Key


def on_plates(gap: float) -> Callable[..., Float[Array, "n dim1"]]:
    """`start(key, x, reverse)`: samples on z = 0, or on z = gap when reverse; the key is not used."""

    def start(key: Key, x: Float[Array, "n dim"], reverse: bool = False) -> Float[Array, "n dim1"]:
        del key
        height = jnp.full((x.shape[0], 1), gap if reverse else 0.0, x.dtype)
        return jnp.concatenate([x, height], axis=1)

    return start
