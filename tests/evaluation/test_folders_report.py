"""Folders compared, whatever their sizes, by function and by the command; what cannot be read is named."""

import json

import numpy as np
import pytest
from _scenes import FEATURES, fill, noisy, report, scenes

from efm_jax import cli, evaluation
from efm_jax._core import outputs
from efm_jax.datasets import common_size, read_folder
from efm_jax.evaluation import paired, pictures
from efm_jax.evaluation.drawing import save_png
from efm_jax.evaluation.pictures import folders_report, table


def test_folders_of_one_size_are_compared_as_they_are(tmp_path):
    a, b = scenes(30, seed=1), scenes(50, seed=2)
    got = folders_report(fill(tmp_path / "a", a), fill(tmp_path / "b", b), extractor=FEATURES, kid_subsets=20)
    names = [sorted(f"{i}.png" for i in range(len(part))) for part in (a, b)]
    in_order = [part[[int(name[:-4]) for name in order]] for part, order in zip((a, b), names, strict=True)]
    assert got["scores"] == report(*in_order)["scores"]
    assert got["resize"] == "kept: all pictures have one size"
    assert got["sets"]["a"]["pictures"] == 30
    assert got["sets"]["b"]["shape"] == [16, 16, 3]
    assert got["sets"]["a"]["sha256"] != got["sets"]["b"]["sha256"]
    assert evaluation.folders_report is folders_report


def test_a_translation_is_compared_with_its_inputs_left_as_they_are(tmp_path):
    inputs, b = scenes(20, seed=1), scenes(40, seed=2)
    made = noisy(inputs, 20.0)
    source = fill(tmp_path / "in" / "deeper", inputs, [(32, 32)]).parent
    a = fill(tmp_path / "a", made)
    save_png(a / "pairs.png", np.zeros((64, 320, 3), np.uint8))
    lines = [{"input": f"deeper/{i}.png", "file": f"{i}.png", "arrived": True} for i in range(20)]
    files = [*(line["file"] for line in lines), "pairs.png"]
    outputs.mark(a, files, lines=lines, source=str(source))
    fill(tmp_path / "b", b)

    def compared():
        return folders_report(a, tmp_path / "b", extractor=FEATURES, kid_subsets=20)

    got = compared()
    assert got["sets"]["a"]["pictures"] == got["sets"]["inputs"]["pictures"] == got["n"] == 20
    assert got["sets"]["inputs"]["shape"] == [16, 16, 3]
    order = [int(name[:-4]) for name in sorted(f"{i}.png" for i in range(20))]
    of_b = [int(name[:-4]) for name in sorted(f"{i}.png" for i in range(40))]
    same = read_folder(source, size=16, names=[f"deeper/{i}.png" for i in order]).images
    wanted = report(made[order], b[of_b], inputs=same)
    assert got["scores"] == wanted["scores"]
    assert "inputs left as they are" in table(got)
    # without all of the inputs there is no such row, and the picture of all pairs is still left out
    (source / "deeper" / "3.png").unlink()
    assert "inputs" not in compared()["sets"]
    outputs.mark(a, files, lines=[line | {"input": 0} for line in lines])
    assert compared()["sets"]["a"]["pictures"] == 20


def test_the_picture_of_all_pairs_does_not_count_for_the_size(tmp_path):
    wide = scenes(20, seed=1)[:, :10]
    a, b = fill(tmp_path / "a", wide), fill(tmp_path / "b", wide)
    save_png(a / "pairs.png", np.zeros((6, 320, 3), np.uint8))
    names = [f"{i}.png" for i in range(20)]
    lines = [{"input": name, "file": name, "arrived": True} for name in names]
    outputs.mark(a, [*names, "pairs.png"], lines=lines)
    got = folders_report(a, b, extractor=FEATURES, kid_subsets=5)
    assert got["resize"] == "kept: all pictures have one size"
    assert got["sets"]["a"]["shape"] == [10, 16, 3]
    partners = paired.paired_folders_report(a, b, extractor=FEATURES)
    assert (partners["n"], partners["size"], partners["without_partner"]) == (20, None, [])


def test_any_sizes_are_brought_to_the_smallest(tmp_path):
    a = fill(tmp_path / "a", scenes(20, seed=1), [(40, 20), (18, 30)])
    b = fill(tmp_path / "b" / "deeper", scenes(30, seed=2), [(64, 64)])
    assert common_size([a, b]) == 18
    assert common_size([b]) is None
    assert common_size([b], most=24) == 24
    got = folders_report(a, tmp_path / "b", extractor=FEATURES, kid_subsets=5)
    assert got["sets"]["a"]["shape"] == got["sets"]["b"]["shape"] == [18, 18, 3]
    assert "18 x 18 (the smallest side found" in got["resize"]
    assert "bicubic with antialias" in got["resize"]
    got = folders_report(a, b, size=12, gray=True, extractor=FEATURES, kid_subsets=5, most=9)
    assert got["sets"]["b"]["shape"] == [12, 12, 1]
    assert got["sets"]["b"]["pictures"] == 18  # 9 for reference, 9 held out
    assert got["n"] == 9


def test_unreadable_pictures_are_named(tmp_path):
    a, b = fill(tmp_path / "a", scenes(12, seed=1)), fill(tmp_path / "b", scenes(20, seed=2))
    (a / "torn.png").write_bytes((a / "3.png").read_bytes()[:70])
    (a / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"2 of 14 pictures .* cannot be read: text\.jpg .*torn\.png"):
        folders_report(a, b, extractor=FEATURES)
    with pytest.warns(UserWarning, match="left out 2 of 14"):
        got = folders_report(a, b, extractor=FEATURES, on_error="skip", kid_subsets=5)
    assert got["sets"]["a"]["skipped"] == ["text.jpg", "torn.png"]
    assert got["sets"]["a"]["pictures"] == 12


def test_empty_and_missing_folders_are_named(tmp_path):
    b = fill(tmp_path / "b", scenes(16))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no picture"):
        folders_report(tmp_path / "empty", b, extractor=FEATURES)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*gone"):
        folders_report(b, tmp_path / "gone", extractor=FEATURES)


def test_a_choice_of_pictures_is_seeded(tmp_path):
    folder = fill(tmp_path / "a", scenes(10))
    some = read_folder(folder, most=4, seed=1)
    assert len(some.images) == len(set(some.names)) == 4
    assert some.names == sorted(some.names) == read_folder(folder, most=4, seed=1).names
    assert some.names != read_folder(folder, most=4, seed=2).names
    assert len(read_folder(folder, most=10).images) == 10


def test_the_command_compares_two_folders(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a, b = (fill(tmp_path / name, scenes(24, seed, 32)) for seed, name in enumerate("ab"))
    arguments = ["compare", str(a), str(b), "--features", "digits", "--seed", "5"]
    cli.main([*arguments, "--output", str(tmp_path / "report.json")])
    out = capsys.readouterr().out
    assert "| KID-Digits |" in out
    got = json.loads((tmp_path / "report.json").read_text())
    assert got["seed"] == 5
    assert got["n"] == 12
    kept = list((tmp_path / "cache" / "efm_jax" / "features").iterdir())
    assert len(kept) == 3  # the set judged, the reference, and the held-out ones
    cli.main([*arguments, "--output", str(tmp_path / "again.json"), "--paired"])
    assert "| first, features |" in capsys.readouterr().out
    again = json.loads((tmp_path / "again.json").read_text())
    assert again.pop("partners")["n"] == 24
    assert again.pop("files") == ["again.json", "again.md"]
    got.pop("files")
    assert again == got
    # a report may be made again; what efm did not write stays, and nothing is compared
    cli.main([*arguments, "--output", str(tmp_path / "report.json")])
    for name in ("notes.json", "other.md"):
        (tmp_path / name).write_text("mine")
    monkeypatch.setattr(pictures, "folders_report", lambda *_, **__: pytest.fail("folders were compared"))
    refused = [("notes.json", "notes.json"), ("other.json", "other.md"), ("report.txt", "written as .json")]
    for name, told in refused:
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, "--output", str(tmp_path / name)])
        assert stop.value.code == 2
        assert told in capsys.readouterr().err
    assert (tmp_path / "notes.json").read_text() == (tmp_path / "other.md").read_text() == "mine"
    monkeypatch.setattr(pictures, "folders_report", lambda *_, **__: got)
    cli.main([*arguments, "--output", str(tmp_path / "notes.json"), "--overwrite"])
    assert json.loads((tmp_path / "notes.json").read_text())["seed"] == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x", "y", "--features", "none"], "two folders are compared on features"),
        (["x", "y", "--features", "digits"], "there is no folder x"),
    ],
)
def test_mistakes_of_the_command(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *arguments])
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
