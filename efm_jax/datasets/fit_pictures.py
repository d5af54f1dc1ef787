"""Fit pictures of any size to a model, and the model's pictures back to their size.

- `crop`: the middle of the picture in the model's aspect, as training pictures are. Where a square was cut from the middle
  of these (`data.crop`), the same square.
- `pad`: the whole picture, its border pixels repeated up to the model's aspect; the margin is cut off again afterwards.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from efm_jax._core import files
from efm_jax.datasets import picture_files

__all__ = ["Fitted", "Place", "is_picture", "no_picture", "opened", "read", "returned"]

_AT_ONCE = 64


class Place(NamedTuple):
    """Where the fitted picture lies in the model's, and its size before.

    Attributes:
        box: Left, upper, right and lower border in the model's picture.
        size: Width and height of that part in the picture as it was read.
    """

    box: tuple[int, int, int, int]
    size: tuple[int, int]


class Fitted(NamedTuple):
    """Pictures as the model takes them.

    Attributes:
        images: Pictures [n, H, W, C].
        names: Their paths below the folder; of a single picture, the file's name.
        places: Where in them the pictures that were read lie.
        skipped: Paths that could not be read.
        other: Paths of pictures of kinds that are not read; a warning counts the files that are no pictures.
    """

    images: UInt8[np.ndarray, "n height width channels"]
    names: list[str]
    places: list[Place]
    skipped: tuple[str, ...]
    other: tuple[str, ...] = ()


def is_picture(path: str | Path) -> bool:
    """Whether a path is that of a picture's file, by its ending.

    Examples:
        >>> is_picture("nowhere.png")
        False
    """
    path = files.expanded(path)
    return path.suffix.lower() in picture_files.EXTENSIONS and path.is_file()


def no_picture(path: str | Path) -> ValueError:
    """Return the error for a file that is no picture of a kind that is read."""
    kinds = ", ".join(picture_files.EXTENSIONS)
    return ValueError(
        f"expected a folder or a picture ({kinds}), got the file {path}; convert it, or give an array as npy:FILE or "
        "npz:FILE:KEY."
    )


def read(
    path: str | Path,
    shape: tuple[int, int, int],
    *,
    fit: str = "crop",
    limit: int | None = None,
    square: int | None = None,
    without: Path | None = None,
    background: int = 255,
    levels: int | None = None,
) -> Fitted:
    """Read a folder of pictures of any size, in the order of their names, or one picture, for a model of `shape`.

    Args:
        path: A folder, read as `datasets.read_folder` reads it, or the file of a picture.
        shape: (H, W, C) of the model's pictures.
        fit: "crop" or "pad", see the head of this module.
        limit: Most pictures to read; None for all.
        square: Side of the square that was cut from the middle of training pictures, in pixels; None for none.
        without: A folder inside it to leave out.
        background: Gray level 0..255 behind transparent pixels.
        levels: Level that is white in 16-bit gray files; None for 65535.

    Raises:
        FileNotFoundError: There is no such path, or no picture in it.
        ValueError: `fit` is neither, the path is a file of another kind, none of the pictures can be read, or one to be
            cropped is smaller than the square.
    """
    if fit not in ("crop", "pad"):
        raise ValueError(f"fit must be 'crop' or 'pad', got {fit!r}.")
    root = files.expanded(path)
    single = is_picture(root)
    if root.is_file() and not single:
        raise no_picture(root)
    listed = picture_files.Listing([root.name], [], []) if single else picture_files.listing(root, without)
    names, root = listed.pictures, root.parent if single else root
    images, kept, places, skipped, ranges = [], [], [], [], []
    how = picture_files.Picture(shape[2] == 1, background, levels)
    change = partial(_fitted, shape=shape, square=square, pad=fit == "pad")

    def one(name: str):
        try:
            return picture_files.read(root / name, how, change)
        except (ValueError, OSError):
            return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for part in _parts(names):
            for name, found in zip(part, pool.map(one, part), strict=True):
                if limit is not None and len(kept) >= limit:
                    break
                if found is None:
                    skipped.append(name)
                    continue
                fitted, levels_found = found
                if isinstance(fitted, ValueError):
                    raise ValueError(f"{root / name}: {fitted}")
                images.append(fitted[0])
                places.append(fitted[1])
                ranges.append(levels_found)
                kept.append(name)
            if limit is not None and len(kept) >= limit:
                break
    if not kept:
        raise ValueError(
            f"none of the {len(names)} pictures in {root} can be read; the first is {skipped[0]}."
        )
    seen = [name for name in listed.others if limit is None or len(kept) < limit or name < kept[-1]]
    other = tuple(filter(picture_files.not_taken, seen))
    picture_files.warn_of_others(root, [name for name in seen if name not in other], listed.not_entered)
    picture_files.warn_of_levels(root, ranges, levels)
    return Fitted(np.stack(images), kept, places, tuple(skipped), other)


def opened(
    pictures: Sequence[Image.Image],
    shape: tuple[int, int, int],
    *,
    square: int | None = None,
    background: int = 255,
    levels: int | None = None,
) -> UInt8[np.ndarray, "n height width channels"]:
    """Fit pictures that are open already, as `read` fits files: cropped. They stay as they are.

    Args:
        pictures: Pictures of Pillow, of any size and mode.
        shape: (H, W, C) of the model's pictures.
        square: As in `read`.
        background: As in `read`.
        levels: As in `read`.

    Raises:
        ValueError: One is smaller than the square, or its levels are not known.

    Examples:
        >>> opened([Image.new("L", (20, 10), 7)], (5, 5, 3))[0, 0, 0].tolist()
        [7, 7, 7]
    """
    how, images = picture_files.Picture(shape[2] == 1, background, levels), []
    for k, picture in enumerate(pictures):
        found = _fitted(
            picture_files.converted(picture.copy(), how)[0], shape=shape, square=square, pad=False
        )
        if isinstance(found, ValueError):
            raise ValueError(f"picture {k}: {found}")
        images.append(found[0])
    return np.stack(images)


def returned(picture: UInt8[np.ndarray, "height width 3"], place: Place, *, own_size: bool) -> np.ndarray:
    """Return the part of a model's picture in which the fitted one lies, at its own size again (bicubic) on request."""
    part = Image.fromarray(picture).crop(place.box)
    if own_size and part.size != place.size:
        part = part.resize(place.size, Image.Resampling.BICUBIC)
    return np.asarray(part)


def _too_small(size: tuple[int, int], square: int) -> ValueError:
    return ValueError(
        f"pictures must be at least {square} x {square} pixels, which were cut from the middle of those trained on "
        f"(data.crop), this one is {size[0]} x {size[1]}; give it larger, or take it whole by --fit pad (fit='pad')."
    )


def _fitted(
    picture: Image.Image, *, shape: tuple[int, int, int], square: int | None, pad: bool
) -> tuple[np.ndarray, Place] | ValueError:
    """The picture as the model takes it and its place; or the error of one that is too small."""
    height, width, channels = shape
    if square is not None and not pad:
        if min(picture.size) < square:
            return _too_small(picture.size, square)
        picture = picture_files.middle(picture, square, square)
    if not pad:
        scale = min(picture.width / width, picture.height / height)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        fitted = np.asarray(picture_files.fit(picture, height, width)).reshape(shape)
        return fitted, Place((0, 0, width, height), size)
    scale = min(width / picture.width, height / picture.height)
    across, down = (max(round(side * scale), 1) for side in picture.size)
    small = picture.resize((across, down), Image.Resampling.BICUBIC)
    left, upper = (width - across) // 2, (height - down) // 2
    margins = (upper, height - down - upper), (left, width - across - left), (0, 0)
    padded = np.pad(np.asarray(small).reshape(down, across, channels), margins, mode="edge")
    return padded, Place((left, upper, left + across, upper + down), picture.size)


def _parts(names: list[str]) -> Iterator[list[str]]:
    left = iter(names)
    while part := list(islice(left, _AT_ONCE)):
        yield part
