"""Readers of IDX, MNIST, CIFAR-10, npz and npy: what was written is read, and damaged files are named."""

import gzip

import numpy as np
import pytest
from _data import draw, idx, write_mnist
from PIL import Image

from efm_jax.datasets import as_pictures, open_source, read_array, read_cifar10, read_idx, read_mnist

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
        "short.gz": (gzip.compress(good)[:-12], r"no readable IDX file.*end-of-stream"),
        "plain.gz": (good, r"no readable IDX file.*end-of-stream"),
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
