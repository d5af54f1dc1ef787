"""Runs whose training set is paired once."""

from dataclasses import replace

import numpy as np
import pytest

from efm_jax.datasets import batch, from_array, from_pictures, toys, white_noise
from efm_jax.evaluation import features
from efm_jax.models import configs, exporting, plans
from experiments._lib.publish import without_paths

RUN = configs.Run(recipe=configs.EFM(coupling="one_plan"))


def test_every_batch_holds_pairs_of_the_best_plan():
    """Points on a line: the best plan is the order, so all pairs of all batches keep their rank."""
    rng = np.random.default_rng(0)
    x, y = (np.float32(scale * rng.permutation(40)[:, None]) for scale in (1.0, 3.0))
    pos, neg = plans.paired(RUN, (from_array(x), from_array(y)))
    for step in range(3):
        p, q = (batch(source, 7, side, step, 16) for side, source in enumerate((pos, neg)))
        np.testing.assert_array_equal(3.0 * p, q)


def test_a_law_is_drawn_as_often_as_the_other_side_has_samples():
    pos, neg = plans.paired(RUN, (white_noise((2,)), from_array(np.eye(30, 2) + 1.0)))
    assert pos.size == neg.size == 30


def test_as_many_samples_are_paired_as_asked_for():
    """Two normal distributions, one moved by 10: pairs of the optimal plan in one dimension keep their order."""
    config = replace(RUN, recipe=replace(RUN.recipe, plan_samples=200))
    x = np.random.default_rng(0).normal(size=(20, 1)).astype(np.float32)
    pos, neg = plans.paired(config, (white_noise((1,)), from_array(x)))
    assert pos.size == neg.size == 200
    p, q = (batch(source, 0, side, 0, 64)[:, 0] for side, source in enumerate((pos, neg)))
    assert (np.diff(q[np.argsort(p)]) >= 0).all()
    pos, neg = plans.paired(config, (toys.moons(), toys.moons()))
    assert pos.size == 200
    for recipe in (configs.EFM(plan_samples=200), configs.EFM(coupling="one_plan", plan_samples=0)):
        with pytest.raises(ValueError, match=r"recipe\.plan_samples is a number from 1 to 1,000,000"):
            plans.paired(configs.Run(recipe=recipe), (white_noise((1,)), from_array(x)))


def test_other_couplings_leave_the_sources_alone():
    pair = toys.moons(), toys.moons()
    assert plans.paired(configs.Run(), pair) is pair


def test_a_plan_of_laws_or_of_classes_is_refused():
    with pytest.raises(
        ValueError,
        match="pairs a finite training set, got two distributions without end; take 'minibatch_ot'",
    ):
        plans.paired(RUN, (toys.moons(), toys.moons()))
    classes = replace(RUN, network=configs.Network(classes=2))
    with pytest.raises(
        ValueError, match=r"pairs all classes at once; with network\.classes take 'minibatch_ot'"
    ):
        plans.paired(classes, (toys.moons(), toys.moons()))


def squares(rng, n):
    """Pictures of a few large squares, and their negatives: alike in shape, unlike in pixels."""
    coarse = rng.integers(0, 2, size=(n, 4, 4, 1)) * 60
    dark = np.repeat(np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2), 3, axis=3).astype(np.uint8)
    return dark, 255 - dark


def by_shape(monkeypatch, counted):
    """Features under the name `digits` that are the same for a picture and its negative."""

    def shapes(pictures):
        counted.append(len(pictures))
        gray = np.asarray(pictures, np.float32)[:, ::8, ::8, 0].reshape(len(pictures), -1)
        apart = gray - gray.mean(axis=1, keepdims=True)
        return (apart[:, :, None] * apart[:, None, :]).reshape(len(gray), -1)  # the same for a negative

    own = features.own(shapes, "shapes", fingerprint="shapes of tests")
    monkeypatch.setattr(features, "open_extractor", lambda name: {"digits": own}[name])


def test_features_find_the_partners_that_pixels_miss(monkeypatch, tmp_path):
    """Of pictures whose partners are their negatives the nearest in pixels is another; features find all of them."""
    rng = np.random.default_rng(0)
    dark, bright = squares(rng, 60)
    order = rng.permutation(60)
    pair = from_pictures(dark), from_pictures(bright[order])
    counted = []
    by_shape(monkeypatch, counted)
    shares = {}
    for name in (None, "digits"):
        config = replace(RUN, recipe=replace(RUN.recipe, plan_features=name))
        p, q = (
            batch(source, 0, side, 0, 60)
            for side, source in enumerate(plans.paired(config, pair, cache=tmp_path))
        )
        shares[name] = np.mean(np.abs(p + q).max(axis=1) < 1e-6)  # x + (-x): a picture and its negative
    assert shares["digits"] == 1.0 > 0.5 > shares[None]
    done = len(counted)
    plans.paired(config, pair, cache=tmp_path)
    assert len(counted) == done  # kept


def test_components_find_the_pairs_of_what_varies_most():
    """Two coordinates vary by 10 and hold the order of the pairs; noise in 60 others hides it from a plan of all."""
    rng = np.random.default_rng(0)
    shared = 10.0 * rng.normal(size=(80, 2))
    x, y = (np.float32(np.c_[shared, 4.0 * rng.normal(size=(80, 60))]) for _ in range(2))
    found = {}
    for name in (None, "components:2"):
        config = replace(RUN, recipe=replace(RUN.recipe, plan_features=name))
        p, q = (
            batch(s, 0, k, 0, 80)[:, :2]
            for k, s in enumerate(plans.paired(config, (from_array(x), from_array(y))))
        )
        found[name] = np.mean(np.sum((p - q) ** 2, axis=1))
    # the directions are known to 4 / 10 / sqrt(80) of a radian
    assert found["components:2"] < 0.5 * found[None]
    for name in ("components:", "components:63", "components:0"):
        config = replace(RUN, recipe=replace(RUN.recipe, plan_features=name))
        with pytest.raises(ValueError, match="needs a number of components from 1 to 62"):
            plans.paired(config, (from_array(x), from_array(y)))


def test_a_plan_says_how_near_partners_are_and_how_many_have_one():
    said = []
    x = np.float32([[0.0, 0], [10, 0], [20, 0]])
    plans.paired(RUN, (from_array(x), from_array(x[::-1] + np.float32([0, 3]))), tell=said.append)
    independent = "independent pairs"
    assert said[0].startswith("Paired 3 samples: partners are 3 apart")
    assert independent in said[0]
    assert said[0].endswith("100% of Q's samples have one.")
    met = plans._told(x, x, np.array([0, 0, 1]))
    # squares 0, 100, 100 and, in the order of the draws, 0
    assert (
        met == f"Paired 3 samples: partners are 8.16 apart, of {independent} 0; 67% of Q's samples have one."
    )


def test_lines_one_to_one_are_those_of_the_run():
    rng = np.random.default_rng(1)
    x, y = (
        np.float32(rng.normal(size=(60, 24))),
        np.float32(rng.normal(size=(60, 24)) + np.arange(60)[:, None] % 3),
    )
    met = {}
    for alone in (False, True):
        recipe = configs.Tubes(charges=8, num_points=8, coupling="lines_plan", one_to_one=alone)
        q = plans.paired(replace(RUN, recipe=recipe), (from_array(x), from_array(y)))[1]
        met[alone] = len(np.unique(batch(q, 0, 1, 0, 60), axis=0))
    assert met[False] < met[True] == 60
    each_step = replace(RUN, recipe=configs.Tubes(one_to_one=True))
    with pytest.raises(ValueError, match="one_to_one is for"):
        plans.check(each_step, (from_array(x), from_array(y)))


def test_features_are_of_two_sets_of_pictures_in_one_plan():
    config = replace(RUN, recipe=replace(RUN.recipe, plan_features="digits"))
    pictures = from_pictures(np.zeros((3, 8, 8, 3), np.uint8))
    for pair in ((white_noise((8, 8, 3)), pictures), (from_array(np.eye(3)), from_array(np.eye(3)))):
        with pytest.raises(
            ValueError, match=r"recipe\.plan_features 'digits' compares pictures with pictures"
        ):
            plans.paired(config, pair)
    other = replace(config, recipe=replace(config.recipe, coupling="minibatch_ot"))
    with pytest.raises(
        ValueError, match=r"is for recipe\.coupling 'one_plan' or 'lines_plan', got 'minibatch_ot'"
    ):
        plans.paired(other, (pictures, pictures))


def test_runs_from_before_it_are_those_without():
    before = configs.to_dict(RUN)
    assert before["recipe"].pop("plan_features") is None
    assert configs.from_dict(before) == configs.complete(RUN)
    config = replace(RUN, recipe=replace(RUN.recipe, plan_features="digits"))
    assert configs.from_dict(configs.to_dict(config)) == configs.complete(config)


def test_a_file_of_features_goes_out_without_its_path():
    config = replace(RUN, recipe=replace(RUN.recipe, plan_features="inception:/home/me/weights.pth"))
    for given in (exporting._without_paths, without_paths):
        recipe = configs.from_dict(given(configs.to_dict(config))).recipe
        assert recipe.plan_features == "inception:weights.pth"
