"""Samples on their way between the plates, as short films: frames of uint8 first, one animated file second.

Pictures change in place; vectors move as points of the plane, with their lines seen from the side.
"""

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

from efm_jax.evaluation import drawing
from efm_jax.evaluation._canvas import limits, projected, save_film

__all__ = ["lines_frames", "picture_frames", "projected", "save_film"]

_SIDE, _MARGIN, _FINE = 320, 12, 2
_PAPER, _INK, _FRAME = "#ffffff", "#8a8a8a", "#d0d0d0"


def picture_frames(
    path: Float[np.ndarray, "t n dim"], shape: tuple[int, ...], columns: int = 8, *, zoom: int = 2
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Return one grid of pictures for each moment of their way.

    Args:
        path: Positions along the lines, [t, n, D], or [t, n, D+1] with z last.
        shape: Shape of one picture.
        columns: Pictures in a row.
        zoom: As in `drawing.grid`.

    Raises:
        ValueError: See `drawing.grid`.

    Examples:
        >>> import numpy as np
        >>> path = np.linspace(-1, 1, 3).reshape(3, 1, 1)
        >>> [int(frame[1, 1, 0]) for frame in picture_frames(path, (1, 1), 1, zoom=1)]
        [0, 128, 255]
    """
    dim = int(np.prod(shape))
    return [drawing.grid(x[:, :dim], shape, min(columns, len(x)), zoom=zoom) for x in np.asarray(path)]


def lines_frames(
    lines: Float[np.ndarray, "t k dim1"],
    source: Float[np.ndarray, "n dim"],
    target: Float[np.ndarray, "m dim"],
    *,
    gap: float,
    max_lines: int = 150,
    max_points: int = 500,
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Draw vectors at each moment of their way: lines over (z, x_1) and, from two dimensions on, points in the plane.

    Blue are samples of P, red those of Q, green the samples on their way. More than two dimensions are shown by their first
    two principal components.

    Args:
        lines: Positions along each line, z last, [t, k, D+1].
        source: Samples of P, [., D].
        target: Samples of Q, [., D].
        gap: Distance of the plates.
        max_lines: Lines drawn, the first ones.
        max_points: Samples drawn a plate, the first ones.

    Examples:
        >>> import numpy as np
        >>> lines = np.linspace([[0.0, 0.0]], [[1.0, 6.0]], 4)
        >>> frames = lines_frames(lines, np.zeros((2, 1)), np.ones((2, 1)), gap=6.0)
        >>> len(frames), frames[0].shape
        (4, (320, 320, 3))
    """
    lines, source, target = (np.asarray(a, float) for a in (lines, source, target))
    lines, source, target = projected(lines[:, :max_lines], source[:max_points], target[:max_points])
    everything = np.concatenate([source, target])
    low, high = limits(everything)[0].T
    side = _Panel(0, (-0.04 * gap, 1.04 * gap), (low[0], high[0]))
    plane = None if source.shape[1] == 1 else _Panel(1, (low[0], high[0]), (low[1], high[1]))
    panels = [side] if plane is None else [side, plane]
    paper = Image.new("RGB", (_FINE * _SIDE * len(panels), _FINE * _SIDE), _PAPER)
    draw = ImageDraw.Draw(paper)
    for panel in panels:
        draw.rectangle(panel.box, outline=_FRAME, width=_FINE)
    for x, z, color in ((source, 0.0, drawing.SOURCE), (target, gap, drawing.TARGET)):
        _dots(draw, side.at(np.full(len(x), z), x[:, 0]), color, 1.5)
        if plane is not None:
            _dots(draw, plane.at(x[:, 0], x[:, 1]), color, 1.2)
    way = side.at(lines[..., -1], lines[..., 0])
    moved = None if plane is None else plane.at(lines[..., 0], lines[..., 1])
    frames = []
    for t in range(len(lines)):
        frame = paper.copy()
        draw = ImageDraw.Draw(frame)
        for line in way[: t + 1].swapaxes(0, 1):
            whole = line[np.isfinite(line).all(axis=1)]
            if len(whole) > 1:
                draw.line([tuple(point) for point in whole.tolist()], fill=_INK, width=1)
        _dots(draw, way[t], drawing.END, 2.0)
        if moved is not None:
            _dots(draw, moved[t], drawing.END, 2.5)
        frames.append(np.asarray(frame.reduce(_FINE)))
    return frames


class _Panel:
    """A square of the frame with axes of its own."""

    def __init__(self, column: int, x: tuple[float, float], y: tuple[float, float]):
        left = _SIDE * column + _MARGIN
        self.box = [_FINE * v for v in (left, _MARGIN, left + _SIDE - 2 * _MARGIN, _SIDE - _MARGIN)]
        self._x, self._y = x, y

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Pixels of points, [..., 2]; far away ones stay within what can be drawn."""
        left, top, right, bottom = self.box
        across = left + (x - self._x[0]) / (self._x[1] - self._x[0]) * (right - left)
        down = bottom - (y - self._y[0]) / (self._y[1] - self._y[0]) * (bottom - top)
        return np.clip(np.stack([across, down], axis=-1), -10_000, 10_000)


def _dots(draw: ImageDraw.ImageDraw, points: np.ndarray, color: str, radius: float) -> None:
    r = _FINE * radius
    for x, y in points[np.isfinite(points).all(axis=1)].tolist():
        draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
