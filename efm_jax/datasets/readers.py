"""Readers of published formats: IDX (MNIST and its kin), CIFAR-10's binary batches, npz and npy.

A file that is missing, cut short or of another format is a ValueError (FileNotFoundError where nothing is
there) that names the file; nothing is unpickled.
"""

import contextlib
import gzip
import math
import struct
import warnings
import zipfile
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Literal

import numpy as np
import numpy.lib.format as npy
from jaxtyping import Integer, UInt8

from efm_jax._core import files

__all__ = ["read_array", "read_cifar10", "read_idx", "read_labels", "read_mnist", "read_names", "split_key"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The names of CIFAR-10's labels 0 to 9."""

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_NPY = b"\x93NUMPY"
_AN_ARRAY = ".npy or .npz file", "write it again by np.save or np.savez"
_CHUNK = 1 << 24
_SPLITS = {"train": ("train",), "test": ("t10k", "test")}


def read_idx(path: str | Path) -> np.ndarray:
    """Read one IDX file, plain or gzipped, as an array in native byte order.

    The format: bytes 0, 0, dtype code, number of axes; each axis as a big-endian uint32; then the numbers.

    Args:
        path: The file; a name ending in .gz is decompressed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not IDX, is cut short, or is longer than its header says.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "labels-idx1-ubyte"
        ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
        ...     read_idx(path).tolist()
        [7, 8, 9]
    """
    path = _existing(path)
    opener = gzip.open if path.suffix == ".gz" else open
    with files.parsing(path, "IDX file", "fetch or compress it again"), opener(path, "rb") as file:
        head = file.read(4)
        sound = len(head) == 4 and head[:2] == b"\0\0" and head[2] in _IDX_DTYPES and head[3] > 0
        sizes = file.read(4 * head[3]) if sound else b""
        shape = struct.unpack(f">{len(sizes) // 4}I", sizes[: len(sizes) // 4 * 4])
        dtype = np.dtype(_IDX_DTYPES[head[2]] if sound else "u1")
        expected = dtype.itemsize * math.prod(shape)
        # read no more than promised: a bomb in a .gz, or a header that lies, must not fill the memory
        body = bytearray()
        while (
            sound and len(body) <= expected and (chunk := file.read(min(1 << 20, expected + 1 - len(body))))
        ):
            body += chunk
    if not sound:
        raise ValueError(
            f"{path} is not an IDX file: it starts with {head.hex() or 'nothing'}, expected 0000 then a dtype code "
            f"({', '.join(f'{code:02x}' for code in _IDX_DTYPES)}) and a number of axes >= 1."
        )
    if len(sizes) < 4 * head[3]:
        raise ValueError(f"{path} is cut short inside its header; fetch or unpack it again.")
    if len(body) != expected:
        what = "more" if len(body) > expected else f"only {len(body)}"
        raise ValueError(
            f"{path} should hold {expected} bytes of data for shape {shape}, got {what}; fetch it again."
        )
    with files.parsing(path, "IDX file"):
        return np.frombuffer(body, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def read_mnist(
    folder: str | Path, split: str = "train"
) -> tuple[UInt8[np.ndarray, "n height width"], Integer[np.ndarray, " n"]]:
    """Read a folder of IDX files named as on the MNIST page (also Fashion-MNIST, KMNIST, EMNIST).

    Args:
        folder: Folder holding `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the t10k pair, plain
            or .gz, with or without a prefix, `.` or `-` before `idx`.
        split: "train" or "test".

    Returns:
        Images [n, H, W] uint8 and labels [n] int64.

    Raises:
        FileNotFoundError: If the folder or a file is missing; the message lists what is there.
        ValueError: If a file is damaged, or images and labels do not belong together.

    Examples:
        >>> import tempfile
        >>> one = [0, 0, 0, 1]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, *one, 7]))
        ...     _ = Path(folder, "train-images-idx3-ubyte").write_bytes(bytes([0, 0, 8, 3, *one * 3, 255]))
        ...     images, labels = read_mnist(folder)
        >>> images.shape, labels.tolist()
        ((1, 1, 1), [7])
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}.")
    folder = _existing(folder, folder=True)
    image_path, label_path = (_one_idx(folder, split, what) for what in ("images", "labels"))
    images, labels = read_idx(image_path), read_idx(label_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"{image_path} must hold uint8 pictures [n, H, W], got {images.dtype} {images.shape}."
        )
    if labels.shape != (len(images),):
        raise ValueError(
            f"{label_path} holds labels of shape {labels.shape} for the {len(images)} pictures of "
            f"{image_path.name}; the two files do not belong together."
        )
    return images, labels.astype(np.int64)


def read_names(folder: str | Path, split: str = "train") -> dict[int, str]:
    r"""Read the characters of EMNIST's labels from the file `*-mapping.txt` beside its IDX files; none if it is not there.

    Each line holds a label and the codes of its characters, of which the first is taken: 1 is "A" of the letters.

    Raises:
        FileNotFoundError: The pictures of the split are missing.
        ValueError: The file is damaged.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Path(folder, "emnist-letters-train-images-idx3-ubyte").touch()
        ...     _ = Path(folder, "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n")
        ...     read_names(folder)
        {1: 'A', 2: 'B'}
    """
    images = _one_idx(_existing(folder, folder=True), split, "images")
    stem = next(stem for stem in _SPLITS[split] if f"{stem}-images" in images.name)
    path = images.with_name(f"{images.name.rpartition(f'{stem}-images')[0]}mapping.txt")
    if not path.is_file():
        return {}
    with files.parsing(path, "EMNIST mapping", "fetch it again"):
        rows = [line.split() for line in path.read_text("ascii").splitlines() if line.strip()]
        names = {int(label): chr(int(code)) for label, code, *_ in rows}
        if not len(set(names.values())) == len(names) == len(rows):
            raise ValueError("two labels are the same or have one name")
    return names


def read_cifar10(
    folder: str | Path, split: str = "train"
) -> tuple[UInt8[np.ndarray, "n 32 32 3"], Integer[np.ndarray, " n"]]:
    """Read CIFAR-10's binary version: records of one label byte and 3,072 pixels in planes R, G, B.

    Args:
        folder: The folder with the .bin files, or the folder that holds `cifar-10-batches-bin`.
        split: "train" (data_batch_1..5.bin) or "test" (test_batch.bin).

    Returns:
        Images [n, 32, 32, 3] uint8 and labels [n] int64.

    Raises:
        FileNotFoundError: If the folder or a batch is missing.
        ValueError: If a batch is cut short or is no CIFAR-10 batch.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "test_batch.bin").write_bytes(bytes([3]) + bytes(3072))
        ...     images, labels = read_cifar10(folder, "test")
        >>> images.shape, labels.tolist()
        ((1, 32, 32, 3), [3])
    """
    if split not in _SPLITS:
        raise ValueError(f"split must be 'train' or 'test', got {split!r}.")
    folder = _existing(folder, folder=True)
    if (folder / "cifar-10-batches-bin").is_dir():
        folder = folder / "cifar-10-batches-bin"
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] if split == "train" else ["test_batch.bin"]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)}; it holds {_listing(folder)}. Unpack "
            "cifar-10-binary.tar.gz there (the binary version, not the python one)."
        )
    records = []
    for name in names:
        size = (folder / name).stat().st_size
        if size == 0 or size % 3073:
            raise ValueError(
                f"{folder / name} holds {size} bytes, which is no whole number of 3,073-byte records."
            )
        with files.parsing(folder / name, "batch of CIFAR-10"):
            record = np.fromfile(folder / name, np.uint8).reshape(-1, 3073)
        if record[:, 0].max() > 9:
            raise ValueError(
                f"{folder / name} holds the label {record[:, 0].max()}; CIFAR-10's labels are 0 to 9."
            )
        records.append(record)
    table = np.concatenate(records)
    images = np.ascontiguousarray(table[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, table[:, 0].astype(np.int64)


def read_array(path: str | Path, key: str | None = None, limit: int | None = None) -> np.ndarray:
    """Read an array from an .npy file, or one by name from an .npz; pickled objects are refused.

    Args:
        path: The file.
        key: Name of the array in an .npz; may be left out where there is only one. Must be None for .npy.
        limit: Rows to read at most; None for all.

    Returns:
        The array as stored; of an .npy file it is read-only, and read when it is used.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the key is missing, the file is damaged or of another kind, or it holds Python objects.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", x=np.zeros((3, 2)), y=np.ones(3))
        ...     read_array(f"{folder}/x.npz", "x").shape
        (3, 2)
    """
    path = _existing(path)
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start[:2] == b"PK":
            return _of_archive(path, file, key, limit)
        if start != _NPY:
            raise ValueError(
                f"{path} is no .npy or .npz file: it starts with {start!r}.\nWrite the array by np.save or np.savez."
            )
        if key is not None:
            raise ValueError(f"{path} holds a single array; leave out the key {key!r}.")
        shape, order, dtype = _header(path, file, path.stat().st_size)
        if 0 in shape or not dtype.itemsize:
            return np.empty(shape, dtype)
        with files.parsing(path, *_AN_ARRAY):
            array = np.asarray(np.memmap(file, dtype, "r", file.tell(), shape, order))
    return array[:limit] if shape else array


def split_key(path: str) -> tuple[str, str | None]:
    """Split `PATH:KEY` where there is no file of that whole name."""
    before, colon, key = path.rpartition(":")
    alone = not colon or files.expanded(path).exists() or not files.expanded(before).exists()
    return (path, None) if alone else (before, key)


def _of_archive(path: Path, file: IO[bytes], key: str | None, limit: int | None) -> np.ndarray:
    """An array of an .npz, or its first rows, of which no more is decompressed than they need."""
    with files.parsing(path, *_AN_ARRAY):
        archive = zipfile.ZipFile(file)
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if key is None and len(names) == 1:
        key = names[0]
    if key not in names:
        wanted = "needs a key" if key is None else f"has no array {key!r}"
        raise ValueError(f"{path} {wanted}; its arrays are {', '.join(names) or 'none'}.")
    with contextlib.ExitStack() as stack:
        with files.parsing(path, *_AN_ARRAY):
            member = stack.enter_context(archive.open(f"{key}.npy"))
            # DEFLATE shrinks at most 1,032 times
            size = min(archive.getinfo(f"{key}.npy").file_size, 1032 * path.stat().st_size + 1024)
        shape, order, dtype = _header(path, member, size)
        if limit is not None and order == "C" and shape:
            shape = (min(limit, shape[0]), *shape[1:])
        with files.parsing(path, *_AN_ARRAY):
            array = np.empty(math.prod(shape), dtype)
            left = array.view(np.uint8).data if array.nbytes else b""
            while left:
                chunk = member.read(min(len(left), _CHUNK))
                if not chunk:
                    raise EOFError(f"it ends {len(left)} bytes early")
                left[: len(chunk)] = chunk
                left = left[len(chunk) :]
            if limit is None and member.read(1):
                raise ValueError("more follows than its header tells of")
    array = array.reshape(shape, order=order)
    return array[:limit] if shape else array


def _header(
    path: Path, file: IO[bytes] | BufferedIOBase, size: int
) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype]:
    """Shape, order and dtype that the head of an .npy file tells, if as much can follow in a file of that size."""
    with files.parsing(path, *_AN_ARRAY):
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, fortran, dtype = read(file)
        told, held = dtype.itemsize * math.prod(shape), size - file.tell()
        if min(shape, default=0) < 0 or (told > held and not dtype.hasobject):
            raise ValueError(f"its header tells of {told} bytes, and at most {held} follow")
    if dtype.hasobject:
        raise ValueError(
            f"{path} holds pickled Python objects, which are not read because they could run code; save plain numbers: "
            "np.savez(path, x=np.asarray(x, 'float32'))."
        )
    return shape, "F" if fortran else "C", dtype


def read_labels(path: str | Path, size: int) -> Integer[np.ndarray, " n"] | None:
    """Read the array `labels` of an .npz: numbers of classes, one for each of `size` samples; None if there is no such.

    An array of that name that holds something else is left out with a warning that says so: samples can be used without
    classes.

    Raises:
        ValueError: The file is damaged.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/x.npz", x=np.zeros((3, 2)), labels=[0, 1, 1])
        ...     read_labels(f"{folder}/x.npz", 3).tolist()
        [0, 1, 1]
    """
    path = _existing(path)
    if not zipfile.is_zipfile(path):
        return None
    with files.parsing(path, *_AN_ARRAY), zipfile.ZipFile(path) as archive:
        if "labels.npy" not in archive.namelist():
            return None
    labels = read_array(path, "labels")
    if labels.shape != (size,):
        wrong = f"labels has shape {labels.shape}, expected ({size},)"
    elif not np.issubdtype(labels.dtype, np.integer):
        wrong = f"labels must be whole numbers >= 0, got {labels.dtype}"
    elif labels.min(initial=0) < 0 or labels.max(initial=0) >= size:
        wrong = (
            f"labels must be whole numbers from 0, fewer than samples, got {labels.min()} to {labels.max()}"
        )
    else:
        return labels.astype(np.int64)
    warnings.warn(f"{path} is read without classes: {wrong}; number them from 0, one a sample.", stacklevel=3)
    return None


def _existing(path: str | Path, *, folder: bool = False) -> Path:
    path = files.expanded(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {'folder' if folder else 'file'} {path}; check the path.")
    if path.is_dir() != folder:
        raise ValueError(
            f"{path} is a {'file' if folder else 'folder'}, expected a {'folder' if folder else 'file'}."
        )
    return path


def _one_idx(folder: Path, split: str, what: str) -> Path:
    axes = 3 if what == "images" else 1
    found = [
        path
        for path in sorted(folder.iterdir())
        for stem in _SPLITS[split]
        for dot in "-."
        if path.name.removesuffix(".gz").endswith(f"{stem}-{what}{dot}idx{axes}-ubyte")
    ]
    if not found:
        raise FileNotFoundError(
            f"{folder} lacks the {split} {what}, {_SPLITS[split][0]}-{what}-idx{axes}-ubyte (plain or .gz); "
            f"it holds {_listing(folder)}."
        )
    names = {path.name.removesuffix(".gz") for path in found}
    if len(names) > 1:
        raise ValueError(
            f"{folder} holds several {split} {what} files, {', '.join(sorted(names))}; keep one set a folder."
        )
    return found[0]  # sorted: the plain file before its .gz


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"
