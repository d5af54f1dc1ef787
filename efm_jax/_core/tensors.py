"""Parameters as one safetensors file: names, shapes and numbers, nothing that could run.

A tensor's name is its path in the tree, parts joined by dots: `layers.0.kernel`. Every dtype of floating-point
parameters survives bit for bit, bfloat16 too. Parameters of float32 may be kept as float16.
"""

from pathlib import Path

import jax
import numpy as np
import safetensors
import safetensors.numpy

from efm_jax._core import trees
from efm_jax.types import Params


def encode(params: Params) -> bytes:
    """Return parameters as a safetensors file; ValueError for NaN or infinity, or two leaves of one name."""
    names = [leaf.path for leaf in described(params)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two parameters would be named {twice!r}: keep dots out of the names in the tree.")
    values = [np.asarray(value, order="C") for value in jax.device_get(jax.tree.leaves(params))]
    tensors = dict(zip(names, values, strict=True))
    bad = not_finite(tensors)
    if bad:
        raise ValueError(f"{bad}; these weights carry nothing anywhere: export a run whose loss is finite.")
    return safetensors.numpy.save(tensors, metadata={"format": "efm_jax"})


def halved(params: Params) -> Params:
    """Return parameters with float16 in the place of float32; ValueError where a number is too large for it."""
    largest = float(np.finfo(np.float16).max)
    for leaf, value in zip(described(params), jax.tree.leaves(params), strict=True):
        most = float(np.abs(np.asarray(value, np.float32)).max(initial=0.0))
        if leaf.dtype == "float32" and most > largest:
            raise ValueError(
                f"parameter {leaf.path!r} holds {most:g}, and the largest number of float16 is {largest:g}; export with "
                "all digits."
            )
    return jax.tree.map(lambda x: np.float16(x) if x.dtype == np.float32 else x, params)


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a safetensors file by name; ValueError if it is not one, or is damaged."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # the library has errors of its own, and lets those of its parts through
        raise ValueError(
            f"{path} cannot be read as safetensors ({error}): it is damaged or of another format; fetch it again."
        ) from None


def fitted(tensors: dict[str, np.ndarray], like: Params) -> Params:
    """Return tensors in the form of `like`, parameters (or their shapes) of the network they are for; or ValueError."""
    wanted = described(like)
    whole = {leaf.path for leaf in wanted if leaf.dtype == "float32"}
    tensors = {
        name: value.astype(np.float32) if name in whole and value.dtype == np.float16 else value
        for name, value in tensors.items()
    }
    got = [trees.Leaf(name, tuple(value.shape), str(value.dtype)) for name, value in tensors.items()]
    apart = trees.difference(wanted, got)
    if apart:
        raise ValueError(f"the tensors are not those of the network: {apart}")
    bad = not_finite(tensors)
    if bad:
        raise ValueError(bad)
    leaves = [jax.numpy.array(tensors[leaf.path]) for leaf in wanted]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def not_finite(tensors: dict[str, np.ndarray]) -> str | None:
    """Say which tensor holds NaN or infinity and how many, or return None."""
    for name, value in tensors.items():
        bad = int(value.size - np.isfinite(value).sum())
        if bad:
            return f"tensor {name!r} holds {bad} NaN or infinite numbers of {value.size}"
    return None


def described(params: Params) -> list[trees.Leaf]:
    """Name, shape and dtype of each tensor, in the order of `jax.tree.leaves`."""
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    names = [jax.tree_util.keystr(path, simple=True, separator=".") or "params" for path in paths]
    return [leaf._replace(path=name) for leaf, name in zip(trees.leaves(params), names, strict=True)]
