"""A look at one set of data: headers and a few samples of a folder, never all of it."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from efm_jax._core import files
from efm_jax.datasets import Source, batch, tables
from efm_jax.datasets.folder import labels_by_folder, read_folder
from efm_jax.datasets.opening import Options, holds_pictures, opened, specification
from efm_jax.datasets.picture_files import listing
from efm_jax.datasets.picture_files import size as size_of
from efm_jax.models import build

LOOKED_AT = 16
"""Pictures of a folder that are read."""
HEADERS = 512
"""Pictures of a folder whose size is read."""


@dataclass(frozen=True)
class Side:
    """What a look at one set of data found.

    Attributes:
        spec: Its name.
        kind: "pictures", "vectors" or "noise".
        count: Number of samples; None for a distribution.
        shape: Shape of a sample; None of noise, and of a folder, whose pictures are given one.
        smallest, largest: Sides of the pictures of a folder, in pixels.
        gray: Whether the pictures looked at have no color.
        classes: Names of the classes, if there are any.
        rarest: Samples of the smallest class.
        sample: Some samples of vectors, [n, D].
        told: Of a table: what was read and what was left out.
        numbering: Of a table: columns that only number its rows.
        names: Of a folder: the paths of its pictures below it, without their endings.
    """

    spec: str
    kind: str
    count: int | None = None
    shape: tuple[int, ...] | None = None
    smallest: int = 0
    largest: int = 0
    gray: bool = False
    classes: tuple[str, ...] = ()
    rarest: int = 0
    sample: np.ndarray | None = None
    told: str = ""
    numbering: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()


def look(spec: str, reading: tables.Reading, size: int | tuple[int, int] | None = None) -> Side:
    """Look at data by their name; at pictures that must all be decoded in the size asked for."""
    if build.is_noise(spec):
        return Side(spec, "noise")
    name = specification(spec)
    if name.startswith("folder:"):
        return _look_at_folder(name)
    if name.partition(":")[0] in tables.KINDS and not holds_pictures(name, reading):
        read = tables.read(name, reading)
        some = np.random.default_rng(0).permutation(len(read.x))[:2000]
        told, ordered = read.told, np.sort(read.x, axis=0)
        counting = (np.diff(ordered, axis=0) == 1).all(axis=0) & (len(ordered) > 2)
        numbers = tuple(one for one, counts in zip(read.columns, counting, strict=True) if counts)
        return Side(
            name, "vectors", len(read.x), read.x.shape[1:], sample=read.x[some], told=told, numbering=numbers
        )
    source = _source(name, size)
    classes = tuple(source.class_names or ())
    if len(source.shape) == 3:
        gray = source.shape[-1] == 1
        rarest = min([one.size or 0 if one else 0 for one in source.classes or ()], default=0)
        return Side(
            name, "pictures", source.size, source.shape, *_ends(source.shape[:2]), gray, classes, rarest
        )
    sample = batch(source, 0, 0, 0, min(2000, source.size or 2000))
    return Side(name, "vectors", source.size, source.shape, classes=classes, sample=sample)


def _source(name: str, size: int | tuple[int, int] | None) -> Source:
    """All samples; of parquet files and tar files that are not compressed no picture is decoded but the first."""
    if name.startswith(("tar:", "parquet:")):
        with contextlib.suppress(ValueError):
            return opened(name, Options(split="all", cache="none"))
        return opened(name, Options(split="all", size=size))
    return opened(name, Options(split="all"))


def _look_at_folder(name: str) -> Side:
    root = files.expanded(name.removeprefix("folder:"))
    names = listing(root).pictures
    labeled = labels_by_folder(names)
    rng = np.random.default_rng(0)
    sides: list[int] = []
    for chosen in rng.permutation(names)[:HEADERS]:
        with contextlib.suppress(ValueError, OSError):
            sides += size_of(root / chosen)
    if not sides:
        raise ValueError(f"none of the {len(names)} pictures in {root} can be read.")
    few = read_folder(root, size=32, most=LOOKED_AT, on_error="skip").images
    gray = bool((few == few[..., :1]).all())
    classes = () if labeled is None else labeled[1]
    rarest = 0 if labeled is None else int(np.bincount(np.asarray(labeled[0])).min())
    stems = frozenset(one.rpartition(".")[0] for one in names)
    return Side(name, "pictures", len(names), None, *_ends(sides), gray, classes, rarest, names=stems)


def _ends(sides: Sequence[int]) -> tuple[int, int]:
    return min(sides), max(sides)
