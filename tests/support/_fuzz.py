"""Malformed files for every reader, read in a process of their own, whose memory is bounded and whose PATH holds traps."""

import io
import json
import os
import resource
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from efm_jax import checkpoint, models
from efm_jax._core import logs, outputs
from efm_jax.datasets import batch, common_size, fit_pictures, open_source, read_array, read_idx
from efm_jax.evaluation.features.torch_file import read_tensors
from efm_jax.models import configs, space
from efm_jax.models.loading import find
from efm_jax.training.state import TrainState

CLEAR = (ValueError, OSError, ImportError)
ALLOWED = 1 << 29
"""Bytes that the reading of one malformed file may take more than the imports do."""

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def picture(kind: str, mode: str = "RGB") -> bytes:
    """A small picture file, the same in every process."""
    out = io.BytesIO()
    grains = np.random.default_rng(0).integers(0, 256, (2, 16, 20), np.uint8)
    frames = [
        Image.fromarray(grain).convert(mode if mode != "I;16" else "I").convert(mode) for grain in grains
    ]
    frames[0].save(
        out,
        kind,
        **({"save_all": True, "append_images": frames[1:]} if kind in ("GIF", "TIFF", "WEBP", "PNG") else {}),
    )
    return out.getvalue()


def saved(save: Callable, *arrays, **named) -> bytes:
    """What a function of NumPy writes."""
    out = io.BytesIO()
    save(out, *arrays, **named)
    return out.getvalue()


def state() -> TrainState:
    """The smallest state there is."""
    zero = np.zeros((), np.int32)
    return TrainState(
        {"a": np.zeros(2, np.float32)},
        {"a": np.zeros(2, np.float32)},
        (),
        zero,
        jax.random.key(0),
        zero,
        zero,
    )


def seeds() -> dict[str, list[bytes]]:
    """Sound files, by the reader that they are for."""
    rng = np.random.default_rng(0)
    pictures = [picture(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")]
    pictures += [picture("PNG", mode) for mode in ("L", "RGBA", "P", "1", "I;16")]
    pictures += [picture("TIFF", mode) for mode in ("L", "CMYK", "F", "I;16")]
    images = rng.integers(0, 256, (20, 4, 4, 3), np.uint8)
    arrays = [saved(np.save, images), saved(np.save, rng.normal(size=(20, 5)))]
    archives = [saved(save, x=images, labels=np.arange(20) % 3) for save in (np.savez, np.savez_compressed)]
    idx = bytes([0, 0, 8, 3]) + struct.pack(">3I", 4, 3, 3) + bytes(36)
    model = find("moons")
    return {
        "picture": pictures,
        "array": arrays + archives,
        "npz": archives,
        "idx": [idx],
        "config": [json.dumps(configs.to_dict(configs.Run())).encode()],
        "model": [(model / "config.json").read_bytes(), (model / "model.safetensors").read_bytes()],
        "space": [
            saved(
                np.savez,
                mean=np.zeros(3, "f4"),
                basis=np.eye(3, 2, dtype="f4"),
                scale=np.ones(2, "f4"),
            )
        ],
        "log": [b'{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.4}\n'],
        "marker": [json.dumps({"made_by": "efm_jax", "files": ["a.png"], "earlier": []}).encode()],
        "torch": [saved(lambda out: zipfile.ZipFile(out, "w").writestr("a/data.pkl", b"\x80\x02}q\x00."))],
    }


def npy(text: bytes) -> bytes:
    """An npy file of 128 bytes with this head."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.ljust(117) + b"\n"


HOSTILE = [
    b"",
    b"\0",
    POSTSCRIPT,
    npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2000000000000,), }"),
    npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"),
    npy(b"(" * 90),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"seed": 1e999, "steps": ' + b"9" * 4000 + b"}",
    b'{"recipe": {"gap": ' + b"9" * 400 + b"}}",
    b'{"step": NaN}',
    b"P6 99999 99999 255\n",
    b"\x80\x04\x95cposix\nsystem\n(S'touch mark'\ntR.",
]
"""What no accident makes."""


LEAVES = [
    1 << 31,
    3 << 40,
    -(3 << 40),
    10**400,
    0,
    -1,
    0.5,
    -1e300,
    float("nan"),
    "x",
    None,
    True,
    [],
    {},
    [1 << 70],
]
"""Values that stand in a file of JSON where another should."""


def another_leaf(rng: np.random.Generator, content: bytes) -> bytes:
    """JSON of which one value is another."""
    try:
        tree = json.loads(content)
    except ValueError:
        return content
    place, key = {"": tree}, ""
    while isinstance(place[key], dict | list) and place[key]:
        place = place[key]
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = keys[rng.integers(len(keys))]
    place[key] = LEAVES[rng.integers(len(LEAVES))]
    return json.dumps(tree).encode()


def damaged(rng: np.random.Generator, content: bytes, others: list[bytes]) -> bytes:
    """One damage of a file: cut, changed, grown, shuffled, or another file in its place."""
    how, data = rng.integers(10), bytearray(content)
    size = max(len(data), 1)
    a, b = sorted(rng.integers(0, size + 1, 2).tolist())
    head = min(size, 64)
    if how == 0:
        data = data[:a]
    elif how == 1:
        for i in rng.integers(0, size, 1 + size // 50):
            data[i : i + 1] = bytes([rng.integers(256)])
    elif how == 2:  # heads hold sizes
        for i in rng.integers(0, head, 3):
            data[i : i + 1] = bytes([rng.integers(256)])
    elif how == 3:
        data[a:b] = b""
    elif how == 4:
        data[a:a] = bytes(data[a:b]) * 2
    elif how == 5:
        i = int(rng.integers(0, head))
        data[i : i + 4] = [b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff" * 4, bytes(4)][rng.integers(4)]
    elif how == 6:
        data[a:b] = rng.bytes(b - a)
    elif how == 7:  # numbers in text
        data = bytearray(
            b"".join(
                str(rng.integers(0, 1 << 40)).encode()
                if chr(c).isdigit() and rng.random() < 0.05
                else bytes([c])
                for c in data[:20_000]
            )
        )
    elif how == 8 and content[:1] == b"{" and content[-1:] == b"}":
        data = bytearray(another_leaf(rng, content))
    else:
        data = bytearray((HOSTILE + others)[rng.integers(len(HOSTILE) + len(others))])
    return bytes(data)


def reads(folder: Path, rng: np.random.Generator) -> dict[str, Callable[[bytes], object]]:
    """What reads the files of each kind."""

    def write(name: str, content: bytes) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def of_pictures(content: bytes) -> None:
        for old in (folder / "pictures").glob("*"):
            old.unlink()
        write(f"pictures/a{rng.choice(['.png', '.jpg', '.gif', '.tif', '.webp', '.bmp', '.jpe'])}", content)
        write("pictures/good.png", GOOD)
        fit_pictures.read(folder / "pictures", (8, 8, 3))
        common_size([folder / "pictures"])
        batch(open_source(f"folder:{folder / 'pictures'}", size=8, split="all"), 0, 0, 0, 2)

    def of_arrays(content: bytes) -> None:
        path = write("x.npz", content)
        read_array(path, "x" if content[:2] == b"PK" else None, limit=3)
        batch(open_source(f"npy:{path}" if content[:2] != b"PK" else f"npz:{path}:x"), 0, 0, 0, 2)

    def of_mnist(content: bytes) -> None:
        read_idx(write("digits/train-images-idx3-ubyte", content))
        write("digits/train-labels-idx1-ubyte", bytes([0, 0, 8, 1]) + struct.pack(">I", 4) + bytes(4))
        open_source(f"mnist:{folder / 'digits'}")
        write("cifar/test_batch.bin", content)
        open_source(f"cifar10:{folder / 'cifar'}", split="test")

    def of_model(content: bytes) -> None:
        for name in ("config.json", "model.safetensors"):
            write(f"model/{name}", (find("moons") / name).read_bytes())
        write("model/config.json" if content[:1] == b"{" else "model/model.safetensors", content)
        models.load(folder / "model")

    checkpoint.save(folder / "checkpoints", state(), meta={"shape": [2]})
    record = next((folder / "checkpoints").iterdir()) / "checkpoint.json"

    def of_checkpoint(content: bytes) -> None:
        record.write_bytes(content)
        checkpoint.read_meta(record.parents[1])
        checkpoint.restore(record.parents[1], state())

    return {
        "picture": of_pictures,
        "array": of_arrays,
        "npz": lambda content: read_array(write("y.npz", content), "x"),
        "idx": of_mnist,
        "config": lambda content: configs.load(write("config.json", content)),
        "model": of_model,
        "space": lambda content: space.load(write("space.npz", content)),
        "log": lambda content: logs.read(write("log.jsonl", content)),
        "marker": lambda content: outputs.written(write("out/lines.json", content).parent),
        "record": of_checkpoint,
        "torch": lambda content: read_tensors(write("x.pt", content)),
    }


def main(count: int, seed: int) -> None:
    """Read `count` malformed files; print what was raised, how often, and the memory taken."""
    rng, found, faults, slowest = np.random.default_rng(seed), Counter(), [], (0.0, "")
    sound = seeds()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = reads(Path(name), rng)
        sound["record"] = [next(Path(name).glob("checkpoints/*/checkpoint.json")).read_bytes()]
        for kind, read in known.items():  # sound files first: compiled and cached is what they need
            for content in sound[kind]:
                try:
                    read(content)
                except CLEAR as error:
                    found[f"sound {kind}: {error}"[:300]] += 1
        everything = [content for contents in sound.values() for content in contents]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + 4 * ALLOWED, -1))
        for k in range(count):
            kind = [*known][k % len(known)]
            content = damaged(rng, sound[kind][rng.integers(len(sound[kind]))], everything)
            began = time.perf_counter()
            try:
                known[kind](content)
                found["read"] += 1
            except CLEAR as error:
                found[type(error).__name__] += 1
            except BaseException as error:
                faults.append(f"{kind} {k}: {type(error).__name__}: {error}"[:300])
            slowest = max(slowest, (time.perf_counter() - began, kind))
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps({"found": found, "faults": faults, "kilobytes": taken, "slowest": slowest}))


GOOD = picture("PNG")

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
