"""Runs: the folder one leaves explains itself, batches come in their order, and bad arguments are named."""

import itertools
import json
import os
import re
import sys
import threading

import _runs
import jax
import numpy as np
import pytest
from _fit import fit
from _killed_run import CONFIG, NETWORK, RECIPE, run, source
from _runs import outcome

from efm_jax import checkpoint, datasets
from efm_jax.runs import _journal, _loop, read_config, read_log
from efm_jax.training import adam, feeding, init_state

interruptible, straight = _runs.interruptible, _runs.straight  # fixtures

pytestmark = pytest.mark.usefixtures("one_compilation")


# --- what a run leaves


def test_a_run_folder_explains_itself(straight):
    assert read_config(straight) == json.loads(json.dumps(CONFIG))
    log = read_log(straight)
    assert [line["step"] for line in log] == [4, 8, 12, 16, 20]
    computed = {"step", "loss", "grad_norm", "skipped"}
    # a CPU does not tell the most memory that was held
    assert log[0].keys() == computed | {*_journal.MEASURED} - {"peak_device_bytes"}
    assert log[0]["points_per_second"] > log[0]["steps_per_second"] > 0 <= log[0]["data_wait"]
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
    pytest.importorskip("tensorboardX")
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


@pytest.mark.parametrize("long", [False, True])
def test_how_long_it_will_take_is_said_after_the_first_steps(tmp_path, capfd, monkeypatch, long):
    monkeypatch.setattr(_loop, "MEASURED_SECONDS", 0.0)
    monkeypatch.setattr(_loop, "LONG_SECONDS", 0.0 if long else 3600.0)
    run(tmp_path / "run", progress=True)
    said = capfd.readouterr().err
    # of 20 steps the first compiles and the second is measured
    assert re.search(r" s a step, 18 steps to go: about \d+ s\.", said)
    assert said.count("steps to go") == 1
    assert ("Fewer --steps" in said) == long


def test_the_step_is_compiled_once(tmp_path):
    traced = []

    def draw(key, x_pos, x_neg):
        traced.append(1)
        return RECIPE.draw(key, x_pos, x_neg)

    options = {"steps": 5, "batch_pos": 6, "batch_neg": 6, "seed": 0, "config": {}, "progress": False}
    fit(tmp_path, RECIPE._replace(draw=draw), NETWORK, adam(), source(0.0), source(1.0), **options)
    assert len(traced) == 2  # to count the points of a step, and to compile it


def test_on_save_sees_each_checkpoint_when_it_is_on_disk(tmp_path):
    seen = []
    run(
        tmp_path,
        on_save=lambda state: seen.append((int(state.step), checkpoint.latest(tmp_path / "checkpoints"))),
    )
    assert seen == [(7, 7), (14, 14), (20, 20)]


# --- data


@pytest.mark.parametrize("threads", [1, 4])
def test_batches_come_in_order_from_other_threads_and_no_further_ahead_than_told(threads):
    drawn, pair = [], (source(0.0), source(1.0))

    def draw(rng, n):
        drawn.append(threading.current_thread().name)
        return pair[0].draw(rng, n)

    feed = feeding.batches(pair[0]._replace(draw=draw), pair[1], 5, (3, 4), range(6, 30), threads=threads)
    for step in range(6, 16):
        x_pos, x_neg = next(feed)
        np.testing.assert_array_equal(x_pos, datasets.batch(pair[0], 5, 0, step, 3))
        np.testing.assert_array_equal(x_neg, datasets.batch(pair[1], 5, 1, step, 4))
    feed.close()
    assert len(drawn) <= 10 + feeding.AHEAD - 1 + threads
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
