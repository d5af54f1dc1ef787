"""What a person gives to be translated, read in its order."""

import math
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from efm_jax._core import files as _files
from efm_jax._core import memory
from efm_jax.datasets import Source, batch, fit_pictures, read_array, shards, tables
from efm_jax.datasets.opening import Options, holds_pictures, read_pictures
from efm_jax.datasets.opening import specification as _of_path
from efm_jax.datasets.readers import split_key
from efm_jax.models import build, columns, configs, given, seeds
from efm_jax.models.model import Trained

__all__ = [
    "Samples",
    "bytes_of",
    "may_be_noise",
    "numbered",
    "other_kind",
    "pictures_come_out",
    "read",
    "specification",
]


class Samples(NamedTuple):
    """What is translated.

    Attributes:
        x: The samples, [n, D].
        shape: Shape of one.
        names: What the results are called.
        files: Files that were read.
        pictures: Those of a folder.
        table: The table.
        inputs: What `lines.json` calls them; None for their numbers.
        unreadable: Pictures that were left out.
        told: What is said of them.
    """

    x: np.ndarray
    shape: tuple[int, ...]
    names: list[str]
    files: list[Path]
    pictures: fit_pictures.Fitted | None = None
    table: tables.Table | None = None
    inputs: list[str] | None = None
    unreadable: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def specification(spec: str | Path) -> str:
    """The specification; a path alone is `folder:PATH` where a picture is too."""
    return f"folder:{spec}" if fit_pictures.is_picture(spec) else _of_path(spec)


def other_kind(spec: str, trained: Trained) -> str | None:
    """What the samples are where that is of another kind than the model's, pictures or rows; None if it is not."""
    kind, _, path = spec.partition(":")
    in_file = _in_one_file(spec, trained)
    if (kind == "folder" or in_file) and len(trained.shape) != 3:
        single = kind == "folder" and _files.expanded(path).is_file()
        return "pictures" if in_file else "a picture" if single else "a folder of pictures"
    rows = kind in tables.KINDS and not in_file
    return "a table" if rows and pictures_come_out(trained) else None


def _in_one_file(spec: str, trained: Trained) -> bool:
    """Whether the samples are pictures in a tar or a parquet file."""
    return spec.startswith("tar:") or holds_pictures(spec, trained.config.data.table)


def may_be_noise(spec: str) -> bool:
    """Whether samples may be white noise: drawn by its name, or an array of floating-point numbers."""
    kind, _, path = spec.partition(":")
    if kind not in ("npz", "npy"):
        return kind in ("noise", "gaussian")
    return read_array(*(split_key(path) if kind == "npz" else (path, None)), 1).dtype != np.uint8


def read(
    spec: str, trained: Trained, limit: int | None, fit: str = "crop", without: Path | None = None
) -> Samples:
    """Read the samples in their order."""
    kind, _, rest = spec.partition(":")
    shape, data = trained.shape, trained.config.data
    if kind == "folder":
        height, width, depth = shape
        found = fit_pictures.read(
            rest,
            (height, width, 1 if depth == 1 else 3),
            fit=fit,
            limit=limit,
            square=data.crop,
            without=without,
            background=data.background,
            levels=data.levels,
        )
        root, (x, own) = _files.expanded(rest), given.of_array(found.images)
        files = [root] if root.is_file() else [root / name for name in (*found.names, *found.skipped)]
        return Samples(x, own, found.names, files, found, inputs=found.names, unreadable=found.skipped)
    if _in_one_file(spec, trained):
        return _of_one_file(spec, trained, limit)
    if kind in tables.KINDS:
        options = data.table
        if trained.columns is not None:
            options = columns.of_input(options, trained.columns, spec)
        table = tables.read(spec, options, limit=limit, others=True)
        paths = [_files.expanded(tables.split(rest)[0])]
        return Samples(table.x, table.x.shape[1:], numbered(len(table.x)), paths, table=table)
    if kind in ("npz", "npy"):
        path, key = split_key(rest) if kind == "npz" else (rest, None)
        try:
            x, own = given.of_array(read_array(path, key, limit))
        except ValueError as error:
            raise ValueError(f"{spec}: {error}") from error
        return Samples(x, own, numbered(len(x)), [_files.expanded(path)])
    source = _named(spec, data)
    if source.size is not None and limit is not None and limit > source.size:
        raise ValueError(
            f"limit must be at most {source.size:,}, the held-out samples of {spec}, got {limit:,}."
        )
    n = limit or source.size or 64
    memory.check(f"a limit of {n}", n * bytes_of(shape), "Translate fewer at a time with --limit.")
    told = () if source.size is None else (f"Drew {n:,} of the {source.size:,} held-out samples of {spec}",)
    return Samples(batch(source, seeds.REPORTS, 0, 0, n), source.shape, numbered(n), [], told=told)


def _of_one_file(spec: str, trained: Trained, limit: int | None) -> Samples:
    """The pictures in a tar or a parquet file, cropped and resized to the model's."""
    kind, _, rest = spec.partition(":")
    data, (height, width, depth) = trained.config.data, trained.shape
    options = Options(
        size=(height, width),
        crop=data.crop,
        gray=depth == 1,
        on_error="skip",
        background=data.background,
        levels=data.levels,
        table=data.table,
        cache="memory",
    )
    pictures = read_pictures(spec, options, first=limit)
    x, shape = given.of_array(pictures.images)
    paths = shards.expanded(rest) if kind == "tar" else [_files.expanded(tables.split(rest)[0])]
    names = pictures.names if kind == "tar" and _may_be_written(pictures.names) else None
    found = Samples(x, shape, names or numbered(len(x)), paths, inputs=names)
    return found._replace(unreadable=tuple(pictures.skipped))


def _may_be_written(names: list[str]) -> bool:
    """Whether files below a folder may have these names, which anybody may have written."""
    paths = [PureWindowsPath(name) for name in names]  # it knows what leads elsewhere on any system
    return len({*names}) == len(names) and not any(path.anchor or ".." in path.parts for path in paths)


def _named(spec: str, data: configs.Data) -> Source:
    """Open data by name; the error names a file that is neither data nor a picture."""
    try:
        return build.opened(data, spec, split="test")
    except ValueError as error:
        path = _files.expanded(spec)
        if not path.is_file():
            raise
        raise fit_pictures.no_picture(path) from error


def pictures_come_out(trained: Trained) -> bool:
    """Whether what is carried are pictures."""
    return len(trained.shape) == 3 and trained.shape[2] in (1, 3)


def bytes_of(shape: tuple[int, ...]) -> int:
    """Memory that one sample takes at least: where its line starts and ends, what is written, and its name."""
    return 12 * math.prod(shape) + 200


def numbered(n: int) -> list[str]:
    """Names of samples without names."""
    return [f"{i:05d}" for i in range(n)]
