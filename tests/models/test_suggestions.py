"""What is suggested for two sets of data: the right kind of run, numbers that fit, and options that stand above it."""

import io
import json
import re
import tarfile
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from efm_jax import cli, models, runs
from efm_jax.datasets import toys
from efm_jax.models import _card, build, configs, plans, space, suggestions
from efm_jax.models.build import _run
from efm_jax.models.presets import PRESETS
from efm_jax.models.suggestions import Timing, _pacing


def pictures(folder, count, size, *, color=True, classes=()):
    rng = np.random.default_rng(count)
    for k in range(count):
        place = folder / classes[k % len(classes)] if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        shape = (*size, 3) if color else size
        Image.fromarray(rng.integers(256, size=shape, dtype=np.uint8)).save(place / f"{k}.png")
    return str(folder)


def vectors(folder, name, scale, count=100):
    rng = np.random.default_rng(0)
    np.save(
        folder / name, rng.normal(size=(count, len(scale))).astype(np.float32) * np.asarray(scale, np.float32)
    )
    return str(folder / name)


def test_two_folders_get_a_common_size_and_the_recipe_of_the_tables(tmp_path):
    a = pictures(tmp_path / "a", 70, (50, 60), classes=("x", "y"))
    b = pictures(tmp_path / "b", 80, (29, 40))
    found = suggestions.suggest(a, b)
    data = found.run.data
    assert (data.source, data.target, data.size, data.gray) == (f"folder:{a}", f"folder:{b}", 24, False)
    assert (found.run.recipe.method, found.run.recipe.width) == ("ifm", 0.3)
    side = found.sides[0]
    assert (side.count, side.shape, side.smallest, side.largest) == (70, None, 50, 60)
    assert found.sides[0].classes == ("x", "y")
    assert found.warnings == []
    assert found.reasons["data.size"] == "the smallest picture fills it"
    build.network(found.run, found.shape)  # 24 pixels can be halved as often as the network does


@pytest.mark.parametrize(("size", "why"), [(32, "that of the pictures"), (40, "the pictures are larger; .*")])
def test_it_is_said_whether_pictures_are_made_smaller(tmp_path, size, why):
    a, b = (pictures(tmp_path / name, 3, (size, size)) for name in "ab")
    found = suggestions.suggest(a, b)
    assert found.shape == (32, 32, 3)
    assert re.fullmatch(why, found.reasons["data.size"])


def test_gray_folders_are_trained_in_gray_and_small_sets_are_warned_of(tmp_path):
    a, b = (pictures(tmp_path / name, 5, (40, 40), color=False) for name in "ab")
    found = suggestions.suggest(a, b)
    assert found.run.data.gray
    assert found.shape == (32, 32, 1)
    assert [text.split()[2] for text in found.warnings] == ["5", "5"]


@pytest.mark.parametrize("size", [(28, 28), (30, 30), (27, 45), (64, 48)])
def test_arrays_of_pictures_keep_their_size(tmp_path, size):
    array = np.random.default_rng(0).integers(256, size=(70, *size, 3), dtype=np.uint8)
    for name in "pq":
        np.save(tmp_path / f"{name}.npy", array)
    for source in ("noise", tmp_path / "q.npy"):
        found = suggestions.suggest(source, tmp_path / "p.npy")
        assert (found.shape, found.run.data.size) == ((*size, 3), None)
        build.network(found.run, found.shape)


def test_small_pictures_from_noise_are_learned_in_components_and_by_class(tmp_path):
    digits = suggestions.suggest("noise", "digits").run
    preset = PRESETS["generate-quick"][1]
    assert digits == replace(preset, data=replace(preset.data, source="noise", target="digits"))
    plain = suggestions.suggest("noise", pictures(tmp_path / "few", 70, (40, 40)))
    run = plain.run
    assert (run.network.classes, run.recipe.label_groups, run.sampling.guidance) == (None, 1, 1.0)
    # 56 of 70 pictures are trained on, ten fewer by an unlucky choice of names; less the mean
    assert (run.data.components, run.data.size, run.data.jitter) == (44, 32, 0.5)
    build.labeled(run, build.sources(run.data))
    many = suggestions.suggest("noise", pictures(tmp_path / "many", 120, (40, 40), classes=("x", "y")))
    assert many.run.network.classes == 2
    build.labeled(many.run, build.sources(many.run.data))
    pictures(tmp_path / "rare", 120, (40, 40), classes=("x", "y"))
    rare = suggestions.suggest("noise", pictures(tmp_path / "rare", 3, (40, 40), classes=("z",)))
    assert rare.run.network.classes is None  # three of z are too few to learn by themselves


def test_classes_that_are_too_small_to_be_learned_are_told(tmp_path):
    pictures(tmp_path / "rare", 120, (16, 16), classes=("x", "y"))
    found = suggestions.suggest("noise", pictures(tmp_path / "rare", 3, (16, 16), classes=("z",)))

    def told(run):
        lines = suggestions.expected(found, run, Timing(20.0, 0.3), 10.0)
        return [line for line in lines if "classes" in line]

    assert told(found.run) == [
        "warning  the 3 classes are not learned: the rarest has 3 pictures, fewer than 50. To learn them: "
        "--network.classes 3."
    ]
    assert told(replace(found.run, network=replace(found.run.network, classes=3))) == []


def test_large_pictures_from_noise_are_learned_in_pixels(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((70, 80, 80, 3), np.uint8))
    found = suggestions.suggest("noise", tmp_path / "a.npy")
    assert (found.run.recipe.method, found.run.network.kind, found.run.data.components) == (
        "efm",
        "unet",
        None,
    )
    assert "stay rough for hours" in found.warnings[0]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_look_at_tar_files_decodes_no_picture_unless_they_are_compressed(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    for name in "ab":
        folder = pictures(tmp_path / name, 70, (16, 24), classes=("x", "y"))
        with tarfile.open(tmp_path / f"{name}.tar", mode) as tar:
            tar.add(folder, "")
    found = suggestions.suggest(*(f"tar:{tmp_path}/{name}.tar" for name in "ab"))
    assert found.shape == (16, 24, 3)
    assert [(side.count, side.classes) for side in found.sides] == [(70, ("x", "y"))] * 2
    assert (tmp_path / "kept").exists() is (mode == "w:gz")


def test_pictures_of_two_sizes_in_a_tar_file_are_looked_at_in_the_size_asked_for(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    monkeypatch.setattr(_pacing, "_timed", lambda *_: Timing(1.0, 1.0))
    for k, size in enumerate([(20, 20), (24, 30)] * 40):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", size[::-1], (k, 2 * k, 255 - k)).save(tmp_path / "in" / f"{k}.png")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "in", "")
    command = ["suggest", "noise", f"tar:{tmp_path}/a.tar.gz"]
    with pytest.raises(SystemExit):
        cli.main(command)
    assert "give size= (--data.size" in capsys.readouterr().err
    asked = {
        "--data.size 16": (16, 16, 3),
        "--data.size 8 12": (8, 12, 3),
        "--data.size 16 --steps 9 --data.size=8": (8, 8, 3),  # the last one counts, as for the parser
    }
    for options, shape in asked.items():
        cli.main([*command, *options.split()])
        assert f" of {'x'.join(map(str, shape))} pixels (" in capsys.readouterr().out
    found = suggestions.suggest("noise", f"tar:{tmp_path}/a.tar.gz", size=16)
    assert (found.shape, found.run.data.size) == ((16, 16, 3), 16)


def test_pictures_in_a_column_of_a_file_are_pictures(tmp_path):
    pa = pytest.importorskip("pyarrow")
    contents = []
    for k in range(140):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(k).integers(256, size=(12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        contents.append({"bytes": buffer.getvalue(), "path": None})
    table = pa.table({"image": contents, "style": ["old", "new"] * 70, "year": range(140)})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "a.parquet")
    found = suggestions.suggest(*(f"{tmp_path}/a.parquet:style={one}" for one in ("old", "new")))
    assert [(side.kind, side.count, side.shape) for side in found.sides] == [
        ("pictures", 70, (12, 16, 3))
    ] * 2
    data = replace(found.run.data, flip=True, cache=f"{tmp_path}/kept", on_error="skip")
    pair = build.sources(data, split="all")
    assert [(source.size, source.shape) for source in pair] == [(70, (12, 16, 3))] * 2
    assert len([*(tmp_path / "kept").glob("*/pictures.npy")]) == 2
    config = {"data": {"source": data.source, "target": data.target}}
    assert _card.maps("m", config, found.shape)[0][1] == "efm translate m --input PICTURES --output OUT"


def test_a_look_at_a_column_of_pictures_decodes_the_first_alone(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12)).save(buffer, "PNG")
    contents = [buffer.getvalue()] + [b"no picture"] * 69
    for name in "ab":
        parquet.write_table(pa.table({"photo": contents}), tmp_path / f"{name}.parquet")
    found = suggestions.suggest(*(f"{tmp_path}/{name}.parquet" for name in "ab"))
    assert [(side.count, side.shape) for side in found.sides] == [(70, (12, 16, 3))] * 2


def test_vectors_of_other_scales_get_units(tmp_path):
    plain = suggestions.suggest(vectors(tmp_path, "a.npy", [1, 2]), vectors(tmp_path, "b.npy", [2, 1]))
    assert plain.run.data.components is None
    assert (plain.run.recipe.method, plain.run.recipe.coupling) == ("tubes", "lines_plan")
    pair = vectors(tmp_path, "a.npy", [1, 1e5, 0.0]), vectors(tmp_path, "b.npy", [1, 2e5, 0.0])
    money = suggestions.suggest(*pair)
    assert money.run.data.standardize
    assert money.run.data.components is None
    many = suggestions.suggest(vectors(tmp_path, "a.npy", [1] * 60, 40), vectors(tmp_path, "b.npy", [1] * 60))
    assert many.run.data.components == 29  # of 32 to train on, two fewer by the split, less the mean


def offset_pair(folder, scale, at, shift=(0.0, 0.0), count=100):
    x = np.random.default_rng(0).normal(size=(count, len(scale))) * scale + at
    np.save(folder / "a.npy", x)
    np.save(folder / "b.npy", x + shift)
    return str(folder / "a.npy"), str(folder / "b.npy")


def test_columns_far_from_zero_are_learned_about_their_mean(tmp_path):
    weather = suggestions.suggest(*offset_pair(tmp_path, [4, 6], [288, 1013], [12, -8]))
    assert weather.run.data.standardize
    assert weather.reasons["data.size"].startswith("columns far from zero are learned about their mean")
    # a shift between the two is what is learned, and a few deviations harm no network
    for at, shift in (([0, 0], [5, -300]), ([10, 0], [0, 3]), ([0, -10], [0, 0])):
        assert not suggestions.suggest(*offset_pair(tmp_path, [1, 1], at, shift)).run.data.standardize


@pytest.mark.parametrize(
    "name", ["swiss_roll", "two_gaussians", "eight_gaussians", "moons", "s_curve", "rings"]
)
def test_the_toys_are_learned_at_their_own_scale(name):
    assert not suggestions.suggest("gaussian:2", name).run.data.standardize


def test_the_deviation_of_numbers_far_from_zero_is_not_rounded(tmp_path):
    found = suggestions.suggest(*offset_pair(tmp_path, [0.2, 3], [1.5e6, 1.5e6], count=1000))
    assert found.reasons["data.size"].startswith("columns of different scales")


@pytest.mark.parametrize("count", [12, 30, 50, 60, 63])
def test_components_of_few_rows_are_no_more_than_their_training_set_spans(count, tmp_path):
    table = vectors(tmp_path, "b.npy", [1] * 100, count)
    for held_out in (0.2, 0.5):
        found = suggestions.suggest("noise", table, held_out=held_out)
        assert found.run.data.held_out == held_out
        space.fitted(found.run.data, build.sources(found.run.data))


def test_columns_that_follow_from_others_are_learned_in_fewer_components(tmp_path):
    rng = np.random.default_rng(0)
    for name, shift in (("a", 0.0), ("b", 3.0)):
        x = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 60)) + shift
        np.save(tmp_path / f"{name}.npy", x.astype(np.float32))
    for source, components in (("noise", 5), (f"npy:{tmp_path}/a.npy", 11)):  # both sides and their distance
        data = suggestions.suggest(source, f"npy:{tmp_path}/b.npy").run.data
        assert data.components == components
        space.fitted(data, build.sources(data))
    with pytest.raises(
        ValueError, match=r"span 11 dimensions.* take fewer components \(--data\.components\)"
    ):
        space.fitted(replace(data, components=50), build.sources(data))


@pytest.mark.slow
def test_a_run_in_units_of_its_columns_gives_samples_in_those_of_the_data(tmp_path):
    # a map of one column of 1e5, another of 1, and a constant: W2 of each column is far below its shift
    rng = np.random.default_rng(1)
    before, shift, scale = (np.float32(row) for row in ([0, 0, 7], [3, 4e5, 0], [1, 1e5, 0]))
    x, y = (rng.normal(size=(300, 3)).astype(np.float32) * scale + before for _ in range(2))
    np.save(tmp_path / "a.npy", x)
    np.save(tmp_path / "b.npy", y + shift)
    run = suggestions.suggest(tmp_path / "a.npy", tmp_path / "b.npy").run
    run = replace(run, steps=150, save_every=150, recipe=replace(run.recipe, coupling="field_lines"))
    run = replace(run, optimizer=replace(run.optimizer, warmup=10), network=replace(run.network, width=32))
    runs.train(tmp_path / "run", run, progress=False)
    models.export(tmp_path / "run", tmp_path / "model")
    for place in ("run", "model"):  # both keep the units
        trained = models.load(tmp_path / place)
        ends = models.transport(trained, x[:200]).end[:, :-1]
        # 150 steps of a small network: half a deviation; untrained, the ends are off by 3 to 4
        unit = np.where(scale > 0, scale, 1)
        assert (np.abs(np.mean(ends, axis=0) - before - shift) < 0.5 * unit).all()
        assert (np.abs(np.std(ends, axis=0) - scale) < 0.5 * unit).all()


def test_what_does_not_go_together_is_said_before_any_work(tmp_path):
    folder, array = pictures(tmp_path / "a", 3, (8, 8)), vectors(tmp_path, "b.npy", [1, 1])
    for pair, told in (
        ((folder, array), "holds pictures and .* vectors"),
        ((array, vectors(tmp_path, "c.npy", [1, 1, 1])), "of shape .2,. and"),
        (("moons", "noise"), "Give it first"),
        (("moons", "nothing"), "no data named 'nothing'"),
    ):
        with pytest.raises(ValueError, match=told):
            suggestions.suggest(*pair)


def test_steps_fill_the_minutes_and_no_more(monkeypatch):
    monkeypatch.setattr(_pacing, "_timed", lambda run, opened: Timing(20.0, 0.3))
    found = suggestions.suggest("digits:3", "digits:2")
    run, timing = suggestions.paced(found.run, 10.0)
    # compiled twice, 1,500 steps, 500 lines of 12 midpoint steps both ways, scores
    seconds = 2 * 20 + 0.3 * run.steps + 500 * 48 * 0.3 / 192 + 15
    assert 0.9 * 600 < seconds <= 600
    assert run.optimizer.warmup < run.steps
    kept, _ = suggestions.paced(replace(found.run, steps=77), 10.0, given={"steps"})
    assert kept.steps == 77
    few, _ = suggestions.paced(found.run, 0.1)
    told = suggestions.expected(found, few, timing, 0.1)
    assert few.steps == suggestions.FEWEST_STEPS
    assert told[-1].startswith("warning  200 steps do not fit into 0.1 minutes")


def test_a_step_takes_as_long_as_making_its_batches(monkeypatch):
    """0.05 s a side, beside a step of milliseconds: steps follow the data, and opening them counts too."""

    def slow(source):
        def draw(rng, n):
            time.sleep(0.05)
            return source.draw(rng, n)

        return source._replace(draw=draw)

    def sources(data, *, split="train"):
        time.sleep(0.3)
        return slow(toys.moons()), slow(toys.rings())

    run = suggestions.suggest("moons", "rings").run
    network = replace(run.network, width=8, depth=1)
    run = replace(run, recipe=configs.CFM(charges=8, num_points=8), network=network)
    monkeypatch.setattr(_run, "sources", sources)
    paced, timing = suggestions.paced(run, 1.0)
    assert timing.setup >= 0.3
    # nothing is faster than the data; a busy machine makes 0.1 s longer, and 60 s hold fewer steps
    assert timing.step >= 0.1
    assert paced.steps <= 600
    monkeypatch.setattr(_run, "sources", lambda data, **_: (toys.moons(), toys.rings()))
    assert suggestions.measured(run).step < timing.step


def test_saves_and_progress_pictures_are_part_of_the_minutes(monkeypatch):
    # 10 saves of 10 s; pictures take 2 % of the training
    monkeypatch.setattr(_pacing, "_timed", lambda *_: Timing(20.0, 0.3, setup=50.0, saving=10.0))
    run = suggestions.suggest("digits:3", "digits:2").run
    paced = suggestions.paced(run, 10.0)[0]
    seconds = 50 + 2 * 20 + 1.02 * (0.3 * paced.steps + 10 * 10) + 500 * 48 * 0.3 / 192 + 15
    assert 0.9 * 600 < seconds <= 600
    often = suggestions.paced(replace(run, save_every=50), 10.0, given={"save_every"})[0]
    assert 50 + 2 * 20 + (0.3 + 10 / 50) * often.steps < 600 < 2 * 300 + (0.3 + 10 / 50) * paced.steps


def test_a_fast_device_gets_a_wider_network(monkeypatch):
    # four times the work for twice the width
    monkeypatch.setattr(
        _pacing, "_timed", lambda run, opened: Timing(20.0, 0.005 * (run.network.width / 32) ** 2)
    )
    found = suggestions.suggest("digits:3", "digits:2")
    run, timing = suggestions.paced(found.run, 10.0)
    assert run.network.width == 128
    assert timing.step * run.steps < 600
    assert suggestions.paced(found.run, 10.0, given={"network.width"})[0].network.width == 32


@pytest.mark.slow
def test_the_command_says_what_it_will_do_and_trains_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    a, b = vectors(tmp_path, "a.npy", [1, 2]), vectors(tmp_path, "b.npy", [2, 1])
    options = [
        "--steps",
        "12",
        "--network.width",
        "8",
        "--sampling.samples",
        "20",
        "--recipe.coupling",
        "field_lines",
    ]
    cli.main(["suggest", a, b, *options])
    said = capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    lines = said.splitlines()
    assert [line.split()[0] for line in lines] == ["P", "Q", "method", "samples", "network", "time"]
    assert "field_lines" in lines[2]
    assert "12 steps" in lines[5]
    cli.main(["train", a, b, *options, "--recipe.method", "cfm", "--no-progress"])
    told = capsys.readouterr().out
    assert told.splitlines()[2].startswith("method   cfm, ")
    assert told.splitlines()[2].endswith("(--recipe.method): as given")
    assert (tmp_path / "runs" / "a-to-b" / "report.json").is_file()


def test_what_is_known_is_said_before_steps_are_timed(monkeypatch, capsys):
    seen = []

    def timed(run, opened):
        seen.append(capsys.readouterr())
        return Timing(20.0, 0.3)

    monkeypatch.setattr(_pacing, "_timed", timed)
    cli.main(["suggest", "moons", "rings"])
    ((said, note),) = seen
    assert [line.split()[0] for line in said.splitlines()] == ["P", "Q", "method", "samples"]
    assert said.splitlines()[3] == "samples  2 numbers: that of the data"  # --data.size is for pictures
    assert note == "timing some steps ...\n"
    after = capsys.readouterr()
    assert [line.split()[0] for line in after.out.splitlines()] == ["network", "time"]
    assert after.err == ""


@pytest.mark.slow
def test_the_run_of_a_folder_is_compared_before_steps_are_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    a, b = vectors(tmp_path, "a.npy", [1, 2]), vectors(tmp_path, "b.npy", [2, 1])
    monkeypatch.setattr(_pacing, "_timed", lambda run, opened: Timing(1.0, 1.0))
    monkeypatch.setattr(_pacing, "FEWEST_STEPS", 12)
    options = ["--run", "run", "--minutes", "0.1", "--network.width", "8", "--no-progress", "--no-report"]
    options += ["--recipe.coupling", "field_lines"]
    cli.main(["train", a, b, *options])
    kept = runs.read_config("run")
    assert kept["steps"] == 12
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(_pacing, "_timed", lambda *_: pytest.fail("steps were timed"))
        others = ["--recipe.method", "cfm"], ["--network.width", "9"], ["--optimizer.warmup", "3"]
        for more in others:
            with pytest.raises(SystemExit):
                cli.main(["train", a, b, *options[:2], *more, "--no-report"])
            told = capsys.readouterr()
            assert told.out == ""
            assert "the run in run has another config:\n" in told.err
            assert f"{more[0][2:].replace('-', '_')}: " in told.err
        with pytest.raises(SystemExit):
            cli.main(["train", b, a, *options])
        assert "data.source npy:" in capsys.readouterr().err
    # twice the steps, of which a new run would warm up longer
    cli.main(["train", a, b, *options, "--steps", "24"])
    assert runs.read_config("run") == {**kept, "steps": 24, "save_every": 2}


def test_another_method_is_refused_before_a_preset_is_said_to_train(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    pfgm = configs.of_method(PRESETS["toy-swiss-roll"][1], "pfgm")
    (run / "config.json").write_text(json.dumps(configs.to_dict(pfgm)))
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "toy-swiss-roll", "--run", str(run), "--recipe.method", "cfm", "--no-report"])
    told = capsys.readouterr()
    assert stop.value.code == 2
    assert told.out == ""
    assert f"recipe.extra: {pfgm.recipe.extra} in the run, not an option of cfm now" in told.err
    assert "recipe.coupling: not an option of pfgm in the run, 'minibatch_ot' now" in told.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["suggest"], "takes two sets of data, got 0"),
        (["suggest", "moons"], "takes two sets of data, got 1"),
        (["train", "moons"], "got 1, and 'moons' is no preset"),
        (["train", "moons", "rings", "toys"], "got 3"),
        (["suggest", "moons", "rings", "--recipe.reach", "3"], "an option of c2fm, not of tubes"),
        (["suggest", "moons", "rings", "--minutes", "0"], "minutes must be"),
        (["suggest", "moons", "rings", "--recipe.method", "pfgm"], "would ignore P, got moons"),
        (["train", "moons", "rings", "--recipe.method", "pfgm"], "would ignore P, got moons"),
    ],
)
def test_mistakes_are_said_in_a_line(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


def test_options_of_a_preset_are_those_of_its_own_method(capsys):
    # translate-quick is `ifm`: its width is no option of `efm`
    with pytest.raises(SystemExit):
        cli.main(["train", "translate-quick", "--recipe.width", "0.5", "--recipe.gamma", "1", "--run", "x"])
    assert "--recipe.gamma is an option of efm and pfgm, not of ifm" in capsys.readouterr().err


def warned(p, q, recipe=None):
    """The warnings that `efm suggest` prints of two folders."""
    found = suggestions.suggest(p, q)
    run = found.run if recipe is None else replace(found.run, recipe=replace(found.run.recipe, **recipe))
    lines = suggestions.expected(found, run, Timing(1.0, 0.01), 10.0)
    return [line for line in lines if line.startswith("warning") and "occur in both sets" in line]


def test_names_that_occur_in_both_folders_are_told_with_the_option_that_uses_them(tmp_path):
    a, b = (pictures(tmp_path / name, 70, (16, 16)) for name in "ab")
    for picture in (tmp_path / "b").iterdir():  # another kind of file, the same name
        picture.rename(picture.with_suffix(".jpg" if int(picture.stem) < 60 else ".webp"))
    for k in range(10):
        (tmp_path / "b" / f"{k}.jpg").rename(tmp_path / "b" / f"other{k}.jpg")
    (told,) = warned(a, b)
    assert "names of 60 of 70 pictures occur in both sets." in told
    assert "--recipe.coupling one_plan --recipe.plan-features efficientnet" in told
    options = {"coupling": "one_plan", "plan_features": "efficientnet"}
    assert warned(a, b, options) == []
    run = suggestions.suggest(a, b).run
    run = replace(run, recipe=replace(run.recipe, **options))
    plans.check(run, build.sources(run.data))  # both options are needed, and these go together
    assert warned(a, a) == []  # the same set twice


def test_a_few_equal_names_are_no_partners(tmp_path):
    a, b = (pictures(tmp_path / name, 70, (16, 16)) for name in "ab")
    for k in range(40):
        (tmp_path / "b" / f"{k}.png").rename(tmp_path / "b" / f"other{k}.png")
    assert warned(a, b) == []
