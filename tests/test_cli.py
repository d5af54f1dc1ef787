"""The command line, end to end on toys and on folders of pictures small enough for seconds."""

import functools
import itertools
import json
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
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


def failure(capsys, arguments) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    return capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "nowhere"], "there is no run or model nowhere: no folder has this name"),
        (["resume", "nowhere"], "nowhere is not a run folder"),
        (["train", "images", "--run", "r", "--data.source", "folder:/not/there"], "/not/there"),
        (["train", "toy-swiss-roll", "--run", "r", "--data.source", "swiss_rol"], "swiss_roll"),
        (
            ["train", "toy-swiss-roll", "--run", "r", "--recipe.gap", "-1"],
            "gap must be a finite number > 0, got -1",
        ),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    err = failure(capsys, arguments)
    assert told in err
    assert "Traceback" not in err


def test_unknown_options_are_named(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "toy-swiss-roll", "--run", "r", "--recipe.gapp", "3"])
    assert stop.value.code == 2
    assert "gapp" in capsys.readouterr().err


def test_the_demo_needs_no_data_and_may_be_repeated(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(reports, "find_spec", lambda name: None)  # mlxtend is not installed
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for _ in range(2):
        cli.main(["demo", "--output", str(tmp_path / "demo")])
        assert capsys.readouterr().out == f"Open {tmp_path / 'demo' / 'report.html'}\n"
    text = (tmp_path / "demo" / "report.html").read_text()
    assert text.count("data:image/") == 4  # lines and a film, both ways
    assert "efm translate moons --input npy:SAMPLES.npy" in text
    assert opened == []  # no terminal


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
    ("options", "told"),
    [
        (
            ["--sampling.steps", "0", "--optimizer.warmup", "1"],
            "sampling.steps must be a whole number >= 1, got 0",
        ),
        (
            ["--sampling.samples", "1", "--optimizer.warmup", "1"],
            "sampling.samples must be at least 2 for a report, got 1",
        ),
        (["--optimizer.warmup", "5"], "steps must be more than those of the warm-up, 5"),
    ],
)
def test_what_cannot_be_done_after_training_is_told_before_it(options, told, capsys, tmp_path):
    err = failure(capsys, ["train", "toy-swiss-roll", "--run", str(tmp_path / "r"), "--steps", "4", *options])
    assert told in err
    assert not (tmp_path / "r").exists()


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


@pytest.mark.parametrize(
    "options", [["--a", "x", "--b", "y"], ["--a=x", "--b=y", "--seed", "3"], ["run", "--b", "y"]]
)
def test_folders_to_evaluate_are_sent_to_compare(options, capsys):
    assert "Compare two folders with `efm compare A B`." in failure(capsys, ["evaluate", *options])


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


METHODS = {
    method: ["train", "toy-swiss-roll", "--recipe.method", method, "--help"]
    for method in ("efm", "c2fm", "ifm", "cfm", "pfgm")
}
COMMANDS = (
    "train",
    "suggest",
    "resume",
    "reflow",
    "export",
    "translate",
    "generate",
    "evaluate",
    "compare",
    "demo",
    "doctor",
)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", [*METHODS, *COMMANDS[1:]])
def test_help_wraps_at_the_width_of_the_terminal_alone(command, columns, capsys, monkeypatch):
    """A line of a box that ends early is the last of its text: the next word would not have fitted."""
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit):
        cli.main(METHODS.get(command, [command, "--help"]))
    lines = capsys.readouterr().out.splitlines()
    texts = [line[1:-1] if line[-1:] in (" ", "│") else "" for line in lines]  # those in boxes
    assert any(texts)
    for text, after in itertools.pairwise(texts):
        start = len(after) - len(after.lstrip())
        column = next(
            (m.end() for m in re.finditer(r"\S {2,}", text.rstrip())), len(text) - len(text.lstrip())
        )
        continued = after.strip() and start > 2 and start == column and text.strip()
        if continued and not after.strip().startswith("(default"):
            assert len(text.rstrip()) + 1 + len(after.split()[0]) > columns - 3, (text, after)


def test_help_hides_what_another_command_sets_and_says_each_command_in_a_line(capsys):
    for arguments in (METHODS["efm"], ["resume", "--help"]):
        with pytest.raises(SystemExit):
            cli.main(arguments)
        assert "--reflow" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert capsys.readouterr().out.count("•") == len(COMMANDS)


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


def named(name, command):
    command.__name__ = name
    return command


def test_ctrl_c_ends_with_one_line(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "doctor", named("doctor", interrupted))
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "efm: interrupted\n"


def test_a_run_folder_that_is_a_file_is_named(capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    err = failure(capsys, ["train", "toy-swiss-roll", "--run", str(tmp_path / "taken"), "--steps", "200"])
    assert err.startswith(f"efm: output {tmp_path / 'taken'} is a file")


def ended(capsys, arguments) -> tuple[int, str]:
    """The status and the last words of a command that fails."""
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (
            MemoryError("Unable to allocate 7.28 TiB"),
            1,
            "efm: out of memory: Unable to allocate 7.28 TiB\nLower",
        ),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8GiB.\nMore."),
            1,
            "efm: out of memory: RESOURCE_EXHAUSTED: Out of memory allocating 8GiB.\nLower --recipe.charges,",
        ),
        (
            RecursionError("maximum depth"),
            1,
            "efm: nested too deeply: RecursionError: maximum depth\nThis was not",
        ),
        (
            AttributeError("x" * 999 + "\ny"),
            1,
            f"efm: AttributeError: {'x' * 300} ...\nThis was not foreseen. Add",
        ),
        (OSError(28, "No space left on device", "out/x"), 1, "efm: No space left on device: out/x\n"),
        (NotADirectoryError(20, "Not a directory", "out/x"), 2, "efm: Not a directory: out/x\n"),
        (
            UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"),
            2,
            "efm: a name that is not UTF-8 text: 'a\\udcff'; rename it.\n",
        ),
    ],
)
def test_whatever_goes_wrong_is_said_in_a_line(error, status, told, capsys, monkeypatch):
    def broken():
        raise error

    monkeypatch.setattr(cli, "doctor", named("doctor", broken))
    code, err = ended(capsys, ["doctor"])
    assert code == status
    assert err.startswith(told)
    assert err.count("\n") <= 2
    assert "Traceback" in ended(capsys, ["doctor", "--debug"])[1]
    monkeypatch.setenv("EFM_DEBUG", "1")
    assert "Traceback" in ended(capsys, ["doctor"])[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "no command is given.\nThe commands are train, suggest, resume, "),
        ("genrate moons", "there is no command 'genrate'; did you mean generate?\n"),
        (
            "generate moons",
            "Missing from efm generate: --count N --output FOLDER\n`efm generate --help` shows",
        ),
        (
            "generate moons --count x --output o",
            "Error parsing --count: invalid literal for int() with base 10: 'x'\n",
        ),
        (
            "train toy-swiss-roll --run r --recipe.gapp 3",
            "Unrecognized options: --recipe.gapp, 3; perhaps you meant --recipe.gap",
        ),
        (
            "train digits-quick --run r --step 100",
            "Unrecognized options: --step, 100; perhaps you meant --steps INT\n`efm train digits-quick --help` shows",
        ),
        (
            "train digits-quick --run r --stepz 100",
            "Unrecognized options: --stepz, 100; perhaps you meant --steps INT\n",
        ),
        (
            "train digits-quick --run r --recipe.metod=cfm",
            "Unrecognized options: --recipe.metod=cfm; perhaps you meant --recipe.method\n",
        ),
        (
            "train digits-quick --run r --data.gry --sampling.setps 4",
            "Unrecognized options: --data.gry, --sampling.setps, 4; perhaps you meant --data.gray, --sampling.steps INT\n",
        ),
        (
            "train moons rings --step 5",
            "Unrecognized options: --step, 5; perhaps you meant --steps INT\n`efm train moons rings --help` shows",
        ),
        (
            "train digits-quik --run r",
            "there is no preset 'digits-quik'; did you mean digits-quick?\n`efm train --help` lists the presets",
        ),
        ("train Toy_Swissroll", "there is no preset 'Toy_Swissroll'; did you mean toy-swiss-roll?\n"),
        (
            "train digits --run r",
            "`efm train` takes two sets of data, got 1, and 'digits' is no preset.\nName P and Q",
        ),
        ("generate moons --count 3 --output=", "--output is empty.\n"),
        ("train toy-swiss-roll --run  --steps 3", "--run is empty.\n"),
        (
            "generate moons --count 3 --output ~nosuchuser/x",
            "there is no home directory for ~nosuchuser/x; write",
        ),
        (
            "generate moons --count 1000000000000 --output o",
            "a count of 1000000000000 needs at least 208,616.3 GiB",
        ),
        (
            "translate moons --input moons --limit 1000000000000 --output o",
            "a limit of 1000000000000 needs at least",
        ),
        ("evaluate moons --samples 1000000000000", "a report on 1000000000000 samples needs at least"),
        (
            "train toy-swiss-roll --run r --recipe.charges 1000000000000",
            "recipe.charges 1000000000000 needs at",
        ),
        ("train toy-swiss-roll --run r --network.width 10000000", "network.width 10000000 needs at least"),
        (
            "train toy-swiss-roll --run r --sampling.samples 1000000000000",
            "sampling.samples 1000000000000 needs",
        ),
        ("train toy-swiss-roll --run \udcff --steps 300", "a name that is not UTF-8 text"),
    ],
)
def test_mistakes_of_usage_are_said_in_a_line(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, err = ended(capsys, arguments.split(" ") if arguments else [])
    assert code == 2
    assert err.startswith(f"efm: {told}")
    assert err.count("\n") <= 2
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_a_folder_is_named(capsys, tmp_path):
    (tmp_path / "taken").touch()
    for place in (tmp_path / "taken", tmp_path / "taken" / "deep"):
        for command in (
            "generate moons --count 3 --output",
            "evaluate moons --output",
            "export moons --output",
        ):
            code, err = ended(capsys, [*command.split(), str(place)])
            assert code == 2
            assert (
                err
                == f"efm: output {tmp_path / 'taken'} is a file, expected a folder; give another output.\n"
            )


def test_names_that_are_not_utf8_and_a_full_disk(capsys, tmp_path, monkeypatch):
    cli.main(["generate", "moons", "--count", "1", "--output", f"{tmp_path}/a\udcff"])
    assert "a\\udcff/ (its line arrived)" in capsys.readouterr().out or sys.stdout.errors is None
    assert os.listdir(os.fsencode(tmp_path)) == [b"a\xff"]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, err = ended(capsys, ["generate", "moons", "--count", "1", "--output", str(tmp_path / "b")])
    assert (code, err) == (1, f"efm: No space left on device: {tmp_path / 'b' / 'lines.json'}\n")


@pytest.mark.parametrize(
    ("platforms", "told"),
    [
        ("cuda", b"efm: no device for JAX_PLATFORMS=cuda: "),
        ("none", b"efm: no device for JAX_PLATFORMS=none: "),
    ],
)
def test_a_device_that_is_not_there(platforms, told, tmp_path):
    command = "generate moons --count 1 --output o" if platforms == "cuda" else "doctor"
    program = [sys.executable, "-m", "efm_jax.cli", *command.split()]
    environment = {**os.environ, "JAX_PLATFORMS": platforms}
    done = subprocess.run(program, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(told), done.stderr
    assert done.stderr.endswith(b"\nJAX_PLATFORMS=cpu takes the CPU.\n")
    assert b"Traceback" not in done.stderr


def test_a_reader_that_has_enough_and_a_full_disk_behind_standard_output():
    program = [sys.executable, "-m", "efm_jax.cli", "--version"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"efm: No space left on device\n")
