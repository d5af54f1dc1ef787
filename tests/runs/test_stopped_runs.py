"""Runs that end too soon, by signal, clock, bad numbers, a full disk or an error: what was saved goes on bit for bit."""

import errno
import functools
import os
import signal
import threading

import _runs
import jax
import numpy as np
import pytest
from _killed_run import NETWORK, run, source
from _runs import outcome

from efm_jax import checkpoint
from efm_jax.runs import _journal, _loop, read_log
from efm_jax.training import adam, feeding, init_state

interruptible, straight = _runs.interruptible, _runs.straight  # fixtures

pytestmark = pytest.mark.usefixtures("one_compilation")


# --- signals and the clock


def calls(action, at):
    """A source that does `action` when its batch number `at` is drawn."""
    drawn, inner = [], source(0.0)

    def draw(rng, n):
        drawn.append(n)
        if len(drawn) == at + 1:
            action()
        return inner.draw(rng, n)

    return inner._replace(draw=draw)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, capfd, straight, number):
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, pos=calls(lambda: os.kill(os.getpid(), number), at=11))
    assert caught.value.code == 128 + number
    step = checkpoint.latest(tmp_path / "checkpoints")
    assert 8 <= step <= 12  # batch 11 is drawn ahead of step 12
    told = capfd.readouterr().err
    assert "finishing this step and saving" in told
    assert (
        f"Stopped at step {step} of 20; all is saved in {tmp_path}.\nTo resume: call fit with the same arguments\n"
        in told
    )
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    run(tmp_path)
    assert outcome(tmp_path) == outcome(straight)


def test_a_signal_during_the_last_save_is_not_lost(tmp_path):
    with pytest.raises(SystemExit):
        run(tmp_path, steps=3, on_save=lambda state: signal.raise_signal(signal.SIGINT))
    assert checkpoint.latest(tmp_path / "checkpoints") == 3
    assert int(run(tmp_path, steps=3).step) == 3


def test_a_second_signal_acts_at_once():
    with _loop.deferred() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.caught == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _loop.deferred() as signals:
            signal.raise_signal(signal.SIGINT)
        assert signals.caught is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_outside_the_main_thread_leaves_signals_alone(tmp_path):
    states = []
    thread = threading.Thread(target=lambda: states.append(run(tmp_path, steps=2)))
    thread.start()
    thread.join()
    assert int(states[0].step) == 2


@pytest.fixture
def ticking(monkeypatch):
    """A source by whose batches the clock goes: ten seconds a step. It may do something at one of them."""

    class Clock:
        now = 0.0

        @staticmethod
        def monotonic():
            return Clock.now

    for module in (_journal, _loop):
        monkeypatch.setattr(module, "time", Clock)
    # drawn as it is used: ahead of that, threads would race with the clock
    monkeypatch.setattr(feeding, "AHEAD", 0)

    def make(action=None, at=-1):
        inner = source(0.0) if action is None else calls(action, at)

        def draw(rng, n):
            Clock.now += 10.0
            return inner.draw(rng, n)

        return inner._replace(draw=draw)

    return make


def test_the_time_budget_counts_over_resumes(tmp_path, capfd, ticking, straight):
    first = run(tmp_path, pos=ticking(), max_seconds=60.0)
    stopped = int(first.step)
    assert stopped == 6
    told = capfd.readouterr().err
    assert f"60 seconds are over at step {stopped} of 20; all is saved in {tmp_path}.\n" in told
    assert told.endswith("\nTo resume: call fit with the same arguments, with a larger max_seconds\n")
    again = run(tmp_path, pos=ticking(), max_seconds=60.0)
    assert int(again.step) == stopped
    more = run(tmp_path, pos=ticking(), max_seconds=100.0)
    assert int(more.step) == 10
    run(tmp_path, pos=ticking())
    assert outcome(tmp_path) == outcome(straight)


def test_a_schedule_ends_with_the_time(tmp_path, capfd, ticking):
    cosine = functools.cache(lambda end: adam(0.01, warmup=5, cosine_steps=end))
    options = {"steps": 1000, "max_seconds": 250.0, "ending": cosine, "optimizer": cosine(1000)}

    def same_as_alone(name):
        """The run is that of a cosine which ended there from the beginning: it was laid before the warm-up was over."""
        meta = checkpoint.read_meta(tmp_path / name / "checkpoints")
        end = meta["schedule"]["ends"]
        assert end == meta["data_position"] == 22
        run(tmp_path / f"{name} alone", steps=end, optimizer=cosine(end))
        assert outcome(tmp_path / name) == outcome(tmp_path / f"{name} alone")
        return end

    run(tmp_path / "whole", pos=ticking(), **options)
    told = capfd.readouterr().err
    end = same_as_alone("whole")
    assert f"The learning rate falls to 0 at step {end}, as max_seconds will be over." in told
    assert "all is saved" not in told
    again = run(tmp_path / "whole", pos=ticking(lambda: pytest.fail("drawn"), at=0), **options)
    assert int(again.step) == end
    # resumed it keeps the end that was set, although the clock has run on
    with pytest.raises(SystemExit):
        run(tmp_path / "parts", pos=ticking(lambda: signal.raise_signal(signal.SIGINT), at=11), **options)
    set_end = checkpoint.read_meta(tmp_path / "parts" / "checkpoints")["schedule"]["ends"]
    run(tmp_path / "parts", pos=ticking(), **options)
    assert same_as_alone("parts") == set_end
    # other limits lay it anew; with time for all steps it stays on them
    for name, limits in (("whole", {"max_seconds": 400.0}), ("long", {"max_seconds": 1e6, "steps": 12})):
        run(tmp_path / name, pos=ticking(), **{**options, **limits})
    longer = checkpoint.read_meta(tmp_path / "whole" / "checkpoints")["schedule"]
    assert longer["limits"] == {"steps": 1000, "max_seconds": 400.0}
    assert longer["ends"] > end
    assert "schedule" not in checkpoint.read_meta(tmp_path / "long" / "checkpoints")


# --- bad numbers, full disks, errors


def poisoned(first, count):
    """Samples that are NaN in `count` batches from number `first` on."""
    inner, drawn = source(0.0), []

    def draw(rng, n):
        drawn.append(n)
        return inner.draw(rng, n) * np.float32(np.nan if first < len(drawn) <= first + count else 1.0)

    return inner._replace(draw=draw)


def test_a_few_bad_steps_are_skipped_and_counted(tmp_path):
    state = run(tmp_path, pos=poisoned(5, 3))
    assert (int(state.step), int(state.skipped), int(state.skipped_in_row)) == (20, 3, 0)
    log = read_log(tmp_path)
    assert [line["skipped"] for line in log] == [0, 3, 3, 3, 3]
    assert all(np.isfinite(line["loss"]) for line in log)


def test_bad_steps_in_a_row_end_the_run_and_keep_the_last_good_checkpoint(tmp_path):
    with pytest.raises(
        FloatingPointError, match=r"for 9 steps in a row, up to step 19; the checkpoint of step 9 is"
    ):
        run(tmp_path, pos=poisoned(10, 99), save_every=3, keep=1, max_skipped=9)
    state, _ = checkpoint.restore(tmp_path / "checkpoints", init_state(jax.random.key(0), NETWORK, adam()))
    assert (int(state.step), int(state.skipped)) == (9, 0)
    last = {k: v for k, v in read_log(tmp_path)[-1].items() if k not in _journal.MEASURED}
    assert last | {"grad_norm": None} == {
        "step": 16,
        "loss": None,
        "grad_norm": None,
        "skipped": 6,
    }


def test_a_full_disk_ends_the_run_and_costs_nothing_saved(tmp_path, monkeypatch, straight):
    write, count = checkpoint._write_arrays, []

    def filling(*args):
        count.append(1)
        if len(count) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(*args)

    monkeypatch.setattr(checkpoint, "_write_arrays", filling)
    with pytest.raises(
        OSError, match=r"No space left on device: the checkpoint of step 14 .*untouched \(steps: 7\)"
    ):
        run(tmp_path)
    assert os.listdir(tmp_path / "checkpoints") == ["000000007"]
    run(tmp_path)
    assert outcome(tmp_path) == outcome(straight)


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half_and_waits(tmp_path):
    log = _journal.Log(tmp_path, 0)
    log.write({"step": 1})

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:3])

        def __getattr__(self, name):
            return getattr(self.file, name)

    real, log._file = log._file, Full(log._file)
    with pytest.warns(
        UserWarning, match="log.jsonl cannot be written .*No space left on device.*; training goes on"
    ):
        log.write({"step": 2})
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n'
    log._file = real
    log.write({"step": 3})
    log.close()
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3}\n'


@pytest.mark.parametrize("where", ["source", "on_save"])
def test_an_error_of_the_callers_code_comes_through_and_frees_the_folder(tmp_path, where, straight):
    def fail(*args):
        raise RuntimeError("the disk with the pictures is gone")

    options = {"pos": calls(fail, at=15)} if where == "source" else {"on_save": fail}
    with pytest.raises(RuntimeError, match="the disk with the pictures is gone"):
        run(tmp_path, **options)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("efm-data") and thread.is_alive()
    ]
    run(tmp_path)
    assert outcome(tmp_path) == outcome(straight)
