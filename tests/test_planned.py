"""Runs whose training set is paired once."""

from dataclasses import replace

import numpy as np
import pytest

from efm_jax import build, configs
from efm_jax.datasets import batch, from_array, toys, white_noise

RUN = configs.Run(recipe=configs.Recipe(coupling="one_plan"))


def test_every_batch_holds_pairs_of_the_best_plan():
    """Points on a line: the best plan is the order, so all pairs of all batches keep their rank."""
    rng = np.random.default_rng(0)
    x, y = (np.float32(scale * rng.permutation(40)[:, None]) for scale in (1.0, 3.0))
    pos, neg = build.planned(RUN, (from_array(x), from_array(y)))
    for step in range(3):
        p, q = (batch(source, 7, side, step, 16) for side, source in enumerate((pos, neg)))
        np.testing.assert_array_equal(3.0 * p, q)


def test_a_law_is_drawn_as_often_as_the_other_side_has_samples():
    pos, neg = build.planned(RUN, (white_noise((2,)), from_array(np.eye(30, 2) + 1.0)))
    assert pos.size == neg.size == 30


def test_other_couplings_leave_the_sources_alone():
    pair = toys.moons(), toys.moons()
    assert build.planned(configs.Run(), pair) is pair


def test_a_plan_of_laws_or_of_classes_is_refused():
    with pytest.raises(
        ValueError, match="pairs a finite training set, got two laws without end; take 'minibatch_ot'"
    ):
        build.planned(RUN, (toys.moons(), toys.moons()))
    classes = replace(RUN, network=configs.Network(classes=2))
    with pytest.raises(
        ValueError, match=r"pairs all classes at once; with network\.classes take 'minibatch_ot'"
    ):
        build.planned(classes, (toys.moons(), toys.moons()))
