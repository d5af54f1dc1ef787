"""From nnx modules to pure functions: the only place where Flax's split and merge are called.

A module is built without randomness: each parameter is declared by `start(shape, variance)`, which says how it is
to be drawn, and `pure` draws all of them at once. One draw costs one compilation, where a draw for each shape took
most of the time a small network needs to start. Parameters are nested dicts with string keys and float32 leaves, so
optimizers, averages and checkpoints see a plain pytree.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from efm_jax.types import Key, Params


def start(shape: tuple[int, ...], variance: float) -> nnx.Param:
    """Declare a parameter that starts uniform about zero with this variance; 0 makes it start at zero."""
    # Until it is drawn its value is the half-width of the interval, seen through a view that takes no memory.
    return nnx.Param(np.broadcast_to(np.float32(math.sqrt(3.0 * variance)), shape))


class Pure:
    """A module as pure functions, `init(key) -> params` and `call(params, *args) -> module(*args)`, which can be pickled.

    All state of the module must be declared by `start`; randomness at call time (dropout) is an argument.
    """

    def __init__(self, build: Callable[[], nnx.Module]):
        self.build = build
        self._init = jax.jit(self._drawn)

    def __reduce__(self):
        return Pure, (self.build,)

    @functools.cached_property
    def _declared(self):
        graph, state = nnx.split(self.build(), nnx.Param)
        return graph, named(nnx.to_pure_dict(state))

    def init(self, key: Key) -> Params:
        """Draw the parameters."""
        return self._init(key)

    def _drawn(self, key: Key) -> Params:
        leaves, tree = jax.tree.flatten(self._declared[1])
        half_widths = [float(leaf.flat[0]) for leaf in leaves]
        sizes = [leaf.size if half_width else 0 for leaf, half_width in zip(leaves, half_widths, strict=True)]
        uniform = jax.random.uniform(key, (sum(sizes),), jnp.float32, minval=-1.0, maxval=1.0)
        parts = jnp.split(uniform, np.cumsum(sizes)[:-1])
        drawn = [
            half_width * part.reshape(leaf.shape) if half_width else jnp.zeros(leaf.shape, jnp.float32)
            for leaf, half_width, part in zip(leaves, half_widths, parts, strict=True)
        ]
        return jax.tree.unflatten(tree, drawn)

    def __call__(self, params: Params, *args):
        return nnx.merge(self._declared[0], nnx.State(indexed(params)))(*args)


def named(tree):
    """Positions in lists as strings: checkpoints keep the keys of a dict as strings."""
    return {str(k): named(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def indexed(tree):
    """Undo `named`: a key made of digits is a position in a list."""
    if not isinstance(tree, dict):
        return tree
    return {int(k) if k.isdigit() else k: indexed(v) for k, v in tree.items()}
