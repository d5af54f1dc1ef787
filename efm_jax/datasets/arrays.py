"""Sources of arrays, pairs, pictures and white noise, and samples back to pictures; NumPy on the host, no JAX."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from efm_jax.datasets.source import Choice, Source, indices

__all__ = [
    "as_pictures",
    "eight_bit",
    "from_array",
    "from_pairs",
    "from_pictures",
    "of_levels",
    "scaled",
    "unmasked",
    "white_noise",
]

_BLOCK = 1 << 22
_CHANNELS = (1, 3, 4)  # of pictures
_WIDE = 8.0  # root mean square: of normal noise 1, of latents of an autoencoder some 5, of pictures in 0..255 tens


def from_array(array: Any) -> Source:
    """Return the source of a finite set of floating-point samples, drawn as they are.

    A batch of n <= size samples is drawn without replacement inside the batch; a larger one with replacement.

    Args:
        array: Samples [n, ...] of a floating dtype, finite; kept as it is, also where it is mapped from a file. Pictures,
            [n, H, W, C] with 1, 3 or 4 channels, have values in [-1, 1]; of those in 0..1, and of [n, C, H, W], a warning
            says so.

    Raises:
        ValueError: If the array is empty, has no sample axis, is no floating dtype, holds NaN or infinity, or has the shape
            of pictures and values far outside [-1, 1]. See also `unmasked`.

    Examples:
        >>> source = from_array(np.eye(3))
        >>> from efm_jax.datasets import batch
        >>> source.shape, source.size, float(batch(source, 0, 0, 0, 3).sum())
        ((3,), 3, 3.0)
    """
    array = unmasked(array)
    if array.dtype == np.uint8:
        raise ValueError(
            f"array holds uint8 numbers of shape {array.shape}; if they are pictures use "
            "from_pictures(array), else convert them: array.astype('float32')."
        )
    # NumPy counts bfloat16 and float8 among no floats
    if not array.dtype.name.startswith(("float", "bfloat")):
        raise ValueError(
            f"array must hold floating-point numbers, got dtype {array.dtype}; convert it, e.g. "
            "array.astype('float32')."
        )
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            "array must have shape [n, ...] with n >= 1 samples of at least one number each, got "
            f"{array.shape}; for one-dimensional samples use array.reshape(-1, 1)."
        )
    bad, low, high, squares = [], np.inf, -np.inf, 0.0
    block = max(_BLOCK * len(array) // array.size, 1)  # an array mapped from a file is not read at once
    for start in range(0, len(array), block):
        part = _as_samples(array[start : start + block])
        bad.append(np.logical_not(np.isfinite(part).all(axis=1)))
        low, high = min(low, float(part.min())), max(high, float(part.max()))
        squares += float(np.vdot(part, part))
    bad = np.concatenate(bad)
    if bad.any() and np.isfinite(array[bad]).all():
        raise ValueError(
            f"array holds numbers too large for float32, over 3.4e38, in {int(bad.sum())} of {len(bad)} samples, the "
            f"first at index {int(bad.argmax())}; give it in a larger unit, or leave these samples out: "
            "array[(abs(array) < 3.4e38).reshape(len(array), -1).all(1)]."
        )
    if bad.any():
        raise ValueError(
            f"array holds NaN, infinite or (for float32) too large numbers in {int(bad.sum())} of "
            f"{len(bad)} samples, the first at index {int(bad.argmax())}; remove them: "
            "array[(abs(array) < 3.4e38).reshape(len(array), -1).all(1)]."
        )
    if array.ndim == 4 and array.shape[-1] in _CHANNELS:
        found = f"{low:.4g} to {high:.4g}"
        shown = f"array has the shape of pictures, {array.shape}"
        # of all numbers at once: single ones of white noise go far beyond 1, and so they may
        if squares > _WIDE**2 * array.size:
            raise ValueError(
                f"{shown}, whose values must lie in -1..1, got {found}; of pictures in 0..255 divide by 127.5 and "
                "subtract 1, or give uint8; samples that are no pictures may be given flat, [n, D]."
            )
        if 0.0 <= low < high <= 1.0:
            warnings.warn(
                f"{shown}, in which -1 is black and 1 is white, and none of its values is below 0, got {found}.\n"
                "If these are pictures in 0..1, give 2 * array - 1.",
                stacklevel=2,
            )

    _warn_of_channels(array)
    choice = Choice(partial(_choose, len(array), False), partial(_rows, array))
    return Source(choice, tuple(array.shape[1:]), len(array))


def _warn_of_channels(array: np.ndarray) -> None:
    """Warn of pictures as torch has them, [n, C, H, W]; it may also be a strip of many channels that is wider than high."""
    if array.ndim != 4 or array.shape[-1] in _CHANNELS or array.shape[1] not in _CHANNELS:
        return
    if array.shape[2] > array.shape[1]:
        _, height, width, channels = array.shape
        warnings.warn(
            f"array has the shape of pictures with channels first, {array.shape}, and is read as [n, H, W, C]: {height} "
            f"high, {width} wide, {channels} channels.\nIf these are pictures [n, C, H, W], give np.moveaxis(x, 1, -1).",
            stacklevel=3,
        )


def _rows(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    return _as_samples(array[index])


def _as_samples(rows: np.ndarray) -> np.ndarray:
    """Rows of an array as float32 samples [n, D]; numbers beyond float32's range become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(rows, np.float32).reshape(len(rows), -1)


def from_pairs(x_pos: Any, x_neg: Any) -> tuple[Source, Source]:
    """Return the sources of two finite sets whose rows belong together.

    Batches of one number hold the same rows of both; `couplings.given()` pairs them. Batches are drawn as in `from_array`.

    Args:
        x_pos: Samples of P, [n, ...] of a floating dtype, finite.
        x_neg: Their partners of Q, row by row, of the same shape.

    Raises:
        ValueError: The two differ in shape, or one is not as `from_array` needs it.

    Examples:
        >>> p, q = from_pairs(np.eye(3), 2 * np.eye(3))
        >>> from efm_jax.datasets import batch
        >>> bool((2 * batch(p, 0, 0, 5, 2) == batch(q, 0, 1, 5, 2)).all())
        True
    """
    if np.shape(x_pos) != np.shape(x_neg):
        raise ValueError(
            f"pairs are row by row, so both sides must have one shape, got {np.shape(x_pos)} and {np.shape(x_neg)}."
        )
    pos, neg = (from_array(x)._replace(paired=True) for x in (x_pos, x_neg))
    return pos, neg


def from_pictures(images: Any, *, flip: bool = False) -> Source:
    """Return the source of a finite set of 8-bit pictures, scaled to [-1, 1] and flattened HWC: `x = v / 127.5 - 1`.

    Batches are drawn as in `from_array`. The pictures stay uint8 in memory.

    Args:
        images: Pictures [n, H, W] (gray) or [n, H, W, C], uint8.
        flip: Whether each drawn picture is mirrored left to right with probability 1/2.

    Returns:
        A source of shape (H, W, C) and size n.

    Raises:
        ValueError: If `images` is not uint8, has another number of axes, or is empty.

    Examples:
        >>> source = from_pictures(np.full((5, 4, 4), 255, np.uint8))
        >>> from efm_jax.datasets import batch
        >>> source.shape, batch(source, 0, 0, 0, 2).shape, float(batch(source, 0, 0, 0, 2).max())
        ((4, 4, 1), (2, 16), 1.0)
    """
    images = eight_bit("images", images, (3, 4))
    _warn_of_channels(images)
    return of_levels(images[..., None] if images.ndim == 3 else images, flip=flip)


def of_levels(images: Any, *, flip: bool = False) -> Source:
    """Return `from_pictures` of what gives rows [k, H, W, C], uint8, by their indices, as an array does.

    Examples:
        >>> of_levels(np.zeros((5, 4, 4, 1), np.uint8)).size
        5
    """
    return Source(Choice(partial(_choose, len(images), flip), Levels(images)), images.shape[1:], len(images))


def _choose(
    size: int, flip: bool, rng: np.random.Generator, n: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    index = indices(rng, size, n, rows)
    return (index, rng.random(n) < 0.5) if flip else (index,)


@dataclass(frozen=True, eq=False)
class Levels:
    """How 8-bit pictures are read, which a device that holds them can do by itself (`--parallel.device-data`).

    Attributes:
        images: The pictures [n, H, W, C], uint8, as an array or what is read like one.
    """

    images: Any

    def __call__(self, index: np.ndarray, mirrored: np.ndarray | None = None) -> Float32[np.ndarray, "k dim"]:
        """Read rows on the host, each mirrored or not."""
        chosen = self.images[index]
        if mirrored is not None:
            chosen[mirrored] = chosen[mirrored, :, ::-1]
        return scaled(chosen).reshape(len(index), -1)


def white_noise(shape: Sequence[int], *, std: float = 1.0) -> Source:
    """Return a source of independent normal numbers: every coordinate N(0, std^2).

    Args:
        shape: Shape of one sample, e.g. (32, 32, 3).
        std: Standard deviation, > 0.

    Raises:
        ValueError: If the shape is empty or not positive, or `std` is not a finite number > 0.

    Examples:
        >>> from efm_jax.datasets import batch
        >>> batch(white_noise((2, 2, 3)), 0, 0, 0, 5).shape
        (5, 12)
    """
    shape = tuple(int(side) for side in shape)
    if not shape or min(shape) < 1:
        raise ValueError(f"shape must hold integers >= 1, got {shape}.")
    if not (np.isfinite(std) and std > 0):
        raise ValueError(f"std must be a finite number > 0, got {std!r}.")
    return Source(Noise(int(np.prod(shape)), float(std)), shape, None)


@dataclass(frozen=True)
class Noise:
    """The draw of white noise, which a device can make by itself (`--data.noise device`).

    Attributes:
        dim: Dimensions D of a sample.
        std: Standard deviation of each.
    """

    dim: int
    std: float

    def __call__(self, rng: np.random.Generator, n: int) -> Float32[np.ndarray, "n dim"]:
        """Draw on the host, [n, D]."""
        return rng.standard_normal((n, self.dim), dtype=np.float32) * np.float32(self.std)


def unmasked(x: Any) -> np.ndarray:
    """Return `np.asarray(x)`, unless it would give what lies under a mask as data.

    Raises:
        ValueError: `x` is a masked array with masked values.

    Examples:
        >>> unmasked(np.ma.masked_equal([1.0, 2.0], -9999.0)).tolist()
        [1.0, 2.0]
    """
    if missing := int(np.ma.count_masked(x)) if isinstance(x, np.ma.MaskedArray) else 0:
        raise ValueError(
            f"a masked array must have no masked values, for they are missing, got {missing} of {x.size}.\n"
            "Leave out the samples that miss some: x[~x.mask.reshape(len(x), -1).any(axis=1)]."
        )
    return np.asarray(x)


def as_pictures(x: Any, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n height width channels"]:
    """Turn flattened samples in [-1, 1] into 8-bit pictures: `v = round(127.5 (x + 1))`, clipped to 0..255.

    Args:
        x: Samples [n, H*W*C].
        shape: (H, W, C), as in `Source.shape`.

    Returns:
        Pictures [n, H, W, C], uint8.

    Raises:
        ValueError: If `shape` is not (H, W, C) or does not hold D numbers, or `x` holds NaN.

    Examples:
        >>> as_pictures(np.array([[-1.0, 1.0]]), (1, 2, 1)).ravel().tolist()
        [0, 255]
    """
    if np.asarray(x).dtype == np.uint8:
        raise ValueError("x holds uint8 levels; samples lie between -1 and 1: x / 127.5 - 1.")
    x = np.asarray(x, np.float32)
    if len(shape) != 3 or x.ndim != 2 or x.shape[1] != int(np.prod(shape)):
        raise ValueError(
            f"x must have shape [n, H*W*C] and shape be (H, W, C), got {x.shape} and {tuple(shape)}."
        )
    if np.isnan(x).any():
        raise ValueError(
            f"x holds NaN in {int(np.isnan(x).any(axis=1).sum())} of {len(x)} pictures; remove those first."
        )
    return np.clip(np.rint((x + 1.0) * 127.5), 0, 255).astype(np.uint8).reshape(-1, *shape)


def eight_bit(name: str, images: Any, ndims: tuple[int, ...]) -> np.ndarray:
    """Return `images` as a non-empty uint8 array of one of `ndims` axes, or raise ValueError."""
    images = unmasked(images)
    if images.dtype != np.uint8:
        raise ValueError(
            f"{name} must be 8-bit pictures (uint8, 0..255), got dtype {images.dtype}; for floating-point "
            "samples use from_array."
        )
    if images.ndim not in ndims or images.size == 0:
        axes = " or ".join("[n, H, W]" if k == 3 else "[n, H, W, C]" for k in ndims)
        raise ValueError(f"{name} must have shape {axes} with no empty axis, got {images.shape}.")
    return images


def scaled(images: np.ndarray) -> np.ndarray:
    """Return 8-bit numbers as float32 in [-1, 1]."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
