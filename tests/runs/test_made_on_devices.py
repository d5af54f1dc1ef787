"""Batches that a device makes: normal noise, pictures as the host reads them; several: tests/training/test_devices.py."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy import stats

from efm_jax import runs
from efm_jax.datasets import from_pictures, jittered, toys
from efm_jax.datasets.arrays import Noise
from efm_jax.models import configs
from efm_jax.models.configs import EFM, Data, Network, Optimizer, Run
from efm_jax.training import feeding, on_devices

NOISE = Noise(6, 2.0)
RUN = Run(
    data=Data("noise", "two_gaussians", noise="device"),
    recipe=EFM(charges=16, num_points=16, gap=2.0, points="segment", coupling="independent"),
    network=Network(kind="mlp", width=8, depth=1),
    optimizer=Optimizer(warmup=0),
    steps=4,
    save_every=2,
    log_every=1,
    picture_every=0,
)


def test_rows_are_normal_and_of_their_step_alone():
    x = np.asarray(on_devices.drawn(NOISE, 4000, None, 3, 0, 7))
    assert (x.shape, x.dtype) == ((4000, 6), np.float32)
    # 24,000 numbers: a right generator fails once in 1,000 seeds, and this one is fixed
    assert stats.kstest(x.ravel() / 2.0, "norm").pvalue > 1e-3
    correlation = np.corrcoef(np.c_[x[:-1], x[1:]].T)
    assert np.abs(correlation - np.eye(12)).max() < 5 / np.sqrt(4000)
    few = np.asarray(on_devices.drawn(NOISE, 10, None, 3, 0, 7))
    np.testing.assert_array_equal(few, x[:10])
    for other in ((4, 0, 7), (3, 1, 7), (3, 0, 8)):
        assert not np.isin(np.asarray(on_devices.drawn(NOISE, 10, None, *other)), few).any()


def test_the_host_makes_what_no_device_can_hold_or_draw():
    images = np.random.default_rng(0).integers(256, size=(9, 4, 4, 1), dtype=np.uint8)
    small, large = from_pictures(images), from_pictures(np.concatenate([images, images]))
    for pair, noise, held, by_devices in (
        ((toys.gaussian(2), toys.moons()), True, 0, (True, False)),
        ((toys.gaussian(2), toys.moons()), False, 0, (False, False)),
        ((small, large), False, 3 * images.nbytes, (True, True)),
        ((small, large), False, 3 * images.nbytes - 1, (True, False)),
        ((large, jittered(small)), False, 10**9, (True, False)),
    ):
        makers = on_devices.makers(pair, (3, 4), None, noise=noise, held=held)
        assert tuple(make is not None for make in makers) == by_devices
    makers = on_devices.makers((small, large), (3, 4), None, noise=False, held=10**9)
    there = [*feeding.batches(small, large, 5, (3, 4), range(2), makers=makers)]
    here = [*feeding.batches(small, large, 5, (3, 4), range(2))]
    for made, read in zip(there, here, strict=True):
        assert isinstance(made[1], jax.Array)
        np.testing.assert_array_equal(made[0], read[0])
        np.testing.assert_array_equal(made[1], read[1])


@pytest.mark.slow
def test_a_run_is_the_same_with_pictures_on_the_device(tmp_path):
    labels = np.arange(40) % 2
    images = np.random.default_rng(1).integers(256, size=(40, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    run = replace(
        RUN,
        data=Data("noise", f"npz:{tmp_path / 'data.npz'}:images", flip=True, noise="host"),
        network=replace(RUN.network, classes=2),
        recipe=replace(RUN.recipe, label_groups=2),
    )
    ends = {}
    for gib in (0.0, 1.0):
        held = replace(run, parallel=replace(run.parallel, device_data=gib))
        ends[gib] = jax.tree.leaves(runs.train(tmp_path / str(gib), held, progress=False).params)
    for a, b in zip(*ends.values(), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match=r"parallel\.device_data is a number of GiB >= 0"):
        runs.train(
            tmp_path / "x", replace(run, parallel=replace(run.parallel, device_data=-1.0)), progress=False
        )


@pytest.mark.slow
def test_a_run_goes_on_with_the_noise_it_began_with(tmp_path):
    def log(name):
        lines = (tmp_path / name / "log.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    whole = runs.train(tmp_path / "whole", RUN, progress=False)
    assert configs.load(tmp_path / "whole" / "config.json").data.noise == "device"
    unsaid = replace(RUN, data=replace(RUN.data, noise=None))
    runs.train(tmp_path / "parts", replace(RUN, steps=2), progress=False)
    parts = runs.train(tmp_path / "parts", unsaid, progress=False)  # None: as it began
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_array_equal(a, b)
    runs.train(tmp_path / "new", unsaid, progress=False)  # a CPU: the host
    assert configs.load(tmp_path / "new" / "config.json").data.noise == "host"
    assert log("whole") == log("parts") != log("new")
    with pytest.raises(ValueError, match=r"data\.noise"):
        runs.train(tmp_path / "new", RUN, progress=False)


def test_runs_from_before_it_drew_on_the_host():
    before = configs.to_dict(RUN)
    del before["data"]["noise"]
    assert configs.from_dict(before).data.noise == "host"
