"""Scores of columns against closed forms, and the plane of the first two principal components."""

import numpy as np

from efm_jax.evaluation import columns


def test_mean_deviation_and_w1_of_each_column():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 2))
    shift = np.array([3.0, 0.0])
    y, real, held = x * [1.0, 2.0] + shift, rng.permutation(x) + shift, x + shift
    first, second = columns.column_scores(["a", "b"], x, np.append(y, [[np.nan, 0.0]], axis=0), real, held)
    assert (first["name"], second["name"]) == ("a", "b")
    # W1 of a shifted set is its shift, of a set twice as wide the mean of |x|; the row with NaN is left out
    assert abs(first["inputs"]["w1"] - 3.0) < 1e-12
    assert max(first["mapped"]["w1"], first["real"]["w1"]) < 1e-12
    assert abs(second["mapped"]["w1"] - np.abs(np.sort(x[:, 1])).mean()) < 1e-12
    assert abs(second["mapped"]["deviation"] - 2.0 * x[:, 1].std()) < 1e-12
    assert abs(first["real"]["mean"] - held[:, 0].mean()) < 1e-12


def test_a_map_that_fits_looks_like_the_real_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) * [5, 3, 0.1, 0.1, 0.1, 0.1]
    y = x + 10 * np.eye(6)[0]
    picture = columns.plane(x, y, y, colors=("#ff0000", "#00ff00"))
    side = picture.shape[0] - 24
    before, mapped, real = ((picture[24:, k * side : (k + 1) * side] < 128).any(axis=-1) for k in range(3))
    # points of mapped and real samples lie at the same places, those of the inputs elsewhere
    assert (mapped & real)[5:-5, 5:-5].sum() > 0.8 * real[5:-5, 5:-5].sum()
    assert (before & real)[5:-5, 5:-5].sum() < 0.5 * real[5:-5, 5:-5].sum()
