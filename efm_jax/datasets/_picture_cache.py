"""Decoded pictures in a file, which later runs find and map into memory.

CACHE/KEY/pictures.npy   the array [n, H, W, C], uint8
CACHE/KEY/pictures.json  what it was made of, the names of its rows, and what could not be read

Both are written in a draft folder that is renamed when it is whole: what a killed process leaves is never read.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.lib.format as npy
import PIL
from tqdm import tqdm

from efm_jax._core import files, memory

PLACES = ("auto", "memory", "disk", "none")
_FORMAT = 1
_ARRAY, _ABOUT = "pictures.npy", "pictures.json"
_SHARE = 4
"""Two sides are read, each for training and for scores, and a copy of one while it is split."""
_ANOTHER = "choose a folder on another disk with --data.cache FOLDER (cache=)"

Levels = tuple[int, int] | None


class Decoded(NamedTuple):
    """Decoded pictures.

    Attributes:
        images: Pictures [n, H, W, C], uint8; an `np.memmap` where they lie in a file, `OnDemand` where they lie nowhere.
        names: Names of the rows.
        skipped: Names of those that cannot be read, and why.
        levels: Of each 16-bit gray picture its smallest and its largest level.
        labels: Label of each row, as text, or None.
    """

    images: Any
    names: list[str]
    skipped: dict[str, str]
    levels: list[Levels]
    labels: list[str | None]


def place(cache: str | Path, size: Callable[[], int] | None) -> Path | None:
    """The folder to keep decoded pictures in; None for in memory.

    Args:
        cache: "memory"; "disk"; "auto" for the disk if they take more than a quarter of the free memory; or a folder.
        size: Returns the bytes of the decoded pictures; None where they are not known, which "auto" takes for many.
    """
    if cache == "auto":
        free = memory.free()
        fits = size is not None and (free is None or _SHARE * size() <= free)
        cache = "memory" if fits else "disk"
    if cache == "memory":
        return None
    return files.cache_folder("pictures") if cache == "disk" else files.expanded(cache)


def digest(root: Path, names: Iterable[str]) -> str:
    """A digest of the names, sizes and times of files; of one that is not there, of its name alone."""
    found = hashlib.sha256()
    for name in names:
        try:
            stat = os.stat(root / name)
            told = f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\0"
        except OSError:
            told = f"{name}\0\0\0"
        found.update(told.encode(errors="surrogateescape"))
    return found.hexdigest()


def kept(
    folder: Path,
    made_of: dict[str, Any],
    count: int | None,
    pictures: Callable[[Decoded], Iterator[np.ndarray]],
    *,
    whole: bool,
) -> Decoded:
    """Return the pictures that a folder keeps, or decode them into it. Other processes wait for the first.

    Args:
        folder: The folder of all caches.
        made_of: What the pictures follow from: kind, paths, options; and `files`, a digest. There is one cache for all but
            the last.
        count: Number of pictures before they are decoded; None if it is not known.
        pictures: Decodes them, those that can be read, and notes in `Decoded` what is known of them.
        whole: Whether nothing is kept if one of them cannot be read.

    Returns:
        The pictures; without images where none was kept.

    Raises:
        ValueError: The disk has no room for them, or may not be written.
    """
    made_of = files.to_json("made_of", {"format": _FORMAT, "pillow": PIL.__version__, **made_of})
    asked = {name: value for name, value in made_of.items() if name != "files"}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    final = folder / key
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _told(folder), files.exclusive(folder / f"{key}.lock", str(final), wait=True):
        if (found := _opened(final, made_of)) is not None:
            return found
        done = _write(final, made_of, count, pictures, whole=whole)
        if not done.names or (whole and done.skipped):
            return done
        if (found := _opened(final, made_of)) is None:
            raise ValueError(f"{final} cannot be read after it was written; {_ANOTHER}.")
        return found


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Say what to do where a folder cannot be written. What the pictures raise names their file, or is no OSError."""
    try:
        yield
    except OSError as error:
        named = folder if error.filename is None else Path(error.filename)
        if not (named.is_relative_to(folder) or folder.is_relative_to(named)):
            raise
        raise ValueError(
            f"decoded pictures cannot be kept in {folder} ({error.strerror or error}).\n"
            f"To keep them elsewhere, {_ANOTHER}."
        ) from error


def _opened(final: Path, made_of: dict[str, Any]) -> Decoded | None:
    """The pictures kept under a name; None if there are none, or they are of other files."""
    try:
        about = files.read_json(final / _ABOUT)
        if about["made_of"] != made_of:
            return None
        with files.parsing(final / _ARRAY, "array"):
            images = npy.open_memmap(final / _ARRAY, mode="r")
        count, low, high = about["levels"]
        names = about["names"]
        labels: list[str | None] = about["labels"] or [None for _ in names]
        found = Decoded(images, names, about["skipped"], count * [(low, high)], labels)
        fits = (images.shape, images.dtype) == ((len(names), *about["shape"]), np.uint8)
        return found if fits else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(
    final: Path,
    made_of: dict[str, Any],
    count: int | None,
    pictures: Callable[[Decoded], Iterator[np.ndarray]],
    *,
    whole: bool,
) -> Decoded:
    done, shape = Decoded(np.empty(0, np.uint8), [], {}, [], []), ()
    draft = files.draft_for(final)
    draft.mkdir()
    try:
        with open(draft / _ARRAY, "wb") as file:  # not through a map: on a full disk that ends the process
            told = tqdm(pictures(done), f"decoding into {final}", count, unit=" pictures", delay=5)
            for picture in told:
                if not shape:
                    shape = picture.shape
                    _check_room(final, (count or 1) * picture.nbytes)
                    _header(file, (0, *shape))
                file.write(np.ascontiguousarray(picture).data)
            file.seek(0)
            _header(file, (len(done.names), *shape))  # as long as before: NumPy leaves room for any count
            file.flush()
            os.fsync(file.fileno())
        if done.names and not (whole and done.skipped):
            known = [one for one in done.levels if one is not None]
            low, high = min((low for low, _ in known), default=0), max((high for _, high in known), default=0)
            labels = done.labels if any(label is not None for label in done.labels) else None
            about = {"made_of": made_of, "shape": shape, "levels": [len(known), low, high]}
            about |= {"names": done.names, "skipped": done.skipped, "labels": labels}
            files.write_text(draft / _ABOUT, json.dumps(about))
            files.put_in_place(draft, final)
        return done
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _check_room(final: Path, size: int) -> None:
    free = shutil.disk_usage(final.parent).free
    if size > free:
        raise ValueError(
            f"decoded pictures take {size / 2**30:,.1f} GiB, and {final.parent} has {free / 2**30:,.1f} GiB free.\n"
            f"Give a smaller --data.size, or {_ANOTHER}."
        )
