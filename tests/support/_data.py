"""What tests of data share: one batch of a source, and MNIST's files written by hand."""

import gzip
import struct
from pathlib import Path

import numpy as np

from efm_jax.datasets import Source, batch


def draw(source: Source, n: int, seed: int = 0) -> np.ndarray:
    return batch(source, seed, 0, 0, n)


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(
    folder: Path, images: np.ndarray, labels: np.ndarray, stem: str = "train", pack: bool = False
) -> None:
    for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
        data = idx(array.astype(np.uint8))
        (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(data) if pack else data)
