"""A folder of pictures as one uint8 array, read with Pillow.

Every picture ends with the same size and channels. One that cannot be read is named in the error, or skipped and
counted on request; one whose header promises more pixels than `max_pixels` is refused before it is decompressed.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8

from efm_jax._core import files
from efm_jax.datasets import _decoding, _on_demand, _picture_cache, picture_files
from efm_jax.datasets.classes import numbered
from efm_jax.datasets.picture_files import EXTENSIONS as EXTENSIONS

__all__ = ["EXTENSIONS", "Pictures", "common_size", "labels_by_folder", "read_folder"]


class Pictures(NamedTuple):
    """What was read from a folder.

    Attributes:
        images: Pictures [n, H, W, C], uint8, C = 3 or 1.
        names: Their paths below the folder, with "/" between parts, sorted.
        skipped: Paths that could not be read (only with `on_error="skip"`).
    """

    images: UInt8[np.ndarray, "n height width channels"]
    names: list[str]
    skipped: list[str]


def read_folder(
    path: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    crop: int | None = None,
    gray: bool = False,
    background: int = 255,
    on_error: str = "raise",
    max_pixels: int = 1 << 26,
    levels: int | None = None,
    most: int | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    cache: str | Path = "memory",
) -> Pictures:
    """Read all pictures below a folder: png, jpg, webp, bmp, gif and tif, recursively, sorted by path.

    The EXIF orientation is applied; transparency is laid over `background`; 16-bit gray is scaled to 8; of an
    animation or a file of pages the first picture is read. Links to folders are followed, each folder is read once. Files
    and folders whose name starts with "." are left out; a warning counts all others that are not read.

    Args:
        path: The folder.
        size: Side, or (height, width), in pixels: pictures are cropped at the center to that aspect and
            resized (bicubic, antialiased). None keeps them, and they must then agree.
        crop: Side of the square cut from the middle before that, in pixels; None cuts to the aspect of `size` alone.
        gray: Whether to make one gray channel; otherwise RGB.
        background: Gray level 0..255 behind transparent pixels.
        on_error: "raise" where pictures cannot be read, naming them after all have been tried, or "skip" them, with one
            warning that counts them.
        max_pixels: Largest picture accepted, in pixels; Pillow's own limit, 2 x Image.MAX_IMAGE_PIXELS, holds besides.
        levels: Level that is white in 16-bit gray files, e.g. 4095 for 12 bits; None for 65535. A warning says if the
            pictures use less than a quarter of them.
        most: Pictures read at most; None for all. Of more, so many are chosen at random.
        seed: Seed of that choice.
        names: Paths below the folder of the pictures to read, in this order; None for all.
        cache: Where the decoded pictures lie: "memory"; a folder, in which a later call finds them as long as the files keep
            their names, sizes and times; "disk" for that below ~/.cache/efm_jax; "auto" for the disk if they take more than
            a quarter of the free memory. On a disk `images` is a read-only `np.memmap`. "none": nowhere; `images[rows]`
            opens and decodes the files of these rows, each time.

    Returns:
        Pictures(images, names, skipped).

    Raises:
        FileNotFoundError: If the folder does not exist or holds no picture.
        ValueError: If a picture cannot be read, is too large or smaller than `crop`, or differs in size from the first.

    Examples:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (6, 4), (255, 0, 0)).save(f"{folder}/a.png")
        ...     pictures = read_folder(folder)
        >>> pictures.images.shape, pictures.names
        ((1, 4, 6, 3), ['a.png'])
    """
    wanted = _decoding.Wanted(size, crop, gray, background, on_error, max_pixels, levels, cache)
    root = files.expanded(path)
    chosen = [] if names is None else [*names]
    part: dict[str, Any] = {} if names is None else {"names": chosen}
    if names is None:
        chosen, others, not_entered = picture_files.listing(root)
        picture_files.warn_of_others(root, others, not_entered)
    if most is not None and len(chosen) > most:
        kept_names = np.random.default_rng(seed).choice(len(chosen), most, replace=False)
        chosen, part = [chosen[i] for i in sorted(kept_names)], {**part, "most": int(most), "seed": int(seed)}
    found = _decoding.Files(
        str(root),
        len(chosen),
        lambda: ((name, root / name, None) for name in chosen),
        {"folder": os.path.realpath(root), **part},
        lambda: _picture_cache.digest(root, chosen),
        lambda: _on_demand.Later(chosen, _on_demand.each(lambda k: root / chosen[k]), [None] * len(chosen)),
    )
    read = _decoding.decoded(found, wanted)
    return Pictures(read.images, read.names, [*read.skipped])


def common_size(paths: Sequence[str | Path], *, most: int | None = None) -> int | None:
    """Return the side to which to crop and resize the pictures of several folders, so that none is enlarged.

    Args:
        paths: Folders of pictures.
        most: Largest side to return.

    Returns:
        The smallest side of all pictures, at most `most`; None if all have one size that is not above `most`. Only headers
        are read; files whose header cannot be read do not count.

    Raises:
        FileNotFoundError: If a folder does not exist or holds no picture.
        ValueError: If no picture can be read.

    Examples:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as path:
        ...     Image.new("RGB", (6, 4)).save(f"{path}/a.png")
        ...     Image.new("RGB", (9, 9)).save(f"{path}/b.png")
        ...     common_size([path]), common_size([path], most=3)
        (4, 3)
    """
    sizes: set[tuple[int, int]] = set()
    for root in map(files.expanded, paths):
        for name in picture_files.listing(root).pictures:
            with contextlib.suppress(ValueError, OSError):
                sizes.add(picture_files.size(root / name))
    if not sizes:
        raise ValueError(f"no picture in {', '.join(map(str, paths))} can be read.")
    smallest, largest = min(map(min, sizes)), max(map(max, sizes))
    if len(sizes) == 1 and (most is None or largest <= most):
        return None
    return smallest if most is None else min(smallest, most)


def labels_by_folder(names: list[str]) -> tuple[Integer[np.ndarray, " n"], tuple[str, ...]] | None:
    """Label each picture by the first folder of its path, in natural order; None unless all lie in several.

    Returns:
        Labels [n] and the folders' names.

    Examples:
        >>> labels, folders = labels_by_folder(["2/1.png", "10/old/1.png", "2/2.png"])
        >>> labels.tolist(), folders, labels_by_folder(["a/1.png", "2.png"])
        ([0, 1, 0], ('2', '10'), None)
    """
    folders = [name.partition("/")[0] if "/" in name else "" for name in names]
    known = set(folders)
    return None if len(known) < 2 or "" in known else numbered(folders)
