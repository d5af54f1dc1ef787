"""Readers of IDX, MNIST, CIFAR-10, npz and npy: what was written is read, and damaged files are named."""

import gzip
import re
import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from _data import draw, idx, write_mnist
from PIL import Image

from efm_jax.datasets import (
    as_pictures,
    batch,
    from_array,
    from_pictures,
    open_source,
    read_array,
    read_cifar10,
    read_idx,
    read_mnist,
    split_mask,
    with_classes,
)

RNG = np.random.default_rng(0)


def test_idx_of_every_dtype_plain_and_packed(tmp_path):
    for code, dtype in ((8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")):
        array = np.arange(-6, 6).astype(dtype).reshape(2, 3, 2)
        (tmp_path / "x").write_bytes(idx(array, code))
        (tmp_path / "x.gz").write_bytes(gzip.compress(idx(array, code)))
        for name in ("x", "x.gz"):
            read = read_idx(tmp_path / name)
            np.testing.assert_array_equal(read, array)
            assert read.dtype.isnative


def test_damaged_idx_files(tmp_path):
    good = idx(np.arange(60, dtype=np.uint8).reshape(3, 20))
    cases = {
        "empty": (b"", "not an IDX file.*nothing"),
        "html": (b"<html>", "not an IDX file"),
        "code": (bytes([0, 0, 7, 1]) + good[4:], "dtype code"),
        "header": (good[:7], "inside its header"),
        "short": (good[:-1], "60 bytes.*only 59"),
        "long": (good + b"x", "got more"),
        "lies": (bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"x", "only 1"),
        "short.gz": (gzip.compress(good)[:-12], "no readable IDX file"),
        "plain.gz": (good, "no readable IDX file"),
        "bomb.gz": (gzip.compress(idx(np.zeros(4, np.uint8)) + bytes(50_000_000)), "got more"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_idx(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a folder"):
        read_idx(tmp_path)


@pytest.mark.parametrize("pack", [False, True])
def test_mnist_folder(tmp_path, pack):
    images, labels = RNG.integers(0, 256, (5, 28, 28), np.uint8), np.array([3, 2, 3, 0, 3])
    write_mnist(tmp_path, images, labels, pack=pack)
    write_mnist(tmp_path, images[:2], labels[:2], "t10k", pack=pack)
    read = read_mnist(tmp_path)
    np.testing.assert_array_equal(read[0], images)
    np.testing.assert_array_equal(read[1], labels)
    assert len(read_mnist(tmp_path, "test")[0]) == 2
    source = open_source(f"mnist:{tmp_path}:3")
    assert source.shape == (32, 32, 3)
    assert source.size == 3
    assert open_source(f"mnist:{tmp_path}", split="test").size == 2
    assert open_source(f"mnist:{tmp_path}", split="all", gray=True, size=28).shape == (28, 28, 1)
    assert open_source(f"mnist:{tmp_path}", split="all").size == 7
    with pytest.raises(ValueError, match=r"class \[7\]"):
        open_source(f"mnist:{tmp_path}:7")


def test_emnist_names_its_classes(tmp_path):
    images, labels = RNG.integers(0, 256, (4, 28, 28), np.uint8), np.array([2, 1, 26, 2])
    for stem, n in (("train", 4), ("test", 2)):
        write_mnist(tmp_path, images[:n], labels[:n], f"emnist-letters-{stem}")
    assert open_source(f"mnist:{tmp_path}").class_names == ("1", "2", "26")
    mapping = tmp_path / "emnist-letters-mapping.txt"
    mapping.write_text("".join(f"{k} {64 + k} {96 + k}\n" for k in range(1, 27)))
    (tmp_path / "emnist-digits-mapping.txt").write_text("1 49\n2 50\n")
    source = open_source(f"mnist:{tmp_path}")
    assert source.class_names == ("A", "B", "Z")
    assert [one.size for one in source.classes] == [1, 2, 1]
    assert open_source(f"mnist:{tmp_path}", split="test").class_names == ("A", "B")
    assert open_source(f"mnist:{tmp_path}:26").class_names is None
    for text in ("1 65\n2 65\n", "1 65\n1 66\n", "1\n", "one 65\n", "1 -1\n", "\u00e9 65\n"):
        mapping.write_text(text)
        with pytest.raises(ValueError, match=r"emnist-letters-mapping\.txt is no readable EMNIST mapping"):
            open_source(f"mnist:{tmp_path}")


def test_bad_mnist_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_mnist(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.*notes\.txt"):
        read_mnist(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        read_mnist(tmp_path / "notes.txt")
    write_mnist(tmp_path, np.zeros((3, 4, 4)), np.zeros(2))
    with pytest.raises(ValueError, match="do not belong together"):
        read_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 4), np.uint8)))
    with pytest.raises(ValueError, match=r"uint8 pictures \[n, H, W\]"):
        read_mnist(tmp_path)
    (tmp_path / "emnist-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(ValueError, match="several"):
        read_mnist(tmp_path)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        read_mnist(tmp_path, "dev")


def test_cifar10_folder(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    images, labels = RNG.integers(0, 256, (6, 32, 32, 3), np.uint8), np.arange(6)
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    for name, image, label in zip(names, images, labels, strict=True):
        (folder / name).write_bytes(bytes([label]) + image.transpose(2, 0, 1).tobytes())
    for path in (tmp_path, folder):
        read = read_cifar10(path)
        np.testing.assert_array_equal(read[0], images[:5])
        np.testing.assert_array_equal(read[1], labels[:5])
    np.testing.assert_array_equal(read_cifar10(folder, "test")[0], images[5:])
    source = open_source(f"cifar10:{tmp_path}:4")
    np.testing.assert_array_equal(as_pictures(draw(source, 1), source.shape)[0], images[4])
    gray = open_source(f"cifar10:{tmp_path}:4", gray=True)
    expected = np.asarray(Image.fromarray(images[4]).convert("L"), int)
    # Pillow rounds its fixed-point luma down or up by one level
    assert np.abs(as_pictures(draw(gray, 1), (32, 32, 1))[0, :, :, 0] - expected).max() <= 1
    with pytest.raises(ValueError, match="class 9"):
        open_source(f"cifar10:{tmp_path}:9")
    with pytest.raises(ValueError, match="size=64 cannot change"):
        open_source(f"cifar10:{tmp_path}", size=64)
    (folder / "data_batch_2.bin").write_bytes(bytes(3072))
    with pytest.raises(ValueError, match=r"data_batch_2\.bin.*3072 bytes"):
        read_cifar10(folder)
    (folder / "data_batch_2.bin").write_bytes(bytes([77]) + bytes(3072))
    with pytest.raises(ValueError, match="label 77"):
        read_cifar10(folder)
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_2\.bin.*binary version"):
        read_cifar10(tmp_path)


def test_npz_and_npy(tmp_path):
    floats, images = RNG.normal(size=(20, 2)), RNG.integers(0, 256, (20, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "two.npz", x=floats, images=images)
    np.savez(tmp_path / "one.npz", x=floats)
    np.save(tmp_path / "x.npy", floats)
    for path, key in (("two.npz", "x"), ("one.npz", None), ("one.npz", "x"), ("x.npy", None)):
        np.testing.assert_array_equal(read_array(tmp_path / path, key), floats)
    sizes = [open_source(f"npz:{tmp_path}/two.npz:x", split=split).size or 0 for split in ("train", "test")]
    assert sum(sizes) == 20
    assert 3 <= sizes[1] <= 5
    assert open_source(f"npz:{tmp_path}/one.npz").shape == (2,)
    assert open_source(f"npy:{tmp_path}/x.npy", split="all").size == 20
    source = open_source(f"npz:{tmp_path}/two.npz:images")
    assert source.shape == (4, 4, 3)
    assert draw(source, 3).min() >= -1
    assert open_source(f"npz:{tmp_path}/two.npz:images", gray=True).shape == (4, 4, 1)
    for key, message in ((None, "needs a key.*x, images"), ("z", "no array 'z'.*x, images")):
        with pytest.raises(ValueError, match=message):
            read_array(tmp_path / "two.npz", key)
    with pytest.raises(ValueError, match="single array"):
        read_array(tmp_path / "x.npy", "x")


def test_damaged_and_pickled_arrays(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "cut.npz", x=np.zeros(1000))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:500])
    np.save(tmp_path / "cut.npy", np.zeros(1000))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:500])
    for name in ("objects.npz", "objects.npy"):
        with pytest.raises(ValueError, match=rf"{name} holds pickled"):
            read_array(tmp_path / name)
    for name in ("text.npy", "empty.npz"):
        with pytest.raises(ValueError, match=rf"{name} is no \.npy or \.npz file: it starts with b'"):
            read_array(tmp_path / name)
    for name in ("cut.npz", "cut.npy"):
        with pytest.raises(ValueError, match=rf"{name} is no readable"):
            read_array(tmp_path / name)
    np.save(tmp_path / "number.npy", np.float32(3))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    for name in ("number", "none"):
        with pytest.raises(ValueError, match="n >= 1"):
            open_source(f"npy:{tmp_path}/{name}.npy")


def header(shape: str, dtype: str = "<f4") -> bytes:
    """An .npy file of 128 bytes, whatever it promises."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.ljust(117).encode() + b"\n"


def zipped(path, content: bytes, name: str = "x.npy") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header("(2000000000000,)"), "its header tells of 8000000000000 bytes, and at most 0 follow"),
        (header("(-1,)"), "its header tells of -4 bytes"),
        (header("(3"), "cannot parse|Cannot parse|EOF"),  # TokenError
        (header("(" * 60), "parse|EOF|nested"),
        (header("(3,)", "|O"), "holds pickled Python objects"),
        (header("(3,)", "<f99"), "no readable"),
        (b"\x93NUMPY\x09\x00", "no readable"),
    ],
)
def test_a_header_that_promises_what_is_not_there(tmp_path, content, said):
    (tmp_path / "x.npy").write_bytes(content)
    zipped(tmp_path / "x.npz", content)
    for name in ("x.npy", "x.npz"):
        with pytest.raises(ValueError, match=rf"{name} (is no readable|holds pickled)") as caught:
            read_array(tmp_path / name)
        assert re.search(said, str(caught.value)) or name == "x.npz"  # which may hold more than its own size
    with pytest.raises(ValueError, match=r"x\.npy "):
        open_source(f"npy:{tmp_path / 'x.npy'}")


def test_what_is_no_array_is_not_called_pickled(tmp_path):
    (tmp_path / "x.csv").write_text("1,2\n3,4\n")
    with pytest.raises(
        ValueError, match=r"x\.csv is no \.npy or \.npz file: it starts with b'1,2\\n3,'"
    ) as caught:
        open_source(f"npy:{tmp_path / 'x.csv'}")
    assert "pickle" not in str(caught.value)
    zipped(tmp_path / "other.npz", b"hello", "note.txt")
    with pytest.raises(ValueError, match="its arrays are none"):
        read_array(tmp_path / "other.npz")
    (tmp_path / "x.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"x\.npz is no readable"):
        read_array(tmp_path / "x.npz")


def memory_of(program: str, folder) -> float:
    """Megabytes that a program takes beyond those of the imports."""
    start = (
        "import resource, numpy as np\nfrom efm_jax.datasets import *\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\nbefore = used()\n"
    )
    end = "\nprint(used() - before)"
    done = subprocess.run(
        [sys.executable, "-c", start + program + end], cwd=folder, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_arrays_are_read_as_far_as_they_are_used(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((10_000, 32, 32, 3), np.uint8))  # 30 kB for 31 MB
    array = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, (40_000, 1000))  # 320 MB
    array[7] = 7.0
    del array
    first = "x = read_array('x.npz', 'x', 5); assert x.shape == (5, 32, 32, 3)"
    assert memory_of(first, tmp_path) < 8
    # checked once in blocks of 4 million numbers, then a few rows; pages of the file itself may be dropped at any time
    program = "import tracemalloc; tracemalloc.start(); s = open_source('npy:x.npy', split='all')\n"
    program += (
        "assert batch(s, 0, 0, 0, 8).shape == (8, 1000); peak = tracemalloc.get_traced_memory()[1] / 2**20\n"
    )
    program += "assert peak < 64, peak"
    memory_of(program, tmp_path)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<f2", "|u1"])
def test_a_mapped_array_is_drawn_as_one_in_memory(tmp_path, dtype):
    array = (100 * RNG.uniform(size=(30, 4, 3))).astype(dtype)
    for order in ("C", "F"):
        np.save(tmp_path / "x.npy", np.asarray(array, order=order))
        kept = open_source(f"npy:{tmp_path / 'x.npy'}", split="train")
        rows = array[split_mask(30, "train", 0.2)]
        plain = from_pictures(rows) if dtype == "|u1" else from_array(np.array(rows, np.float32))
        np.testing.assert_array_equal(batch(kept, 1, 0, 2, 9), batch(plain, 1, 0, 2, 9))
        np.savez(tmp_path / "x.npz", x=np.asarray(array, order=order), labels=np.arange(30) % 2)
        labeled = open_source(f"npz:{tmp_path / 'x.npz'}:x", split="train")
        of_rows = with_classes(plain, (np.arange(30) % 2)[split_mask(30, "train", 0.2)])
        for label in (0, 1, -1):
            drawn, expected = (batch(source, 1, 0, 2, 9, labels=[label]) for source in (labeled, of_rows))
            np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(read_array(tmp_path / "x.npz", "x", 4), array[:4])


def test_pictures_in_0_to_1_are_told(tmp_path):
    x = RNG.uniform(size=(10, 4, 4, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    with pytest.warns(UserWarning, match=r"(?s)none of its values is below 0, got 0\.0.*give 2 \* array - 1"):
        open_source(f"npy:{tmp_path / 'x.npy'}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in (2 * x - 1, np.zeros_like(x), x.reshape(10, -1), np.full_like(x, 0.5)):
            from_array(fine)


@pytest.mark.parametrize(
    "name", ["noise:99999x99999x3", "gaussian:9999999999", f"noise:{'9' * 5000}", "gaussian:1x2"]
)
def test_samples_of_more_numbers_than_fit_are_refused(name):
    with pytest.raises(ValueError, match=r"more than 268,435,456; give a smaller shape|needs a whole number"):
        open_source(name)
