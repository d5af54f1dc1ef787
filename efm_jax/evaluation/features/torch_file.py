"""Tensors from torch's files of weights, read with NumPy alone: nothing from the file is executed.

A torch file is a pickle, and unpickling runs whatever the file names. Here its opcodes are walked one by one by a
small machine that knows numbers, text, containers and "a tensor of this storage"; anything else ends the reading. Both
layouts are known: the old one (five pickles, then the storages one after the other) and the zip of torch 1.6 and later.
"""

import io
import pickletools
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "|b1",
}
_DICT = "collections OrderedDict"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_PARAMETER = "torch._utils _rebuild_parameter"
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"}
# what a damaged file can make of the stack, of sizes and of the archive (encrypted or unknown to zipfile: RuntimeError)
_DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    OSError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(NamedTuple):
    text: str


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    r"""Read the tensors of a torch file of weights (`.pth`, `.pt`) by name, executing nothing.

    Args:
        path: A file made by `torch.save` of a dict of tensors, or of a dict that holds one under "state_dict".

    Returns:
        Arrays by name; what is no tensor is left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, is no such file, or asks for anything but tensors in plain containers.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "evil.pth"
        ...     _ = path.write_bytes(b"cos\nsystem\n(S'echo never run'\ntR.")
        ...     read_tensors(path)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: .../evil.pth cannot be read as torch weights (...STRING...); ...
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path of the weights.")
    content = path.read_bytes()
    try:
        tensors, storages = _zipped(content) if content[:2] == b"PK" else _in_a_row(content)
        return {name: _array(tensor, storages) for name, tensor in tensors.items()}
    except _DAMAGE as error:
        raise ValueError(
            f"{path} cannot be read as torch weights ({error}); give a file made by torch.save(model.state_dict(), path), "
            "or fetch it again if it is damaged."
        ) from error


def _in_a_row(content: bytes) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    """The old layout: magic number, protocol, facts of the system, the object, keys, then each storage's count and bytes."""
    file = io.BytesIO(content)
    if _walk(file) != _MAGIC or _walk(file) != _PROTOCOL:
        raise ValueError("it does not start as torch's files do")
    if not _walk(file)["little_endian"]:
        raise ValueError("it was written by a big-endian machine")
    found: dict[str, _Storage] = {}
    tensors = _tensors(_walk(file, found))
    storages = {}
    for key in _walk(file):
        if key not in found:
            raise ValueError(f"storage {key} belongs to no tensor")
        storage = found[key]
        (count,) = struct.unpack("<q", file.read(8))
        size = storage.length * storage.dtype.itemsize
        data = file.read(max(size, 0))
        if count != storage.length or len(data) != size:
            raise ValueError(
                f"storage {key} should hold {storage.length} numbers, but is cut short or longer"
            )
        storages[key] = np.frombuffer(data, storage.dtype)
    return tensors, storages


def _zipped(content: bytes) -> tuple[dict[str, _Tensor], dict[str, np.ndarray]]:
    """The zip layout: `NAME/data.pkl`, and each storage as `NAME/data/KEY`, stored as it is."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name.partition("/")[2]: name for name in archive.namelist()}
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise ValueError("it was written by a big-endian machine")
        if archive.getinfo(entries["data.pkl"]).file_size > len(content):
            raise ValueError("its table of contents is compressed, which torch does not do")
        found: dict[str, _Storage] = {}
        tensors = _tensors(_walk(io.BytesIO(archive.read(entries["data.pkl"])), found))
        storages = {}
        for key, storage in found.items():
            entry = archive.getinfo(entries[f"data/{key}"])
            if entry.file_size != storage.length * storage.dtype.itemsize or entry.file_size > len(content):
                raise ValueError(
                    f"storage {key} should hold {storage.length} numbers of type {storage.dtype}"
                )
            storages[key] = np.frombuffer(archive.read(entry), storage.dtype)
    return tensors, storages


def _walk(file: io.BytesIO, storages: dict[str, _Storage] | None = None) -> Any:
    """The value of one pickle made of plain containers, numbers, text and tensors; storages met are noted by key."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    for opcode, value, _ in pickletools.genops(file):
        name = opcode.name
        if name in _VALUES:
            stack.append(value)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[int(value)] = stack[-1]  # type: ignore[arg-type]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[int(value)])  # type: ignore[arg-type]
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in _TUPLES:
            items = tuple(stack[-_TUPLES[name] :])
            stack[-_TUPLES[name] :] = [items]
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else since_mark()
            _a(list, stack[-1]).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else since_mark()
            for key, item in zip(items[::2], items[1::2], strict=True):
                _a(dict, stack[-1])[_a((str, int), key)] = item  # others could take for ever to hash
        elif name == "GLOBAL":
            stack.append(_Name(str(value)))
        elif name == "REDUCE":
            arguments = _a(tuple, stack.pop())
            stack.append(_made(_a(_Name, stack.pop()), arguments))
        elif name == "BUILD":
            stack.pop()  # what an OrderedDict remembers besides its items: versions of modules
            _a(dict, stack[-1])
        elif name == "BINPERSID":
            storage = _storage(_a(tuple, stack.pop()))
            if storages is None or storages.setdefault(storage.key, storage) != storage:
                raise ValueError(f"storage {storage.key} is out of place")
            stack.append(storage)
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise ValueError(f"it uses the pickle instruction {name}, which no file of weights needs")
    raise ValueError("it ends before its time")


def _made(name: _Name, arguments: tuple) -> Any:
    if name.text == _DICT and not arguments:
        return {}
    if name.text == _TENSOR and len(arguments) >= 4:
        storage, offset, shape, strides = arguments[:4]
        sizes = (offset, *_a(tuple, shape), *_a(tuple, strides))
        if len(shape) != len(strides) or any(type(size) is not int or size < 0 for size in sizes):
            raise ValueError(f"a tensor of shape {shape} with strides {strides} from {offset} cannot be")
        return _Tensor(_a(_Storage, storage), offset, shape, strides)
    if name.text == _PARAMETER and arguments:
        return _a(_Tensor, arguments[0])
    raise ValueError(f"it asks for {name.text!r}, which is not needed for weights and is not run")


def _storage(facts: tuple) -> _Storage:
    """What `("storage", type, key, device, count[, no view])` says."""
    if len(facts) not in (5, 6) or facts[0] != "storage" or (len(facts) == 6 and facts[5] is not None):
        raise ValueError("it refers to something that is no storage of numbers")
    kind, key, count = _a(_Name, facts[1]).text, _a(str, facts[2]), facts[4]
    if kind not in _DTYPES or type(count) is not int or count < 0:
        raise ValueError(
            f"it holds a storage of kind {kind!r} with {count!r} numbers; known are {', '.join(_DTYPES)}"
        )
    return _Storage(key, np.dtype(_DTYPES[kind]), count)


def _tensors(tree: Any) -> dict[str, _Tensor]:
    tree = _a(dict, tree)
    tree = tree["state_dict"] if isinstance(tree.get("state_dict"), dict) else tree
    tensors = {str(name): value for name, value in tree.items() if isinstance(value, _Tensor)}
    if not tensors:
        raise ValueError("it holds no tensors by name")
    return tensors


def _array(tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    data = storages[tensor.storage.key]
    size = int(np.prod(tensor.shape, dtype=object))
    last = tensor.offset + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True))
    if size and (last >= len(data) or size > len(data)):  # a stride of 0 could ask for any amount of memory
        raise ValueError(f"a tensor of shape {tensor.shape} does not fit its storage of {len(data)} numbers")
    if not size:
        return np.zeros(tensor.shape, data.dtype)
    strides = tuple(s * data.itemsize for s in tensor.strides)
    return np.lib.stride_tricks.as_strided(data[tensor.offset :], tensor.shape, strides).copy()


def _a(kind: Any, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it has {type(value).__name__} where {kind} belongs")
    return value
