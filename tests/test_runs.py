import errno
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from _killed_run import CONFIG, NETWORK, RECIPE, run, source

from efm_jax import _feed, _files, _journal, _signals, checkpoint, datasets
from efm_jax.checkpoint import CheckpointError
from efm_jax.runs import fit, read_config, read_log
from efm_jax.training import adam, init_state

PROGRAM = Path(__file__).with_name("_killed_run.py")


@pytest.fixture(autouse=True)
def interruptible():
    """SIGINT as at a terminal: a shell lets its background jobs ignore it, and ignored signals stay ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def outcome(folder):
    """All that a run computed: the bytes of its newest state, and its log but for the clock."""
    state, meta = checkpoint.restore(
        Path(folder) / "checkpoints", init_state(jax.random.key(9), NETWORK, adam())
    )
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    log = [
        {k: v for k, v in line.items() if k not in ("seconds", "steps_per_second")}
        for line in read_log(folder)
    ]
    return [np.asarray(leaf).tobytes() for leaf in leaves], log, meta["window"]


def calls(action, at):
    """A source that does `action` when its batch number `at` is drawn."""
    drawn, inner = [], source(0.0)

    def draw(rng, n):
        drawn.append(n)
        if len(drawn) == at + 1:
            action()
        return inner.draw(rng, n)

    return inner._replace(draw=draw)


pytestmark = pytest.mark.usefixtures("one_compilation")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    run(folder)
    return folder


# --- what a run leaves


def test_a_run_folder_explains_itself(straight):
    assert read_config(straight) == json.loads(json.dumps(CONFIG))
    log = read_log(straight)
    assert [line["step"] for line in log] == [4, 8, 12, 16, 20]
    assert log[0].keys() == {"step", "loss", "grad_norm", "skipped", "seconds", "steps_per_second"}
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(log))
    assert sorted(os.listdir(straight / "checkpoints")) == ["000000014", "000000020"]
    state, meta = checkpoint.restore(straight / "checkpoints", init_state(jax.random.key(0), NETWORK, adam()))
    assert int(state.step) == meta["data_position"] == 20
    assert meta["config"] == read_config(straight)
    assert meta["fit"] == {"seed": 3, "batch_pos": 8, "batch_neg": 8, "ema_decay": 0.9}
    assert meta["versions"]["jax"] == jax.__version__
    assert not [name for name in os.listdir(straight) if name.endswith(".tmp")]


def test_the_log_holds_means_since_the_line_before(tmp_path):
    run(tmp_path / "fine", log_every=1)
    run(tmp_path / "coarse", steps=17, log_every=5)
    fine = [line["loss"] for line in read_log(tmp_path / "fine")]
    coarse = {line["step"]: line["loss"] for line in read_log(tmp_path / "coarse")}
    expected = {
        5: np.mean(fine[:5]),
        10: np.mean(fine[5:10]),
        15: np.mean(fine[10:15]),
        17: np.mean(fine[15:17]),
    }
    assert coarse == pytest.approx(expected, rel=1e-12)  # float64 means of the same numbers


def test_tensorboard_gets_the_log(straight):
    reader = pytest.importorskip("tensorboardX.event_file_writer")
    assert reader
    (events,) = (straight / "tensorboard").iterdir()
    data = events.read_bytes()
    assert all(name in data for name in (b"loss", b"grad_norm", b"steps_per_second"))


def test_a_run_without_tensorboard_is_as_good(tmp_path, monkeypatch, straight):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    run(tmp_path)
    assert not (tmp_path / "tensorboard").exists()
    assert outcome(tmp_path) == outcome(straight)


def test_progress_shows_loss_speed_and_time_left(tmp_path, capfd):
    run(tmp_path, progress=True)
    told = capfd.readouterr().err
    assert "20/20" in told
    assert "loss=" in told
    assert "step/s" in told or "s/step" in told


def test_the_step_is_compiled_once(tmp_path):
    traced = []

    def draw(key, x_pos, x_neg):
        traced.append(1)
        return RECIPE.draw(key, x_pos, x_neg)

    options = {"steps": 5, "batch_pos": 6, "batch_neg": 6, "seed": 0, "config": {}, "progress": False}
    fit(tmp_path, RECIPE._replace(draw=draw), NETWORK, adam(), source(0.0), source(1.0), **options)
    assert len(traced) == 1


# --- resuming


def test_a_run_in_two_parts_is_the_run_in_one(tmp_path, straight):
    run(tmp_path, steps=12)
    state = run(tmp_path)
    assert int(state.step) == 20
    assert outcome(tmp_path) == outcome(straight)


def test_a_finished_run_is_returned_as_it_is(tmp_path, straight):
    shutil.copytree(straight, tmp_path / "copy")
    before = (tmp_path / "copy" / "log.jsonl").read_bytes()
    state = run(tmp_path / "copy", pos=source(0.0)._replace(draw=None))
    assert int(state.step) == 20
    assert (tmp_path / "copy" / "log.jsonl").read_bytes() == before


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path, straight):
    run(tmp_path, steps=14)
    with open(tmp_path / "log.jsonl", "a") as file:  # steps that a killed process logged but did not save
        file.write('{"step": 16, "loss": 99.0}\n{"step": 20, "lo')
    assert [line["step"] for line in read_log(tmp_path)] == [4, 8, 12, 14, 16]
    run(tmp_path, steps=16)
    run(tmp_path)
    lines = [line for line in outcome(tmp_path)[1] if line["step"] != 14]  # the last line of the shorter run
    assert lines == outcome(straight)[1]
    assert all(json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_damaged_checkpoint_costs_its_steps_and_no_more(tmp_path, straight):
    run(tmp_path, steps=14)
    os.truncate(tmp_path / "checkpoints" / "000000014" / "checkpoint.json", 100)
    with pytest.warns(UserWarning, match=r"000000014.* Fell back to the checkpoint of step 7"):
        run(tmp_path)
    state, log, window = outcome(tmp_path)
    assert (state, log, window) == outcome(straight)
    names = os.listdir(tmp_path / "checkpoints")
    assert "000000014.damaged" in names


def test_when_no_checkpoint_can_be_read_nothing_is_touched(tmp_path):
    run(tmp_path, steps=7)
    os.truncate(tmp_path / "checkpoints" / "000000007" / "checkpoint.json", 100)
    log = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* can be read"):
        run(tmp_path)
    assert os.listdir(tmp_path / "checkpoints") == ["000000007"]
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_config_json_is_mended_from_the_checkpoint(tmp_path):
    run(tmp_path, steps=3)
    (tmp_path / "config.json").unlink()
    run(tmp_path, steps=4)
    assert read_config(tmp_path) == json.loads(json.dumps(CONFIG))
    (tmp_path / "config.json").write_text('{"half')
    with pytest.raises(ValueError, match=r"config.json is not JSON .*: they hold one"):
        run(tmp_path, steps=5)


def test_another_config_is_refused_with_what_differs(tmp_path):
    run(tmp_path, steps=3)
    other = {"network": {"width": 32, "scales": [1, 2]}, "rate": 0.01, "depth": 2, "steps": 4}
    said = r"another config:\n  depth: 'nothing' in the run, 2 now\n  network.width: 16 in the run, 32 now\nGive it"
    with pytest.raises(ValueError, match=said):
        run(tmp_path, config=other)
    with pytest.raises(
        ValueError, match=r"another fit:\n  batch_neg: 8 in the run, 9 now\n  seed: 3 in .*, 4 now"
    ):
        run(tmp_path, seed=4, batch_neg=9)
    # how long it goes on is free
    run(tmp_path, steps=4, config={**CONFIG, "steps": 4, "sampling": {"solver": "heun"}})
    assert read_config(tmp_path)["steps"] == 4


def test_a_run_is_never_overwritten(tmp_path):
    run(tmp_path, steps=3)
    with pytest.raises(
        ValueError, match=r"already holds a run \(checkpoints of steps \[3\]\); pass resume=True"
    ):
        run(tmp_path, resume=False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=r"holds a log\.jsonl but no run; choose an empty folder"):
        run(foreign)
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="model_type: 'bert' in the run, 'nothing' now"):
        run(foreign)
    assert (foreign / "log.jsonl").read_text() == '{"step": 1}\n'


# --- the end that comes too soon


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
    assert f"Stopped at step {step} of 20; all is saved in {tmp_path}: run the same command to go on." in told
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    run(tmp_path)
    assert outcome(tmp_path) == outcome(straight)


def test_a_signal_during_the_last_save_is_not_lost(tmp_path):
    with pytest.raises(SystemExit):
        run(tmp_path, steps=3, on_save=lambda state: signal.raise_signal(signal.SIGINT))
    assert checkpoint.latest(tmp_path / "checkpoints") == 3
    assert int(run(tmp_path, steps=3).step) == 3


def test_a_second_signal_acts_at_once():
    with _signals.deferred() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.caught == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _signals.deferred() as signals:
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


def test_the_time_budget_counts_over_resumes(tmp_path, capfd, monkeypatch, straight):
    class Clock:
        """Ten seconds a step: the clock follows the batches of one plate."""

        now = 0.0

        @staticmethod
        def monotonic():
            return Clock.now

    monkeypatch.setattr(_journal, "time", Clock)
    monkeypatch.setattr(_feed, "_AHEAD", 1)  # drawn at most one step before it is used

    def ticking():
        inner = source(0.0)

        def draw(rng, n):
            Clock.now += 10.0
            return inner.draw(rng, n)

        return inner._replace(draw=draw)

    first = run(tmp_path, pos=ticking(), max_seconds=60.0)
    stopped = int(first.step)
    assert 4 <= stopped <= 6  # a batch or two of the clock's are drawn ahead
    assert f"60 seconds are over at step {stopped} of 20" in capfd.readouterr().err
    again = run(tmp_path, pos=ticking(), max_seconds=60.0)
    assert int(again.step) == stopped
    more = run(tmp_path, pos=ticking(), max_seconds=100.0)
    assert stopped < int(more.step) <= stopped + 5
    run(tmp_path, pos=ticking())
    assert outcome(tmp_path) == outcome(straight)


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
    assert read_log(tmp_path)[-1] | {"seconds": 0, "steps_per_second": 0, "grad_norm": None} == {
        "step": 16,
        "loss": None,
        "grad_norm": None,
        "skipped": 6,
        "seconds": 0,
        "steps_per_second": 0,
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


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half(tmp_path, monkeypatch):
    log = _journal.Log(tmp_path / "log.jsonl", tmp_path / "tensorboard", 0)
    log.write({"step": 1})

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:3])

        def __getattr__(self, name):
            return getattr(self.file, name)

    log._file = Full(log._file)
    with pytest.raises(OSError, match="free disk space"):
        log.write({"step": 2})
    log.close()
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n'


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


def test_on_save_sees_each_checkpoint_when_it_is_on_disk(tmp_path):
    seen = []
    run(
        tmp_path,
        on_save=lambda state: seen.append((int(state.step), checkpoint.latest(tmp_path / "checkpoints"))),
    )
    assert seen == [(7, 7), (14, 14), (20, 20)]


# --- one writer at a time


def test_a_folder_in_use_is_refused(tmp_path):
    refused = []

    def meanwhile(state):
        with pytest.raises(
            ValueError, match=rf"is in use by process {os.getpid()} on .*; wait for it to end"
        ):
            run(tmp_path)
        refused.append(1)

    run(tmp_path, steps=2, on_save=meanwhile)
    assert refused


def test_the_lock_of_a_dead_process_holds_nothing_up(tmp_path):
    program = (
        "import sys, time\nfrom efm_jax import _files\n"
        "with _files.exclusive(sys.argv[1], 'it'):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    lock = tmp_path / "run.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, lock], stdout=subprocess.PIPE, text=True, cwd=PROGRAM.parents[1]
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=rf"it is in use by process {holder.pid} on"),
            _files.exclusive(lock, "it"),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert f"process {holder.pid} " in lock.read_text()
    with _files.exclusive(lock, "it"):
        assert f"process {os.getpid()} " in lock.read_text()


# --- data


def test_batches_come_in_order_from_another_thread_and_no_further_ahead_than_told():
    drawn, pair = [], (source(0.0), source(1.0))

    def draw(rng, n):
        drawn.append(threading.current_thread().name)
        return pair[0].draw(rng, n)

    feed = _feed.batches(pair[0]._replace(draw=draw), pair[1], 5, (3, 4), range(6, 30))
    for step in range(6, 16):
        x_pos, x_neg = next(feed)
        np.testing.assert_array_equal(x_pos, datasets.batch(pair[0], 5, 0, step, 3))
        np.testing.assert_array_equal(x_neg, datasets.batch(pair[1], 5, 1, step, 4))
    feed.close()
    assert len(drawn) <= 10 + _feed._AHEAD
    assert all(name.startswith("efm-data") for name in drawn)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"batch_pos": -1}, "batch_pos must be a whole number >= 1, got -1"),
        ({"log_every": 2.5}, "log_every must be a whole number >= 1, got 2.5"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"save_every": 0}, "save_every must be a whole number >= 1, got 0"),
        ({"config": {"x": np.ones(1)}}, "config must hold only what JSON can"),
        (
            {"neg": datasets.Source(lambda rng, n: None, (2, 2, 3), None)},
            r"one size, got shape \(2,\) .* \(2, 2, 3\)",
        ),
        ({"ema_decay": 1.5}, r"ema_decay must be in \[0, 1\), got 1.5"),
        ({"max_seconds": -1.0}, "max_seconds must be a finite number > 0, got -1.0"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_written(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        run(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"no run in .*: config.json is missing"):
        read_config(tmp_path)
    assert read_log(tmp_path) == []


# --- SIGKILL


def start(folder, steps):
    """The run as a process of its own."""
    path = [str(PROGRAM.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), str(steps)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stderr=subprocess.PIPE,
        text=True,
    )


def content(path):
    return path.read_bytes() if path.exists() else b""


def kill_often(folder, seed, kills, steps):
    """Kill a run again and again, up to 0.8 s after it has begun to log, and compare it with one left alone."""
    alone, ends = start(folder / "straight", steps), []
    log = folder / "killed" / "log.jsonl"
    for wait in np.random.default_rng(seed).uniform(0.0, 0.8, kills):
        before, process = content(log), start(folder / "killed", steps)
        while process.poll() is None and content(log) in (b"", before):
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        _, told = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), told
        ends.append(process.returncode)
    assert -signal.SIGKILL in ends
    for process in (start(folder / "killed", steps), alone):
        _, told = process.communicate()
        assert process.returncode == 0, told
    assert outcome(folder / "killed") == outcome(folder / "straight")
    assert all(name.isdecimal() for name in os.listdir(folder / "killed" / "checkpoints"))


def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    kill_often(tmp_path, seed=0, kills=3, steps=80)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_killed_a_dozen_times_ends_as_if_it_had_not_been(tmp_path, seed):
    kill_often(tmp_path, seed, kills=12, steps=400)
