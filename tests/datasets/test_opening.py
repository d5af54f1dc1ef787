"""Sources by their names: each opens with its shape and split, and a name or option that does not fit is mended."""

import re

import numpy as np
import pytest
from _data import draw, write_mnist

from efm_jax.datasets import open_source


@pytest.mark.smoke
def test_sources_by_name():
    shapes = {
        "digits": (32, 32, 3),
        "digits:3": (32, 32, 3),
        "noise:4x5x3": (4, 5, 3),
        "noise:7": (7,),
        "gaussian:5": (5,),
        "moons": (2,),
        "swiss_roll": (2,),
        "two_gaussians": (2,),
        "eight_gaussians": (2,),
        "s_curve": (2,),
        "checkerboard": (2,),
        "rings": (2,),
    }
    for name, shape in shapes.items():
        source = open_source(name)
        assert source.shape == shape
        x = draw(source, 3)
        assert x.shape == (3, int(np.prod(shape)))
        assert np.isfinite(x).all()
    assert open_source("digits:3", size=28).shape == (28, 28, 3)
    assert open_source("digits", gray=True).shape == (32, 32, 1)


def test_wheel_splits_share_no_digit():
    train, test = (open_source("digits:3", split=split, gray=True) for split in ("train", "test"))
    assert (train.size or 0) + (test.size or 0) == 500
    assert test.size == pytest.approx(100, abs=2)
    seen = {x.tobytes() for x in draw(train, train.size or 0)}
    assert not seen & {x.tobytes() for x in draw(test, test.size or 0)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits:/x", "no data named 'mnits:/x'.*did you mean 'mnist'.*swiss_roll"),
        ("", "no data named"),
        ("nowhere/at_all", "and no file or folder of that name; known are digits"),
        (None, "by a string that names them, got None; known are digits"),
        ("moons:3", "takes nothing after its name"),
        ("gaussian", "write gaussian:DIM"),
        ("gaussian:two", "'two'; write gaussian:DIM"),
        ("gaussian:0", "dim must be"),
        ("noise:3x", "write noise:HxWxC"),
        ("noise:0x3", "integers >= 1"),
        ("digits:three", "write digits"),
        ("digits:12", r"class \[12\]"),
        ("mnist", "incomplete; write mnist:PATH"),
        ("folder:", "incomplete; write folder:PATH"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        open_source(name)


def test_bad_options_of_open_source(tmp_path):
    for options, message in (
        ({"split": "dev"}, "'train', 'test'"),
        ({"size": 0}, "size must be"),
        ({"size": 20}, "at least the pictures' 28"),
        ({"held_out": 1.0}, "share"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source("digits", **options)
    with pytest.raises(ValueError, match="cannot change"):
        open_source("moons", size=32)
    for name in (
        f"mnist:{tmp_path}/no",
        f"cifar10:{tmp_path}/no",
        f"npz:{tmp_path}/no.npz:x",
        f"npy:{tmp_path}/no.npy",
    ):
        with pytest.raises(FileNotFoundError, match="check the path"):
            open_source(name)


def test_a_path_alone_is_told_its_kind(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    (tmp_path / "x.txt").write_text("hello")
    for path, mend in (
        (tmp_path, f"write 'folder:{tmp_path}'"),
        (tmp_path / "x.npy", f"write 'npy:{tmp_path}/x.npy'"),
        (tmp_path / "x.txt", "npy:PATH or npz:PATH"),
    ):
        for name in (path, str(path)):
            with pytest.raises(ValueError, match=re.escape(mend)):
                open_source(name)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_array_is_told_in_the_rows_and_shape_of_its_file(tmp_path, split):
    x = np.zeros((60, 3), np.float32)
    x[3] = np.nan  # row 3 is the third of the training split, and not of the test split
    for array, told in ((x, "in 1 of 60 samples, the first at index 3"), (x[:, 0], r"got \(60,\)")):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(ValueError, match=rf"^npy:{tmp_path}/x\.npy: array .*{told}"):
            open_source(f"npy:{tmp_path}/x.npy", split=split)


def test_paths_may_hold_colons_and_tildes(tmp_path, monkeypatch):
    folder = tmp_path / "a:3"
    folder.mkdir()
    write_mnist(folder, np.zeros((4, 28, 28)), np.array([3, 3, 2, 1]))
    assert open_source(f"mnist:{folder}").size == 4
    assert open_source(f"mnist:{folder}:3").size == 2
    np.savez(folder / "x.npz", k=np.zeros((3, 2)))
    assert open_source(f"npz:{folder}/x.npz", split="all").size == 3
    assert open_source(f"npz:{folder}/x.npz:k", split="all").size == 3
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("mnist:~/a:3:3").size == 2
    assert open_source("mnist:~/a:3").size == 4
