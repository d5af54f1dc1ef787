"""Pictures that are a little turned, slanted, sized and moved at each draw: more of them than there are.

A few hundred pictures are learned by heart. Small changes that keep what a picture shows make new ones of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
from scipy import ndimage

from efm_jax.datasets.source import Choice, Source

__all__ = ["check_amount", "jittered"]

TURN = np.deg2rad(6.0)
"""Deviation of the angle, radians, of an amount of 1."""
SLANT = 0.08
"""Deviation of the shear."""
SIZE = 0.06
"""Deviation of the logarithm of width and height."""
MOVE = 0.02
"""Deviation of the shift, in sides of the picture."""


def jittered(source: Source, amount: float = 1.0) -> Source:
    r"""Return a source of pictures that are turned, slanted, sized and moved by small normal numbers at each draw.

    The value at pixel p = (row, column) about the middle m is that of the picture at

    $$m + R(\theta) \begin{pmatrix} e^{a} & 0 \\ s & e^{b} \end{pmatrix} (p - m) + t,$$

    between pixels by bilinear interpolation, beyond the edge that of the nearest pixel. The deviations are `amount` times
    6 degrees of theta, 0.08 of s, 0.06 of a and b, and 0.02 of the sides in t.

    Args:
        source: A finite set of pictures, as `from_pictures`, `colored` or `open_source` make it.
        amount: 0 for pictures as they are.

    Returns:
        A source of the same shape, size and classes.

    Raises:
        ValueError: The samples are no finite set of pictures, or the amount is no finite number >= 0.

    Examples:
        >>> from efm_jax.datasets import batch, from_pictures
        >>> source = jittered(from_pictures(np.zeros((5, 8, 8), np.uint8)))
        >>> batch(source, 0, 0, 0, 2).shape
        (2, 64)

    Source: Simard, Steinkraus, Platt (2003), Best Practices for Convolutional Neural Networks, section 2 (affine part).
    """
    check_amount(amount)
    if amount == 0.0:
        return source
    if not isinstance(source.draw, Choice) or len(source.shape) != 3:
        raise ValueError(
            f"only a finite set of pictures [H, W, C] can be jittered, got samples of shape {source.shape}"
            f"{'' if source.size else ' without end'}; leave the jitter out."
        )
    changed = partial(_changed, source.shape, amount)
    classes = source.classes and tuple(
        one and one._replace(draw=changed(cast(Choice, one.draw))) for one in source.classes
    )
    return source._replace(draw=changed(source.draw), classes=classes)


def check_amount(amount: float) -> None:
    """Raise ValueError unless pictures can be jittered by this amount."""
    if not (np.isfinite(amount) and amount >= 0):
        raise ValueError(
            f"the amount of jitter must be a finite number >= 0, got {amount!r}; 1 suits small sets."
        )


def _changed(shape: tuple[int, ...], amount: float, draw: Choice) -> Choice:
    return Choice(partial(_choose, draw.choose, amount), partial(_read, draw.read, shape))


def _choose(
    choose: Callable[..., tuple[np.ndarray, ...]], amount: float, rng: np.random.Generator, n: int, *rows: Any
) -> tuple[np.ndarray, ...]:
    return *choose(rng, n, *rows), amount * rng.standard_normal((n, 6))


def _read(read: Callable[..., np.ndarray], shape: tuple[int, ...], *parts: np.ndarray) -> np.ndarray:
    *chosen, numbers = parts
    on_gray = getattr(read, "changed", None)  # of digits before they are colored: a third of the work
    if on_gray is not None:
        return on_gray(partial(_turned, numbers), *chosen)
    return _turned(numbers, read(*chosen).reshape(-1, *shape)).reshape(len(numbers), -1)


def _turned(numbers: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    sides = np.array(pictures.shape[1:3], float)
    middle = (sides - 1.0) / 2.0
    angle, slant, tall, wide, down, right = numbers.T
    c, s, zero = np.cos(TURN * angle), np.sin(TURN * angle), np.zeros(len(numbers))
    turn = np.array([[c, -s], [s, c]])
    stretch = np.array([[np.exp(SIZE * tall), zero], [SLANT * slant, np.exp(SIZE * wide)]])
    affine = np.tile(np.eye(3), (len(numbers), 1, 1))
    affine[:, :2, :2] = np.einsum("ijn,jkn->nik", turn, stretch)
    affine[:, :2, 2] = middle - affine[:, :2, :2] @ middle + MOVE * sides * np.column_stack([down, right])
    turned = np.empty_like(pictures)
    for picture, new, matrix in zip(pictures, turned, affine, strict=True):
        for channel in range(picture.shape[2]):
            ndimage.affine_transform(
                picture[..., channel], matrix, output=new[..., channel], order=1, mode="nearest"
            )
    return turned
