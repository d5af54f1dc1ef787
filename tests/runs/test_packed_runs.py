"""Runs whose state is packed, as on a GPU: folders hold trees, and resume there and here."""

import gc

import _runs
import jax
import numpy as np
import pytest
from _killed_run import run
from _runs import outcome

from efm_jax._core import platforms
from efm_jax.parallel import data_mesh
from efm_jax.runs import _fit

straight = _runs.straight  # a fixture


@pytest.fixture
def packed(monkeypatch):
    """Shapes of parameters that steps are given where this CPU is taken for a GPU."""
    seen, made = [], _fit.make_train_step

    def noting(recipe, network, optimizer, **more):
        seen.append(jax.tree.map(np.shape, jax.eval_shape(network.init, jax.random.key(0))))
        return made(recipe, network, optimizer, **more)

    monkeypatch.setattr(_fit, "make_train_step", noting)
    with platforms.made_for("gpu"):
        yield seen


def held():
    """Arrays like the first parameter that are alive."""
    gc.collect()
    return sum(array.shape == (3, 16) for array in jax.live_arrays())


def numbers(folder):
    return [np.frombuffer(leaf, np.float32) for leaf in outcome(folder)[0]]


@pytest.mark.slow
def test_a_packed_run_in_parts_is_one_in_one_and_its_folder_is_any_runs(
    tmp_path, straight, packed, monkeypatch
):
    steps, saved, alive = [], [], []
    before = held()

    def on_step(step, state):
        steps.append(state.params["first"].shape)
        if step == 20:
            alive.append(held() - before)

    state = run(
        tmp_path / "one",
        on_step=on_step,
        on_save=lambda state: saved.append(state.ema["last"].shape),
    )
    assert packed == [(96,)]
    assert (set(steps), len(steps), set(saved)) == ({(3, 16)}, 20, {(16, 3)})
    assert alive == [4]  # of the state that is watched alone
    assert state.params["first"].shape == (3, 16)
    run(tmp_path / "two", steps=12)
    run(tmp_path / "two")
    assert outcome(tmp_path / "two") == outcome(tmp_path / "one")
    # the same numbers but for the order of sums
    for one, other in zip(numbers(tmp_path / "one"), numbers(straight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    run(tmp_path / "three", steps=12)
    with platforms.made_for("cpu"):
        run(tmp_path / "three")
    assert packed[-1] == {"first": (3, 16), "last": (16, 3)}
    for one, other in zip(numbers(tmp_path / "three"), numbers(straight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_what_watches_a_packed_run_may_say_when(tmp_path, packed):
    class Watch:
        seen = ()

        def due(self, step):
            return step % 8 == 0

        def __call__(self, step, state):
            self.seen += (step, *state.params)

    watch = Watch()
    run(tmp_path, on_step=watch)
    assert watch.seen == (8, "first", "last", 16, "first", "last")


def test_devices_share_a_packed_state_and_split_none(tmp_path, packed, straight):
    run(tmp_path / "shared", mesh=data_mesh(1))
    for one, other in zip(numbers(tmp_path / "shared"), numbers(straight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert run(tmp_path / "split", mesh=data_mesh(1), shard_state=True).params["first"].shape == (3, 16)
