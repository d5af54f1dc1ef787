"""What is drawn of a run or model: held-out samples and where their lines end, their way, and a sheet while it trains."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from efm_jax.datasets import Source
from efm_jax.datasets.classes import aligned, common_names
from efm_jax.evaluation import columns, drawing, films
from efm_jax.models import build, configs, scoring
from efm_jax.models.columns import names as names_of
from efm_jax.models.model import Trained, transport
from efm_jax.models.scoring import Direction

__all__ = ["SHARE", "Watched", "draw", "names", "sheet", "watched", "ways"]

SHARE = 0.02
"""Share of the time of a training that its progress pictures may take."""
_COLUMNS = 8
_PICTURE_MOMENTS, _LINE_MOMENTS = 17, 41


class Watched(NamedTuple):
    """Held-out samples that are looked at while a run trains, of one direction.

    Attributes:
        reverse: Whether it goes from Q to P.
        x: The samples, [n, D].
        cond: Their labels [n]; None without classes.
        made: Whether they are noise, of which pictures are made.
        real: Of vectors: held-out samples of P and Q.
    """

    reverse: bool
    x: np.ndarray
    cond: np.ndarray | None
    made: bool
    real: tuple[np.ndarray, ...]


def ways(data: configs.Data, shape: tuple[int, ...]) -> list[bool]:
    """Return the directions of a run, False for P -> Q and True for Q -> P: pictures do not go back to white noise.

    Examples:
        >>> ways(configs.Data("noise", "digits"), (32, 32, 3)), ways(configs.Data("gaussian:2", "moons"), (2,))
        ([False], [False, True])
    """
    pair = data.source, data.target
    return [
        reverse for reverse in (False, True) if not (len(shape) == 3 and build.is_noise(pair[not reverse]))
    ]


def names(reverse: bool, shape: tuple[int, ...]) -> list[str]:
    """Return the names of the pictures that `draw` makes of one direction.

    Examples:
        >>> names(False, (2,)), names(True, (50,))
        (['forward.png', 'forward.webp'], ['backward_pca.png', 'backward.webp'])
    """
    name = "backward" if reverse else "forward"
    if len(shape) == 3:
        return [f"{name}.png", f"{name}_path.png", f"{name}.webp"]
    if len(shape) != 1:
        return []
    return [f"{name}{'' if shape[0] <= 2 else '_pca'}.png", f"{name}.webp"]


def draw(
    folder: Path,
    trained: Trained,
    x: np.ndarray,
    y: np.ndarray,
    direction: Direction,
    cond: np.ndarray | None,
) -> None:
    """Draw samples `x` [n, D] and the ends `y` of their lines, and the way of some of them, into a folder.

    Args:
        folder: The folder.
        trained: The run or model.
        x: Held-out samples.
        y: The ends of their lines.
        direction: Where they go.
        cond: Their labels [n]; None without classes.
    """
    files, shape = names(direction.reverse, trained.shape), trained.shape
    if not files:
        return
    some, moments = (16, _PICTURE_MOMENTS) if len(shape) == 3 else (200, _LINE_MOMENTS)
    labels = None if cond is None else cond[:some]
    lines = transport(trained, x[:some], reverse=direction.reverse, save=moments, cond=labels)
    path, gap = np.asarray(lines.path), trained.config.recipe.gap
    if len(shape) == 3:
        made = direction.test[direction.start].size is None
        drawing.save_png(
            folder / files[0], drawing.mapped(*((None, y[:64]) if made else (x[:32], y[:32])), shape)
        )
        zoom = drawing.page_zoom(shape, 9)
        drawing.save_png(folder / files[1], drawing.strip(path[:, :4], shape, 9, zoom=zoom))
        zoom = drawing.page_zoom(shape, _COLUMNS)
        frames = films.picture_frames(path, shape, _COLUMNS // 2, zoom=zoom)
    else:
        real = [scoring.held_out(source, len(x), side=side) for side, source in enumerate(direction.test)]
        if shape[0] > 2:
            drawing.save_png(folder / files[0], _plane(trained, x, y, real[direction.end], direction))
        else:
            columns_of = None if trained.columns is None else names_of(trained.columns)
            arrived = np.asarray(lines.arrived)
            drawing.lines_figure(folder / files[0], path, *real, gap=gap, arrived=arrived, names=columns_of)
        path, *real = _as_learned(trained, path, *real)
        frames = films.lines_frames(path, *real, gap=gap)
    films.save_film(folder / files[-1], frames)


def _plane(
    trained: Trained, x: np.ndarray, y: np.ndarray, real: np.ndarray, direction: Direction
) -> np.ndarray:
    """Inputs, mapped and real samples in their principal components, in the coordinates that the run learns."""
    colors = (
        drawing.TARGET if direction.reverse else drawing.SOURCE,
        drawing.SOURCE if direction.reverse else drawing.TARGET,
    )
    if trained.space is None:
        return columns.plane(x, y, real, colors=colors)
    sides = build.sides(trained.config.data, trained.space)
    at_end = sides[direction.end]
    shown = sides[direction.start].encode(x), at_end.encode(y), at_end.encode(real)
    return columns.plane(*shown, colors=colors)


def _as_learned(trained: Trained, path: np.ndarray, *real: np.ndarray) -> list[np.ndarray]:
    """Lines [t, n, D+1] and samples in the coordinates that the run learns: in plain units one column may hide the rest."""
    space = trained.space
    if space is None:
        return [path, *real]
    inside = space.encode(path[..., :-1].reshape(-1, path.shape[-1] - 1)).reshape(*path.shape[:-1], -1)
    return [np.concatenate([inside, path[..., -1:]], axis=-1), *map(space.encode, real)]


def watched(config: configs.Run, train: tuple[Source, Source], test: tuple[Source, Source]) -> list[Watched]:
    """Draw the held-out samples to look at while a run trains, always the same.

    Args:
        config: The run.
        train: The training sets of P and Q, which know the shares of classes.
        test: The held-out samples of P and Q.
    """
    shape, found = test[0].shape, []
    if config.network.classes is not None:
        class_names = common_names(*train)
        test = aligned(test[0], class_names), aligned(test[1], class_names)
    picture = len(shape) == 3
    for reverse in ways(config.data, shape) if len(shape) in (1, 3) else ():
        side, cond = int(reverse), None
        x = scoring.held_out(test[side], _COLUMNS if picture else 100, side=side)
        if config.network.classes is not None:
            x, cond = scoring.of_each_class(test[side], train, len(x), side=side)
        real = () if picture else tuple(scoring.held_out(one, 300, side=at) for at, one in enumerate(test))
        found.append(Watched(reverse, x, cond, picture and test[side].size is None, real))
    return found


def sheet(trained: Trained, samples: Watched) -> UInt8[np.ndarray, "height width 3"]:
    """Return a picture of samples and of where the lines of a run that still trains take them."""
    save = _LINE_MOMENTS if samples.real else None
    lines = transport(trained, samples.x, reverse=samples.reverse, save=save, cond=samples.cond)
    if samples.real:
        path, *real = _as_learned(trained, np.asarray(lines.path), *samples.real)
        return films.lines_frames(path, *real, gap=trained.config.recipe.gap)[-1]
    y = np.asarray(lines.end)[:, :-1]
    return drawing.mapped(None if samples.made else samples.x, y, trained.shape, _COLUMNS)
