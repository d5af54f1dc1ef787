"""A trained run or model at work on a person's own samples: translate a folder or an array, generate from noise."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from efm_jax import _files, _given_pictures, _run_scores, pictures, pipeline, sharing
from efm_jax.datasets import Source, batch, from_array, from_pictures, open_source, read_array
from efm_jax.lines import FieldLines


class Written(NamedTuple):
    """What came of it.

    Attributes:
        folder: Where the outcome lies.
        carried: How many samples were carried.
        arrived: How many of their lines reached the other plate.
        skipped: Paths of pictures that could not be read and were left out.
    """

    folder: Path
    carried: int
    arrived: int
    skipped: tuple[str, ...] = ()


def opened(folder: str | Path) -> pipeline.Trained:
    """Open a model folder or a model that comes with the package (`sharing.load`), or a run folder (`pipeline.load`).

    Raises:
        ValueError: It is neither, or something in it is not as it should be.

    Example:
        >>> opened("moons").shape
        (2,)
    """
    folder = sharing.find(folder)
    return sharing.load(folder) if sharing.is_model(folder) else pipeline.load(folder)


def translate(
    run: str | Path,
    spec: str,
    output: str | Path,
    *,
    reverse: bool = False,
    limit: int | None = None,
    label: int | None = None,
    guidance: float = 1.0,
    fit: str = "crop",
    own_size: bool = False,
) -> Written:
    """Carry the samples of a specification along a trained field's lines and write them to a folder.

    Pictures, a folder of them or one, may have any size: as in training they are turned upright, cut to the square of
    `data.crop` where there is one, cropped at the centre to the aspect of the field's pictures and resized (smaller ones
    enlarged), coloured ones made grey for a grey field and the reverse; or, to lose nothing, they are padded to that aspect.
    They are written under their own names as png. Those that cannot be read are left out and named in the result; the
    others are carried. The rows of `npz` and `npy` keep their order; other specifications are drawn from, held-out samples
    first where there are any.

    Args:
        run: The run folder, or a model folder of `sharing.export`.
        spec: Where the samples are, see `datasets.open_source`; `folder:PATH` may also be the file of one picture.
        output: Folder for the outcome, not the one read: one png a picture and `pairs.png` (inputs above outputs), or
            `translated.npy`.
        reverse: Carry Q to P.
        limit: At most so many samples; 64 for a law that has no end.
        label: Class of the field whose lines they follow; None for that of all classes.
        guidance: Scale of guidance towards the label, see the room `guidance`.
        fit: "crop" pictures as training does, or "pad" those of another aspect by their border pixels and cut the margin off
            again.
        own_size: Write pictures at the size they were given in (of cropped ones: of the part kept), not at the field's.

    Returns:
        Where, how many, and how many arrived.

    Raises:
        ValueError: The samples do not have the field's shape, no picture can be read, one is smaller than the square cut
            out, `limit` is below 1, the field does not know the label, or `fit` and `own_size` are asked of what are no
            pictures in files.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    kind, _, path = spec.partition(":")
    given = Path(path).expanduser().resolve()
    if kind == "folder" and Path(output).resolve() == (given.parent if given.is_file() else given):
        raise ValueError(
            f"output must be another folder than that of the input {path}: its pictures would be overwritten."
        )
    if kind != "folder" and (fit != "crop" or own_size):
        raise ValueError(f"fit and own_size are for pictures in files, folder:PATH, got {spec}.")
    trained = opened(run)
    x, shape, names, skipped, places = _samples(spec, trained.shape, limit, fit, trained.config.data.crop)
    if shape != trained.shape:
        mend = "pictures have 1 or 3 channels here" if kind == "folder" else "give samples of that shape"
        raise ValueError(
            f"{run} was trained on samples of shape {trained.shape}, {spec} has {shape}; {mend}."
        )
    cond = pipeline.labels_of(trained, label, len(x), guidance=guidance)
    lines = pipeline.transport(trained, x, reverse=reverse, cond=cond, guidance=guidance)
    back = (places, own_size) if places else None
    return _write(Path(output), trained, x, names, lines, "translated", back)._replace(skipped=skipped)


def generate(
    run: str | Path,
    count: int,
    output: str | Path,
    *,
    seed: int = 0,
    label: int | None = None,
    guidance: float = 1.0,
) -> Written:
    """Draw fresh samples of P and carry them to Q.

    Args:
        run: The run folder, or a model folder of `sharing.export`.
        count: How many.
        output: Folder for the outcome: `00000.png`, ... and `grid.png`, or `generated.npy` for vectors.
        seed: Seeds the draw.
        label: Class to draw; None for all. Where P has classes too, its samples are of that one.
        guidance: Scale of guidance towards the label, see the room `guidance`.

    Returns:
        Where, how many, and how many arrived.

    Raises:
        ValueError: `count` is below 1, P is data that are not here, or the run does not know the label.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    trained = opened(run)
    cond = pipeline.labels_of(trained, label, count, guidance=guidance)
    source = _start(run, trained)
    x = batch(source, seed, 0, 0, count, labels=None if cond is None else cond[:1])
    lines = pipeline.transport(trained, x, cond=cond, guidance=guidance)
    return _write(Path(output), trained, x, _numbered(count), lines, "generated")


def _start(run: str | Path, trained: pipeline.Trained) -> Source:
    """P of the field; a law needs no data, so a model alone is enough."""
    spec, size = trained.config.data.source, trained.config.data.size
    if spec == "noise":
        spec, size = "noise:" + "x".join(map(str, trained.shape)), None
    try:
        return open_source(spec, size=size, split="test")
    except FileNotFoundError as error:
        raise ValueError(
            f"{run} begins with samples of {spec}, which are not here ({error}); give it samples of your own with "
            "`efm translate`."
        ) from error


def _samples(
    spec: str, shape: tuple[int, ...], limit: int | None, fit: str = "crop", square: int | None = None
) -> tuple[np.ndarray, tuple[int, ...], list[str], tuple[str, ...], list[_given_pictures.Place]]:
    """Samples [n, D] in their order, the shape of one, names, what could not be read, where in them pictures given lie."""
    kind, _, rest = spec.partition(":")
    skipped, places = (), []
    if kind == "folder":
        if len(shape) != 3:
            raise ValueError(
                f"the field carries samples of shape {shape}, not pictures; give them as npy:FILE, an array "
                f"[n, {', '.join(map(str, shape))}]."
            )
        channels = 1 if shape[2] == 1 else 3
        array, names, places, skipped = _given_pictures.read(
            rest, (*shape[:2], channels), fit=fit, limit=limit, square=square
        )
    elif kind in ("npz", "npy"):
        path, _, key = rest.rpartition(":") if kind == "npz" and not Path(rest).exists() else (rest, "", "")
        array = read_array(path, key or None)[:limit]
        names = _numbered(len(array))
    else:
        source = open_source(spec, split="test")
        n = limit or source.size or 64
        return batch(source, _run_scores.EVALUATION_SEED, 0, 0, n), source.shape, _numbered(n), (), []
    if array.dtype == np.uint8:
        source = from_pictures(array)  # checks the array
        x = array.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    else:
        source = from_array(array)
        x = array.astype(np.float32)
    return x.reshape(len(x), -1), source.shape, names, skipped, places


def _write(
    output: Path,
    trained: pipeline.Trained,
    x,
    names: list[str],
    lines: FieldLines,
    what: str,
    back: tuple[list[_given_pictures.Place], bool] | None = None,
) -> Written:
    y = np.asarray(lines.end)[:, :-1]
    output.mkdir(parents=True, exist_ok=True)
    written = Written(output, len(y), int(np.sum(lines.arrived)))
    if len(trained.shape) != 3 or trained.shape[2] not in (1, 3):
        _files.write_array(output / f"{what}.npy", y.reshape(-1, *trained.shape))
        return written
    files = _as_png(names)
    for i, file in enumerate(files):
        picture = pictures.grid(y[i : i + 1], trained.shape, 1, border=0)
        if back is not None:
            places, own_size = back
            picture = _given_pictures.returned(picture, places[i], own_size=own_size)
        pictures.save_png(output / file, picture)
    if what == "translated":
        pictures.save_png(
            output / _free("pairs", files), pictures.pairs_grid(x[:64], y[:64], trained.shape, 16, zoom=2)
        )
    else:
        pictures.save_png(output / "grid.png", pictures.grid(y[:64], trained.shape, 16, zoom=2))
    return written


def _as_png(names: list[str]) -> list[str]:
    """A file for each picture, no two the same: `a.jpg` gives `a.png`, and `a.jpg.png` where there is an `a.png` too."""
    stems = Counter(str(Path(name).with_suffix("")) for name in names)
    return [
        str(Path(name).with_suffix(".png")) if stems[str(Path(name).with_suffix(""))] == 1 else f"{name}.png"
        for name in names
    ]


def _free(name: str, taken: list[str]) -> str:
    """The name of a png that is not taken."""
    while f"{name}.png" in taken:
        name += "_all"
    return f"{name}.png"


def _numbered(n: int) -> list[str]:
    return [f"{i:05d}" for i in range(n)]
