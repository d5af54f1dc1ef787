"""Minibatches that are paired before the step: by the threads that make batches, with the numbers of pairs made in it."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from efm_jax import models, runs
from efm_jax.datasets import toys
from efm_jax.matching import couplings
from efm_jax.models import configs, plans
from efm_jax.models.configs import CFM, EFM, IFM, Data, Network, Optimizer, Run
from efm_jax.training import feeding

RUN = Run(
    data=Data("moons", "eight_gaussians"),
    network=Network(kind="mlp", width=8, depth=1),
    optimizer=Optimizer(warmup=0),
    steps=4,
    save_every=2,
    log_every=1,
    picture_every=0,
)
OF_CLASSES = {
    "data": Data("two_gaussians", "two_gaussians"),
    "network": replace(RUN.network, classes=2),
}
CASES = {
    "flow": replace(RUN, recipe=CFM(charges=16, num_points=8)),
    "pairs": replace(RUN, recipe=IFM(charges=16, num_points=24, points="segment")),
    "by class": replace(RUN, recipe=CFM(charges=16, num_points=8, label_groups=2), **OF_CLASSES),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("flow", marks=pytest.mark.slow), "pairs", "by class"])
def test_a_run_has_the_numbers_of_plans_made_in_the_step(name, tmp_path, monkeypatch):
    asked = []

    def watched(x, y):
        asked.append(len(x))
        return original(x, y)

    original = plans.of_batch
    monkeypatch.setattr(plans, "of_batch", watched)
    runs.train(tmp_path / "ahead", CASES[name], progress=False)
    assert set(asked) == {8 if name == "by class" else 16}
    count = len(asked)
    monkeypatch.setattr(plans, "ahead", lambda config: None)
    runs.train(tmp_path / "in the step", CASES[name], progress=False)
    assert len(asked) == count
    states = (models.load(tmp_path / folder).state for folder in ("ahead", "in the step"))
    for one, other in zip(*(jax.tree.leaves(state._replace(key=0)) for state in states), strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_come_in_pairs_of_the_exact_plan_group_by_group():
    p, q = toys.moons(), toys.eight_gaussians()
    plain, *_ = feeding.batches(p, q, 3, (12, 12), range(1))
    x, y = (np.asarray(part) for part in plain)
    one, *_ = feeding.batches(p, q, 3, (12, 12), range(1), partners=plans.of_batch)
    np.testing.assert_array_equal(one[0], x)
    i, j = couplings.minibatch_ot()(jax.random.key(0), x, y, 12)
    np.testing.assert_array_equal(one[1][np.asarray(i)], y[np.asarray(j)])


def test_the_threads_bring_pairs_only_where_the_field_is_that_of_pairs(monkeypatch):
    assert plans.ahead(CASES["flow"]).recipe == replace(CASES["flow"].recipe, coupling="given")
    for recipe in (
        EFM(coupling="minibatch_ot"),
        CFM(coupling="independent"),
        configs.Tubes(),
        configs.PFGM(),
    ):
        assert plans.ahead(replace(RUN, recipe=recipe)) is None
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert plans.ahead(CASES["flow"]) is None


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_not_finite_are_left_to_the_step():
    x = np.array([[0.0, 1.0], [np.inf, 0.0], [4.0, 4.0]], np.float32)
    y = np.array([[4.0, 5.0], [0.0, 2.0], [np.nan, 0.0]], np.float32)
    assert plans.of_batch(x, y).tolist() == [1, 2, 0]
