"""Where arrays lie on a mesh, and putting them there from hosts that hold all or some of them."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from efm_jax._core import trees

_LEAST = 1024
"""Numbers a device below which an array is not split: a message costs more than it saves."""


def put(tree: Any, shardings: Any) -> Any:
    """The same numbers where `shardings` say, one for each leaf; each host puts what its own devices hold.

    Leaves are whole on every host, or lie on the devices as they should already.
    """
    return jax.tree.map(_put, tree, shardings)


def fetched(tree: Any) -> Any:
    """The tree where process 0 can read all of it by itself; all hosts must ask at once.

    What every device holds whole stays there; what is split is gathered array by array into process 0's memory. Elsewhere
    the tree is of no use.
    """
    return jax.tree.map(_fetched, tree)


def copies(leaf: Any, sharding: NamedSharding, count: int) -> jax.Array:
    """A copy for each of `count` devices of this host, along a new first axis."""
    if trees.is_key(leaf):
        data = copies(jax.random.key_data(leaf), sharding, count)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback((count, *host.shape), sharding, lambda _: host[None])


def everywhere(tree: Any, mesh: Mesh) -> Any:
    """The sharding of a tree that every device holds whole."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, P()), tree)


def split(tree: Any, mesh: Mesh, axis: str) -> Any:
    """The sharding of a tree whose arrays are split along the longest dimension that divides; small ones are whole."""
    count = mesh.shape[axis]

    def where(leaf) -> NamedSharding:
        shape = np.shape(leaf)
        fitting = [d for d, length in enumerate(shape) if length % count == 0]
        if trees.is_key(leaf) or not fitting or np.prod(shape) < _LEAST * count:
            return NamedSharding(mesh, P())
        longest = max(fitting, key=lambda d: shape[d])
        return NamedSharding(mesh, P(*(axis if d == longest else None for d in range(len(shape)))))

    return jax.tree.map(where, tree)


def _put(leaf: Any, sharding: Sharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and leaf.committed and leaf.sharding.is_equivalent_to(sharding, leaf.ndim):
        return leaf
    if trees.is_key(leaf):
        data = _put(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])


def _fetched(leaf: Any) -> Any:
    if trees.is_key(leaf):
        return jax.random.wrap_key_data(_fetched(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return leaf
    if isinstance(leaf.sharding, NamedSharding) and not leaf.is_fully_replicated:
        leaf = jax.jit(_same, out_shardings=NamedSharding(leaf.sharding.mesh, P()))(leaf)
        return np.asarray(leaf.addressable_data(0)) if jax.process_index() == 0 else leaf
    return leaf.addressable_data(0)


def _same(leaf: jax.Array) -> jax.Array:
    return leaf
