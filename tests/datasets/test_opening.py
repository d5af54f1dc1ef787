"""Sources by their names: each opens with its shape and split, and a name or option that does not fit is mended."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from _data import draw, write_mnist
from PIL import Image

from efm_jax import cli, runs
from efm_jax.datasets import as_pictures, open_source
from efm_jax.models import build, configs


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


def test_a_path_alone_is_opened_as_what_it_is(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 5)))
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (4, 6)).save(tmp_path / "pictures" / "x.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for path, shape in (("x.npy", (2,)), ("x.npz", (5,)), ("pictures", (6, 4, 3)), ("~/pictures", (6, 4, 3))):
        assert open_source(path, split="all").shape == shape
        assert open_source(Path(path), split="all").shape == shape
    (tmp_path / "moons").mkdir()
    assert open_source("moons").shape == (2,)  # names of data come first
    with pytest.raises(FileNotFoundError, match="moons holds no picture"):
        open_source(Path("moons"))
    for name, said in (
        ("x.png", "'x.png' is a file of no kind that holds data"),
        ("~nosuchuser", "no home directory for ~nosuchuser"),
    ):
        with pytest.raises(ValueError, match=said):
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


def test_sizes_may_be_height_and_width(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    assert open_source(f"folder:{tmp_path}", size=(4, 6), split="all").shape == (4, 6, 3)
    assert open_source("noise:4x6x3", size=(4, 6)).shape == (4, 6, 3)
    for name, size, said in (
        ("digits", (32, 48), "padded to a square, so size must be one side"),
        ("noise:4x6x3", (6, 4), "which size=\\(6, 4\\) cannot change"),
        ("digits", (32, 0), "pair"),
        ("digits", (32,), "pair"),
    ):
        with pytest.raises(ValueError, match=said):
            open_source(name, size=size)


def test_options_of_pictures_reach_a_run_from_the_command(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for side in "pq":
        (tmp_path / side).mkdir()
        for k in range(20):
            levels = rng.integers(0, 4096, (9, 9)).astype(np.uint16)
            levels[0, 0] = 4095
            Image.fromarray(levels).save(tmp_path / side / f"{k}.png")
        Image.new("LA", (9, 9), (200, 0)).save(tmp_path / side / "clear.png")
        (tmp_path / side / "broken.png").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    taken = []
    monkeypatch.setattr(runs, "train", lambda run, config, **_: taken.append(configs.named(config)))
    options = [
        "--data.source",
        "p",
        "--data.target",
        "q",
        "--data.size",
        "4",
        "6",
        "--data.gray",
        "--data.flip",
    ]
    options += [
        "--data.held-out",
        "0.5",
        "--data.on-error",
        "skip",
        "--data.background",
        "7",
        "--data.levels",
        "4095",
    ]
    cli.main(["train", "images", *options, "--run", "run", "--no-report", "--no-progress"])
    (config,) = taken
    assert config.data == configs.Data("folder:p", "folder:q", (4, 6), None, True, True, 0.5, "skip", 7, 4095)
    saved = json.loads(json.dumps(configs.to_dict(config)))
    assert configs.from_dict(saved).data == config.data
    with pytest.raises(
        ValueError, match=r"config\.data\.size must be a whole number or a pair of them, got \[1, 2, 3\]"
    ):
        configs.from_dict({"data": {"size": [1, 2, 3]}})

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "left out 1 of 22")
        (pos, _), (test, _) = (build.sources(config.data, split=split) for split in ("train", "test"))
        plain = open_source(
            "p", size=(4, 6), gray=True, held_out=0.5, on_error="skip", background=7, levels=4095
        )
    assert pos.shape == (4, 6, 1)
    assert (pos.size, test.size) == (plain.size, 21 - plain.size)
    assert 6 <= pos.size <= 15  # of 21, half by a hash of the names: two standard errors
    drawn, straight = draw(pos, pos.size).reshape(-1, 4, 6), draw(plain, plain.size).reshape(-1, 4, 6)
    found = [any(np.array_equal(x, y) or np.array_equal(x[:, ::-1], y) for y in straight) for x in drawn]
    assert all(found)
    assert sum(any(np.array_equal(x, y) for y in straight) for x in drawn) < len(drawn)
    both = np.concatenate([draw(pos, pos.size), draw(test, test.size)])
    assert any(
        (as_pictures(x[None], (4, 6, 1)) == 7).all() for x in both
    )  # the background behind the clear one
    with pytest.raises(ValueError, match=r"broken\.png cannot be read .*--data\.on-error skip"):
        build.sources(replace(config.data, on_error="stop"))


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        (
            (9, 4, 4, 3),
            {"gray": True},
            r"float32 samples of shape \(4, 4, 3\), and gray is for 8-bit pictures",
        ),
        (
            (9, 4, 4, 3),
            {"flip": True},
            "flip is for 8-bit pictures.\nLeave --data.flip out, or save .* as uint8",
        ),
        ((9, 4), {"gray": True}, r"shape \(4,\), and gray is for"),
        ((9, 4), {"flip": True}, r"shape \(4,\), and flip is for"),
        ((9, 4), {"jitter": 1.0}, r"x.npy: only a finite set of pictures .*, got samples of shape \(4,\)"),
        ((9, 4), {"jitter": -1.0}, "jitter must be a finite number >= 0, got -1.0"),
    ],
)
def test_options_of_pictures_that_an_array_cannot_take_are_refused(shape, options, said, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=said):
        open_source(tmp_path / "x.npy", **options)


def test_of_gray_float_pictures_gray_changes_nothing(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((9, 4, 4, 1), np.float32))
    assert open_source(tmp_path / "x.npy", gray=True, jitter=1.0).shape == (4, 4, 1)
    with pytest.raises(ValueError, match="jitter must be a finite number >= 0, got nan"):
        open_source("moons", jitter=float("nan"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"levels": 4095}, "data.levels 4095 is for folder, tar, parquet, got gaussian:2 and digits"),
        ({"flip": True}, "data.flip True is for folder, tar, parquet, cifar10, npz, npy"),
        ({"on_error": "skip"}, "data.on_error skip is for folder"),
    ],
)
def test_options_that_neither_side_has_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        build.run(configs.Run(data=configs.Data("gaussian:2", "digits", **options)))
