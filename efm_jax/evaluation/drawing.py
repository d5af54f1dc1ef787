"""Samples, pairs and field lines as pictures: arrays of uint8 first, png files second.

`grid`, `pairs_grid` and `strip` are pure: flat samples in, one RGB array out. `save_png` and `lines_figure` write whole
files or none. matplotlib is imported inside `lines_figure` only, and without pyplot's global state.
"""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from efm_jax._core import files

__all__ = ["grid", "lines_figure", "pairs_grid", "save_png", "strip"]

SOURCE, TARGET, END, _LOST = "#3b6fb6", "#c44e52", "#2e8b57", "#999999"


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


def save_png(path: str | Path, array: UInt8[np.ndarray, "height width *rgb"]) -> None:
    """Write a picture as png, whole or not at all; folders are made as needed.

    Args:
        path: File to write; an existing one is replaced only by a complete new one.
        array: uint8, [height, width] gray or [height, width, 3] RGB.

    Raises:
        ValueError: If the array is not such a picture or the name does not end in .png.

    Examples:
        >>> import numpy as np, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_png(f"{folder}/a.png", np.zeros((2, 3, 3), np.uint8))
        ...     [p.name for p in pathlib.Path(folder).iterdir()]
        ['a.png']
    """
    array = np.asarray(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(
            f"a picture must be uint8 of shape [h, w] or [h, w, 3], got {array.dtype} {array.shape}; "
            "make one with drawing.grid."
        )
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", optimize=True)
    _write(path, buffer.getvalue())


def lines_figure(
    path: str | Path,
    lines: Float[np.ndarray, "t n dim1"],
    source: Float[np.ndarray, "n dim"],
    target: Float[np.ndarray, "m dim"],
    *,
    gap: float,
    arrived: Bool[np.ndarray, " n"] | None = None,
    view: str = "3d",
    title: str = "",
    max_lines: int = 100,
    max_points: int = 500,
) -> None:
    """Draw field lines between the plates, and the map they make, for samples of one or two dimensions.

    Left: the lines over (z, x_1) or in (z, x_1, x_2), samples of P on the plate z = 0 and of Q on z = gap.
    Right: for D = 2 the plane with Q, the ends of lines, and the segment from each start to its end. For
    D = 1 the densities of Q and of the ends. Lines that start beyond the middle run backward: P then
    stands for Q. Lines that did not arrive are dashed and gray, their ends left out.

    Args:
        path: The png to write.
        lines: Positions along each line, z last, [t, n, D+1], D = 1 or 2.
        source: Samples of P, [., D].
        target: Samples of Q, [., D].
        gap: Distance of the plates.
        arrived: Which lines arrived, [n]; None means all.
        view: "3d", or "side" for (z, x_1) only; D = 1 is always seen from the side.
        title: Text above.
        max_lines: Lines drawn, the first ones.
        max_points: Samples drawn a plate, the first ones.

    Raises:
        ValueError: If shapes do not fit or D is above 2.
        ImportError: If matplotlib is not installed.

    Examples:
        >>> import numpy as np, tempfile, os
        >>> lines = np.stack([np.zeros((2, 3)), np.full((2, 3), 6.0)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lines_figure(f"{folder}/a.png", lines, np.zeros((2, 2)), np.full((2, 2), 6.0), gap=6.0)
        ...     os.path.getsize(f"{folder}/a.png") < 200_000
        True
    """
    lines, source, target = (np.asarray(a, float) for a in (lines, source, target))
    if lines.ndim != 3 or lines.shape[2] not in (2, 3) or 0 in lines.shape:
        raise ValueError(
            f"lines must have shape [t, n, D+1] with D = 1 or 2, got {lines.shape}; project them first."
        )
    dim = lines.shape[2] - 1
    for name, samples in (("source", source), ("target", target)):
        if samples.ndim != 2 or samples.shape[1] != dim or len(samples) == 0:
            raise ValueError(f"{name} must have shape [n >= 1, {dim}] as the lines do, got {samples.shape}.")
    if view not in ("3d", "side"):
        raise ValueError(f"view must be '3d' or 'side', got {view!r}.")
    reached = np.ones(lines.shape[1], bool) if arrived is None else np.asarray(arrived, bool)
    if reached.shape != (lines.shape[1],):
        raise ValueError(f"arrived must have shape [{lines.shape[1]}], one per line, got {reached.shape}.")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error

    lines = np.where(np.isfinite(lines), lines, np.nan)
    source, target = source[:max_points], target[:max_points]
    # space right of the left panel: the labels of axes in three dimensions are not laid out
    figure = Figure(figsize=(9.0, 4.2), dpi=100, layout=ConstrainedLayoutEngine(wspace=0.1))
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    everything = np.concatenate([source, target])
    reach = 0.08 * np.ptp(everything, axis=0).max() + 1e-6
    limits = np.stack([everything.min(0) - reach, everything.max(0) + reach], axis=1)
    solid = dim == 2 and view == "3d"
    left = figure.add_subplot(1, 2, 1, projection="3d" if solid else None)
    _draw_plates(
        left, lines[:, :max_lines], reached[:max_lines], source, target, gap, limits, 2 if solid else 1
    )
    ends = lines[[0, -1]][:, reached, :dim]
    backward = float(np.median(lines[0, :, -1])) > gap / 2
    wanted, color, name = (source, SOURCE, "P") if backward else (target, TARGET, "Q")
    right = figure.add_subplot(1, 2, 2)
    _draw_map(right, ends[0, :max_points], ends[1, :max_points], wanted, color, name, limits)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    _write(path, buffer.getvalue())


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    full = (*shape, 1) if len(shape) == 2 else tuple(shape)
    if len(full) != 3 or full[2] not in (1, 3) or min(full) < 1:
        raise ValueError(f"shape must be (H, W), (H, W, 1) or (H, W, 3), got {tuple(shape)}.")
    return full


def _pixels(x: np.ndarray, background: int) -> np.ndarray:
    finite = np.isfinite(x)
    levels = np.floor(255.0 * (np.clip(np.where(finite, x, 0.0), -1.0, 1.0) + 1.0) / 2.0 + 0.5)
    return np.where(finite, levels, background).astype(np.uint8)


def _write(path: str | Path, content: bytes) -> None:
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"pictures are written as .png, got {path.name!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, content)


def _draw_plates(axes, lines, arrived, source, target, gap, limits, dims) -> None:
    """Draw lines [t, n, D+1] between the plates over z and `dims` of the x, with samples on both plates."""
    for line, ok in zip(lines.swapaxes(0, 1), arrived, strict=True):
        style = {"color": "#555555", "lw": 0.5} if ok else {"color": _LOST, "lw": 0.5, "ls": "--"}
        axes.plot(line[:, -1], *line[:, :dims].T, **style)
    for samples, z, color, name in (
        (source, 0.0, SOURCE, "P, z = 0"),
        (target, gap, TARGET, f"Q, z = {gap:g}"),
    ):
        where = [samples[:, k] for k in range(dims)]
        axes.scatter(np.full(len(samples), z), *where, s=3, color=color, label=name)
    axes.set(xlabel="z", ylabel="x_1", xlim=(-0.04 * gap, 1.04 * gap), ylim=limits[0])
    if dims == 2:
        axes.set(zlabel="x_2", zlim=limits[1])
        axes.set_box_aspect((1.7, 1.0, 1.0))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)


def _draw_map(axes, start, end, wanted, color, name, limits) -> None:
    """Draw starts and ends of lines with the samples they should reach, in the plane or as densities."""
    if wanted.shape[1] == 1:
        bins = np.linspace(limits[0, 0], limits[0, 1], 40)
        axes.hist(wanted[:, 0], bins, density=True, color=color, alpha=0.4, label=name)
        if len(end):
            axes.hist(end[:, 0], bins, density=True, histtype="step", color=END, label="ends of lines")
        axes.set(xlabel="x_1", ylabel="density")
    else:
        for a, b in zip(start[:150], end[:150], strict=True):
            axes.plot(*np.stack([a, b], axis=1), color="#bbbbbb", lw=0.4, zorder=0)
        axes.scatter(*wanted.T, s=4, color=color, alpha=0.5, label=name)
        axes.scatter(*end.T, s=4, color=END, label="ends of lines")
        axes.set(xlabel="x_1", ylabel="x_2", xlim=limits[0], ylim=limits[1], aspect="equal")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)
