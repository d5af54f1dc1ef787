"""Checkpoints written while training goes on: what is written, when, and what becomes of errors."""

import os
import sys
import threading

import _runs
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _killed_run import NETWORK, run
from _runs import outcome

from efm_jax import checkpoint
from efm_jax.runs import _saving
from efm_jax.training import TrainState, adam, init_state

straight = _runs.straight  # a fixture


def state_of(step, fill):
    return TrainState(jnp.full(3, fill), jnp.zeros(2), (), jnp.array(step), jax.random.key(0), 0, 0)


@pytest.fixture
def held(monkeypatch):
    """Holds every checkpoint back until it is set; `entered` is set when one has come so far."""
    write, gate, entered = checkpoint._write_arrays, threading.Event(), threading.Event()

    def waiting(path, arrays):
        entered.set()
        assert gate.wait(60)
        write(path, arrays)

    monkeypatch.setattr(checkpoint, "_write_arrays", waiting)
    yield gate, entered
    gate.set()


def options(folder):
    return {"folder": folder, "meta": {}, "keep": 2, "first": lambda: None}


def test_a_state_whose_memory_a_step_takes_is_written_as_it_was(tmp_path, held):
    gate, _ = held
    with _saving.Saver() as saver:
        state, meta = state_of(1, 1.0), {"window": {"loss": 1.0}}
        saver.save(tmp_path, state, meta=meta, keep=1, first=lambda: None)
        jax.jit(lambda x: x + 1.0, donate_argnums=0)(state.params).block_until_ready()
        assert state.params.is_deleted()
        meta["window"]["loss"] = 2.0
        assert checkpoint.latest(tmp_path) is None
        gate.set()
    again, meta = checkpoint.restore(tmp_path, state_of(0, 0.0))
    assert (int(again.step), again.params.tolist(), meta["window"]) == (1, [1.0] * 3, {"loss": 1.0})


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path, held, straight):
    gate, entered = held
    seen = []

    def on_step(step, state):
        if step == 13:  # saved are 7 and 14
            assert entered.wait(60)
            seen.append(checkpoint.latest(tmp_path / "checkpoints"))
            gate.set()

    run(tmp_path, on_step=on_step)
    assert seen == [None]
    assert outcome(tmp_path) == outcome(straight)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux")
def test_the_thread_that_writes_lets_those_of_a_step_go_before(tmp_path):
    nice = []
    with _saving.Saver() as saver:
        saver.save(tmp_path, state_of(1, 1.0), meta={}, keep=1, first=lambda: nice.append(os.nice(0)))
    assert nice == [min(os.nice(0) + 10, 19)]


def test_one_is_written_at_a_time_and_in_order(tmp_path):
    lines, busy = [], threading.Lock()

    def alone():
        assert busy.acquire(blocking=False)
        lines.append(checkpoint.latest(tmp_path))
        busy.release()

    with _saving.Saver() as saver:
        for step in (1, 2, 3):
            saver.save(tmp_path, state_of(step, step), meta={}, keep=2, first=alone)
    assert lines == [None, 1, 2]
    assert checkpoint.latest(tmp_path) == 3


def full():
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("then", ["save", "wait", "end"])
def test_the_next_save_the_wait_and_the_end_raise_what_went_wrong(tmp_path, then):
    def go():
        with _saving.Saver() as saver:
            saver.save(**options(tmp_path) | {"first": full}, state=state_of(1, 1.0))
            if then == "wait":
                saver.wait()
            if then == "save":
                saver.save(**options(tmp_path), state=state_of(2, 1.0))

    with pytest.raises(OSError, match="No space left"):
        go()
    assert checkpoint.latest(tmp_path) is None


def test_another_error_comes_through_with_a_note_on_the_lost_checkpoint(tmp_path):
    def go():
        with _saving.Saver() as saver:
            saver.save(**options(tmp_path) | {"first": full}, state=state_of(1, 1.0))
            raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller") as caught:
        go()
    assert "No space left" in caught.value.__notes__[0]


def test_an_error_waits_for_the_checkpoint_that_is_being_written(tmp_path, held):
    gate, entered = held

    def on_step(step, state):
        if step == 8:
            assert entered.wait(60)
            threading.Timer(0.2, gate.set).start()
            raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        run(tmp_path, on_step=on_step)
    assert checkpoint.latest(tmp_path / "checkpoints") == 7
    like = init_state(jax.random.key(0), NETWORK, adam())
    assert int(checkpoint.restore(tmp_path / "checkpoints", like)[0].step) == 7


def test_a_device_without_memory_for_a_copy_writes_at_once(tmp_path, monkeypatch):
    def exhausted(leaves):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(_saving, "_copy", exhausted)
    with _saving.Saver() as saver:
        saver.save(**options(tmp_path), state=state_of(1, 1.0))
        assert checkpoint.latest(tmp_path) == 1


def test_arrays_of_the_host_are_not_put_on_a_device():
    whole = np.ones(4)
    assert _saving._copied({"a": whole, "b": jnp.ones(2)})["a"] is whole


def test_a_state_split_over_devices_is_copied_where_it_lies():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    split = jax.device_put(jnp.arange(4.0 * mesh.size), where)
    assert _saving._copied([split])[0].sharding.is_equivalent_to(where, 1)
