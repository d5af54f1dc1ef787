"""Samples as a person holds them, pictures of Pillow or arrays, as rows of numbers; and rows as what was given."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from efm_jax.datasets import as_pictures, fit_pictures, from_array, from_pictures
from efm_jax.datasets.arrays import scaled, unmasked
from efm_jax.models import configs, frames

__all__ = ["forms", "images", "of_array", "rows"]


def rows(
    x: Any, shape: tuple[int, ...], data: configs.Data | None = None, columns: Sequence[str] | None = None
) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """Return samples of `shape` as rows [n, D], and what makes of rows the kind of samples that were given.

    Args:
        x: Pictures of Pillow, one or a list; or an array of samples or of one, floating-point or uint8. A batch may also be
            flat, [n, D]. Or a DataFrame, or one row of it, whose columns are taken by name.
        shape: Shape of a sample.
        data: How pictures of Pillow are read, as those of a run were.
        columns: Names of the numbers of a sample; None if they have none.

    Raises:
        ValueError: They are of another kind or shape, or masked.

    Examples:
        >>> x, back = rows(np.full((4, 4), 255, np.uint8), (4, 4, 1))
        >>> x.shape, float(x.max()), back(-x).shape, int(back(-x).max())
        ((1, 16), 1.0, (4, 4), 0)
    """
    if isinstance(x, Image.Image):
        one, back = rows([x], shape, data)
        return one, lambda y: back(y)[0]
    if isinstance(x, list | tuple) and any(isinstance(one, Image.Image) for one in x):
        return _of_pictures(x, shape, data or configs.Data()), partial(images, shape=shape)
    if columns is not None and (row := frames.of_row(x)) is not None:
        one, back = rows(row, shape, data, columns)
        return one, lambda y: back(y).iloc[0]
    if frames.names_of(x) is not None:
        array, back = frames.rows(x, columns)
        return rows(array, shape)[0], back
    array = _array(x)
    if array.dtype.kind in "OUSM" or array.ndim == 0:
        raise ValueError(
            f"samples must be pictures of Pillow or an array of numbers, got {type(x).__name__}.\n"
            "Open files with PIL.Image.open, or give their folder to efm_jax.models.translate."
        )
    if array.shape not in forms(shape) and array.shape[1:] not in forms(shape):
        first = array.ndim == 4 and (*array.shape[2:], array.shape[1]) == shape
        fix = "np.moveaxis(x, 1, -1)" if first else f"[n, {', '.join(map(str, shape))}]"
        raise ValueError(f"samples have shape {shape} here, got an array {array.shape}.\nGive {fix}.")
    if array.size == 0:
        raise ValueError(f"there are no samples, got an array {array.shape}.")
    if array.dtype == np.uint8 and len(shape) != 3:
        raise ValueError(f"samples of shape {shape} are no pictures, got uint8.\nGive x.astype('float32').")
    flat = of_array(array.reshape(-1, *shape))[0]

    def returned(y: np.ndarray) -> Any:
        y = (as_pictures(y, shape) if array.dtype == np.uint8 else y).reshape(array.shape)
        return jnp.asarray(y) if isinstance(x, jax.Array) else y

    return flat, returned


def _array(x: Any) -> np.ndarray:
    if isinstance(x, np.ma.MaskedArray):
        return unmasked(x)
    try:
        return np.asarray(x)
    except ValueError:  # lists of unequal length
        return np.asarray(None)


def _of_pictures(pictures: Any, shape: tuple[int, ...], data: configs.Data) -> np.ndarray:
    strange = [one for one in pictures if not isinstance(one, Image.Image)]
    if strange:
        raise ValueError(
            f"a list must hold pictures of Pillow alone, got {type(strange[0]).__name__} among them."
        )
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(
            f"samples have shape {shape} here and are no pictures.\nGive an array [n, ...] of them."
        )
    how = {"square": data.crop, "background": data.background, "levels": data.levels}
    return of_array(fit_pictures.opened(pictures, (shape[0], shape[1], shape[2]), **how))[0]


def forms(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes that one sample of `shape` may have in an array: also flat, and gray without a channel.

    Examples:
        >>> forms((4, 4, 1))
        [(4, 4, 1), (16,), (4, 4)]
    """
    return [shape, (math.prod(shape),), *([shape[:2]] if len(shape) == 3 and shape[2] == 1 else [])]


def of_array(array: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """Return rows [n, D] of an array of samples in float32, uint8 pictures in [-1, 1], and the shape of one.

    Raises:
        ValueError: See `datasets.from_array` and `datasets.from_pictures`.

    Examples:
        >>> of_array(np.zeros((2, 3, 3, 1), np.uint8))[0].shape
        (2, 9)
    """
    if array.dtype == np.uint8:
        shape = from_pictures(array).shape  # checks the array
        return scaled(array).reshape(len(array), -1), shape
    shape = from_array(array).shape  # checks the array
    return array.astype(np.float32).reshape(len(array), -1), shape


def images(y: np.ndarray, shape: tuple[int, ...]) -> list[Image.Image]:
    """Return rows [n, D] of pictures as pictures of Pillow, of mode RGB or L.

    Raises:
        ValueError: Samples of this shape are no pictures.

    Examples:
        >>> [one.getpixel((0, 0)) for one in images(np.array([[-1.0], [1.0]]), (1, 1, 1))]
        [0, 255]
    """
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise ValueError(f"samples of shape {shape} are no pictures.")
    return [Image.fromarray(one[..., 0] if shape[2] == 1 else one) for one in as_pictures(y, shape)]
