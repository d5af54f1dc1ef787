"""Read tensors from torch's files of weights with NumPy alone; nothing from the file is executed.

A torch file is a pickle, and unpickling runs whatever the file names. Here the unpickler knows only the instructions that
make numbers, text and containers, and only the names of storages and tensors; anything else is refused. Both layouts are
read: the old one (five pickles, then the storages one after the other) and the zip of torch 1.6 and later.
"""

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from efm_jax._core import files

__all__ = ["read_tensors"]

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_CODES = {"Float": "f4", "Double": "f8", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1"}
_DTYPES = {
    f"torch {kind}Storage": f"<{code}" for kind, code in {**_CODES, "Byte": "u1", "Bool": "b1"}.items()
}
_DICT, _REBUILD = "collections OrderedDict", "torch._utils _rebuild_"
_INSTRUCTIONS = """PROTO STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE
    EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS
    BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD BINPERSID"""


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Name(NamedTuple):
    """A name in the file, and what calling it makes."""

    text: str

    def __call__(self, *arguments: Any) -> Any:
        if self.text == _DICT and not arguments:
            return {}
        if self.text == _REBUILD + "parameter":
            return _a(_Tensor, arguments[0])
        if self.text != _REBUILD + "tensor_v2":
            raise ValueError(f"it calls {self.text!r}")
        storage, offset, shape, strides = arguments[:4]
        sizes = (offset, *_a(tuple, shape), *_a(tuple, strides))
        if len(shape) != len(strides) or any(type(size) is not int or size < 0 for size in sizes):
            raise ValueError("a tensor of such sizes cannot be")
        return _Tensor(_a(_Storage, storage), offset, shape, strides)


class _Unpickler(pickle._Unpickler):
    """One pickle of numbers, text, containers and tensors.

    Python's own class, not the one in C: that has all instructions, hashes any key, and makes a memo of any size asked for.
    """

    stack: list[Any]
    pop_mark: Any

    def __init__(self, file: io.BytesIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        text = f"{module} {name}"
        if text not in (_DICT, _REBUILD + "tensor_v2", _REBUILD + "parameter", *_DTYPES):
            raise ValueError(f"it asks for {text!r}, which is not needed for weights and is not run")
        return _Name(text)

    def persistent_load(self, pid: Any) -> _Storage:
        what, kind, key, _, count, *view = _a(tuple, pid)
        known = _a(_Name, kind).text in _DTYPES and type(count) is int and count >= 0
        if what != "storage" or not known or any(view):
            raise ValueError("it refers to something that is no storage of numbers")
        storage = _Storage(_a(str, key), np.dtype(_DTYPES[kind.text]), count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} has two types or sizes")
        return storage

    def set_item(self) -> None:
        self.set_items([self.stack.pop(-2), self.stack.pop()])

    def set_items(self, items: list | None = None) -> None:
        pairs = self.pop_mark() if items is None else items
        for key, item in zip(pairs[::2], pairs[1::2], strict=True):
            _a(dict, self.stack[-1])[_a((str, int), key)] = item  # other keys could take for ever to hash

    def build(self) -> None:
        self.stack.pop()  # what an OrderedDict remembers besides its items: versions of modules
        _a(dict, self.stack[-1])

    def refuse(self) -> None:
        raise ValueError("it uses a pickle instruction that no file of weights needs")

    dispatch: Any = dict.fromkeys(range(256), refuse)
    for _name in _INSTRUCTIONS.split():
        dispatch[getattr(pickle, _name)[0]] = pickle._Unpickler.dispatch[getattr(pickle, _name)[0]]
    dispatch |= {pickle.SETITEM[0]: set_item, pickle.SETITEMS[0]: set_items, pickle.BUILD[0]: build}


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    r"""Read the tensors of a torch file of weights (`.pth`, `.pt`) by name; nothing from the file is executed.

    Args:
        path: A file made by `torch.save` of a dict of tensors, or of a dict that holds one under "state_dict".

    Returns:
        Arrays by name; what is no tensor is left out.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, is no torch file, or asks for anything but tensors in plain containers.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "evil.pth"
        ...     _ = path.write_bytes(b"cos\nsystem\n(S'echo never run'\ntR.")
        ...     read_tensors(path)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: .../evil.pth cannot be read as torch weights (it asks for 'os system', which is not needed ...
    """
    path = files.expanded(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path of the weights.")
    content = path.read_bytes()
    try:
        tensors, storages = _zipped(content) if content[:2] == b"PK" else _in_a_row(io.BytesIO(content))
        return {name: _array(tensor, storages[tensor.storage.key]) for name, tensor in tensors.items()}
    except Exception as error:  # whatever a damaged file makes of the stack, of sizes and of the archive
        raise ValueError(
            f"{path} cannot be read as torch weights ({error}); give a file made by torch.save(model.state_dict(), path), "
            "or fetch it again if it is damaged."
        ) from error


def _in_a_row(file: io.BytesIO) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    """The old layout: magic number, protocol, facts of the system, the object, keys, then each storage's count and bytes."""
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (_MAGIC, _PROTOCOL):
        raise ValueError("it does not start as torch's files do")
    if not _Unpickler(file).load()["little_endian"]:
        raise ValueError("it was written by a big-endian machine")
    unpickler = _Unpickler(file)
    tensors, storages = _tensors(unpickler.load()), {}
    for key in _a(list, _Unpickler(file).load()):
        _, dtype, length = unpickler.storages[key]
        (count,), size = struct.unpack("<q", file.read(8)), length * dtype.itemsize
        data = file.read(size)
        if count != length or len(data) != size:
            raise ValueError(f"storage {key} should hold {length} numbers, but is cut short or longer")
        storages[key] = np.frombuffer(data, dtype)
    return tensors, storages


def _zipped(content: bytes) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    """The zip layout: `NAME/data.pkl`, and each storage as `NAME/data/KEY`, stored as it is."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name.partition("/")[2]: archive.getinfo(name) for name in archive.namelist()}
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise ValueError("it was written by a big-endian machine")
        if sum(entry.file_size for entry in entries.values()) > len(content):
            raise ValueError("it is compressed, which torch does not do")
        unpickler = _Unpickler(io.BytesIO(archive.read(entries["data.pkl"])))
        tensors, storages = _tensors(unpickler.load()), {}
        for key, dtype, length in unpickler.storages.values():
            data = archive.read(entries[f"data/{key}"])
            if len(data) != length * dtype.itemsize:
                raise ValueError(f"storage {key} should hold {length} numbers of type {dtype}")
            storages[key] = np.frombuffer(data, dtype)
    return tensors, storages


def _tensors(tree: Any) -> dict[str, _Tensor]:
    tree = _a(dict, tree)
    tree = tree["state_dict"] if isinstance(tree.get("state_dict"), dict) else tree
    tensors = {str(name): value for name, value in tree.items() if isinstance(value, _Tensor)}
    if not tensors:
        raise ValueError("it holds no tensors by name")
    return tensors


def _array(tensor: _Tensor, data: np.ndarray) -> np.ndarray:
    _, offset, shape, strides = tensor
    if 0 in shape:
        return np.zeros(shape, data.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if last >= len(data) or int(np.prod(shape, dtype=object)) > len(
        data
    ):  # a stride of 0 could ask for any memory
        raise ValueError(f"a tensor of shape {shape} does not fit its storage of {len(data)} numbers")
    return np.lib.stride_tricks.as_strided(data[offset:], shape, [s * data.itemsize for s in strides]).copy()


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it has {type(value).__name__} where {kind} belongs")
    return value
