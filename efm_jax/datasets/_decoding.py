"""Many pictures as one array: decoded in threads, into memory or a file; what cannot be read is named or counted."""

import itertools
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from efm_jax._core import memory
from efm_jax.datasets import _picture_cache, picture_files
from efm_jax.datasets._on_demand import Later, OnDemand
from efm_jax.datasets._picture_cache import Decoded, Levels
from efm_jax.datasets.classes import numbered
from efm_jax.datasets.picture_files import Picture

_AHEAD, _BYTES_AHEAD, _AT_FIRST = 256, 1 << 28, 16
"""Pictures that are read before they are asked for: how many, and of how many bytes; and before their size is known."""
_NAMED = 5
_SIZE = "size= (--data.size, of `efm compare` --size)"

Content = Path | bytes
Item = tuple[str, Content, str | None]


class Files(NamedTuple):
    """Pictures before they are decoded.

    Attributes:
        where: What a message calls all of them.
        number: How many there are; None if that is not known before they are read.
        items: The name of each, its path or its bytes, and its label or None, in their order.
        made_of: The kind of the files and their paths, as JSON takes it.
        digest: A digest of their names, sizes and times.
        later: Finds what can be read in any order, and reads nothing of it.
    """

    where: str
    number: int | None
    items: Callable[[], Iterable[Item]]
    made_of: dict[str, Any]
    digest: Callable[[], str]
    later: Callable[[], Later]


class Shape(NamedTuple):
    """What becomes of each picture: read so, cut to `crop`, resized to `size`, both (height, width) or None."""

    how: Picture
    size: tuple[int, int] | None
    crop: tuple[int, int] | None

    def of(self, content: Content) -> tuple[np.ndarray, Levels]:
        """Decode a picture."""
        if content == b"":
            raise ValueError("it is empty")
        return picture_files.read(content, self.how, self._changed)

    def bytes(self, items: Iterable[Item]) -> int:
        """Bytes of a decoded picture; of pictures that keep their size, of the first that can be read."""
        side = self.size or self.crop
        for _, content, _ in items if side is None else ():
            try:
                side = picture_files.size(content)
                break
            except (ValueError, OSError):
                continue
        height, width = side or (0, 0)
        return height * width * (1 if self.how.gray else 3)

    def _changed(self, picture: Image.Image) -> np.ndarray:
        if self.crop is not None:
            picture = picture_files.middle(picture, *self.crop)
        if self.size is not None:
            picture = picture_files.fit(picture, *self.size)
        array = np.asarray(picture)
        return array[..., None] if self.how.gray else array


@dataclass(frozen=True)
class Wanted:
    """What is asked for, as `read_folder` takes it; what is not known raises ValueError."""

    size: int | tuple[int, int] | None = None
    crop: int | None = None
    gray: bool = False
    background: int = 255
    on_error: str = "raise"
    max_pixels: int = 1 << 26
    levels: int | None = None
    cache: str | Path = "auto"
    first: int | None = None
    """Look at so many pictures at most, from the first on; not with cache "none"."""

    def __post_init__(self) -> None:
        places, cache = _picture_cache.PLACES, self.cache
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {self.on_error!r}.")
        if isinstance(cache, str) and cache not in places and os.sep not in cache:
            raise ValueError(
                f"cache must be {', '.join(places)} or a folder such as ./pictures, got {cache!r}."
            )
        picture_files.check_how(self.shape.how)

    @property
    def shape(self) -> Shape:
        """What becomes of each picture."""
        how = picture_files.Picture(self.gray, self.background, self.levels, self.max_pixels)
        return Shape(how, _target(self.size), _target(self.crop))


def _target(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Return (height, width) of a size, or raise ValueError."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ValueError(f"size must be an integer >= 1 or a pair (height, width) of them, got {size!r}.")
    return sides[0], sides[1]


def decoded(found: Files, wanted: Wanted) -> Decoded:
    """Decode pictures, or find them decoded.

    Raises:
        ValueError: One cannot be read and `on_error` is "raise", or none can; they differ in size; there is no room.
    """
    found = found if wanted.first is None else _first(found, wanted.first)
    number, shape = found.number, wanted.shape
    if wanted.cache == "none":
        return _on_demand(found, wanted)
    size = None if number is None else lambda: number * shape.bytes(found.items())
    folder = _picture_cache.place(wanted.cache, size)

    def pictures(done: Decoded) -> Iterator[np.ndarray]:
        return _each(found, shape, done)

    if folder is None:
        read = _in_memory(found, pictures)
    else:
        made_of = {**found.made_of, **shape._asdict(), "how": shape.how._asdict(), "files": found.digest()}
        read = _picture_cache.kept(folder, made_of, found.number, pictures, whole=wanted.on_error == "raise")
    _tell(found, shape, read, wanted.on_error)
    return read


def _first(found: Files, most: int) -> Files:
    return found._replace(
        number=None if found.number is None else min(found.number, most),
        items=lambda: itertools.islice(found.items(), most),
        made_of={**found.made_of, "first": most},
    )


def _on_demand(found: Files, wanted: Wanted) -> Decoded:
    """Nothing is decoded but the first picture, which tells the size."""
    if wanted.on_error == "skip":
        raise ValueError(
            "cache 'none' decodes pictures when they are drawn, which is too late to leave some out; on_error must be "
            "'raise', or take another cache."
        )
    later = found.later()
    read = Decoded(np.empty(0, np.uint8), later.names, {}, [], later.labels)
    _tell(found, wanted.shape, read, wanted.on_error)
    return read._replace(images=OnDemand(found.where, later, wanted.shape.of))


def classes(read: Decoded, where: str, kind: str) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """The number of each picture's class, and the names of the classes; None where no picture has one.

    Raises:
        ValueError: A part of the pictures alone has one.
    """
    told = [label for label in read.labels if label is not None]
    if told and len(told) < len(read.labels):
        raise ValueError(
            f"{len(read.labels) - len(told)} of {len(read.labels)} pictures in {where} have no {kind}, the others have.\n"
            "Give all of them a class, or none."
        )
    return numbered(told) if told else None


def _in_memory(found: Files, pictures: Callable[[Decoded], Iterator[np.ndarray]]) -> Decoded:
    images = np.empty(0, np.uint8)
    done = Decoded(images, [], {}, [], [])
    for k, picture in enumerate(pictures(done)):
        if k == len(images):
            count = found.number or max(2 * k, _AHEAD)
            what = f"{count} pictures like {done.names[0]} in {found.where}"
            fix = f"Give a smaller {_SIZE}, or keep them on the disk by cache='disk' (--data.cache disk)."
            memory.check(what, count * picture.nbytes, fix)
            longer = np.empty((count, *picture.shape), np.uint8)
            longer[:k] = images[:k].reshape(-1, *picture.shape)
            images = longer
        images[k] = picture
    return done._replace(images=images[: len(done.names)])


def _each(found: Files, shape: Shape, done: Decoded) -> Iterator[np.ndarray]:
    """The pictures that can be read, in order; `done` notes their names, and why others cannot."""

    def one(item: Item) -> tuple[str, tuple[np.ndarray, Levels] | Exception, str | None]:
        name, content, label = item
        try:
            return name, shape.of(content), label
        except (ValueError, OSError) as error:
            return name, error, label

    sides, items, held = None, iter(found.items()), 0
    waiting: deque[tuple[int, Future]] = deque()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            while True:
                most = _AHEAD if sides else _AT_FIRST
                while len(waiting) < most and held < _BYTES_AHEAD and (item := next(items, None)):
                    takes = len(item[1]) if isinstance(item[1], bytes) else 0
                    takes += math.prod(sides or (0,))
                    waiting.append((takes, pool.submit(one, item)))
                    held += takes
                    del item  # its bytes are no longer needed once they are decoded
                if not waiting:
                    return
                takes, future = waiting.popleft()
                held -= takes
                name, result, label = future.result()
                if isinstance(result, Exception):
                    done.skipped[name] = str(result.__cause__ or result)
                    continue
                picture, levels = result
                sides = sides or picture.shape
                if picture.shape != sides:
                    raise ValueError(
                        f"pictures differ in size: {done.names[0]} is {sides[1]} x {sides[0]} and {name} is "
                        f"{picture.shape[1]} x {picture.shape[0]} pixels (in {found.where}); give {_SIZE}, "
                        f"e.g. {min(sides[:2])}, to crop and resize them all."
                    )
                done.names.append(name)
                done.levels.append(levels)
                done.labels.append(label)
                yield picture
        finally:
            pool.shutdown(cancel_futures=True)


def _tell(found: Files, shape: Shape, read: Decoded, on_error: str) -> None:
    """Say what could not be read."""
    bad, count = len(read.skipped), len(read.names) + len(read.skipped)
    if not count:
        kinds = ", ".join(picture_files.EXTENSIONS)
        raise FileNotFoundError(f"{found.where} holds no picture ({kinds}).")
    if bad and on_error == "raise":
        first = [f"{name} ({why})" for name, why in itertools.islice(read.skipped.items(), _NAMED)]
        more = f" and {bad - _NAMED} more" if bad > _NAMED else ""
        said = f"{bad} of {count} pictures in {found.where} cannot be read: {', '.join(first)}{more}"
        if bad == 1:
            name, why = next(iter(read.skipped.items()))
            said = f"{os.path.join(found.where, name)} cannot be read as a picture ({why})"
        raise ValueError(
            f"{said}; remove or repair {'it' if bad == 1 else 'them'}, or leave such files out by on_error='skip' "
            "(--data.on-error skip, of `efm compare` by --skip-unreadable)."
        )
    if not read.names:
        name, why = next(iter(read.skipped.items()))
        raise ValueError(
            f"none of the {count} pictures in {found.where} can be read; the first is {name} ({why})."
        )
    if bad:
        warnings.warn(
            f"left out {bad} of {count} pictures in {found.where} that cannot be read; the first is "
            f"{next(iter(read.skipped))}.",
            stacklevel=4,
        )
    picture_files.warn_of_levels(found.where, read.levels, shape.how.levels)
