"""Samples, pairs and field lines as pictures: arrays of uint8 first, files second.

`grid`, `mapped`, `pairs_grid` and `strip` are pure: flat samples in, one RGB array out. `lines` draws in axes of matplotlib.
`save_png`, `lines_figure` and `animate` write whole files or none.
"""

import numpy as np
from jaxtyping import Float, UInt8

from efm_jax.evaluation._canvas import END, SOURCE, TARGET, png, save_png
from efm_jax.evaluation._line_figures import animate, lines, lines_figure

__all__ = [
    "END",
    "SOURCE",
    "TARGET",
    "animate",
    "grid",
    "lines",
    "lines_figure",
    "mapped",
    "page_zoom",
    "pairs_grid",
    "png",
    "save_png",
    "strip",
]

_PAGE = 640


def grid(
    x: Float[np.ndarray, "n dim"],
    shape: tuple[int, ...],
    columns: int | None = None,
    *,
    border: int = 1,
    background: int = 255,
    zoom: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay pictures out in rows, left to right: `pixel = round(255 (clip(v, -1, 1) + 1) / 2)`.

    Args:
        x: Pictures flattened HWC, values in [-1, 1], [n, H*W*C]. A value that is NaN or infinite is shown in
            the background's gray.
        shape: Shape of one picture, (H, W), (H, W, 1) or (H, W, 3).
        columns: Pictures in a row; None means a nearly square grid.
        border: Width of the lines between and around pictures, pixels (before `zoom`).
        background: Gray of those lines and of empty places, 0..255.
        zoom: Every pixel becomes a square of this side.

    Returns:
        One RGB picture, uint8, [zoom (rows (H + border) + border), zoom (columns (W + border) + border), 3].

    Raises:
        ValueError: If `x` and `shape` do not fit each other or a number is out of range.

    Examples:
        >>> import numpy as np
        >>> grid(np.array([[-1.0], [0.0], [1.0]]), (1, 1), 3, border=0)[0, :, 0].tolist()
        [0, 128, 255]
    """
    height, width, channels = _picture_shape(shape)
    x = np.asarray(x)
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != height * width * channels:
        raise ValueError(
            f"pictures of shape {tuple(shape)} need x of shape [n >= 1, {height * width * channels}], "
            f"got {x.shape}."
        )
    columns = int(np.ceil(np.sqrt(len(x)))) if columns is None else columns
    if columns < 1 or zoom < 1 or border < 0 or not 0 <= background <= 255:
        raise ValueError(
            "columns and zoom must be >= 1, border >= 0 and background in 0..255, "
            f"got columns={columns}, zoom={zoom}, border={border}, background={background}."
        )
    rows = -(-len(x) // columns)
    pictures = np.repeat(_pixels(x, background).reshape(-1, height, width, channels), 3 // channels, axis=3)
    cells = np.full((rows * columns, height + border, width + border, 3), background, np.uint8)
    cells[: len(x), border:, border:] = pictures
    sheet = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    sheet = sheet.reshape(rows * (height + border), columns * (width + border), 3)
    sheet = np.pad(sheet, ((0, border), (0, border), (0, 0)), constant_values=background)
    return sheet.repeat(zoom, axis=0).repeat(zoom, axis=1)


def pairs_grid(
    x: Float[np.ndarray, "n dim"],
    y: Float[np.ndarray, "n dim"],
    shape: tuple[int, ...],
    columns: int = 10,
    *,
    border: int = 1,
    background: int = 255,
    zoom: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay inputs above their outputs: a row of `x`, below it the row of `y` it became, and so on.

    Args:
        x: Inputs, flattened HWC in [-1, 1], [n, D].
        y: Outputs, in the order of `x`, [n, D].
        shape: Shape of one picture.
        columns: Pairs in a row.
        border: As in `grid`.
        background: As in `grid`.
        zoom: As in `grid`.

    Raises:
        ValueError: If `x` and `y` differ in shape, or as `grid`.

    Examples:
        >>> import numpy as np
        >>> ones = np.ones((2, 1))
        >>> pairs_grid(ones, -ones, (1, 1), 2, border=0)[..., 0].tolist()
        [[255, 255], [0, 0]]
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape or x.ndim != 2 or len(x) == 0:
        raise ValueError(f"pairs need x and y of one shape [n >= 1, D], got {x.shape} and {y.shape}.")
    columns = min(columns, len(x)) if columns >= 1 else columns
    rows = []
    for first in range(0, len(x), max(columns, 1)):
        for part in (x[first : first + columns], y[first : first + columns]):
            rows.append(np.full((max(columns, 1), x.shape[1]), np.nan))
            rows[-1][: len(part)] = part
    return grid(np.concatenate(rows), shape, columns, border=border, background=background, zoom=zoom)


def mapped(
    x: Float[np.ndarray, "n dim"] | None,
    y: Float[np.ndarray, "n dim"],
    shape: tuple[int, ...],
    columns: int = 8,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay outputs out below their inputs, about as wide as a page; outputs alone where `x` is None.

    Examples:
        >>> import numpy as np
        >>> ones = np.ones((2, 4))
        >>> mapped(ones, ones, (2, 2)).shape[0] > mapped(None, ones, (2, 2)).shape[0]
        True
    """
    columns = min(columns, len(y))
    zoom = page_zoom(shape, columns)
    return grid(y, shape, columns, zoom=zoom) if x is None else pairs_grid(x, y, shape, columns, zoom=zoom)


def page_zoom(shape: tuple[int, ...], columns: int) -> int:
    """Return the zoom at which a row of pictures is about as wide as a page, 640 pixels.

    Examples:
        >>> page_zoom((32, 32, 3), 8)
        2
    """
    return max(round(_PAGE / (columns * (shape[1] + 1))), 1)


def strip(
    path: Float[np.ndarray, "t n dim"],
    shape: tuple[int, ...],
    columns: int = 8,
    *,
    border: int = 1,
    background: int = 255,
    zoom: int = 1,
) -> UInt8[np.ndarray, "height width 3"]:
    """Lay trajectories out: one row per sample, the way along its line from left to right.

    Args:
        path: Positions along the lines, [t, n, D], or [t, n, D+1] with z last (as in `FieldLines.path`; z is
            left out of the picture).
        shape: Shape of one picture.
        columns: Moments shown, evenly spaced in index, first and last included; at most t.
        border: As in `grid`.
        background: As in `grid`.
        zoom: As in `grid`.

    Raises:
        ValueError: If `path` and `shape` do not fit each other.

    Examples:
        >>> import numpy as np
        >>> path = np.linspace(-1, 1, 5).reshape(5, 1, 1)
        >>> strip(path, (1, 1), 3, border=0)[0, :, 0].tolist()
        [0, 128, 255]
    """
    path = np.asarray(path)
    dim = int(np.prod(_picture_shape(shape)))
    if path.ndim != 3 or path.shape[2] not in (dim, dim + 1) or 0 in path.shape:
        raise ValueError(
            f"trajectories of pictures {tuple(shape)} need shape [t, n, {dim}] or [t, n, {dim + 1}], "
            f"got {path.shape}."
        )
    if columns < 1:
        raise ValueError(f"columns must be >= 1, got {columns}.")
    columns = min(columns, len(path))
    moments = np.round(np.linspace(0, len(path) - 1, columns)).astype(int)
    chosen = path[moments, :, :dim].swapaxes(0, 1).reshape(-1, dim)
    return grid(chosen, shape, columns, border=border, background=background, zoom=zoom)


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    full = (*shape, 1) if len(shape) == 2 else tuple(shape)
    if len(full) != 3 or full[2] not in (1, 3) or min(full) < 1:
        raise ValueError(f"shape must be (H, W), (H, W, 1) or (H, W, 3), got {tuple(shape)}.")
    return full


def _pixels(x: np.ndarray, background: int) -> np.ndarray:
    finite = np.isfinite(x)
    levels = np.floor(255.0 * (np.clip(np.where(finite, x, 0.0), -1.0, 1.0) + 1.0) / 2.0 + 0.5)
    return np.where(finite, levels, background).astype(np.uint8)
