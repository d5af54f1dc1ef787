"""MMD, KID and energy distance against loops over pairs, SciPy and closed forms; errors against their spread."""

import numpy as np
import ot
import pytest
from _samples import CLOSE, sets
from scipy import stats

from efm_jax.metrics import energy_distance, kid, mmd


def naive_mmd(a: np.ndarray, b: np.ndarray, kernel) -> float:
    """Unbiased squared MMD by loops over pairs."""
    inside = [
        np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]) for x in (a, b)
    ]
    return sum(inside) - 2 * np.mean([kernel(x, y) for x in a for y in b])


@pytest.mark.parametrize("dim", [2, 40])
def test_mmd_equals_loops_over_pairs(dim):
    a, b = sets(9, 13, dim)
    for widths in (0.7 * dim**0.5, [0.5 * dim**0.5, 2.0 * dim**0.5]):
        squares = 2.0 * np.atleast_1d(widths) ** 2
        expected = naive_mmd(a, b, lambda x, y, s=squares: np.mean(np.exp(-np.sum((x - y) ** 2) / s)))
        np.testing.assert_allclose(mmd(a, b, bandwidth=widths), expected, **CLOSE)


def test_mmd_between_gaussians_nears_the_closed_form():
    dim, s, shift, width = 3, 1.5, 0.8, 1.2
    rng = np.random.default_rng(0)
    values = [
        mmd(rng.normal(size=(300, dim)), s * rng.normal(size=(300, dim)) + shift, bandwidth=width)
        for _ in range(40)
    ]

    def mean_kernel(variance: float, gap: float) -> float:
        # E exp(-|x - y|^2 / 2 w^2) with x - y ~ N(gap, variance) in every coordinate
        joint = width**2 + variance
        return ((width**2 / joint) ** 0.5 * np.exp(-(gap**2) / (2 * joint))) ** dim

    exact = mean_kernel(2.0, 0.0) + mean_kernel(2 * s**2, 0.0) - 2 * mean_kernel(1 + s**2, shift)
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - exact) < 4 * error
    assert error < 0.03 * exact  # so that a wrong factor would be seen


def test_mmd_and_kid_are_zero_on_average_between_sets_of_one_law():
    rng = np.random.default_rng(0)
    for measure in (
        lambda a, b: mmd(a, b, bandwidth=1.0),
        lambda a, b: kid(a, b, subsets=10, subset_size=20).mean,
    ):
        values = [measure(rng.normal(size=(40, 2)), rng.normal(size=(60, 2))) for _ in range(200)]
        error = np.std(values, ddof=1) / np.sqrt(len(values))
        assert abs(np.mean(values)) < 4 * error
        # the biased estimator is larger by (1 - E k) / n of each set, several errors here
        assert min(values) < 0


def test_mmds_own_bandwidth_is_the_median_distance():
    a, b = sets(11, 8, 3)
    joint = np.concatenate([a, b])
    i, j = np.triu_indices(19, 1)
    median = np.median(np.linalg.norm(joint[i] - joint[j], axis=1))
    assert mmd(a, b) == pytest.approx(mmd(a, b, bandwidth=median), rel=1e-9)
    assert mmd(10 * a, 10 * b) == pytest.approx(mmd(a, b), rel=1e-9)
    far = 1e3 * np.ones(3)
    assert mmd(a + far, b + far) == pytest.approx(mmd(a, b), rel=1e-9)
    with pytest.raises(ValueError, match=r"median distance .* is 0"):
        mmd(np.zeros((5, 2)), np.zeros((5, 2)))


def test_mmds_own_bandwidth_takes_every_second_sample_of_more_than_a_thousand():
    a, b = sets(1500, 900, 2)
    joint = np.concatenate([a[::2], b])
    i, j = np.triu_indices(len(joint), 1)
    median = np.median(np.linalg.norm(joint[i] - joint[j], axis=1))
    assert mmd(a, b) == pytest.approx(mmd(a, b, bandwidth=median), rel=1e-9)


def test_sums_over_blocks_of_rows_equal_those_over_all():
    a, b = sets(1100, 1030, 2)  # more rows than one block holds
    within = [ot.dist(x, x) for x in (a, b)]
    inside = [(np.exp(-d / 2).sum() - len(d)) / (len(d) * (len(d) - 1)) for d in within]
    expected = sum(inside) - 2 * np.exp(-ot.dist(a, b) / 2).mean()
    assert mmd(a, b, bandwidth=1.0) == pytest.approx(
        expected, rel=1e-8
    )  # POT's inner products lose some digits


def test_kid_is_the_mean_over_subsets_of_the_cubic_mmd():
    a, b = sets(12, 12, 5)
    value = kid(a, b, subsets=300, subset_size=6)
    full = naive_mmd(a, b, lambda x, y: (x @ y / 5 + 1) ** 3)
    # a mean over random subsets has the full estimate as its expectation; spread / sqrt(300) is its error
    spread = value.standard_error  # sqrt(6 / 6) times the spread over subsets
    assert abs(value.mean - full) < 4 * spread / np.sqrt(300)
    again, other = kid(a, b, subsets=300, subset_size=6), kid(a, b, subsets=300, subset_size=6, seed=1)
    assert again == value
    assert other != value
    assert kid(a, b, subset_size=1000) == kid(a, b, subset_size=6)  # at most half the smaller set


def test_kids_standard_error_is_the_spread_over_fresh_sets():
    rng = np.random.default_rng(0)
    results = [
        kid(rng.normal(size=(120, 4)), 1.5 * rng.normal(size=(120, 4)) + 0.3, subsets=40, subset_size=size)
        for size in (20, 60)
        for _ in range(60)
    ]
    spread = [np.array(part)[:, 0].std(ddof=1) for part in (results[:60], results[60:])]
    error = [np.array(part)[:, 1].mean() for part in (results[:60], results[60:])]
    # 60 values know their spread to 9 %, and the jackknife of a curved statistic is a little too large
    assert 0.8 < error[0] / spread[0] < 1.4
    assert 0.8 < error[1] / spread[1] < 1.4
    # subsets of a sixth and of half the set must tell of one and the same error
    assert error[1] == pytest.approx(error[0], rel=0.15)


def test_kids_squared_error_does_not_depend_on_the_number_of_subsets():
    """An unbiased variance of two subsets is on average that of many; the biased one would be half of it."""
    a, b = sets(40, 40, 3)
    few = np.array([kid(a, b, subsets=2, subset_size=10, seed=s).standard_error ** 2 for s in range(1000)])
    many = kid(a, b, subsets=2000, subset_size=10, seed=2000).standard_error ** 2
    # four standard errors of the mean over 1,000 seeds, and as much again for the spread of 2,000 subsets
    error = few.std() / np.sqrt(1000)
    assert abs(few.mean() - many) < 6 * error
    assert error < 0.07 * many


def test_energy_distance_equals_scipys_in_one_dimension_and_pairs_in_more():
    a, b = sets(40, 23, 1)
    expected = stats.energy_distance(a.ravel(), b.ravel())
    assert energy_distance(a, b) == pytest.approx(expected, rel=1e-9)
    for dim in (3, 30):
        a, b = sets(15, 10, dim)
        mean = [np.mean([np.linalg.norm(x - y) for x in u for y in v]) for u, v in ((a, b), (a, a), (b, b))]
        assert energy_distance(a, b) == pytest.approx(np.sqrt(2 * mean[0] - mean[1] - mean[2]), rel=1e-6)


def test_energy_distance_of_equal_and_shifted_sets():
    a, _ = sets(50, 1, 20)
    assert energy_distance(a, a) == 0.0
    # a permutation sums in another order: 1e-16 of the distances, whose root is 1e-8
    assert energy_distance(a, a[::-1]) < 1e-6
    # far apart, |x - y| is the gap, to second order of (spread / gap): 2 gap^1/2 squared
    gap = 1e6
    value = energy_distance(a, a + np.eye(20)[0] * gap)
    assert value == pytest.approx(np.sqrt(2 * gap), rel=1e-4)
