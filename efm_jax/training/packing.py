"""States whose parameters, average and moments are one vector each: few arrays to hand over, few operations on them.

A GPU is handed each array of a step apart and works on it in kernels of its own; a U-Net has hundreds of parameters, and a
state four arrays for each. Of a packed state it gets four vectors, and Adam and the average are one kernel. Only the network
sees a tree, cut from the vector. There the outputs of a convolution's kernel come first, as libraries for GPUs want them.
Checkpoints hold trees.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from efm_jax._core import platforms
from efm_jax.training import _norms
from efm_jax.training.state import Place, TrainState
from efm_jax.types import Network, Params

__all__ = ["Packing", "packing"]


class Packing(NamedTuple):
    """How a state is packed.

    Attributes:
        network: The network, with packed parameters.
        packed: From a state to a packed one.
        unpacked: Back.
        fetched: The same in the host's memory, for a state that is there whole.
    """

    network: Network
    packed: Place
    unpacked: Place
    fetched: Place


def packing(network: Network, optimizer: optax.GradientTransformation, *, split: bool = False) -> Packing:
    """Return how a state is packed.

    It is packed on a GPU, if there are several parameters, all of float32, the optimizer does the same to every number, as
    `training.adam` does, and the state is not split over devices. Elsewhere it stays as it is.

    Examples:
        >>> from efm_jax import networks, training
        >>> network, optimizer = networks.mlp(2, gap=1.0, width=8), training.adam()
        >>> state = training.init_state(jax.random.key(0), network, optimizer)
        >>> with platforms.made_for("gpu"):
        ...     pack = packing(network, optimizer)
        >>> len(jax.tree.leaves(state)), len(jax.tree.leaves(pack.packed(state)))
        (38, 10)
    """
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    leaves = jax.tree.leaves(shapes)
    alike = len(leaves) > 1 and all(leaf.dtype == jnp.float32 for leaf in leaves)
    if split or not platforms.on_gpu() or not alike or not isinstance(optimizer, _norms.Elementwise):
        return Packing(network, *3 * (lambda state: state,))
    vectors = _Vectors(shapes)
    return Packing(
        vectors.network(network), jax.jit(vectors.packed), jax.jit(vectors.unpacked), vectors.fetched
    )


class _Vectors:
    """Vectors of the numbers of trees of these shapes."""

    def __init__(self, shapes: Any):
        self._leaves, self._tree = jax.tree.flatten(shapes)
        self._ends = np.cumsum([math.prod(leaf.shape) for leaf in self._leaves])

    def network(self, network: Network) -> Network:
        cut = jax.custom_vjp(self._cut)  # its own gradient would be a sum of padded vectors
        cut.defvjp(lambda vector: (self._cut(vector), None), lambda _, tree: (self._joined(tree),))
        return network._replace(
            init=lambda key: self._joined(network.init(key)),
            apply=lambda vector, *given, **more: network.apply(cut(vector), *given, **more),
        )

    def packed(self, state: TrainState) -> TrainState:
        def whole(part: Any) -> bool:
            return jax.tree.structure(part) == self._tree

        return jax.tree.map(lambda part: self._joined(part) if whole(part) else part, state, is_leaf=whole)

    def unpacked(self, state: TrainState) -> TrainState:
        return self._each(self._cut, state)

    def fetched(self, state: TrainState) -> TrainState:
        def parts(vector: Any) -> Params:
            return jax.tree.map(np.ascontiguousarray, self._cut(np.asarray(vector)))

        return self._each(parts, state)

    def _each(self, change: Callable[[Any], Params], state: TrainState) -> TrainState:
        return jax.tree.map(lambda leaf: change(leaf) if leaf.shape == (self._ends[-1],) else leaf, state)

    def _joined(self, tree: Params) -> jax.Array:
        leaves = jax.tree.leaves(tree)
        return jnp.concatenate([(jnp.moveaxis(x, -1, 0) if x.ndim == 4 else x).ravel() for x in leaves])

    def _cut(self, vector: Any) -> Params:
        """A tree of parts of the vector, of NumPy or JAX as the vector is."""
        found, start = [], 0
        for leaf, end in zip(self._leaves, self._ends.tolist(), strict=True):
            part, shape = vector[start:end], leaf.shape
            whole = part.reshape(shape[-1], *shape[:-1]).transpose(1, 2, 3, 0) if len(shape) == 4 else part
            found.append(whole.reshape(shape))
            start = end
        return self._tree.unflatten(found)
