"""A run begins from the weights of another run or model; what a cosine does is said."""

import math
from dataclasses import replace

import _runs
import jax
import numpy as np
import pytest
from test_moved_runs import CONFIG

from efm_jax import checkpoint, models, runs, training
from efm_jax.models import configs

one_build = _runs.one_build  # fixture

pytestmark = pytest.mark.usefixtures("one_build")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of four steps on two sets of vectors, and its configuration."""
    place = tmp_path_factory.mktemp("first")
    for side, name in enumerate("pq"):
        np.save(place / f"{name}.npy", np.random.default_rng(side).normal(size=(50, 2)).astype(np.float32))
    data = configs.Data(f"npy:{place / 'p.npy'}", f"npy:{place / 'q.npy'}")
    optimizer = replace(CONFIG.optimizer, learning_rate=0.1, ema_decay=0.5)
    config = replace(CONFIG, data=data, optimizer=optimizer)
    runs.train(place / "run", config, progress=False)
    models.export(place / "run", place / "model")
    return place, config


@pytest.mark.parametrize("name", ["run", "model"])
def test_a_run_begins_with_the_averaged_weights_and_needs_them_once(first, tmp_path, name, monkeypatch):
    place, config = first
    average = training.ema_params(models.load(place / "run").state)
    seen, inner = [], runs._fit.init_state

    def spied(*given, params=None, **more):
        seen.append(params)
        return inner(*given, params=params, **more)

    monkeypatch.setattr(runs._fit, "init_state", spied)
    monkeypatch.chdir(place)
    tuned = replace(config, init=name, steps=2)
    runs.train(tmp_path / "tuned", tuned, progress=False)
    jax.tree.map(np.testing.assert_array_equal, seen[-1], average)
    assert runs.read_config(tmp_path / "tuned")["init"] == str(place / name)
    whole = runs.train(tmp_path / "whole", replace(tuned, steps=4), progress=False)
    # resumed without the other run: bit for bit the run in one
    elsewhere = tmp_path / "gone"
    (place / name).rename(elsewhere)
    try:
        state = runs.train(
            tmp_path / "tuned", replace(tuned, init=str(place / name), steps=4), progress=False
        )
    finally:
        elsewhere.rename(place / name)
    jax.tree.map(np.testing.assert_array_equal, state.params, whole.params)
    with pytest.raises(ValueError, match=r"init: .* in the run, not set now"):
        runs.train(tmp_path / "tuned", replace(config, steps=4), progress=False)
    runs.train(tmp_path / "new", replace(config, steps=1), progress=False)
    assert "init" not in runs.read_config(tmp_path / "new")


def test_weights_of_another_network_are_refused_before_any_work(first, tmp_path):
    place, config = first

    def refused(said, **changes):
        with pytest.raises(ValueError, match=said):
            runs.train(
                tmp_path / "new", replace(config, **{"init": str(place / "run"), **changes}), progress=False
            )
        assert not (tmp_path / "new").exists()

    wider = replace(config.network, width=5, depth=2)
    refused(
        r"another network:\n  network.depth: 1 there, 2 here\n  network.width: 4 there, 5 here", network=wider
    )
    refused("network.output: 'capacitor' there, 'flow' here", recipe=configs.CFM())
    refused(r"samples of shape \[2\] there, \[3\] here", data=configs.Data("gaussian:3", "gaussian:3"))
    refused("there is no run or model nowhere", init="nowhere")


@pytest.mark.slow
def test_what_a_cosine_does_is_said(first, tmp_path, capsys):
    _, config = first
    config = replace(config, optimizer=replace(config.optimizer, cosine=True), steps=4)
    runs.train(tmp_path / "run", config, progress=False)
    assert "cosine" not in capsys.readouterr().out
    runs.train(tmp_path / "run", replace(config, steps=6), progress=False)
    rate = 0.1 * (1 + math.cos(math.pi * 4 / 6)) / 2
    assert f"The cosine now ends at step 6, not 4: at step 4 the learning rate goes from 0 to {rate:.3g}" in (
        capsys.readouterr().out
    )
    timed = replace(config, steps=10**6, max_seconds=1e-3)
    runs.train(tmp_path / "timed", timed, progress=False)
    out = capsys.readouterr().out
    assert "The learning rate falls to 0 at step 1000000, or earlier, with max_seconds" in out
    step = checkpoint.latest(tmp_path / "timed" / "checkpoints")
    assert (
        "still 100% of its largest: its cosine ends at step 1000000. For one that ends with the time, train"
        in out
    )
    assert f"--steps {step}." in out
