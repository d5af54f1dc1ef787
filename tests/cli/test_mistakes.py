"""A command that fails says why in a line, and its status tells a mistake of the user from the rest."""

import os
import subprocess
import sys

import jax
import pytest
from _commands import ended, failure

from efm_jax import cli
from efm_jax.cli import _parsing


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
            "train digits-quick --stepz 100",
            "Unrecognized options: --stepz, 100; perhaps you meant --steps INT\n",
        ),
        (
            "train digits-quick --steps abc",
            "Error parsing --steps: invalid literal for int() with base 10: 'abc'\n",
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
    "options", [["--a", "x", "--b", "y"], ["--a=x", "--b=y", "--seed", "3"], ["run", "--b", "y"]]
)
def test_folders_to_evaluate_are_sent_to_compare(options, capsys):
    assert "Compare two folders with `efm compare A B`." in failure(capsys, ["evaluate", *options])


def test_a_run_folder_that_is_a_file_is_named(capsys, tmp_path):
    (tmp_path / "taken").write_text("")
    err = failure(capsys, ["train", "toy-swiss-roll", "--run", str(tmp_path / "taken"), "--steps", "200"])
    assert err.startswith(f"efm: output {tmp_path / 'taken'} is a file")


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


def test_ctrl_c_ends_with_one_line(capsys, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setitem(_parsing.COMMANDS, "doctor", interrupted)
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "efm: interrupted\n"


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

    monkeypatch.setitem(_parsing.COMMANDS, "doctor", broken)
    code, err = ended(capsys, ["doctor"])
    assert code == status
    assert err.startswith(told)
    assert err.count("\n") <= 2
    assert "Traceback" in ended(capsys, ["doctor", "--debug"])[1]
    monkeypatch.setenv("EFM_DEBUG", "1")
    assert "Traceback" in ended(capsys, ["doctor"])[1]


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
