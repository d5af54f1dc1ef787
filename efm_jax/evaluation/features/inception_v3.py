"""The Inception-V3 of FID in JAX: the network of 2015-12-05 with its own pools, on pictures resized as TensorFlow 1 did.

    picture -> 299 x 299, (v - 128) / 128 -> stem -> 35 x 35 x 288 -> 17 x 17 x 768 -> 8 x 8 x 2048 -> mean over the picture

It differs from the network of the paper and of torchvision: average pools do not count padding, and the pool of the last
block is a maximum. Each convolution's batch normalization is folded into kernel and bias on loading. The names are those
of the published torch checkpoint `pt_inception-2015-12-05`.

Szegedy et al. (2016), arXiv 1512.00567 (the blocks); Heusel et al. (2017), arXiv 1706.08500 (FID on its last pool); Obukhov
et al. (2020), torch-fidelity, doi:10.5281/zenodo.4957738 (what the published network computes).
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from efm_jax._core import files
from efm_jax._core import tensors as _tensors
from efm_jax.evaluation.features._convolutions import PARTS, Layer, check, convolved, folded
from efm_jax.evaluation.features.torch_file import read_tensors

__all__ = ["Convolution", "fold", "forward", "load", "resized", "shapes"]

SIDE = 299
NUM_FEATURES = 2048
_NUM_CLASSES = 1008  # of 2015-12-05; torchvision's network has 1000 and other weights


class Convolution(NamedTuple):
    """A convolution, normalization and ReLU: its name, channels out and kernel; stride 1 keeps the size unless `cut`."""

    name: str
    channels: int
    size: tuple[int, int] = (1, 1)
    stride: int = 1
    cut: bool = False


Step = Convolution | str | tuple[Convolution, ...]
"""A convolution, a pool ("mean", "max", or "halve": a maximum of stride 2), or convolutions side by side."""
Block = tuple[tuple[Step, ...], ...]
"""Branches side by side."""

_STEM: tuple[Step, ...] = (
    Convolution("Conv2d_1a_3x3", 32, (3, 3), 2, True),
    Convolution("Conv2d_2a_3x3", 32, (3, 3), 1, True),
    Convolution("Conv2d_2b_3x3", 64, (3, 3)),
    "halve",
    Convolution("Conv2d_3b_1x1", 80),
    Convolution("Conv2d_4a_3x3", 192, (3, 3), 1, True),
    "halve",
)


def _fives(pooled: int) -> Block:
    return (
        (Convolution("branch1x1", 64),),
        (Convolution("branch5x5_1", 48), Convolution("branch5x5_2", 64, (5, 5))),
        (
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3)),
        ),
        ("mean", Convolution("branch_pool", pooled)),
    )


def _sevens(inner: int) -> Block:
    across, down = (1, 7), (7, 1)
    return (
        (Convolution("branch1x1", 192),),
        (
            Convolution("branch7x7_1", inner),
            Convolution("branch7x7_2", inner, across),
            Convolution("branch7x7_3", 192, down),
        ),
        (
            Convolution("branch7x7dbl_1", inner),
            Convolution("branch7x7dbl_2", inner, down),
            Convolution("branch7x7dbl_3", inner, across),
            Convolution("branch7x7dbl_4", inner, down),
            Convolution("branch7x7dbl_5", 192, across),
        ),
        ("mean", Convolution("branch_pool", 192)),
    )


def _forks(pool: str) -> Block:
    def fork(name: str) -> tuple[Convolution, ...]:
        return Convolution(f"{name}a", 384, (1, 3)), Convolution(f"{name}b", 384, (3, 1))

    return (
        (Convolution("branch1x1", 320),),
        (Convolution("branch3x3_1", 384), fork("branch3x3_2")),
        (
            Convolution("branch3x3dbl_1", 448),
            Convolution("branch3x3dbl_2", 384, (3, 3)),
            fork("branch3x3dbl_3"),
        ),
        (pool, Convolution("branch_pool", 192)),
    )


_BLOCKS: dict[str, Block] = {
    "Mixed_5b": _fives(32),
    "Mixed_5c": _fives(64),
    "Mixed_5d": _fives(64),
    "Mixed_6a": (
        (Convolution("branch3x3", 384, (3, 3), 2, True),),
        (
            Convolution("branch3x3dbl_1", 64),
            Convolution("branch3x3dbl_2", 96, (3, 3)),
            Convolution("branch3x3dbl_3", 96, (3, 3), 2, True),
        ),
        ("halve",),
    ),
    "Mixed_6b": _sevens(128),
    "Mixed_6c": _sevens(160),
    "Mixed_6d": _sevens(160),
    "Mixed_6e": _sevens(192),
    "Mixed_7a": (
        (Convolution("branch3x3_1", 192), Convolution("branch3x3_2", 320, (3, 3), 2, True)),
        (
            Convolution("branch7x7x3_1", 192),
            Convolution("branch7x7x3_2", 192, (1, 7)),
            Convolution("branch7x7x3_3", 192, (7, 1)),
            Convolution("branch7x7x3_4", 192, (3, 3), 2, True),
        ),
        ("halve",),
    ),
    "Mixed_7b": _forks("mean"),
    "Mixed_7c": _forks("max"),
}


def forward(
    weights: Mapping[str, Layer], pictures: Num[Array | np.ndarray, "n h w 3"], side: int = SIDE
) -> Float[Array, "n features"]:
    """Return FID's features [n, 2048] of pictures in 0..255: the mean of the last block's activations over the picture.

    Args:
        weights: The network, see `load` and `fold`.
        pictures: Pictures of any one size [n, H, W, 3], RGB, 0..255.
        side: Side in pixels at which the network looks; at least 75.

    Examples:
        >>> tiny = fold({name: np.ones(shape, np.float32) for name, shape in shapes(16).items()})
        >>> jax.eval_shape(lambda x: forward(tiny, x, 75), np.zeros((2, 32, 32, 3))).shape
        (2, 128)
    """
    x = (resized(pictures, side) - 128.0) / 128.0
    for step in _STEM:
        x = _stepped(weights, "", step, x)
    for name, branches in _BLOCKS.items():
        ends = []
        for branch in branches:
            h = x
            for step in branch:
                h = _stepped(weights, f"{name}.", step, h)
            ends.append(h)
        x = jnp.concatenate(ends, axis=-1)
    return x.mean(axis=(1, 2))


def resized(pictures: Num[Array | np.ndarray, "n h w c"], side: int) -> Float[Array, "n side side c"]:
    """Resize pictures by the bilinear rule of TensorFlow 1: pixel i lies at `i * before / side`, no antialias.

    Corners are not aligned and pixels have no centers: what FID's graph does, positions in float32.

    Examples:
        >>> resized(np.array([0.0, 8.0]).reshape(1, 1, 2, 1), 4)[0, 0, :, 0].tolist()
        [0.0, 4.0, 8.0, 8.0]
    """
    x = jnp.asarray(pictures, jnp.float32)
    for axis in (2, 1):
        before = x.shape[axis]
        place = np.arange(side, dtype=np.float32) * (np.float32(before) / np.float32(side))
        low = place.astype(np.int64)
        share = (place - low).reshape(-1, *[1] * (3 - axis))
        first, second = (jnp.take(x, at, axis=axis) for at in (low, np.minimum(low + 1, before - 1)))
        x = first + (second - first) * share
    return x


def load(path: str | Path) -> dict[str, Layer]:
    """Load the layers of the network by name from a file of its weights, read once and kept.

    Args:
        path: A safetensors file, or a torch file of weights (`.pth`), of which nothing is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or is of another network.
    """
    return _load(str(path))


def fold(tensors: Mapping[str, np.ndarray]) -> dict[str, Layer]:
    """Make layers from tensors by name: `w' = w g / sqrt(v + 1e-3)`, `b' = beta - m g / sqrt(v + 1e-3)`, in float64."""
    names = [name.removesuffix(".conv.weight") for name in tensors if name.endswith(".conv.weight")]
    return {name: folded(tensors, f"{name}.conv", f"{name}.bn") for name in names}


def shapes(divisor: int = 1) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors that the features need; a divisor of 16 gives a small network."""
    found: dict[str, tuple[int, ...]] = {}

    def add(prefix: str, step: Step, before: int) -> int:
        if isinstance(step, str):
            return before
        if isinstance(step, Convolution):
            after = step.channels // divisor
            found[f"{prefix}{step.name}.conv.weight"] = (after, before, *step.size)
            found.update({f"{prefix}{step.name}.bn.{part}": (after,) for part in PARTS})
            return after
        return sum(add(prefix, one, before) for one in step)

    def chained(prefix: str, steps: tuple[Step, ...], channels: int) -> int:
        for step in steps:
            channels = add(prefix, step, channels)
        return channels

    channels = chained("", _STEM, 3)
    for name, branches in _BLOCKS.items():
        channels = sum([chained(f"{name}.", branch, channels) for branch in branches])
    return found


@functools.lru_cache(maxsize=2)
def _load(path: str) -> dict[str, Layer]:
    file = files.expanded(path)
    stored_plainly = file.suffix == ".safetensors" and file.is_file()
    tensors = _tensors.read(file) if stored_plainly else read_tensors(file)
    fix = "give pt_inception-2015-12-05-6726825d.pth of pytorch-fid and torch-fidelity, or its tensors as safetensors"
    wanted = shapes()
    check(path, "FID's Inception", tensors, wanted, fix)
    classes = {"fc.weight": (_NUM_CLASSES, NUM_FEATURES), "fc.bias": (_NUM_CLASSES,)}
    for name, tensor in tensors.items():
        if (
            name not in wanted
            and not name.endswith(".num_batches_tracked")
            and tensor.shape != classes.get(name)
        ):
            raise ValueError(
                f"{path} holds {name} of shape {tensor.shape}, which FID's Inception does not have (torchvision's "
                f"network is another one); {fix}."
            )
    return fold(tensors)


def _stepped(weights: Mapping[str, Layer], prefix: str, step: Step, x: Array) -> Array:
    if isinstance(step, Convolution):
        layer, padding = weights[f"{prefix}{step.name}"], "VALID" if step.cut else "SAME"
        return jax.nn.relu(convolved(x, layer, step.stride, padding))
    if isinstance(step, tuple):
        return jnp.concatenate([_stepped(weights, prefix, one, x) for one in step], axis=-1)
    if step == "mean":
        return _pooled(x, 0.0, jax.lax.add, 1) / _pooled(jnp.ones((1, *x.shape[1:3], 1)), 0.0, jax.lax.add, 1)
    return _pooled(x, -jnp.inf, jax.lax.max, 2 if step == "halve" else 1)


def _pooled(x: Array, start: float, reduce: Any, stride: int) -> Array:
    """3 x 3 windows: of stride 1 round every pixel, of stride 2 those that lie inside."""
    padding = "SAME" if stride == 1 else "VALID"
    return jax.lax.reduce_window(x, start, reduce, (1, 3, 3, 1), (1, stride, stride, 1), padding)
