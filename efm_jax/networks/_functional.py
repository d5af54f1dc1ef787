"""From nnx modules to pure functions: the only place where Flax's split and merge are called.

`pure(build)` turns a function that builds an `nnx.Module` into `(init, call)`. Parameters are nested dicts
with string keys and float32 arrays as leaves, so optimisers, averages and checkpoints see a plain pytree.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from efm_jax._types import Key, Params


def pure(build: Callable[[nnx.Rngs], nnx.Module]) -> tuple[Callable[[Key], Params], Callable[..., Any]]:
    """Return `(init, call)` with `init(key) -> params` and `call(params, *args) -> module(*args)`.

    Args:
        build: Builds the module from its random streams. All state of the module must be `nnx.Param`;
            randomness at call time (dropout) is an argument of the call.

    Returns:
        The pair of pure functions. Both may be transformed by `jax.jit`, `jax.grad`, `jax.vmap`.
    """

    @functools.cache
    def structure() -> nnx.GraphDef:
        # Shapes only: nothing is allocated, and the key drawn while tracing is never used.
        return jax.eval_shape(lambda: nnx.split(build(nnx.Rngs(0)), nnx.Param))[0]

    def init(key: Key) -> Params:
        _, state = nnx.split(build(nnx.Rngs(params=key)), nnx.Param)
        return _named(nnx.to_pure_dict(state))

    def call(params: Params, *args):
        return nnx.merge(structure(), nnx.State(_indexed(params)))(*args)

    return init, call


def _named(tree):
    """Positions in lists as strings: checkpoints keep the keys of a dict as strings."""
    return {str(k): _named(v) for k, v in tree.items()} if isinstance(tree, dict) else tree


def _indexed(tree):
    """Undo `_named`: a key made of digits is a position in a list."""
    if not isinstance(tree, dict):
        return tree
    return {int(k) if k.isdigit() else k: _indexed(v) for k, v in tree.items()}
