"""Neighbors of two sets beside loops written apart, laws known in closed form, and cases with one right answer."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from efm_jax import metrics
from efm_jax.metrics import copies, nearest, neighborhood

NAMES = ("precision", "recall", "density", "coverage")


def by_loops(y, x, k, k_precision):
    """The four numbers as the papers write them, one pair at a time."""
    radius = {
        (which, depth): np.sort(cdist(s, s), axis=1)[:, depth]  # entry 0 is the sample itself
        for which, s in (("x", x), ("y", y))
        for depth in (k, k_precision)
    }
    apart = cdist(y, x)
    n, m = apart.shape
    precision = sum(any(apart[j, i] <= radius["x", k_precision][i] for i in range(m)) for j in range(n)) / n
    recall = sum(any(apart[j, i] <= radius["y", k_precision][j] for j in range(n)) for i in range(m)) / m
    density = sum(apart[j, i] <= radius["x", k][i] for i in range(m) for j in range(n)) / (k * n)
    coverage = sum(any(apart[j, i] <= radius["x", k][i] for j in range(n)) for i in range(m)) / m
    return precision, recall, density, coverage


@pytest.mark.parametrize(
    ("n", "m", "dim", "k", "k_precision"), [(40, 50, 2, 5, 3), (50, 40, 20, 1, 4), (30, 30, 3, 3, 3)]
)
def test_the_four_numbers_equal_loops(n, m, dim, k, k_precision):
    rng = np.random.default_rng(dim)
    y, x = 0.8 * rng.normal(size=(n, dim)) + 0.3, rng.normal(size=(m, dim))
    got = neighborhood(y, x, k=k, k_precision=k_precision)
    expected = by_loops(y, x, k, k_precision)
    # counts over n, no two distances being nearly equal: only the division is rounded
    np.testing.assert_allclose(got[:4], expected, rtol=1e-12)
    assert 0 < got.precision < 1 or 0 < got.coverage < 1  # the case says something


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(2, 60, 30))
    whole, near = neighborhood(y, x), nearest(y, x)
    monkeypatch.setattr(metrics.neighbors, "_BLOCK", 7)
    assert neighborhood(y, x) == whole
    np.testing.assert_array_equal(nearest(y, x), near)
    # by inner products and then by differences, beside differences alone
    np.testing.assert_allclose(near, cdist(y, x).min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("dim", [3, 40])  # distances by differences, and by inner products
def test_identical_and_disjoint_sets(dim):
    x = np.random.default_rng(0).normal(size=(80, dim)) + 50.0
    same = neighborhood(x, x)
    assert same[:2] == (1.0, 1.0)
    assert same.coverage == 1.0
    assert same.density == pytest.approx(
        6 / 5
    )  # each ball holds its center and its 5 nearest, the last on its rim
    assert neighborhood(x + 1000.0, x)[:4] == (0.0, 0.0, 0.0, 0.0)


def test_duplicates_are_inside():
    x = np.repeat(
        np.random.default_rng(0).normal(size=(10, 40)), 8, axis=0
    )  # 7 copies of each: balls of radius 0
    got = neighborhood(x, x)
    assert got[:2] == (1.0, 1.0)
    assert got.density == pytest.approx(8 / 5)  # the 8 balls around a place, over 5


def test_two_sets_of_one_law_have_the_published_means():
    n, m, k, repeats = 40, 60, 5, 300
    rng = np.random.default_rng(0)
    draws = np.array(
        [neighborhood(rng.normal(size=(n, 4)), rng.normal(size=(m, 4)), k=k)[2:4] for _ in range(repeats)]
    )
    i = np.arange(1, k + 1)
    # Naeem et al. 2020, Lemma 2 (with n samples beside m real ones): the n nearest all lie beyond the k-th of m - 1
    expected = 1.0, 1.0 - np.prod((m - i) / (n + m - i))
    error = draws.std(axis=0) / np.sqrt(repeats)
    assert error.max() < 0.01
    assert (np.abs(draws.mean(axis=0) - expected) < 4 * error).all()  # 4 standard errors: once in 16,000


def test_what_each_number_sees():
    rng = np.random.default_rng(0)
    centers = 20.0 * np.eye(4)
    real = (centers[np.arange(200) % 4] + rng.normal(size=(200, 4))).astype(np.float32)
    dropped = (centers[np.arange(200) % 2] + rng.normal(size=(200, 4))).astype(np.float32)
    got = neighborhood(dropped, real)  # two of four modes: faithful, not diverse
    assert got.precision > 0.9
    assert 0.4 < got.recall < 0.55
    assert 0.4 < got.coverage < 0.55
    added = real.copy()
    added[:100] = 8.0 * rng.normal(size=(100, 4))  # half of it off the modes: diverse, not faithful
    got = neighborhood(added, real)
    assert 0.5 <= got.precision < 0.7
    assert got.recall > 0.9
    outlier = real.copy()
    outlier[:4] = 500.0 * np.eye(4)  # balls of four real outliers, which hold half the space between
    spread = rng.uniform(-40, 40, (200, 4))
    assert neighborhood(spread, real).precision < 0.1
    inflated = neighborhood(spread, outlier)
    assert inflated.precision > 0.5
    assert inflated.density < 0.2
    assert inflated.coverage < 0.1


def test_standard_errors_of_shares_are_binomial_in_the_set_they_are_shares_of():
    rng = np.random.default_rng(1)
    got = neighborhood(1.3 * rng.normal(size=(40, 3)), rng.normal(size=(110, 3)))
    for name, count in (("precision", 40), ("recall", 110), ("coverage", 110)):
        share = getattr(got, name)
        assert 0 < share < 1
        assert got.standard_errors[name] == pytest.approx(np.sqrt(share * (1 - share) / count), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_standard_errors_are_those_of_means(name):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    draws = [neighborhood(1.2 * rng.normal(size=(300, 3)), x) for _ in range(40)]
    told = np.mean([draw.standard_errors[name] for draw in draws])
    seen = np.std([getattr(draw, name) for draw in draws])
    # the real set is held; recall and coverage, averages over it, move less than they would with fresh real ones
    assert 0.15 * told < seen < 1.6 * told


def test_copies_are_told_from_new_samples():
    rng = np.random.default_rng(0)
    train, held, fresh = rng.normal(size=(3, 500, 8))
    got = copies(fresh, train, held)
    # 1 % of 500 is 5, give or take sqrt(5): more than 15 once in 10,000
    assert got.share_nearer <= 0.03
    assert np.median(got.samples) == pytest.approx(np.median(got.held_out), rel=0.1)
    half = fresh.copy()
    half[:250] = train[:250]
    got = copies(half, train, held)
    assert 0.5 <= got.share_nearer <= 0.53
    assert (got.samples[:250] == 0.0).all()
    assert got.standard_error == pytest.approx(np.sqrt(0.25 / 500), rel=0.01)
    blurred = train + 0.05 * rng.normal(size=train.shape)  # near copies, not exact ones
    assert copies(blurred, train, held).share_nearer == 1.0
    for quantile in (0.1, 0.5):
        got = copies(fresh, train, held, quantile=quantile)
        assert got.share_nearer == np.mean(got.samples < np.quantile(got.held_out, quantile))
        # two shares of 500, each known to 0.022 at most: four standard errors of their difference
        assert abs(got.share_nearer - quantile) < 0.13


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda x: neighborhood(x, x, k=0), "k must be a whole number >= 1"),
        (lambda x: neighborhood(x, x, k_precision=1.5), "k_precision must be"),
        (lambda x: neighborhood(x[:5], x), "samples must have shape .* n >= 6"),
        (lambda x: neighborhood(x, x[:, :1]), "same number of dimensions"),
        (lambda x: neighborhood(x, x * np.nan), "real holds NaN"),
        (lambda x: copies(x, x, x, quantile=1.0), "quantile must be between 0 and 1"),
        (lambda x: copies(x, x, x[:0]), "held_out must have shape"),
        (lambda x: nearest(x, x[:, :1]), "points and others must have the same"),
    ],
)
def test_bad_input_is_named(call, told):
    with pytest.raises(ValueError, match=told):
        call(np.random.default_rng(0).normal(size=(20, 2)))
