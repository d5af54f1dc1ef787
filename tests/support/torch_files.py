"""Torch's two layouts of a file of weights, assembled by hand: what `torch.save` writes, and what it never would."""

import io
import pickle
import struct
import zipfile

import numpy as np

KINDS = {
    "f4": "FloatStorage",
    "f8": "DoubleStorage",
    "f2": "HalfStorage",
    "i8": "LongStorage",
    "i4": "IntStorage",
    "i2": "ShortStorage",
    "i1": "CharStorage",
    "u1": "ByteStorage",
    "b1": "BoolStorage",
}
ORDERED = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def row(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key: str, dtype: str, length: int, offset: int, shape, strides) -> bytes:
    storage = b"(" + text("storage") + f"ctorch\n{KINDS[dtype]}\n".encode() + text(key) + text("cpu")
    storage += number(length) + b"tQ"
    arguments = storage + number(offset) + row(*shape) + row(*strides) + b"\x89" + ORDERED
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def whole(key: str, array: np.ndarray) -> bytes:
    """A tensor that is all of its storage, in the array's own order of axes."""
    strides = [s // array.itemsize for s in array.strides]
    return tensor(key, array.dtype.str[1:], array.size, 0, array.shape, strides)


def tree(entries: dict[str, bytes]) -> bytes:
    """A pickled OrderedDict of them, with the versions of modules that torch adds."""
    items = b"".join(text(name) + value for name, value in entries.items())
    extra = b"}" + text("_metadata") + ORDERED + b"s" + b"b"
    return b"\x80\x02" + ORDERED + b"(" + items + b"u" + extra + b"."


def old(body: bytes, storages: dict[str, np.ndarray], *, lengths: dict[str, int] | None = None) -> bytes:
    system = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    heads = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts = [*heads, body, pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        length = (lengths or {}).get(key, storages[key].size)
        parts.append(struct.pack("<q", length) + storages[key].tobytes("A"))
    return b"".join(parts)


def zipped(body: bytes, storages: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights/data.pkl", body)
        archive.writestr("weights/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"weights/data/{key}", array.tobytes("A"))
    return buffer.getvalue()


def saved(arrays: dict[str, np.ndarray], layout=old) -> bytes:
    """A file of weights as torch would save these arrays."""
    storages = {str(i): array for i, array in enumerate(arrays.values())}
    body = tree({name: whole(str(i), array) for i, (name, array) in enumerate(arrays.items())})
    return layout(body, storages)
