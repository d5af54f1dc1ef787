"""Pictures in tar files, as webdataset writes them: samples are read one after the other, and nothing is unpacked."""

import array
import io
import os
import re
import sys
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from efm_jax._core import files
from efm_jax.datasets import _decoding, _picture_cache, picture_files
from efm_jax.datasets._on_demand import Later, Member, each
from efm_jax.datasets.folder import labels_by_folder

__all__ = ["Labeled", "expanded", "read_tar"]

_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST_SHARDS = 100_000
_MOST_BYTES = 1 << 28
"""A larger file is no picture: a member of a tar file may say that it holds terabytes of zeros."""


class Labeled(NamedTuple):
    """What was read from tar files.

    Attributes:
        images: Pictures [n, H, W, C], uint8, C = 3 or 1.
        names: Their paths in the tar files.
        skipped: Paths that could not be read (only with `on_error="skip"`).
        labels: The number of each one's class, and the names of the classes; None where there are none.
    """

    images: UInt8[np.ndarray, "n height width channels"]
    names: list[str]
    skipped: list[str]
    labels: tuple[Integer[np.ndarray, " n"], tuple[str, ...]] | None


def expanded(pattern: str) -> list[Path]:
    """Return the files of a pattern: `{0000..0009}` counts, as in webdataset, `*` and `?` in a file's name match.

    Raises:
        FileNotFoundError: One of them does not exist.
        ValueError: They are too many.

    Examples:
        >>> expanded("nowhere/{08..10}.tar")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no file nowhere/08.tar; check the path.
    """
    found = [Path(text) for text in _counted(str(files.expanded(pattern)))]
    if len(found) == 1 and not found[0].exists():
        found = sorted(found[0].parent.glob(found[0].name)) or found
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"there is no file {path}; check the path.")
    return found


def _counted(pattern: str) -> list[str]:
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    first, last = match.groups()
    before, rests = pattern[: match.start()], _counted(pattern[match.end() :])
    numbers = range(int(first), int(last) + 1)
    if not 0 < len(numbers) * len(rests) <= _MOST_SHARDS:
        raise ValueError(f"{match[0]} must count upwards, to at most {_MOST_SHARDS:,} files, in {pattern!r}.")
    return [f"{before}{k:0{len(first)}d}{rest}" for rest in rests for k in numbers]


def read_tar(
    pattern: str,
    *,
    size: int | tuple[int, int] | None = None,
    crop: int | None = None,
    gray: bool = False,
    background: int = 255,
    on_error: str = "raise",
    max_pixels: int = 1 << 26,
    levels: int | None = None,
    cache: str | Path = "auto",
    first: int | None = None,
) -> Labeled:
    """Read the pictures in tar files, plain or compressed, in the order in which they lie there.

    A sample is what has one name up to its first dot: a picture, `0001.jpg`, and its class as text, `0001.cls`. Other
    members are passed over, with a warning if they are pictures, and none is written to the disk. Without `.cls`, folders
    in the tar files are the classes.

    Args:
        pattern: Path of one file or several, see `expanded`.
        size: As `read_folder` takes it.
        crop: Likewise.
        gray: Likewise.
        background: Likewise.
        on_error: Likewise.
        max_pixels: Likewise.
        levels: Likewise.
        cache: Where the decoded pictures lie, as in `read_folder`; "auto" is the disk.
        first: Look at so many pictures at most; None for all.

    Raises:
        FileNotFoundError: A file is not there, or holds no picture.
        ValueError: A file is no tar file or is damaged, a part of the pictures alone has classes, or as `read_folder`.

    Examples:
        >>> import io, tempfile
        >>> from PIL import Image
        >>> picture = io.BytesIO()
        >>> Image.new("RGB", (6, 4)).save(picture, "PNG")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/0.tar", "w") as tar:
        ...         for name, content in (("7.png", picture.getvalue()), ("7.cls", b"3")):
        ...             member = tarfile.TarInfo(name)
        ...             member.size = len(content)
        ...             tar.addfile(member, io.BytesIO(content))
        ...     read = read_tar(f"{folder}/{{0..0}}.tar", cache="memory")
        >>> read.images.shape, read.names, read.labels[1]
        ((1, 4, 6, 3), ['7.png'], ('3',))
    """
    wanted = _decoding.Wanted(size, crop, gray, background, on_error, max_pixels, levels, cache, first)
    paths = expanded(pattern)
    real = [os.path.realpath(path) for path in paths]
    found = _decoding.Files(
        pattern,
        None,
        lambda: (item for path in paths for item in _samples(path, _content)),
        {"tar": real},
        lambda: _picture_cache.digest(Path(), real),
        lambda: _later(paths),
    )
    read = _decoding.decoded(found, wanted)
    labels = _decoding.classes(read, pattern, ".cls") or labels_by_folder(read.names)
    return Labeled(read.images, read.names, [*read.skipped], labels)


def _later(paths: list[Path]) -> Later:
    """Where in the files the pictures lie: headers are read, and classes."""
    names, labels, places = [], [], array.array("q")
    for number, path in enumerate(paths):
        for name, member, label in _samples(path, _place):
            names.append(name)
            labels.append(label and sys.intern(label))
            places.extend((number, member.offset, member.size))

    def content(k: int) -> Member:
        number, offset, size = places[3 * k : 3 * k + 3]
        return Member(paths[number], offset, size)

    return Later(names, each(content), labels)


def _samples(path: Path, read: Callable[[tarfile.TarFile, tarfile.TarInfo], Any]) -> Iterator[tuple]:
    """The pictures of a tar file, each with what `read` returns and its class; members of a sample follow each other."""
    key, label, pictures, others, last = "", None, [], [], ""
    with files.parsing(path, "tar file"), tarfile.open(path, "r:*") as tar:
        for member in tar:
            last = member.name
            folder, slash, name = last.removeprefix("./").rpartition("/")
            stem, _, ending = name.partition(".")
            if not member.isfile() or not stem:
                continue
            if f"{folder}{slash}{stem}" != key:
                yield from ((name, content, label) for name, content in pictures)
                key, label, pictures = f"{folder}{slash}{stem}", None, []
            if ending == "cls":
                label = _content(tar, _checked(member, 1000)).decode().strip() or None
            elif f".{ending.lower()}" in picture_files.EXTENSIONS:
                pictures.append((f"{folder}{slash}{name}", read(tar, _checked(member))))
            elif name.lower().endswith(picture_files.EXTENSIONS):
                others.append(name)
            tar.members = []  # type: ignore[attr-defined]  # it remembers every member
        # a damaged header ends the loop as the zeros do that end a tar file
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(2 * tarfile.BLOCKSIZE).strip(b"\0"):
            raise ValueError(f"the header behind {last} cannot be read")
        yield from ((name, content, label) for name, content in pictures)
    if others:
        warnings.warn(
            f"left out of {path}: {len(others)} pictures whose name has more than one dot, such as {others[0]}",
            stacklevel=2,
        )


def _checked(member: tarfile.TarInfo, most: int = _MOST_BYTES) -> tarfile.TarInfo:
    if member.size > most:
        raise ValueError(f"{member.name} has {member.size:,} bytes, more than {most:,}")
    return member


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Member:
    if not isinstance(tar.fileobj, io.BufferedReader) or member.issparse():
        raise ValueError("it is compressed: with cache 'none' it must be plain")
    return Member(Path(str(tar.name)), member.offset_data, member.size)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return b"" if file is None else file.read()
