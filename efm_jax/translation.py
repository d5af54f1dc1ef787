"""A trained run at work on a person's own samples: translate a folder or an array, generate from noise."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from efm_jax import _files, build, pictures, pipeline
from efm_jax.datasets import batch, from_array, from_pictures, open_source, read_array, read_folder


class Written(NamedTuple):
    """What came of it.

    Attributes:
        folder: Where the outcome lies.
        carried: How many samples were carried.
        arrived: How many of their lines reached the other plate.
    """

    folder: Path
    carried: int
    arrived: int


def translate(
    run: str | Path, spec: str, output: str | Path, *, reverse: bool = False, limit: int | None = None
) -> Written:
    """Carry the samples of a specification along a run's lines and write them to a folder.

    A folder's pictures are cropped and resized to the run's size and written under their own names as png; the rows of
    `npz` and `npy` keep their order; other specifications are drawn from, held-out samples first where there are any.

    Args:
        run: The run folder.
        spec: Where the samples are, see `datasets.open_source`.
        output: Folder for the outcome: one png a picture and `pairs.png` (inputs above outputs), or `translated.npy`.
        reverse: Carry Q to P.
        limit: At most so many samples; 64 for a law that has no end.

    Returns:
        Where, how many, and how many arrived.

    Raises:
        ValueError: The samples do not have the run's shape, or `limit` is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    trained = pipeline.load(run)
    x, shape, names = _samples(spec, trained.shape, limit)
    if shape != trained.shape:
        raise ValueError(f"{run} was trained on samples of shape {trained.shape}, {spec} has {shape}.")
    return _write(Path(output), trained, x, names, reverse, "translated")


def generate(run: str | Path, count: int, output: str | Path, *, seed: int = 0) -> Written:
    """Draw fresh samples of P and carry them to Q.

    Args:
        run: The run folder.
        count: How many.
        output: Folder for the outcome: `00000.png`, ... and `grid.png`, or `generated.npy` for vectors.
        seed: Seeds the draw.

    Returns:
        Where, how many, and how many arrived.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    trained = pipeline.load(run)
    source, _ = build.sources(trained.config.data, split="test")
    x = batch(source, seed, 0, 0, count)
    return _write(Path(output), trained, x, _numbered(count), False, "generated")


def _samples(
    spec: str, shape: tuple[int, ...], limit: int | None
) -> tuple[np.ndarray, tuple[int, ...], list[str]]:
    """Return samples [n, D] in their own order, the shape of one, and a name for each."""
    kind, _, rest = spec.partition(":")
    if kind == "folder":
        size = (shape[0], shape[1]) if len(shape) == 3 else None
        read = read_folder(rest, size=size, grey=len(shape) == 3 and shape[2] == 1)
        array, names = read.images[:limit], read.names[:limit]
    elif kind in ("npz", "npy"):
        path, _, key = rest.rpartition(":") if kind == "npz" and not Path(rest).exists() else (rest, "", "")
        array = read_array(path, key or None)[:limit]
        names = _numbered(len(array))
    else:
        source = open_source(spec, split="test")
        n = limit or source.size or 64
        return batch(source, pipeline.EVALUATION_SEED, 0, 0, n), source.shape, _numbered(n)
    if array.dtype == np.uint8:
        source = from_pictures(array)  # checks the array
        x = array.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    else:
        source = from_array(array)
        x = array.astype(np.float32)
    return x.reshape(len(x), -1), source.shape, names


def _write(output: Path, trained: pipeline.Trained, x, names: list[str], reverse: bool, what: str) -> Written:
    lines = pipeline.transport(trained, x, reverse=reverse)
    y = np.asarray(lines.end)[:, :-1]
    output.mkdir(parents=True, exist_ok=True)
    written = Written(output, len(y), int(np.sum(lines.arrived)))
    if len(trained.shape) != 3:
        _files.write_array(output / f"{what}.npy", y.reshape(-1, *trained.shape))
        return written
    for one, name in zip(y, names, strict=True):
        picture = pictures.grid(one[None], trained.shape, 1, border=0)
        pictures.save_png((output / name).with_suffix(".png"), picture)
    if what == "translated":
        pictures.save_png(
            output / "pairs.png", pictures.pairs_grid(x[:64], y[:64], trained.shape, 16, zoom=2)
        )
    else:
        pictures.save_png(output / "grid.png", pictures.grid(y[:64], trained.shape, 16, zoom=2))
    return written


def _numbered(n: int) -> list[str]:
    return [f"{i:05d}" for i in range(n)]
