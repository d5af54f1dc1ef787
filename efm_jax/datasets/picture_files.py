"""Files of pictures: those in a folder, and one of them as an array, read with Pillow."""

import contextlib
import io
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps

from efm_jax._core import files, outputs

__all__ = [
    "EXTENSIONS",
    "Listing",
    "Picture",
    "check_how",
    "converted",
    "fit",
    "listing",
    "middle",
    "not_taken",
    "read",
    "size",
    "warn_of_levels",
    "warn_of_others",
]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# only these: of PostScript Pillow would start Ghostscript, whatever the name of the file
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
# arrays, weather, films and news, which Pillow knows the endings of; photographs that it does not
_NO_PICTURES = ("HDF5", "GRIB", "BUFR", "MPEG", "IPTC")
_UNKNOWN_TO_PILLOW = (".heic", ".heif", ".avif", ".jxl")
_WHITE = 65535
_ORIENTATION = 0x0112  # of EXIF; its values 5 to 8 exchange width and height
_KINDS = 8

T = TypeVar("T")


class Listing(NamedTuple):
    """The files below a folder, their paths with "/" between parts, sorted.

    Attributes:
        pictures: Those with the ending of a picture that is read.
        others: All others.
        not_entered: Folders that may not be opened, and links to folders that lead back or to one that is read anyway.
    """

    pictures: list[str]
    others: list[str]
    not_entered: list[str]


class Picture(NamedTuple):
    """How the file of a picture is read.

    Attributes:
        gray: Whether to make one gray channel; otherwise RGB.
        background: Gray level 0..255 behind transparent pixels.
        levels: The level of white in 16-bit gray files; None for 65535.
        max_pixels: Largest picture accepted, in pixels.
    """

    gray: bool = False
    background: int = 255
    levels: int | None = None
    max_pixels: int = 1 << 26


def check_how(how: Picture) -> None:
    """Raise ValueError unless pictures can be read so."""
    if not 0 <= how.background <= 255:
        raise ValueError(f"background must be a gray level 0..255, got {how.background!r}.")
    if how.levels is not None and not 1 <= how.levels <= _WHITE:
        raise ValueError(f"levels must be from 1 to {_WHITE}, the level of white, got {how.levels!r}.")


def listing(root: Path, without: Path | None = None) -> Listing:
    """List the files below a folder. Links to folders are followed, each folder is read once.

    Of a folder that `efm translate` or `efm generate` wrote, `lines.json` and the picture of all results are not listed.

    Args:
        root: The folder.
        without: A folder inside it to leave out.

    Raises:
        FileNotFoundError: There is no such folder, or no picture in it.
        ValueError: It is a file.
    """
    if not root.exists():
        raise FileNotFoundError(f"there is no folder {root}; check the path.")
    if not root.is_dir():
        raise ValueError(f"{root} is a file, expected a folder of pictures.")
    # folders are known by their real paths, those without links come first
    seen = {os.path.realpath(without)} if without is not None else set()
    found, pending = Listing([], [], []), [root]

    def not_entered(path: str | Path) -> None:
        found.not_entered.append(Path(path).relative_to(root).as_posix())

    while pending:
        start = pending.pop(0)
        real, parent = os.path.realpath(start), os.path.realpath(start.parent)
        if real in seen or (start != root and os.path.commonpath([real, parent]) == real):
            not_entered(start)
            continue
        for at, folders, names in os.walk(start, onerror=lambda error: not_entered(error.filename)):
            seen.add(os.path.realpath(at))
            inside = [Path(at, name) for name in sorted(folders) if not name.startswith(".")]
            links = [path for path in inside if path.is_symlink()]
            pending += links
            folders[:] = [
                path.name for path in inside if path not in links and os.path.realpath(path) not in seen
            ]
            beside = _written_beside(Path(at)) if outputs.MARKER in names else frozenset()
            for name in names:
                if not name.startswith(".") and name not in beside:
                    kind = found.pictures if name.lower().endswith(EXTENSIONS) else found.others
                    kind.append(Path(at, name).relative_to(root).as_posix())
    if not found.pictures:
        kinds = sorted({Path(name).suffix or Path(name).name for name in found.others})
        there = f"; it holds files of kind {', '.join(kinds[:_KINDS])}" if kinds else ""
        raise FileNotFoundError(f"{root} holds no picture ({', '.join(EXTENSIONS)}){there}.")
    return Listing(*(sorted(part) for part in found))


def _written_beside(folder: Path) -> frozenset[str]:
    """Names of what an earlier call wrote in a folder beside its results."""
    made = outputs.made(folder)
    return made.sheets | {outputs.MARKER} if made.inputs else frozenset()


def warn_of_others(root: Path, others: list[str], not_entered: list[str]) -> None:
    """Warn of what lies in a folder and is not read: one line, files counted by their endings, folders named."""
    counts = Counter(Path(name).suffix.lower() or "without an ending" for name in others).most_common()
    parts = [f"{count} {ending}" for ending, count in counts[:_KINDS]]
    parts += [f"{len(counts) - _KINDS} more kinds"] if len(counts) > _KINDS else []
    if not_entered:
        parts.append(
            f"folders that lead back, are linked twice or may not be opened: {', '.join(not_entered[:_KINDS])}"
        )
    if parts:
        warnings.warn(f"left out of {root}: {', '.join(parts)}", stacklevel=3)


def not_taken(name: str) -> bool:
    """Whether a file is a picture by its ending, but of a kind that is not read here.

    Examples:
        >>> [not_taken(name) for name in ("a.ico", "a.png", "a.txt")]
        [True, False, False]
    """
    Image.init()
    ending = Path(name).suffix.lower()
    kind = Image.registered_extensions().get(ending)
    known = kind in Image.OPEN and kind not in _NO_PICTURES
    return ending not in EXTENSIONS and (known or ending in _UNKNOWN_TO_PILLOW)


def size(path: Path | bytes) -> tuple[int, int]:
    """Return width and height of an upright picture, a file or its bytes, from its header alone.

    Raises:
        ValueError: It cannot be read.
    """
    with _opened(path) as file, files.parsing(_called(path), "picture"):
        # of its own class that of a png decodes the picture to look behind it
        turned = Image.Image.getexif(file).get(_ORIENTATION) in range(5, 9)
        tags = getattr(file, "tag_v2", {})  # of tif files, whose size some versions of Pillow turn
        width, height = tags.get(256, file.width), tags.get(257, file.height)
        return (height, width) if turned else (width, height)


def read(
    path: Path | bytes, how: Picture, change: Callable[[Image.Image], T]
) -> tuple[T, tuple[int, int] | None]:
    """Read a picture, upright and in mode RGB or L, of an animation or a file of pages the first one.

    Args:
        path: The file, or its bytes.
        how: How it is read.
        change: What to make of it, e.g. a smaller array. Large pictures are in memory one at a time until it returns.

    Returns:
        What `change` returned; and of a 16-bit gray file the smallest and the largest level in it.

    Raises:
        ValueError: It cannot be read, is too large, or `change` refuses it.
    """
    with _opened(path) as file:
        pixels = file.width * file.height
        if pixels > how.max_pixels:
            raise ValueError(
                f"{file.width} x {file.height} pixels is more than max_pixels = {how.max_pixels}"
            )
        with _room.taken(pixels):
            with files.parsing(_called(path), "picture"):
                picture, found = converted(file, how)
            return change(picture), found


def converted(picture: Image.Image, how: Picture) -> tuple[Image.Image, tuple[int, int] | None]:
    """Return a picture upright and in mode RGB or L; and of a 16-bit gray one the smallest and the largest level in it.

    Raises:
        ValueError: Its levels are not known.
    """
    picture.load()
    ImageOps.exif_transpose(picture, in_place=True)
    picture, found = _eight_bit(picture, how)
    mode = "L" if how.gray else "RGB"
    return picture if picture.mode == mode else picture.convert(mode), found


def middle(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Cut out the middle of a picture.

    Raises:
        ValueError: The picture is smaller.
    """
    if picture.width < width or picture.height < height:
        raise ValueError(
            f"{picture.width} x {picture.height} pixels are fewer than crop = {width}, which pictures that were cut before "
            "do not need"
        )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def fit(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Crop at the center to the aspect height : width, then resize."""
    scale = min(picture.width / width, picture.height / height)
    across, down = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = (picture.width - across) // 2, (picture.height - down) // 2
    cropped = picture.crop((left, top, left + across, top + down))
    return (
        cropped
        if cropped.size == (width, height)
        else cropped.resize((width, height), Image.Resampling.BICUBIC)
    )


def warn_of_levels(where: str | Path, found: Iterable[tuple[int, int] | None], levels: int | None) -> None:
    """Warn where the levels of 16-bit gray files do not fit the level of white: a dark set, or one that is clipped."""
    ranges, white = [one for one in found if one is not None], levels or _WHITE
    if not ranges:
        return
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    said = f"the {len(ranges)} 16-bit gray pictures in {where} hold levels {low} to {high} of {white}"
    own = f"--data.levels {(1 << max(high, 1).bit_length()) - 1} (levels=)"
    if high > white:
        warnings.warn(f"{said}: those above it become white.\nGive their own range: {own}.", stacklevel=3)
    elif 4 * high < white:
        warnings.warn(f"{said}: they become dark.\nGive their own range: {own}.", stacklevel=3)


@contextlib.contextmanager
def _opened(path: Path | bytes) -> Iterator[Image.Image]:
    with files.parsing(_called(path), "picture"):
        file = Image.open(io.BytesIO(path) if isinstance(path, bytes) else path, formats=_FORMATS)
    with file:
        yield file


def _called(path: Path | bytes) -> Path | str:
    return "a file" if isinstance(path, bytes) else path


class _Room:
    """Pixels of pictures that may be in memory at once, whatever the number of threads."""

    def __init__(self, pixels: int) -> None:
        self._free = self._all = pixels
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_room = _Room(1 << 26)
# blocks that the system's allocator hands back at once; of Pillow's 16 MB each thread would keep those of its last picture
Image.core.set_block_size(1 << 26)


def _eight_bit(picture: Image.Image, how: Picture) -> tuple[Image.Image, tuple[int, int] | None]:
    """A picture of 8 bits a channel without transparency, and the range of the levels of a 16-bit gray one."""
    if picture.mode == "F":
        raise ValueError(
            "floating-point gray, whose white is not known: save it as 16 bits, or give an array as npy:FILE"
        )
    if picture.mode.startswith("I"):  # 16-bit gray, which convert("L") would clip at 255
        values = np.asarray(picture)
        found = int(values.min()), int(values.max())
        if found[0] < 0 or found[1] > _WHITE:
            raise ValueError(f"it holds levels {found[0]} to {found[1]}, more than the {_WHITE} of 16 bits")
        table = np.rint(np.arange(_WHITE + 1) * 255.0 / (how.levels or _WHITE)).clip(0, 255).astype(np.uint8)
        return Image.fromarray(table[values]), found
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(
            Image.new("RGBA", picture.size, (how.background,) * 3 + (255,)), picture
        ), None
    return picture, None
