"""Samples at their heights."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def at_heights(x: Float[Array, "k dim"], z: Float[Array, " k"]) -> Float[Array, "k dim1"]:
    """Points (x, z), z last."""
    return jnp.concatenate([x, z[:, None].astype(x.dtype)], axis=1)
