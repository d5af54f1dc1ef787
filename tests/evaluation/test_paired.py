"""Pictures found again among others: ranks equal sorting, and partners are lost with noise."""

import json

import numpy as np
import pytest
from _scenes import FEATURES, fill, noisy, scenes
from PIL import Image
from scipy.spatial.distance import cdist

from efm_jax import metrics
from efm_jax.evaluation import paired
from efm_jax.evaluation.drawing import save_png
from efm_jax.evaluation.paired import paired_folders_report, paired_report


def test_ranks_equal_sorting():
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(30, 20)), rng.normal(size=(40, 20))
    partner = rng.integers(0, 40, 30)
    got = metrics.retrieval(outputs, targets, partner)
    apart = cdist(outputs, targets)
    order = np.argsort(apart, axis=1)
    np.testing.assert_array_equal(got.rank, 1 + np.argmax(order == partner[:, None], axis=1))
    # inner products of centered float64 beside differences
    np.testing.assert_allclose(got.distance, apart[np.arange(30), partner], rtol=1e-12)
    wrong = [np.delete(row, p).mean() for row, p in zip(apart, partner, strict=True)]
    np.testing.assert_allclose(got.distance_to_others, wrong, rtol=1e-10)
    # chance: 30 ranks uniform on 1..40 have mean 20.5 and standard error 40 / sqrt(12 * 30) = 2.1
    assert abs(got.rank.mean() - 20.5) < 4 * 2.1


def test_outputs_beyond_one_block_have_their_own_partners():
    rng = np.random.default_rng(2)
    outputs, targets = rng.normal(size=(1100, 2)), rng.normal(size=(30, 2))
    partner = rng.integers(0, 30, 1100)
    got = metrics.retrieval(outputs, targets, partner)
    apart = cdist(outputs, targets)
    own = apart[np.arange(1100), partner]
    np.testing.assert_array_equal(got.rank, 1 + (apart < own[:, None]).sum(axis=1))
    np.testing.assert_allclose(got.distance_to_others, (apart.sum(axis=1) - own) / 29, rtol=1e-10)


def test_ties_stand_in_their_middle():
    same = np.ones((5, 17))
    np.testing.assert_array_equal(metrics.retrieval(same, same).rank, 3.0)
    targets = np.repeat(np.eye(3), 2, axis=0)
    np.testing.assert_array_equal(metrics.retrieval(np.eye(3), targets, np.array([0, 2, 4])).rank, 1.5)


@pytest.mark.parametrize(
    ("outputs", "partner", "told"),
    [
        (np.zeros((4, 2)), None, "each of the 4 outputs needs the index of its partner among the 3"),
        (np.zeros((2, 2)), np.array([0, 3]), "each of the 2 outputs"),
        (np.zeros((2, 2)), np.array([0, -1]), "each of the 2 outputs"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), "got float64"),
        (np.zeros((2, 3)), None, "outputs and targets must have the same"),
    ],
)
def test_outputs_without_partner_are_named(outputs, partner, told):
    with pytest.raises(ValueError, match=told):
        metrics.retrieval(outputs, np.zeros((3, 2)), partner)


def test_partners_are_lost_with_noise():
    targets = scenes(60, seed=1)
    reports = [
        paired_report(noisy(targets, level), targets, extractor=FEATURES) for level in (0, 20, 60, 150)
    ]
    for space in ("pixels", "features"):
        distances = [got[space]["distance"]["value"] for got in reports]
        assert distances == sorted(distances)
        assert reports[0][space]["first"]["value"] == 1.0
        assert reports[0][space]["rank"]["value"] == 1.0 < reports[0][space]["rank"]["floor"] == 30.5
    assert reports[-1]["features"]["first"]["value"] < 1.0  # pixels know a picture even under such noise
    assert reports[0]["pixels"]["distance"]["value"] == 0.0
    # noise of 20 gray levels, cut at 0 and 255: a little less than 20
    assert 17 < reports[1]["pixels"]["distance"]["value"] < 20.1
    shuffled = np.random.default_rng(0).permutation(60)
    got = paired_report(targets, targets[shuffled], np.argsort(shuffled), extractor=FEATURES)
    assert got["features"]["rank"]["value"] == 1.0
    json.dumps(got, allow_nan=False)
    with pytest.raises(ValueError, match="must have one size"):
        paired_report(targets, targets[:, 1:], extractor=FEATURES)


def test_partners_in_folders_are_found_by_name(tmp_path):
    images = scenes(20, seed=1)
    a = fill(tmp_path / "a", noisy(images, 3))
    for i, picture in enumerate(images[:15]):
        path = tmp_path / "b" / f"{i}.bmp"  # another format of the same name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    got = paired_folders_report(a, tmp_path / "b", extractor=FEATURES)
    assert got["n"] == 15
    assert got["without_partner"] == [f"{i}.png" for i in range(15, 20)]
    assert got["size"] is None
    assert got["features"]["rank"]["value"] == got["pixels"]["first"]["value"] == 1.0
    assert got["features"]["rank"]["floor"] == 8.0
    assert paired.table(got).count("| 15 |") == 6
    other = fill(tmp_path / "c", [])
    save_png(other / "else.png", images[0])
    with pytest.raises(ValueError, match=r"no picture in .* same name.*0\.png .*else\.png"):
        paired_folders_report(a, other, extractor=FEATURES)
