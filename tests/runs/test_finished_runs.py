"""A run trained on pairs, given again: what is done is not done again, what does not fit is still refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import models, runs
from efm_jax.matching import couplings
from efm_jax.models import configs
from efm_jax.sampling import reflow

RUN = configs.Run(
    recipe=configs.CFM(gap=1.0, coupling="one_plan", charges=8, num_points=8),
    network=configs.Network(kind="mlp", width=4, depth=1, output="flow"),
    optimizer=configs.Optimizer(warmup=0),
    sampling=configs.Sampling(solver="euler", steps=1, clock="linear"),
    steps=2,
    save_every=1,
)


def on_arrays(folder):
    """The run on two small sets of vectors in files."""
    for side, name in enumerate("pq"):
        np.save(folder / f"{name}.npy", np.random.default_rng(side).normal(size=(20, 2)).astype(np.float32))
    return replace(RUN, data=configs.Data(f"npy:{folder / 'p.npy'}", f"npy:{folder / 'q.npy'}"))


def counted(monkeypatch, room, name):
    calls, real = [], getattr(room, name)
    monkeypatch.setattr(room, name, lambda *given, **policy: calls.append(name) or real(*given, **policy))
    return calls


def test_a_plan_is_made_once_for_each_training_and_not_for_none(tmp_path, monkeypatch):
    config, run = on_arrays(tmp_path), tmp_path / "run"
    plans = counted(monkeypatch, couplings, "whole_plan")

    def train(**changes):
        before = len(plans)
        state = runs.train(run, replace(config, **changes), progress=False)
        return state, len(plans) - before

    state, made = train()
    assert (int(state.step), made) == (2, 1)
    # all steps are done; more than all; all the time is spent
    for changes in ({}, {"steps": 1}, {"steps": 9, "max_seconds": 1e-9}):
        again, made = train(**changes)
        assert (int(again.step), made) == (2, 0)
        jax.tree.map(np.testing.assert_array_equal, again.params, state.params)
    # a folder of another run is refused as ever, and none is overwritten
    with pytest.raises(ValueError, match=r"has another config:\n  seed: 0 in the run, 1 now"):
        train(seed=1)
    with pytest.raises(ValueError, match=r"network\.width: 4 in the run, 5 now"):
        train(network=replace(config.network, width=5))
    with pytest.raises(ValueError, match="already holds a run"):
        runs.train(run, config, resume=False, progress=False)
    with pytest.raises(ValueError, match="compares pictures with pictures"):
        train(recipe=replace(config.recipe, plan_features="digits"))
    # an end that cannot be read is none: pairs are made, and the step before it is gone on from
    (newest,) = (run / "checkpoints").glob("*2")
    for file in (newest / "arrays").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.warns(UserWarning, match="Fell back to the checkpoint of step 1"):
        mended, made = train()
    assert (int(mended.step), made) == (2, 1)
    jax.tree.map(np.testing.assert_array_equal, mended.params, state.params)


def test_lines_of_a_first_run_are_followed_once(tmp_path, monkeypatch):
    data = on_arrays(tmp_path)
    recipe = replace(RUN.recipe, coupling="given")
    config = replace(data, recipe=recipe, reflow=configs.Reflow("first", 7, 20, trained=False))
    first = models.Trained(data, None, None, jnp, (2,), 0.0)._replace(state=_At(jnp.asarray(7)))
    monkeypatch.setattr("efm_jax.runs.reflow_run.load", lambda folder, step: first)
    monkeypatch.setattr(reflow, "pairs", lambda *given, **_: reflow.LinePairs(given[3], given[3] + 1.0, 0))
    followed = counted(monkeypatch, reflow, "pairs")
    for _ in range(2):
        assert int(runs.train(tmp_path / "run", config, progress=False).step) == 2
        assert followed == ["pairs"]
    first = first._replace(state=_At(jnp.asarray(8)))
    with pytest.raises(ValueError, match="is at step 8 and was at 7"):
        runs.train(tmp_path / "run", config, progress=False)


class _At:
    def __init__(self, step):
        self.step = step
