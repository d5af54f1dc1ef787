"""Files of pictures: those in a folder, and one of them as an array, read with Pillow."""

import os
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

__all__ = ["EXTENSIONS", "UNREADABLE", "fit", "listing", "middle", "names", "not_taken", "read"]

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
# the bomb's warning is raised where a user turned warnings into errors
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, *_BOMB)
"""What Pillow raises for a file that is no picture, or of one too large."""
# arrays, weather, films and news, which Pillow knows the endings of; photographs that it does not
_NO_PICTURES = ("HDF5", "GRIB", "BUFR", "MPEG", "IPTC")
_UNKNOWN_TO_PILLOW = (".heic", ".heif", ".avif", ".jxl")


def names(root: Path) -> list[str]:
    """Return the paths of the pictures below a folder, with "/" between parts, sorted.

    Raises:
        FileNotFoundError: There is no such folder, or no picture in it.
        ValueError: It is a file.
    """
    return listing(root)[0]


def listing(root: Path, without: Path | None = None) -> tuple[list[str], list[str]]:
    """Return the paths of the pictures below a folder, and of its other files, both as `names` gives them.

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
    left_out = without.resolve() if without is not None else None
    found, others = [], []
    for folder, folders, files in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and (left_out is None or (Path(folder) / name).resolve() != left_out)
        ]
        for name in files:
            if not name.startswith("."):
                kind = found if name.lower().endswith(EXTENSIONS) else others
                kind.append((Path(folder) / name).relative_to(root).as_posix())
    if not found:
        kinds = sorted({Path(name).suffix or Path(name).name for name in others})
        there = f"; it holds files of kind {', '.join(kinds[:8])}" if kinds else ""
        raise FileNotFoundError(f"{root} holds no picture ({', '.join(EXTENSIONS)}){there}.")
    return sorted(found), sorted(others)


def not_taken(name: str) -> bool:
    """Whether a file is a picture by its ending, but of a kind that is not read here.

    Examples:
        >>> [not_taken(name) for name in ("a.gif", "a.png", "a.txt")]
        [True, False, False]
    """
    Image.init()
    ending = Path(name).suffix.lower()
    kind = Image.registered_extensions().get(ending)
    known = kind in Image.OPEN and kind not in _NO_PICTURES
    return ending not in EXTENSIONS and (known or ending in _UNKNOWN_TO_PILLOW)


def read(
    path: Path,
    cut: tuple[int, int] | None,
    target: tuple[int, int] | None,
    gray: bool,
    background: int,
    max_pixels: int,
) -> np.ndarray:
    """Read one picture [H, W, C], uint8: its middle `cut` (height, width), fitted to the target; None leaves either out.

    Raises:
        Exception: One of `UNREADABLE`.
    """
    with Image.open(path) as file:
        if file.width * file.height > max_pixels:
            raise ValueError(f"{file.width} x {file.height} pixels is more than max_pixels = {max_pixels}")
        picture = _eight_bit(ImageOps.exif_transpose(file), background).convert("L" if gray else "RGB")
        if cut is not None:
            picture = middle(picture, *cut)
        if target is not None:
            picture = fit(picture, *target)
    array = np.asarray(picture)
    return array[..., None] if gray else array


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


def _eight_bit(picture: Image.Image, background: int) -> Image.Image:
    if picture.mode.startswith("I"):  # a 16-bit gray PNG: convert("L") would clip it at 255
        return Image.fromarray(np.rint(np.asarray(picture, np.float64) / 257.0).clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (background,) * 3 + (255,)), picture)
    return picture
