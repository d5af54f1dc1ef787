"""Samples of many numbers column by column, and in the plane of their first two principal components."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from efm_jax.evaluation import drawing

__all__ = ["column_scores", "plane"]

_SIDE, _FINE, _HEAD = 300, 2, 24
_PAPER, _INK, _FRAME, _REAL = "#ffffff", "#1c1f24", "#d0d0d0", "#c4c8ce"


def column_scores(
    names: Sequence[str],
    inputs: Float[np.ndarray, "n dim"],
    mapped: Float[np.ndarray, "n dim"],
    train: Float[np.ndarray, "a dim"],
    test: Float[np.ndarray, "b dim"],
) -> list[dict[str, Any]]:
    """Return the mean and deviation of each column, and its distance W1 to real samples, of inputs, mapped and real ones.

    W1 is to the held-out samples `test`; that of `real` is between training and held-out samples.

    Examples:
        >>> x = np.arange(4.0)[:, None]
        >>> [row] = column_scores(["a"], x, x + 1, x, x)
        >>> row["inputs"]["w1"], row["mapped"]["w1"], row["real"]["mean"]
        (0.0, 1.0, 1.5)
    """
    mapped = mapped[np.isfinite(mapped).all(axis=1)]
    parts = {"inputs": inputs, "mapped": mapped, "real": train}
    rows = []
    for k, name in enumerate(names):
        row: dict[str, Any] = {"name": name}
        for part, x in parts.items():
            shown = test[:, k] if part == "real" else x[:, k]
            if len(x):
                w1 = float(scipy.stats.wasserstein_distance(x[:, k], test[:, k]))
                row[part] = {"mean": float(shown.mean()), "deviation": float(shown.std()), "w1": w1}
        rows.append(row)
    return rows


def plane(
    inputs: Float[np.ndarray, "n dim"],
    mapped: Float[np.ndarray, "n dim"],
    real: Float[np.ndarray, "m dim"],
    *,
    colors: tuple[str, str] = (drawing.SOURCE, drawing.TARGET),
    most: int = 500,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw inputs, mapped samples and real ones beside each other in their first two principal components.

    The components are those of inputs and real samples together; real samples lie behind each panel in gray.

    Args:
        inputs: Samples before the map.
        mapped: The same after it.
        real: Real samples of the side that they go to.
        colors: Color of the inputs, and of real samples.
        most: Samples drawn of each, the first ones.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(20, 3))
        >>> plane(x, x, x + 1).shape
        (324, 900, 3)
    """
    inputs, mapped, real = (np.asarray(x[:most], np.float64) for x in (inputs, mapped, real))
    both = np.concatenate([inputs, real])
    mean = both.mean(axis=0)
    axes = np.linalg.svd(both - mean, full_matrices=False)[2][:2].T
    flat = [(x[np.isfinite(x).all(axis=1)] - mean) @ axes for x in (inputs, mapped, real)]
    low, high = np.quantile(np.concatenate([flat[0], flat[2]]), [0.005, 0.995], axis=0)
    low, high = low - 0.15 * (high - low) - 1e-9, high + 0.15 * (high - low) + 1e-9
    size, head = _FINE * _SIDE, _FINE * _HEAD
    paper = Image.new("RGB", (3 * size, size + head), _PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(14 * _FINE)
    for panel, (title, x, color) in enumerate(
        (("before", flat[0], colors[0]), ("mapped", flat[1], "#2a9d4a"), ("real", flat[2], colors[1]))
    ):
        left = panel * size
        draw.text((left + 6 * _FINE, 3 * _FINE), title, _INK, font)
        draw.rectangle((left, head, left + size - 1, head + size - 1), outline=_FRAME, width=_FINE)
        for points, ink in ((flat[2], _REAL), (x, color)):
            share = (points - low) / (high - low)
            for u, v in share[((share > 0) & (share < 1)).all(axis=1)]:
                at, down, r = left + size * u, head + size * (1 - v), 1.7 * _FINE
                draw.ellipse((at - r, down - r, at + r, down + r), fill=ink)
    return np.asarray(paper.resize((3 * _SIDE, _SIDE + _HEAD), Image.Resampling.LANCZOS))
