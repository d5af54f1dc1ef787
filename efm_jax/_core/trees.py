"""Pytrees described in words (path, shape and dtype of each leaf, differences) and packed as plain arrays."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_SMALL = 1 << 18  # below this many numbers an array is packed with others: each written alone costs 1.5 ms


def as_pytree(function):
    """Return the function as a pytree, which compiled code may take as an argument; one that is a pytree stays as it is."""
    return jax.tree_util.Partial(function) if jax.tree.leaves(function) == [function] else function


class Leaf(NamedTuple):
    """One leaf of a tree."""

    path: str  # where it sits, e.g. `params["out"]["kernel"]`
    shape: tuple[int, ...]
    dtype: str  # its dtype's name; a typed PRNG key has one of its own, e.g. `key<fry>`.

    def __str__(self) -> str:
        return f"{self.path}: {self.dtype}{list(self.shape)}"


def leaves(tree: Any) -> list[Leaf]:
    """Describe each leaf (array, scalar or `jax.ShapeDtypeStruct`), in the order of `jax.tree.leaves`."""
    described = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.asarray(leaf).dtype
        described.append(Leaf(_path(path), tuple(np.shape(leaf)), _name(dtype)))
    return described


def _path(keys: tuple) -> str:
    return jax.tree_util.keystr(keys).lstrip(".")


_name = functools.cache(str)  # NumPy spells the name of a dtype anew each time


def difference(expected: list[Leaf], got: list[Leaf], *, most: int = 3) -> str | None:
    """Say in words how `got` differs from `expected`, naming up to `most` leaves; None if it does not."""
    want, have = {leaf.path: leaf for leaf in expected}, {leaf.path: leaf for leaf in got}
    lines = [f"expected {leaf}, got none there" for path, leaf in want.items() if path not in have]
    lines += [f"expected nothing at {path}, got {leaf}" for path, leaf in have.items() if path not in want]
    lines += [
        f"expected {leaf}, got {have[path].dtype}{list(have[path].shape)}"
        for path, leaf in want.items()
        if path in have and have[path] != leaf
    ]
    if not lines:
        return None
    rest = f"; and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + rest


def is_key(leaf: Any) -> bool:
    """Whether a leaf is a typed PRNG key (`jax.random.key`), which holds no plain numbers."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def pack(tree: Any) -> dict[str, np.ndarray]:
    """Gather a tree's numbers into few arrays: large leaves under their paths, small ones joined by dtype."""
    stored, small = {}, {}
    found = jax.tree_util.tree_leaves_with_path(tree)
    plain = jax.device_get([_plain(leaf) for _, leaf in found])
    for (path, _), value in zip(found, map(np.asarray, plain), strict=True):
        if value.size < _SMALL:
            small.setdefault(_vector(value.dtype), []).append(value.ravel())
        else:
            stored[_path(path)] = value
    vectors = {name: np.concatenate(parts) for name, parts in small.items()}
    return {**stored, **{name: vector for name, vector in vectors.items() if vector.size}}


def unpack(stored: dict[str, np.ndarray], order: list[Leaf], like: Any) -> Any:
    """Undo `pack`, whatever it counted as small, for a tree whose leaves are those of `order`, maybe in another order.

    Args:
        stored: What `pack` made.
        order: The `leaves` of the tree that was packed.
        like: Where each array shall live.
    """
    targets = {leaf.path: target for leaf, target in zip(leaves(like), jax.tree.leaves(like), strict=True)}
    placed, taken = {}, {}
    for path in (leaf.path for leaf in order):
        target = targets[path]
        plain = jax.eval_shape(_plain, target) if is_key(target) else _plain(target)
        size = math.prod(plain.shape)
        if path in stored:
            value = stored[path]
        elif size:
            name = _vector(plain.dtype)
            start = taken.get(name, 0)
            taken[name] = start + size
            value = stored[name][start : start + size]
        else:
            value = np.zeros(plain.shape, plain.dtype)
        placed[path] = _placed(np.asarray(value).reshape(plain.shape), target)
    return jax.tree.unflatten(jax.tree.structure(like), [placed[path] for path in targets])


def _plain(leaf: Any) -> Any:
    if is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if hasattr(leaf, "dtype") else jnp.asarray(leaf)


@functools.cache
def _vector(dtype: np.dtype) -> str:
    return f"small {np.dtype(dtype).name}"


def _placed(value: np.ndarray, like: Any) -> jax.Array | np.ndarray:
    array = jnp.array(value, copy=True)
    if array.dtype != value.dtype:  # without x64 JAX holds no 64 bits: they stay in NumPy
        return value.copy()
    if is_key(like):
        array = jax.random.wrap_key_data(array, impl=_key_impl(like))
    if isinstance(like, jax.Array) and like.committed:
        array = jax.device_put(array, like.sharding)
    return array


def _key_impl(key: Any) -> Any:
    found = []
    jax.eval_shape(lambda traced: found.append(jax.random.key_impl(traced)), key)  # it may be only a shape
    return found[0]
