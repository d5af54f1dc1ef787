"""What is written into a person's folder: no picture lost to another's name, no file of theirs overwritten."""

import json

import numpy as np
import pytest
from PIL import Image

from efm_jax import cli, models
from efm_jax._core import outputs
from efm_jax.models import apply, build, configs
from efm_jax.types import FieldLines

SHAPE = (4, 4, 3)


@pytest.fixture
def arrives(monkeypatch):
    """A field whose lines stay where they are; of each call, which arrive."""
    config = configs.Run(data=configs.Data("gaussian:48", "folder:b"))
    trained = models.Trained(config, build.recipe(config.recipe), None, None, SHAPE, 0.0)
    which, followed = [True], []

    def stay(trained, x, **_):
        followed.append(len(x))
        end = np.concatenate([x, np.full((len(x), 1), 10.0, np.float32)], axis=1)
        arrived = np.resize(np.array(which), len(x))
        return FieldLines(end, None, arrived, np.ones(len(x), np.int32))

    monkeypatch.setattr(apply, "load", lambda run: trained)
    monkeypatch.setattr(apply, "transport", stay)
    return which, followed


def save(folder, levels):
    """Pictures of one gray each."""
    for name, level in levels.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SHAPE[:2], (level,) * 3).save(path)


def level(path):
    return int(np.asarray(Image.open(path)).flat[0])


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg_2.png", "a.jpg.png", "a.png"]),
        (["a.jpg", "a.webp"], ["a.jpg.png", "a.webp.png"]),
        (["a.jpg", "a.png/b.png"], ["a.jpg.png", "a.png/b.png"]),
        (["a.jpg", "a.png/b.png", "a.jpg.png/c.bmp"], ["a.jpg_2.png", "a.png/b.png", "a.jpg.png/c.png"]),
        (["A.PNG", "A.jpg", "a.png"], ["A.PNG.png", "A.jpg.png", "a.png"]),  # a disk may not tell A from a
        (["v1.2.jpg", "deep/v1.jpg"], ["v1.2.png", "deep/v1.png"]),
        (["00000", "00001"], ["00000.png", "00001.png"]),
    ],
)
def test_every_picture_has_a_file_of_its_own(names, files):
    assert outputs.as_png(names) == files


def test_the_picture_of_all_is_beside_the_persons(arrives, tmp_path):
    save(tmp_path / "in", {"pairs.png": 3, "pairs_all.png/x.png": 4})
    apply.translate("run", tmp_path / "in", tmp_path / "out")
    assert level(tmp_path / "out" / "pairs.png") == 3
    assert (tmp_path / "out" / "pairs_all_2.png").is_file()


def test_a_file_of_the_persons_is_never_overwritten_unasked(arrives, tmp_path):
    save(tmp_path, {"ov/a.png": 1, "ov/b.png": 2, "ov/sub/a.png": 3, "ov/sub/b.jpg": 4})
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"2 of the 4 files .* the first is .*/ov/a\.png\.\n.* --overwrite"):
        apply.translate("run", tmp_path / "ov" / "sub", tmp_path / "ov")
    assert arrives[1] == []  # no line was followed
    assert contents(tmp_path) == before
    apply.translate("run", tmp_path / "ov" / "sub", tmp_path / "ov", overwrite=True)
    assert level(tmp_path / "ov" / "a.png") == 3
    assert {name: contents(tmp_path)[name] for name in ("ov/sub/a.png", "ov/sub/b.jpg")} == {
        name: before[name] for name in ("ov/sub/a.png", "ov/sub/b.jpg")
    }


def test_results_of_two_calls_are_not_mixed(arrives, tmp_path):
    save(tmp_path, {"one/a.png": 1, "one/deep/b.png": 2, "two/a.png": 3})
    out = tmp_path / "out"
    apply.translate("run", tmp_path / "one", out)
    save(out, {"mine.png": 9})
    before, followed = contents(out), [*arrives[1]]
    told = r"output .*/out holds 3 files of an earlier call.\nGive another output folder, or replace all .*--overwrite"
    with pytest.raises(ValueError, match=told):
        apply.translate("run", tmp_path / "two", out)
    with pytest.raises(ValueError, match=told):
        apply.generate("run", 2, out)
    assert (contents(out), arrives[1]) == (before, followed)
    last = apply.translate("run", tmp_path / "two", out, overwrite=True)
    assert sorted(contents(out)) == ["a.png", "lines.json", "mine.png", "pairs.png"]
    assert not (out / "deep").exists()
    assert (level(out / "a.png"), level(out / "mine.png")) == (3, 9)
    assert last.told == (f"Removed 1 picture of an earlier call from {out}/",)
    marked = json.loads((out / "lines.json").read_text())
    assert (marked["files"], marked["earlier"]) == (["a.png", "pairs.png"], [])
    assert apply.generate("run", 2, out, overwrite=True).told == (
        f"Removed 2 pictures of an earlier call from {out}/",
    )
    assert sorted(contents(out)) == ["00000.png", "00001.png", "grid.png", "lines.json", "mine.png"]


def test_a_call_that_was_stopped_may_be_done_again(arrives, tmp_path):
    out = tmp_path / "out"
    save(tmp_path, {"in/a.png": 5, "out/a.png": 1, "out/b.png": 2})
    outputs.mark(out, ["a.png", "b.png", "pairs.png"])
    apply.translate("run", tmp_path / "in", out)
    assert sorted(contents(out)) == ["a.png", "lines.json", "pairs.png"]
    # a list that is somebody else's lists nothing
    (out / "lines.json").write_text('{"files": ["a.png"]}')
    with pytest.raises(ValueError, match=r"3 of the 3 files"):
        apply.translate("run", tmp_path / "in", out)


def test_only_files_below_the_folder_are_removed(arrives, tmp_path):
    save(tmp_path, {"in/a.png": 5, "other/b.png": 1, "c.png": 2, "out/sub/d.png": 3})
    out = tmp_path / "out"
    (out / "link").symlink_to(tmp_path / "other")
    outputs.mark(out, ["../c.png", str(tmp_path / "c.png"), "link/b.png", "sub"], arrived=[])
    apply.translate("run", tmp_path / "in", out, overwrite=True)
    assert {"c.png", "other/b.png", "out/sub/d.png"} <= contents(tmp_path).keys()


def test_results_that_are_read_are_not_removed(arrives, tmp_path):
    save(tmp_path, {"in/deep/a.png": 1, "in/b.png": 2})
    apply.translate("run", tmp_path / "in", tmp_path / "out")
    with pytest.raises(ValueError, match=r"out/deep/a\.png is an input and would be removed"):
        apply.translate("run", tmp_path / "out" / "deep", tmp_path / "out", overwrite=True)


def test_an_output_in_the_input_is_not_read_again(arrives, tmp_path):
    save(tmp_path, {"a.png": 1, "deep/b.png": 2})
    for overwrite in (False, True):
        assert apply.translate("run", tmp_path, tmp_path / "out", overwrite=overwrite).samples == 2
    save(tmp_path, {"out/mine.png": 3})
    with pytest.raises(ValueError, match=r"would not be read, and holds 1 .* the first is mine\.png"):
        apply.translate("run", tmp_path, tmp_path / "out")
    assert apply.translate("run", tmp_path, tmp_path / "out", overwrite=True).samples == 2


def test_what_is_read_is_not_replaced_and_what_is_in_the_way_is_named(arrives, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, *SHAPE), np.float32))
    (tmp_path / "out" / "00001.png").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"00001\.png is in the way"):
        apply.translate("run", f"npy:{tmp_path / 'x.npy'}", tmp_path / "out", overwrite=True)
    with pytest.raises(ValueError, match=r"output .*x\.npy is a file, expected a folder"):
        apply.translate("run", f"npy:{tmp_path / 'x.npy'}", tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"x\.npy is an input and would be overwritten"):
        outputs.check(tmp_path, ["x.npy"], inputs=[tmp_path / "x.npy"], overwrite=True)
    save(tmp_path, {"in/lines.json/a.png": 1})
    with pytest.raises(ValueError, match=r"a folder named lines\.json"):
        apply.translate("run", tmp_path / "in", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_lines_that_did_not_arrive_are_marked_and_named(arrives, tmp_path, capsys):
    which, _ = arrives
    which[:] = [True, False]
    save(tmp_path / "in", {"a.png": 1, "b.jpg": 2, "c.png": 3})
    command = ["translate", "run", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    cli.main(command)  # status 0
    told = capsys.readouterr()
    assert "Saved 3 samples" in told.out
    assert "(2 of 3 lines arrived; see " in told.out
    assert told.err == "efm: did not arrive: b.png\n"
    assert json.loads((tmp_path / "out" / "lines.json").read_text())["lines"] == [
        {"input": "a.png", "file": "a.png", "arrived": True},
        {"input": "b.jpg", "file": "b.png", "arrived": False},
        {"input": "c.png", "file": "c.png", "arrived": True},
    ]
    assert outputs.made(tmp_path / "out") == (
        {"a.png": "a.png", "b.png": "b.jpg", "c.png": "c.png"},
        (tmp_path / "in").resolve(),
        {"pairs.png"},
    )
    which[:] = [False]
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--overwrite"])
    assert stop.value.code == 1
    with pytest.raises(SystemExit):
        cli.main(["generate", "run", "--count", "5", "--output", str(tmp_path / "new")])
    assert "did not arrive: 00000.png, 00001.png, 00002.png and 2 more" in capsys.readouterr().err


def test_rows_of_an_array_that_did_not_arrive(arrives, tmp_path, monkeypatch):
    which, _ = arrives
    which[:] = [True, False, True]
    flat = apply.load("run")._replace(shape=(2,))
    monkeypatch.setattr(apply, "load", lambda run: flat)
    np.save(tmp_path / "x.npy", np.zeros((3, 2), np.float32))
    saved = apply.translate("run", f"npy:{tmp_path / 'x.npy'}", tmp_path / "out")
    assert saved.missed == ("row 1",)
    assert json.loads((tmp_path / "out" / "lines.json").read_text())["arrived"] == [True, False, True]
