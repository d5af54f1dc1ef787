"""Model folders in use: own pictures of any size carried, samples generated, and mistakes named before any line."""

import functools
import io
import json
import tarfile

import _models
import numpy as np
import pytest
from _commands import failure
from _models import SHAPE, made_run, rewrite
from PIL import Image

from efm_jax import cli, models
from efm_jax.datasets.folder import read_folder
from efm_jax.models import apply, build

run, shared, model = _models.run, _models.shared, _models.model  # fixtures
translator = _models.translator


def test_own_pictures_of_any_size_through_the_command_line(translator, tmp_path, capsys):
    rng = np.random.default_rng(0)
    given = tmp_path / "given"
    (given / "deep").mkdir(parents=True)
    sizes = {"a.png": (9, 7), "a.jpg": (40, 30), "deep/b.webp": (3, 2), "pairs.png": (6, 4)}
    for name, size in sizes.items():
        Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(given / name)
    Image.fromarray(rng.integers(0, 255, (5, 5), dtype=np.uint8)).save(given / "gray.png")
    (given / "broken.png").write_bytes(b"\x89PNG nothing")
    (given / "moving.ico").write_bytes(b"\0\0\1\0")
    (given / "notes.txt").write_text("no picture")
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        cli.main(["translate", str(translator), "--input", str(given), "--output", str(out)])
    assert stop.value.code == 1  # some were left out
    told = capsys.readouterr()
    assert "Saved 5 samples" in told.out
    assert "left out, cannot be read: broken.png\n" in told.err
    assert "left out, format not supported: moving.ico\n" in told.err
    pictures = {"a.png", "a.jpg.png", "deep/b.png", "pairs.png", "gray.png"}
    assert {str(p.relative_to(out)) for p in out.rglob("*.png")} == {*pictures, "pairs_all.png"}
    assert {Image.open(out / name).size for name in pictures} == {(SHAPE[1], SHAPE[0])}
    # what was carried is what training would have read, and what was written is where its line ended
    (given / "broken.png").unlink()
    read = read_folder(given, size=SHAPE[:2])
    x = (read.images.reshape(5, -1) / 127.5 - 1.0).astype(np.float32)
    y = np.asarray(models.transport(models.load(translator), x).end)[:, :-1].reshape(5, *SHAPE)
    written = np.asarray(Image.open(out / "gray.png"), float)
    # levels are rounded; float32 sums in another order may move a value across the middle between two
    assert np.abs(written - 255 * (np.clip(y[read.names.index("gray.png")], -1, 1) + 1) / 2).max() < 0.51


def test_what_was_translated_goes_back_without_the_picture_of_all_pairs(translator, tmp_path, recwarn):
    (tmp_path / "given").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (6, 4)).save(tmp_path / "given" / name)
    apply.translate(translator, tmp_path / "given", tmp_path / "there")
    saved = apply.translate(translator, tmp_path / "there", tmp_path / "back", reverse=True)
    assert saved.samples == 2
    written = {path.name for path in (tmp_path / "back").iterdir()}
    assert written == {"a.png", "b.png", "pairs.png", "lines.json"}
    # nor is it learned
    assert read_folder(tmp_path / "there", size=4).names == ["a.png", "b.png"]
    assert not [warning for warning in recwarn if "left out" in str(warning.message)]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_pictures_in_one_file_are_all_translated_in_their_order(kind, translator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, stored = np.random.default_rng(0), {}
    (tmp_path / "given").mkdir()
    for name in ("d.png", "a.png", "b.jpg", "c.png", "f.png", "e.png"):
        Image.fromarray(rng.integers(0, 255, (5, 8, 3), dtype=np.uint8)).save(tmp_path / "given" / name)
        stored[name] = (tmp_path / "given" / name).read_bytes()
    stored["broken.png"] = b"nothing"
    if kind == "tar":
        with tarfile.open("new.tar", "w") as tar:
            for name, content in stored.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    else:
        pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table({"image": [*stored.values()]}), "new.parquet")
    apply.translate(translator, "given", "expected")
    with pytest.warns(UserWarning, match="left out 1 of 7 pictures"):
        saved = apply.translate(translator, f"new.{kind}", "out")
    names = ["d.png", "a.png", "b.png", "c.png", "f.png", "e.png"]
    files = names if kind == "tar" else [f"0000{k}.png" for k in range(6)]
    lines = json.loads((tmp_path / "out" / "lines.json").read_text())["lines"]
    assert [line["file"] for line in lines] == files
    assert [line["input"] for line in lines] == ([*stored][:6] if kind == "tar" else [*range(6)])
    assert saved.unreadable == ("broken.png" if kind == "tar" else "row 6",)
    for name, file in zip(names, files, strict=True):
        one, other = (np.asarray(Image.open(place), float) for place in (f"expected/{name}", f"out/{file}"))
        np.testing.assert_allclose(one, other, atol=1)
    assert apply.translate(translator, f"new.{kind}", "few", limit=2).samples == 2


def test_names_in_a_tar_file_that_lead_elsewhere_are_not_written_to(translator, tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (6, 4)).save(content, "PNG")
    for name in ("../a.png", "/a.png", "b/../../a.png"):
        with tarfile.open(tmp_path / "new.tar", "w") as tar:
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            tar.addfile(member, io.BytesIO(content.getvalue()))
        apply.translate(translator, tmp_path / "new.tar", tmp_path / "deep" / "out", overwrite=True)
        assert {path.name for path in (tmp_path / "deep").rglob("*.png")} == {"00000.png", "pairs.png"}
    with pytest.raises(ValueError, match=r"moons maps arrays \[n, 2\]; got pictures.\nGive npy:FILE"):
        apply.translate("moons", tmp_path / "new.tar", tmp_path / "out")


def test_of_data_by_name_the_held_out_samples_are_translated_each_once(tmp_path):
    run = made_run(tmp_path / "run", source="digits:3", shape=(32, 32, 3), keeps_shape=True)
    saved = apply.translate(run, "digits:3", tmp_path / "out", limit=5)
    assert saved.told == ("Drew 5 of the 99 held-out samples of digits:3",)
    with pytest.raises(
        ValueError, match="limit must be at most 99, the held-out samples of digits:3, got 100"
    ):
        apply.translate(run, "digits:3", tmp_path / "more", limit=100)


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_an_array_that_is_one_number_is_refused(kind, tmp_path):
    np.save(tmp_path / "zero.npy", kind(3))
    with pytest.raises(ValueError, match=r"zero.npy: .* must have shape \[n, .*, got \(\)"):
        apply.translate("moons", tmp_path / "zero.npy", tmp_path / "out")


def test_a_picture_of_its_own_whole_and_at_its_own_size(translator, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(build, "network", functools.cache(build.network))  # lines are compiled once
    rng = np.random.default_rng(0)
    path = tmp_path / "photo.jpeg"
    Image.fromarray(rng.integers(0, 255, (50, 20, 3), dtype=np.uint8)).save(path)
    command = ["translate", str(translator), "--input", str(path), "--output"]
    sizes = {"crop": (6, 4), "pad": (2, 4), "crop-own": (20, 13), "pad-own": (20, 50)}
    for name, size in sizes.items():
        fit, _, own = name.partition("-")
        cli.main([*command, str(tmp_path / name), "--fit", fit, *(["--own-size"] if own else [])])
        assert {file.name for file in (tmp_path / name).iterdir()} == {"photo.png", "pairs.png", "lines.json"}
        assert Image.open(tmp_path / name / "photo.png").size == size
    assert capsys.readouterr().out.count("Saved 1 sample ") == 4
    with pytest.raises(ValueError, match="another folder than that of the input"):
        apply.translate(translator, f"folder:{path}", tmp_path)
    with pytest.raises(
        ValueError, match="fit and own_size are for pictures in files, folder:PATH, got digits"
    ):
        apply.translate(translator, "digits", tmp_path / "out", fit="pad")


def test_generate_needs_the_model_alone(shared, translator, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no folder `photos` is
    cli.main(["generate", str(shared), "--count", "3", "--output", "out"])
    assert "Saved 3 samples" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"00000.png", "00001.png", "00002.png", "grid.png", "lines.json"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "00003.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"1 of the 6 files .* the first is mine/00003.png"):
        apply.generate(shared, 4, "mine")
    with pytest.raises(
        ValueError, match="there is no data named 'nowhere', and no file or folder of that name"
    ):
        apply.translate(translator, "nowhere", "out")
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(
        ValueError, match=r"expected a folder or a picture \(.png, .* got the file x.txt; .* as npy:FILE"
    ):
        apply.translate(translator, "x.txt", "out")
    np.save("x.npy", np.zeros((2, *SHAPE)))
    assert apply.translate(shared, "x.npy", "out2").samples == 2


@pytest.mark.parametrize("kind", ["folder", "picture", "bytes", "digits:3"])
def test_data_are_no_noise(kind, shared, tmp_path, capsys):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    np.save(tmp_path / "x.npy", np.zeros((2, *SHAPE), np.uint8))
    files = {"folder": ".", "picture": "a.png", "bytes": "x.npy"}
    given = str(tmp_path / files[kind]) if kind in files else kind
    command = ["translate", str(shared), "--input", given, "--output", str(tmp_path / "out")]
    said = failure(capsys, command)
    assert said.startswith(f"efm: {shared} starts at white noise, got ")
    assert said.endswith(
        "\nDraw new samples with `efm generate`, or carry samples of Q to noise with --reverse.\n"
    )
    assert not (tmp_path / "out").exists()


def test_rows_of_a_table_are_no_noise(tmp_path):
    run = made_run(tmp_path / "run", target="gaussian:2", shape=(2,), keeps_shape=True)
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,5\n")
    with pytest.raises(ValueError, match="run starts at white noise, got csv:"):
        apply.translate(run, tmp_path / "x.csv", tmp_path / "out")
    assert apply.translate(run, tmp_path / "x.csv", tmp_path / "out", reverse=True).samples == 2


def test_pictures_go_to_noise_and_noise_of_ones_own_to_pictures(shared, tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    assert apply.translate(shared, tmp_path / "a.png", tmp_path / "back", reverse=True).samples == 1
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(2, *SHAPE)))
    assert apply.translate(shared, tmp_path / "z.npy", tmp_path / "out").samples == 2
    assert apply.translate(shared, "noise:4x6x3", tmp_path / "new", limit=3).samples == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["translate", "--input", ".", "--output", "o"], "RUN_OR_MODEL"),
        (["translate", "r", "--model", "m", "--input", ".", "--output", "o"], "Unrecognized"),
        (
            ["generate", "none", "--count", "1", "--output", "o"],
            "there is no run or model none: no folder has this name",
        ),
        (["export", "none", "--out", "m"], "there is no run or model none"),
        (["resume", "none"], "none is not a run folder: it holds no config.json"),
    ],
)
def test_mistakes_on_the_command_line(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_samples_that_do_not_fit_are_refused_before_any_line(translator, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 5), np.float32))
    with pytest.raises(
        ValueError, match=r"maps pictures of 4 x 6 pixels; npy:.* has samples of shape \(5,\)"
    ):
        apply.translate(translator, f"npy:{tmp_path / 'x.npy'}", tmp_path / "out")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 1 pictures in .* can be read; the first is a.png"):
        apply.translate(translator, f"folder:{tmp_path / 'none'}", tmp_path / "out")
    with pytest.raises(ValueError, match="output must be another folder than that of the input"):
        apply.translate(translator, f"folder:{tmp_path}", tmp_path / "none" / "..")
    with pytest.raises(
        ValueError, match=r"moons maps arrays \[n, 2\]; got a folder of pictures.\nGive npy:FILE"
    ):
        apply.translate("moons", f"folder:{tmp_path}", tmp_path / "out")
    (tmp_path / "x.csv").write_text("name,age\nzoe,3\n")
    with pytest.raises(
        ValueError, match=r"maps pictures of 4 x 6 pixels; got a table.\nGive a folder of pictures"
    ):
        apply.translate(translator, tmp_path / "x.csv", tmp_path / "out")
    with pytest.raises(
        ValueError, match=r"cells maps tables with the columns X_pca1, .*, 42 more; got a picture.\n"
    ):
        apply.translate("cells", tmp_path / "none" / "a.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_whose_p_is_data_says_so_when_asked_to_generate(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = json.loads((model / "config.json").read_text())["config"]
    rewrite(model, config={**config, "data": {"source": "folder:cats", "target": "folder:dogs"}})
    with pytest.raises(ValueError, match="starts at samples") as told:
        apply.generate(str(model), 3, tmp_path / "out")
    first, last = str(told.value).splitlines()
    assert first.startswith(f"{model} starts at samples of folder:cats, which are not here (")
    assert first.endswith("check the path).")
    assert last == f"Give pictures: `efm translate {model} --input FOLDER --output OUT`"
    with pytest.raises(
        ValueError, match=r"which are not here \(.*path\)\.\nGive rows: .*--input FILE.csv --output OUT.csv`"
    ):
        apply.generate("cells", 3, tmp_path / "out")


@pytest.mark.parametrize("output", ["one.png", "rows.NPY", "deep/report.html", "rows.xlsx", "all.zip"])
def test_a_folder_with_the_name_of_a_file_is_refused(output, translator, tmp_path, capsys):
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    place = tmp_path / output
    for command in (
        ["generate", str(translator), "--count", "1"],
        ["evaluate", "moons"],
        ["export", "moons"],
    ):
        told = failure(capsys, [*command, "--output", str(place)])
        assert told == (
            f"efm: output {place} has the name of a file, and a folder is written.\n"
            f"Give the name of a folder, e.g. {place.with_suffix('')}\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_the_picture_of_all_is_as_wide_as_they_are(translator, tmp_path):
    apply.generate(translator, 3, tmp_path / "out")
    assert Image.open(tmp_path / "out" / "grid.png").size == (2 * (3 * 7 + 1), 2 * (5 + 1))
    apply.generate(translator, 20, tmp_path / "more")
    assert Image.open(tmp_path / "more" / "grid.png").size == (2 * (16 * 7 + 1), 2 * (2 * 5 + 1))
