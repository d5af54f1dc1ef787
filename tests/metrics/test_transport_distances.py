"""Wasserstein, sliced Wasserstein and Frechet distances against POT, SciPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from _samples import CLOSE, KEY, sets
from scipy import linalg

from efm_jax._core.assignment import row_prices, solved
from efm_jax.metrics import frechet_distance, sliced_wasserstein2, wasserstein2


def covariance(dim: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(dim, dim))
    return root @ root.T / dim


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


@pytest.mark.smoke
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
    exact = ot.gaussian.bures_wasserstein_distance(np.zeros(2), np.array([2.0, 1.0]), *cov)
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


def test_frechet_distance_with_fewer_samples_than_dimensions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(20, 60)), rng.normal(size=(25, 60)) + 0.5
    value = frechet_distance(a, b)
    # tr (A^1/2 B A^1/2)^1/2 is the nuclear norm of the centered cross products
    centered = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    overlap = np.linalg.svd(centered[0] @ centered[1].T, compute_uv=False).sum()
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + sum(np.sum(x**2) for x in centered) - 2 * overlap
    # 41 vanishing eigenvalues of rounding size 1e-15 have roots of 3e-8 each
    assert value == pytest.approx(expected, abs=1e-5)
