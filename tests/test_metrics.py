import re

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy import linalg, stats

from efm_jax._assignment import row_prices, solved
from efm_jax.metrics import (
    energy_distance,
    frechet_distance,
    gaussian_frechet,
    kid,
    mmd,
    normalized_path_energy,
    path_curvature,
    path_energy,
    sliced_wasserstein2,
    wasserstein2,
)

KEY = jax.random.key(0)
# float64 on both sides: only sums in another order differ
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def sets(n: int, m: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), 1.3 * rng.normal(size=(m, dim)) + 0.7


def covariance(dim: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(dim, dim))
    return root @ root.T / dim


# transport ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (50, 1), (1, 2), (100, 2), (300, 16), (300, 17), (200, 3072)])
def test_wasserstein2_equals_pots_network_simplex(n, dim):
    a, b = sets(n, n, dim)
    np.testing.assert_allclose(wasserstein2(a, b), np.sqrt(ot.emd2([], [], ot.dist(a, b))), **CLOSE)


@pytest.mark.parametrize("law", ["far", "same", "sorted", "duplicates", "many dimensions"])
def test_wasserstein2_stays_exact_where_prices_of_a_quarter_start_the_solver(law):
    n = 1300  # the recursion is three levels deep
    rng = np.random.default_rng(1)
    a, b = sets(n, n, 24 if law == "many dimensions" else 2)
    if law == "far":
        b = 0.5 * b + 8.0 * rng.choice([-1.0, 1.0], (n, 1))
    if law == "same":
        b = rng.normal(size=(n, 2))
    if law == "sorted":
        a, b = a[np.argsort(a[:, 0])], b[np.argsort(-b[:, 1])]
    if law == "duplicates":
        a, b = np.rint(a), np.rint(b)
    expected = np.sqrt(ot.emd2([], [], ot.dist(a, b), numItermax=10**7))
    np.testing.assert_allclose(wasserstein2(a, b), expected, **CLOSE)


def test_wasserstein2_of_shifts_scalings_permutations_and_equal_sets():
    a, _ = sets(200, 1, 5)
    shift = np.array([3.0, 0.0, 4.0, 0.0, 0.0])
    assert wasserstein2(a, a) == 0.0
    assert wasserstein2(a, a[::-1]) == 0.0
    assert wasserstein2(a, a[::-1] + shift) == pytest.approx(
        5.0, rel=1e-12
    )  # the best plan is the shift itself
    scaled = np.sqrt(
        np.mean(np.sum((0.5 * a) ** 2, axis=1))
    )  # a scaling is the gradient of a convex function: optimal
    assert wasserstein2(a, 1.5 * a[::-1]) == pytest.approx(scaled, rel=1e-12)
    b = sets(200, 200, 5)[1]
    assert wasserstein2(a, b) == pytest.approx(wasserstein2(b, a), rel=1e-12)
    far = 1e4 * np.ones(5)
    # the same cloud 2e4 from the origin: coordinates keep 12 digits there
    assert wasserstein2(a + far, b + far) == pytest.approx(wasserstein2(a, b), rel=1e-9)
    assert wasserstein2(np.float32(a), jnp.asarray(b)) == pytest.approx(
        wasserstein2(a, b), rel=1e-6
    )  # float32 input


def test_wasserstein2_between_gaussians_nears_the_closed_form():
    rng = np.random.default_rng(0)
    cov = covariance(2, 0) + 0.2 * np.eye(2), covariance(2, 1) + 0.2 * np.eye(2)
    a, b = (rng.multivariate_normal(mean, c, 1000) for mean, c in zip(([0, 0], [2, 1]), cov, strict=True))
    exact = np.sqrt(gaussian_frechet(np.zeros(2), cov[0], np.array([2.0, 1.0]), cov[1]))
    # the mean of 1,000 draws is known to 0.03 a coordinate, and two sets of one law are W2 = 0.1 apart
    assert wasserstein2(a, b) == pytest.approx(exact, abs=0.1)


def test_prices_of_a_solved_assignment_prove_that_it_is_best():
    a, b = sets(300, 300, 2)
    assigned, cost, rows = solved(a, b)
    u = row_prices(assigned, cost, rows)
    squares = ot.dist(a, b)
    v = (squares - u[:, None]).min(axis=0)
    # strong duality: feasible prices add up to the cost of the assignment only if both are optimal
    np.testing.assert_allclose(u.sum() + v.sum(), squares[np.arange(300), assigned].sum(), rtol=1e-9)


@pytest.mark.slow
def test_wasserstein2_of_five_thousand_equals_pots():
    a, b = sets(5000, 5000, 2)
    expected = np.sqrt(ot.emd2([], [], ot.dist(a, b), numItermax=10**8))
    np.testing.assert_allclose(wasserstein2(a, b), expected, **CLOSE)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (60, 35), (30, 60), (1, 7)])
def test_sliced_wasserstein2_equals_pots_along_the_same_directions(n, m):
    a, b = sets(n, m, 4)
    directions = np.asarray(jax.random.normal(KEY, (100, 4)), np.float64)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    expected = ot.sliced_wasserstein_distance(a, b, projections=directions.T)
    np.testing.assert_allclose(sliced_wasserstein2(KEY, a, b, num_projections=100), expected, **CLOSE)


def test_sliced_wasserstein2_of_a_shift_has_a_closed_form():
    a, _ = sets(40, 1, 3)
    shift = np.array([1.0, -2.0, 2.0])
    value = sliced_wasserstein2(KEY, a, a + shift, num_projections=4000)
    # E <t, s>^2 = |s|^2 / D; the mean over 4,000 directions is known to 0.7 % of itself, its root to half of that
    assert value == pytest.approx(3.0 / np.sqrt(3.0), rel=0.015)
    assert sliced_wasserstein2(KEY, a, a[::-1]) == pytest.approx(0.0, abs=1e-12)
    assert sliced_wasserstein2(KEY, a, a + shift) != sliced_wasserstein2(jax.random.key(1), a, a + shift)
    one = sets(30, 50, 1)
    samples = one[0].ravel(), one[1].ravel()
    expected = np.sqrt(ot.wasserstein_1d(*samples, p=2))  # in one dimension every direction says the same
    assert sliced_wasserstein2(KEY, *one) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_equals_the_textbook_formula():
    a, b = sets(400, 300, 6)
    b = b @ covariance(6, 3)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = np.real(linalg.sqrtm(cov_a @ cov_b))
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    # a general matrix root of SciPy loses a few digits more than the symmetric one
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-7)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-10)


def test_gaussian_frechet_closed_forms():
    one = np.ones(1)
    # in one dimension (m1 - m2)^2 + (s1 - s2)^2
    assert gaussian_frechet(3 * one, 4 * np.eye(1), one, 9 * np.eye(1)) == pytest.approx(4 + 1)
    first, second = np.diag([1.0, 4.0, 0.0]), np.diag([9.0, 1.0, 25.0])
    assert gaussian_frechet(np.zeros(3), first, np.zeros(3), second) == pytest.approx(4 + 1 + 25)
    # rank 1 against rank 1, orthogonal: no overlap
    u, v = np.diag([2.0, 0.0]), np.diag([0.0, 3.0])
    assert gaussian_frechet(np.zeros(2), u, np.zeros(2), v) == pytest.approx(5.0)
    # W2^2 of samples is the oracle for correlated ones: for centred sets b = a S, S positive, the map S is optimal
    s = covariance(3, 5) + 0.1 * np.eye(3)
    c = covariance(3, 6)
    expected = np.trace((s - np.eye(3)) @ c @ (s - np.eye(3)))
    assert gaussian_frechet(np.zeros(3), c, np.zeros(3), s @ c @ s) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_samples_than_dimensions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 60)), rng.normal(size=(25, 60)) + 0.5
    value = frechet_distance(a, b)
    # tr (A^1/2 B A^1/2)^1/2 is the nuclear norm of the centred cross products
    centred = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    overlap = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + sum(np.sum(x**2) for x in centred) - 2 * overlap
    # 41 vanishing eigenvalues of rounding size 1e-15 have roots of 3e-8 each
    assert value == pytest.approx(expected, abs=1e-5)


# pairs --------------------------------------------------------------------------------------------------------------


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


# paths --------------------------------------------------------------------------------------------------------------


def test_straight_lines_have_the_least_energy_and_no_curvature():
    x, y = sets(20, 20, 3)
    times = np.array([0.0, 0.1, 0.15, 0.6, 1.0])
    path = x + times[:, None, None] * (y - x)
    straight = np.mean(np.sum((y - x) ** 2, axis=1))
    assert path_energy(path, times=times) == pytest.approx(straight, rel=1e-12)
    assert path_curvature(path, times=times) == pytest.approx(0.0, abs=1e-12)
    # another unit of time, another origin, the other sense: nothing changes
    for other in (20.0 * times + 5.0, -times):
        assert path_energy(path, times=other) == pytest.approx(straight, rel=1e-12)
        assert path_curvature(path, times=other) == pytest.approx(0.0, abs=1e-12)
    # the same way at uneven speed costs more: run through in equal steps instead
    assert path_energy(path) > 1.1 * straight
    reverse = path[::-1]
    assert path_energy(reverse, times=times[::-1]) == pytest.approx(straight, rel=1e-12)


def test_the_energy_of_an_arc_is_its_speed_squared():
    t = np.linspace(0.0, 1.0, 2001)
    angle = 1.5 * np.pi * t
    arc = 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]
    speed, chord = 2.0 * 1.5 * np.pi, 8.0  # |x(1) - x(0)|^2 = (2 sqrt 2)^2
    # chords of 2,000 steps are shorter than the arc by 1e-7 of it
    assert path_energy(arc) == pytest.approx(speed**2, rel=1e-6)
    assert path_curvature(arc) == pytest.approx(speed**2 - chord, rel=1e-6)
    assert normalized_path_energy(arc, np.sqrt(chord)) == pytest.approx(speed**2 / chord - 1, rel=1e-6)
    # uneven speed: s = t^2 along a line of length 3 has energy 9 * integral (2t)^2 = 12
    line = 3.0 * (t**2)[:, None, None]
    assert path_energy(line) == pytest.approx(12.0, rel=1e-6)


def test_normalised_path_energy_of_the_optimal_and_of_a_poor_plan():
    x, y = sets(100, 100, 2)
    distance = wasserstein2(x, y)
    best = y[ot.emd([], [], ot.dist(x, y)).argmax(axis=1)]
    assert normalized_path_energy(np.stack([x, best]), distance) == pytest.approx(0.0, abs=1e-9)
    poor = np.mean(np.sum((x - y) ** 2, axis=1))
    expected = (poor - distance**2) / distance**2
    assert normalized_path_energy(np.stack([x, y]), distance) == pytest.approx(expected, rel=1e-9)
    assert normalized_path_energy(np.stack([x, x]), distance) == 1.0  # too little energy counts as well


# bad input ----------------------------------------------------------------------------------------------------------

PAIRS = [
    wasserstein2,
    lambda a, b: sliced_wasserstein2(KEY, a, b),
    frechet_distance,
    mmd,
    kid,
    energy_distance,
]


@pytest.mark.parametrize("measure", PAIRS)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((8, 2)), np.zeros((8, 3)), r"same number of dimensions, got \(8, 2\) and \(8, 3\)"),
        (np.zeros(8), np.zeros((8, 1)), r"a must have shape \[n, D\].*reshape\(-1, 1\)"),
        (np.zeros((8, 1)), np.zeros((8, 2, 2, 3)), r"b must have shape.*reshape\(len\(b\), -1\)"),
        (np.zeros((0, 2)), np.zeros((8, 2)), "a must have shape"),
        (np.zeros((8, 0)), np.zeros((8, 0)), "D >= 1"),
        (
            np.zeros((3, 1)),
            np.array([[0.0], [np.nan], [np.inf]]),
            "b holds NaN or infinite numbers in 2 of 3.*index 1",
        ),
        (np.array([["a"]]), np.zeros((1, 1)), "real numbers"),
        (np.zeros((8, 1), complex), np.zeros((8, 1)), "real numbers.*complex"),
    ],
)
def test_bad_sets(measure, a, b, message):
    if measure is kid and len(b) == 3:
        a, b = np.tile(a, (2, 1)), np.concatenate([b, np.zeros((3, 1))])
        message = message.replace("2 of 3", "2 of 6")
    with pytest.raises(ValueError, match=message):
        measure(a, b)


def test_bad_numbers():
    a, b = sets(8, 6, 2)
    with pytest.raises(ValueError, match=r"equally large, got 8 and 6.*sliced"):
        wasserstein2(a, b)
    with pytest.raises(ValueError, match="num_projections"):
        sliced_wasserstein2(KEY, a, b, num_projections=0)
    for bandwidth in (0.0, -1.0, np.nan, [], [1.0, 0.0], [[1.0]]):
        with pytest.raises(ValueError, match="bandwidth must be"):
            mmd(a, b, bandwidth=bandwidth)
    for options in ({"subsets": 1}, {"subset_size": 1}):
        with pytest.raises(ValueError, match="at least 2"):
            kid(a, b, **options)
    for measure, least in ((mmd, 2), (frechet_distance, 2), (kid, 4)):
        with pytest.raises(ValueError, match=f"n >= {least}"):
            measure(a, b[: least - 1])


def test_bad_moments():
    mean, cov = np.zeros(2), np.eye(2)
    for args in (
        (mean, cov, np.zeros(3), cov),
        (mean, np.eye(3), mean, cov),
        (mean[:, None], cov, mean, cov),
    ):
        with pytest.raises(ValueError, match="must have shape"):
            gaussian_frechet(*args)
    with pytest.raises(ValueError, match="finite"):
        gaussian_frechet(mean, np.nan * cov, mean, cov)
    with pytest.raises(ValueError, match="cov_b must be symmetric"):
        gaussian_frechet(mean, cov, mean, np.array([[1.0, 0.5], [0.0, 1.0]]))


def test_bad_paths():
    good = np.zeros((4, 2, 3))
    for path in (good[0], good[:1], np.zeros((3, 0, 2))):
        with pytest.raises(ValueError, match=re.escape("path must have shape [t, n, D]")):
            path_energy(path)
    for times, message in (
        (np.arange(3.0), r"shape \(4,\)"),
        ([0.0, 1.0, 1.0, 2.0], "strictly"),
        ([0.0, 2.0, 1.0, 3.0], "strictly"),
        ([0.0, 1.0, 2.0, np.nan], "strictly"),
    ):
        for measure in (path_energy, path_curvature):
            with pytest.raises(ValueError, match=message):
                measure(good, times=times)
    bad = good.copy()
    bad[1, 1, 0] = np.inf
    with pytest.raises(ValueError, match="in 1 of 2 paths"):
        path_energy(bad)
    for distance in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="distance must be W2"):
            normalized_path_energy(good, distance)
