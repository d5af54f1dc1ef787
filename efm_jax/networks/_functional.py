"""From nnx modules to pure functions: the only place where Flax's split and merge are called.

A module is built without randomness: each parameter is declared by `start(shape, variance)`, which says how it is
to be drawn, and `pure` draws all of them at once. One draw costs one compilation, where a draw for each shape took
most of the time a small network needs to start. Parameters are nested dicts with string keys and float32 leaves, so
optimizers, averages and checkpoints see a plain pytree.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from efm_jax.types import Key, Params


def start(shape: tuple[int, ...], variance: float) -> nnx.Param:
    """Declare a parameter that starts uniform about zero with this variance; 0 makes it start at zero."""
    # Until it is drawn its value is the half-width of the interval, seen through a view that takes no memory.
    return nnx.Param(np.broadcast_to(np.float32(math.sqrt(3.0 * variance)), shape))


def pure(build: Callable[[], nnx.Module]) -> tuple[Callable[[Key], Params], Callable[..., Any]]:
    """Return the pure functions `init(key) -> params` and `call(params, *args) -> module(*args)`.

    All state of the module must be declared by `start`; randomness at call time (dropout) is an argument.
    """

    @functools.cache
    def declared():
        graph, state = nnx.split(build(), nnx.Param)
        return graph, _named(nnx.to_pure_dict(state))

    @jax.jit
    def init(key: Key) -> Params:
        leaves, tree = jax.tree.flatten(declared()[1])
        half_widths = [float(leaf.flat[0]) for leaf in leaves]
        sizes = [leaf.size if half_width else 0 for leaf, half_width in zip(leaves, half_widths, strict=True)]
        uniform = jax.random.uniform(key, (sum(sizes),), jnp.float32, minval=-1.0, maxval=1.0)
        parts = jnp.split(uniform, np.cumsum(sizes)[:-1])
        drawn = [
            half_width * part.reshape(leaf.shape) if half_width else jnp.zeros(leaf.shape, jnp.float32)
            for leaf, half_width, part in zip(leaves, half_widths, parts, strict=True)
        ]
        return jax.tree.unflatten(tree, drawn)

    def call(params: Params, *args):
        return nnx.merge(declared()[0], nnx.State(_indexed(params)))(*args)

    return init, call


def _named(tree):
    """Positions in lists as strings: checkpoints keep the keys of a dict as strings."""
    return {str(k): _named(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _indexed(tree):
    """Undo `_named`: a key made of digits is a position in a list."""
    if not isinstance(tree, dict):
        return tree
    return {int(k) if k.isdigit() else k: _indexed(v) for k, v in tree.items()}
