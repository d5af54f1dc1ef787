"""Figures of field lines, with matplotlib, which is imported inside the functions."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

from efm_jax.evaluation._canvas import (
    END,
    LOST,
    SOURCE,
    TARGET,
    film_kind,
    limits,
    projected,
    save_film,
    write,
)
from efm_jax.types import FieldLines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#555555"
_LONGEST = 24
_MISSING = "figures need matplotlib: pip install matplotlib"


def lines(
    ax: "Axes | None", lines: FieldLines | Float[np.ndarray, "t n dim1"], *, max_lines: int = 200
) -> "Axes":
    """Draw field lines in axes of matplotlib: in the plane of x, or for D = 1 over the height z.

    Starts are blue on P and red on Q, ends green. Lines that did not arrive are dashed and have no end. More than two
    dimensions are shown by the first two principal components of starts and ends.

    Args:
        ax: Axes to draw in, which keep their labels and limits; None for a new figure of pyplot.
        lines: Lines with their path, or positions along each line, z last, [t, n, D+1].
        max_lines: Lines drawn, the first ones.

    Returns:
        The axes.

    Raises:
        ValueError: There is no path, or it has another shape.
        ImportError: matplotlib is not installed.

    Examples:
        >>> import numpy as np
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().add_subplot()
        >>> lines(ax, np.zeros((5, 3, 3))) is ax
        True
    """
    way = _way(lines, max_lines)
    ax = _drawn(ax, way)
    ax.scatter(*way.points[-1, way.arrived].T, s=6, color=END, zorder=3)
    return ax


def animate(
    lines: FieldLines | Float[np.ndarray, "t n dim1"],
    path: str | Path,
    *,
    ax: "Axes | None" = None,
    frames: int | None = None,
    seconds: float = 2.5,
    max_lines: int = 200,
) -> "Axes":
    """Write samples on their way along field lines as an animation; lines are drawn as `lines` draws them.

    Args:
        lines: Lines with their path, or positions along each line, z last, [t, n, D+1].
        path: File to write, ending in .gif or .webp.
        ax: Axes to draw in; the whole figure is filmed. None for a new one.
        frames: Number of frames, between which samples move straight; None for one a position of the path.
        seconds: How long the way takes.
        max_lines: Lines drawn, the first ones.

    Returns:
        The axes, as in the last frame.

    Raises:
        ValueError: There is no path, fewer than two frames, or the name has another ending.
        ImportError: matplotlib is not installed.

    Examples:
        >>> import numpy as np, tempfile
        >>> from PIL import Image
        >>> way = np.linspace(np.zeros((3, 3)), np.ones((3, 3)), 7)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = animate(way, f"{folder}/lines.gif", frames=4)
        ...     Image.open(f"{folder}/lines.gif").n_frames
        4
    """
    film_kind(path)
    way = _way(lines, max_lines)
    points = way.points
    count = len(points) if frames is None else frames
    if count < 2:
        raise ValueError(f"an animation needs at least two frames, got {count}.")
    ax = _drawn(ax, way)
    moving = ax.scatter(*points[0].T, s=10, color=END, zorder=3)
    figure, pictures = ax.figure.canvas.figure, []  # of a part of a figure, the whole
    for at in np.linspace(0, len(points) - 1, count):
        before, share = int(at), at - int(at)
        after = points[min(before + 1, len(points) - 1)]
        moving.set_offsets(points[before] + share * (after - points[before]))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi="figure")
        pictures.append(np.asarray(Image.open(buffer).convert("RGB")))
    save_film(path, pictures, seconds=seconds)
    return ax


class _Way(NamedTuple):
    """Lines in the plane in which they are drawn."""

    points: np.ndarray
    """[t, n, 2]"""
    arrived: np.ndarray
    dim: int
    forward: bool


def _way(lines: FieldLines | np.ndarray, most: int) -> _Way:
    path, arrived = (lines.path, lines.arrived) if isinstance(lines, FieldLines) else (lines, None)
    if path is None:
        raise ValueError("these lines were followed without their path.\nFollow them with save=41, say.")
    path = np.asarray(path, float)
    if path.ndim != 3 or path.shape[2] < 2 or 0 in path.shape:
        raise ValueError(f"lines must have shape [t, n, D+1], got {path.shape}.")
    path, dim = path[:, :most], path.shape[2] - 1
    whole = np.isfinite(path[[0, -1]]).all(axis=(0, 2))
    reached = whole if arrived is None else np.asarray(arrived, bool)[:most] & whole
    if dim == 1:
        plane = path[..., ::-1]
    else:
        known = path[:, reached] if reached.any() else np.nan_to_num(path)
        plane = projected(path, known[0, :, :-1], known[-1, :, :-1])[0][..., :2]
    forward = bool(np.nanmedian(path[-1, :, -1]) >= np.nanmedian(path[0, :, -1]))
    return _Way(np.where(np.isfinite(plane), plane, np.nan), np.asarray(reached), dim, forward)


def _drawn(ax: "Axes | None", way: _Way) -> "Axes":
    """Draw lines and where they start; in new axes where there are none."""
    if ax is None:
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError(_MISSING) from error
        ax = pyplot.subplots(figsize=(5.0, 4.2), layout="constrained")[1]
        if way.dim == 1:
            ax.set(xlabel="z", ylabel="x_1")
        else:
            name = "x_{}" if way.dim == 2 else "principal component {}"
            shown = way.points[[0, -1]].reshape(-1, 2)
            shown = shown[np.isfinite(shown).all(axis=1)]
            alike = way.dim > 2 or not len(shown) or limits(shown)[1]
            ax.set(xlabel=name.format(1), ylabel=name.format(2), aspect="equal" if alike else "auto")
    for these, color, style in ((way.arrived, _INK, "-"), (~way.arrived, LOST, "--")):
        if these.any():
            ax.plot(
                *way.points[:, these].transpose(2, 0, 1), color=color, ls=style, lw=0.5, alpha=0.6, zorder=1
            )
    ax.scatter(*way.points[0].T, s=6, color=SOURCE if way.forward else TARGET, zorder=2)
    return ax


def lines_figure(
    path: str | Path,
    lines: Float[np.ndarray, "t n dim1"],
    source: Float[np.ndarray, "n dim"],
    target: Float[np.ndarray, "m dim"],
    *,
    gap: float,
    arrived: Bool[np.ndarray, " n"] | None = None,
    view: str = "3d",
    names: Sequence[str] | None = None,
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
        names: Names of the D numbers at the axes; None for x_1 and x_2. Numbers of much different ranges get axes of their
            own scales.
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
        raise ImportError(_MISSING) from error

    lines = np.where(np.isfinite(lines), lines, np.nan)
    source, target = source[:max_points], target[:max_points]
    # space right of the left panel: the labels of axes in three dimensions are not laid out
    figure = Figure(figsize=(9.0, 4.2), dpi=100, layout=ConstrainedLayoutEngine(wspace=0.1))
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title)
    everything = np.concatenate([source, target])
    frame = _Frame(*limits(everything), _labels(names, dim))
    solid = dim == 2 and view == "3d"
    left = figure.add_subplot(1, 2, 1, projection="3d" if solid else None)
    _draw_plates(
        left, lines[:, :max_lines], reached[:max_lines], source, target, gap, frame, 2 if solid else 1
    )
    ends = lines[[0, -1]][:, reached, :dim]
    backward = float(np.median(lines[0, :, -1])) > gap / 2
    wanted, color, name = (source, SOURCE, "P") if backward else (target, TARGET, "Q")
    right = figure.add_subplot(1, 2, 2)
    _draw_map(right, ends[0, :max_points], ends[1, :max_points], wanted, color, name, frame)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write(path, buffer.getvalue())


class _Frame(NamedTuple):
    """The axes of x.

    Attributes:
        limits: Their limits [D, 2].
        one_scale: Whether a length is the same along all of them.
        labels: What they are called.
    """

    limits: np.ndarray
    one_scale: bool
    labels: list[str]


def _labels(names: Sequence[str] | None, dim: int) -> list[str]:
    """Names of columns for axes: those too long are cut, and none is taken for a formula."""
    names = [f"x_{k + 1}" for k in range(dim)] if names is None else names
    short = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 3]}..." for name in names]
    return [name.replace("$", r"\$") for name in short]


def _ticks(axes, frame: _Frame) -> None:
    """Write long numbers short, 20k for 20000: in three dimensions they reach into the names of the axes."""
    from matplotlib.ticker import EngFormatter

    for axis, ends in zip(axes, frame.limits, strict=False):
        if not 1e-3 <= np.abs(ends).max() < 1e4:
            axis.set_major_formatter(EngFormatter(sep=""))


def _draw_plates(axes, lines, arrived, source, target, gap, frame, dims) -> None:
    """Draw lines [t, n, D+1] between the plates over z and `dims` of the x, with samples on both plates."""
    for line, ok in zip(lines.swapaxes(0, 1), arrived, strict=True):
        style = {"color": _INK, "lw": 0.5} if ok else {"color": LOST, "lw": 0.5, "ls": "--"}
        axes.plot(line[:, -1], *line[:, :dims].T, **style)
    for samples, z, color, name in (
        (source, 0.0, SOURCE, "P, z = 0"),
        (target, gap, TARGET, f"Q, z = {gap:g}"),
    ):
        where = [samples[:, k] for k in range(dims)]
        axes.scatter(np.full(len(samples), z), *where, s=3, color=color, label=name)
    axes.set(xlabel="z", ylabel=frame.labels[0], xlim=(-0.04 * gap, 1.04 * gap), ylim=frame.limits[0])
    if dims == 2:
        axes.set(zlabel=frame.labels[1], zlim=frame.limits[1])
        axes.set_box_aspect((1.7, 1.0, 1.0))
        _ticks((axes.yaxis, axes.zaxis), frame)
    else:
        _ticks((axes.yaxis,), frame)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)


def _draw_map(axes, start, end, wanted, color, name, frame) -> None:
    """Draw starts and ends of lines with the samples they should reach, in the plane or as densities."""
    if wanted.shape[1] == 1:
        bins = np.linspace(frame.limits[0, 0], frame.limits[0, 1], 40)
        axes.hist(wanted[:, 0], bins, density=True, color=color, alpha=0.4, label=name)
        if len(end):
            axes.hist(end[:, 0], bins, density=True, histtype="step", color=END, label="ends of lines")
        axes.set(xlabel=frame.labels[0], ylabel="density")
        _ticks((axes.xaxis,), frame)
    else:
        for a, b in zip(start[:150], end[:150], strict=True):
            axes.plot(*np.stack([a, b], axis=1), color="#bbbbbb", lw=0.4, zorder=0)
        axes.scatter(*wanted.T, s=4, color=color, alpha=0.5, label=name)
        axes.scatter(*end.T, s=4, color=END, label="ends of lines")
        axes.set(xlabel=frame.labels[0], ylabel=frame.labels[1], xlim=frame.limits[0], ylim=frame.limits[1])
        axes.set_aspect("equal" if frame.one_scale else "auto")
        _ticks((axes.xaxis, axes.yaxis), frame)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)
