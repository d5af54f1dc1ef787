"""A training that is stopped says what resumes it, and that is true however it was started."""

import shlex
import signal

import _runs
import pytest
from _commands import failure

from efm_jax import checkpoint, cli
from efm_jax.models.suggestions import Timing, _pacing
from efm_jax.runs import _pictures

interruptible = _runs.interruptible  # fixture

_BRIEF = shlex.split("--steps 4 --network.width 8 --network.depth 1 --optimizer.warmup 1 --recipe.method cfm")
_BRIEF += shlex.split("--recipe.coupling independent --no-report --no-progress")


@pytest.fixture
def stopped(monkeypatch):
    """A signal comes during the first step of a training, of the first training alone."""
    signals = [signal.SIGINT]

    def due(watch, step):
        if signals:
            signal.raise_signal(signals.pop())
        return False

    monkeypatch.setattr(_pictures.Watch, "due", due)
    monkeypatch.setattr(_pacing, "_timed", lambda run, opened: Timing(1.0, 1.0))


@pytest.mark.usefixtures("interruptible", "stopped")
@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("train moons rings", "runs/moons-to-rings"),
        ("train moons rings --run 'a b'", "a b"),
        ("train toy-swiss-roll", "runs/toy-swiss-roll"),
    ],
)
def test_what_resumes_a_stopped_training_is_said(command, folder, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main([*shlex.split(command), *_BRIEF])
    assert stop.value.code == 128 + signal.SIGINT
    told = capfd.readouterr().err
    assert f"Stopped at step 1 of 4; all is saved in {folder}.\nTo resume: efm resume " in told
    assert checkpoint.latest(f"{folder}/checkpoints") == 1
    cli.main([*shlex.split(told.splitlines()[-1])[3:], "--no-report"])
    assert checkpoint.latest(f"{folder}/checkpoints") == 4


@pytest.mark.usefixtures("stopped")
def test_more_time_is_offered_where_it_was_over(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(_pictures.Watch, "due", lambda *_: False)
    run = tmp_path / "r"
    options = [*_BRIEF, "--steps", "100000", "--max-seconds", "0.02"]
    cli.main(["train", "moons", "rings", "--run", str(run), *options])
    first, last = capfd.readouterr().err.splitlines()[-2:]
    assert first.startswith("0.02 seconds are over at step ")
    assert last == f"To resume: efm resume {run} --max-seconds 0.04"


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize(
    ("command", "name"), [("moons rings", "moons-to-rings"), ("toy-swiss-roll", "toy-swiss-roll")]
)
def test_a_default_folder_is_new_and_says_where_the_earlier_run_is(
    command, name, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_pictures.Watch, "due", lambda *_: False)
    for _ in range(2):
        cli.main(["train", *command.split(), *_BRIEF])
    told = capfd.readouterr()
    assert f"Training in runs/{name}-2\n" in told.out
    assert f"runs/{name} holds an earlier run; `efm resume runs/{name}` resumes it.\n" in told.err
    assert (
        checkpoint.latest(f"runs/{name}/checkpoints") == checkpoint.latest(f"runs/{name}-2/checkpoints") == 4
    )


@pytest.mark.parametrize("command", ["toy-swiss-roll", "moons rings"])
def test_several_hosts_are_given_one_folder(command, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    said = failure(capfd, ["train", *command.split(), "--parallel.coordinator", "auto"])
    assert said.startswith("efm: several hosts train in one run folder, and --run is missing.\nGive it")
    assert not list(tmp_path.iterdir())
