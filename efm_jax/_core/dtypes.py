"""The dtype in which positions are computed: in half precision heights between the plates run together."""

import jax.numpy as jnp
from jaxtyping import Array


def at_least_float32(x: Array) -> Array:
    """Return the array in float32, or in its own dtype where that is wider."""
    return x.astype(wide(x))


def wide(x: Array) -> jnp.dtype:
    """Return float32, or the array's own dtype where that is wider."""
    return jnp.promote_types(x.dtype, jnp.float32)
