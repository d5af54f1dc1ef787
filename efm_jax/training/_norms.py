"""The norm of a gradient in few operations, and optimizers that need no second one."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

_SMALL = 8192
"""An array with fewer numbers is summed together with others."""


class Elementwise(optax.GradientTransformation):
    """A transformation that does the same to every number, wherever in the tree it is."""


class FiniteUpdates(Elementwise):
    """One whose updates are finite wherever the norm of the gradient is."""


def norm(tree: Any) -> jax.Array:
    """Return the Euclidean norm of a tree.

    A GPU starts a sum in microseconds, whatever its size, and three in four arrays of a network are biases: they are laid
    end to end there. A CPU sums array by array, as earlier versions did everywhere.
    """
    return lax.platform_dependent(tree, cpu=optax.tree.norm, default=_gathered)


def clip(most: float) -> optax.GradientTransformation:
    """Scale gradients of a greater norm down to it, as `optax.clip_by_global_norm` does."""

    def update(updates, state, params=None):
        length = norm(updates)

        def clipped(leaf):
            return lax.select(length < most, leaf, (leaf / length.astype(leaf.dtype)) * most)

        return jax.tree.map(clipped, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def _gathered(tree: Any) -> jax.Array:
    leaves = jax.tree.leaves(tree)
    small: dict[Any, list[jax.Array]] = {}
    for leaf in leaves:
        if leaf.size < _SMALL:
            small.setdefault(leaf.dtype, []).append(leaf.ravel())
    large = [leaf for leaf in leaves if leaf.size >= _SMALL]
    return optax.tree.norm([*large, *map(jnp.concatenate, small.values())])
