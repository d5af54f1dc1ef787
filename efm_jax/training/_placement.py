"""Where arrays lie on a mesh, and how hosts that hold all or part of them put them there."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, Sharding
from jax.sharding import PartitionSpec as P

from efm_jax._core import trees

_LEAST = 1024
"""An array with fewer numbers than this for each device is not split: a message costs more than it saves."""


def check_axis(mesh: Mesh, axis: str) -> None:
    """Raise ValueError unless the mesh has this axis, of the type that leaves it to the compiler to split what follows."""
    if axis not in mesh.shape:
        raise ValueError(f"axis must be one of the mesh's axes {tuple(mesh.shape)}, got {axis!r}.")
    kind = mesh.axis_types[mesh.axis_names.index(axis)]
    if kind != AxisType.Auto:
        raise ValueError(
            f"the mesh's axis {axis!r} must be of AxisType.Auto, got AxisType.{kind.name};\nmake the mesh by "
            "parallel.data_mesh(), or by jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * "
            "len(names))."
        )


def put(tree: Any, shardings: Any) -> Any:
    """Put each leaf (whole on every host, or on the devices already) on the mesh; hosts put what their devices hold."""
    return jax.tree.map(_put, tree, shardings)


def fetch(tree: Any) -> Any:
    """Bring a tree to where process 0 can read all of it; all hosts must call this together.

    Replicated arrays stay on the devices; split ones are gathered one by one into the memory of process 0. The other
    processes cannot use the result.
    """
    return jax.tree.map(_fetch, tree)


def replicate(leaf: Any, sharding: NamedSharding, count: int) -> jax.Array:
    """Copy a leaf to each of `count` devices of this host, along a new first axis."""
    if trees.is_key(leaf):
        data = replicate(jax.random.key_data(leaf), sharding, count)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    host = np.asarray(leaf)
    return jax.make_array_from_callback((count, *host.shape), sharding, lambda _: host[None])


def replicated(tree: Any, mesh: Mesh) -> Any:
    """Return the shardings of a tree that every device holds whole."""
    return jax.tree.map(lambda leaf: NamedSharding(mesh, P()), tree)


def split(tree: Any, mesh: Mesh, axis: str) -> Any:
    """Return the shardings that split arrays along their longest dimension that divides; small arrays stay whole."""
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


def _fetch(leaf: Any) -> Any:
    if trees.is_key(leaf):
        return jax.random.wrap_key_data(_fetch(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
        return leaf
    if isinstance(leaf.sharding, NamedSharding) and not leaf.is_fully_replicated:
        leaf = jax.jit(_same, out_shardings=NamedSharding(leaf.sharding.mesh, P()))(leaf)
        return np.asarray(leaf.addressable_data(0)) if jax.process_index() == 0 else leaf
    return leaf.addressable_data(0)


def _same(leaf: jax.Array) -> jax.Array:
    return leaf
