"""The gap: effective numbers of charges against float64 image sums, limits, scaling, and the suggestion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.matching import gaps


def normal(count, dim, shift=0.0, seed=0):
    return (shift + np.random.default_rng(seed).standard_normal((count, dim))).astype(np.float32)


def shares(points, x, z, gap):
    """Log of each charge's part in E_z, in float64, with 200 images a side."""
    dim = x.shape[1]
    squared = ((points[:, None].astype(np.float64) - x) ** 2).sum(-1)
    lift = z - 2 * gap * np.arange(-200, 201)
    weight = np.where(abs(lift - z) > 399 * gap, 0.5, 1.0)
    nearest = squared[..., None] + z**2
    total = (weight * lift * ((squared[..., None] + lift**2) / nearest) ** (-0.5 * (dim + 1))).sum(-1)
    return np.log(total) - 0.5 * (dim + 1) * np.log(nearest[..., 0]) - np.log(len(x))


@pytest.mark.parametrize("dim", [2, 50, 784])
def test_effective_numbers_are_those_of_the_chain(dim):
    x, y = normal(40, dim), normal(30, dim, 0.5, 1)
    gap = 1.5 * dim**0.5
    # the points themselves, from the same random numbers
    key_exit, key_i, key_j, key_noise = jax.random.split(jax.random.key(1), 4)
    below, unit_time = gaps.leave_slab(key_exit, jnp.full(64, 0.3), 1.0)
    i = jax.random.randint(key_i, (64,), 0, len(x))
    j = jax.random.randint(key_j, (64,), 0, len(y))
    own = np.where(np.asarray(below)[:, None], x[np.asarray(i)], y[np.asarray(j)])
    points = own + gap * np.sqrt(unit_time)[:, None] * np.asarray(jax.random.normal(key_noise, own.shape))
    log = np.concatenate([shares(points, x, 0.3 * gap, gap), shares(points, y, 0.7 * gap, gap)], axis=1)
    part = np.exp(log - log.max(axis=1, keepdims=True))
    exact = part.sum(1) ** 2 / (part**2).sum(1)
    found = gaps.effective_charges(jax.random.key(1), x, y, gap, height=0.3, num_points=64)
    # float32 distances, whose relative error of 1e-6 the exponent (D+1)/2 multiplies; 32 images instead of 200
    np.testing.assert_allclose(found, exact, rtol=0.01)
    assert exact.max() > 2 * exact.min() > 2


def test_charges_many_gaps_away_are_not_felt():
    """At D = 1 the sum over all images is elementary: E_z ~ 1 / (cosh(pi x / L) - cos(pi z / L)) of a charge at x."""
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(0.0, 100.0, (1000, 1)).astype(np.float32) for _ in range(2))
    key_exit, key_i, key_j, key_noise = jax.random.split(jax.random.key(1), 4)
    below, unit_time = gaps.leave_slab(key_exit, jnp.full(256, 0.5), 1.0)
    i, j = (np.asarray(jax.random.randint(key, (256,), 0, 1000)) for key in (key_i, key_j))
    own = np.where(np.asarray(below)[:, None], x[i], y[j])
    points = own + np.sqrt(unit_time)[:, None] * np.asarray(jax.random.normal(key_noise, own.shape))
    away = np.pi * np.abs(points - np.concatenate([x, y])[:, 0])
    part = 2.0 * np.exp(-away) / (1.0 + np.exp(-2.0 * away))  # at mid-gap the cosine is 0
    exact = part.sum(1) ** 2 / (part**2).sum(1)
    found = gaps.effective_charges(jax.random.key(1), x, y, 1.0, num_points=256)
    # 32 images a side and an integral for the others; without it the median is 60 instead of 34
    assert np.median(found) == pytest.approx(np.median(exact), rel=0.01)


def test_a_share_that_no_gap_has_is_refused():
    x, y = normal(200, 2), normal(200, 2, 1.0, 1)
    with pytest.raises(ValueError, match="at every gap or at none"):
        gaps.suggest_gap(x, y, height=0.1, share=0.7)
    with pytest.raises(ValueError, match="one charge is always felt"):
        gaps.suggest_gap(x, y, share=0.002)


def test_one_charge_alone_then_all_of_them():
    x, y = normal(50, 30), normal(60, 30, 1.0, 1)
    near, far = (gaps.effective_charges(jax.random.key(0), x, y, gap) for gap in (0.05, 1e4))
    assert np.quantile(near, 0.9) < 1.001
    # at mid-gap both plates pull alike, but where the long tail of exit times took a point
    np.testing.assert_allclose(np.median(far), 4 * 50 * 60 / 110, rtol=1e-3)


def test_a_longer_ruler_gives_the_same_numbers_and_the_same_gap():
    x, y = normal(80, 5), normal(80, 5, 1.0, 1)
    one = gaps.effective_charges(jax.random.key(0), x, y, 2.0)
    ten = gaps.effective_charges(jax.random.key(0), 10 * x, 10 * y, 20.0)
    np.testing.assert_allclose(ten, one, rtol=1e-3)  # float32 logs of scaled distances
    assert gaps.suggest_gap(10 * x, 10 * y) == pytest.approx(10 * gaps.suggest_gap(x, y), rel=0.02)


def test_effective_numbers_hold_where_squares_overflow():
    x, y, key = normal(20, 3), normal(20, 3, 1.0, 1), jax.random.key(0)
    near = gaps.effective_charges(key, x, y, 2.0)
    for unit in np.float32([1e19, 1e25, 1e30]):
        # coordinates rounded anew
        np.testing.assert_allclose(
            gaps.effective_charges(key, x * unit, y * unit, 2.0 * unit), near, rtol=1e-4
        )


def test_the_suggested_gap_is_where_the_share_is_met():
    x, y = normal(300, 100), normal(200, 100, 0.3, 1)
    suggested = gaps.suggest_gap(x, y, share=0.3)
    felt = gaps.effective_charges(jax.random.key(0), x, y, suggested)
    assert np.median(felt) / 480 == pytest.approx(0.3, abs=0.02)  # one per cent of the gap
    assert gaps.suggest_gap(x, y, share=0.6) > suggested


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: gaps.suggest_gap(x, x[:, :2]), "same number of dimensions"),
        (lambda x: gaps.suggest_gap(x[:1], x), "x_pos must hold at least two different samples"),
        (lambda x: gaps.suggest_gap(x, 0 * x), "x_neg must hold at least two different samples"),
        (lambda x: gaps.suggest_gap(x, x, share=1.0), r"share must be a share inside \(0, 1\)"),
        (lambda x: gaps.effective_charges(jax.random.key(0), x, x, 0.0), "gap must be a finite number > 0"),
        (
            lambda x: gaps.effective_charges(jax.random.key(0), x, x, 1.0, height=0.0),
            "height must be a share",
        ),
    ],
)
def test_bad_input_is_refused_with_the_mend(call, message):
    with pytest.raises(ValueError, match=message):
        call(normal(10, 3))


@pytest.mark.parametrize("dim", [2, 64])
def test_the_suggested_gap_scales_with_the_data(dim):
    x, y = normal(60, dim), normal(50, dim, 1.0, 1)
    once = gaps.suggest_gap(x, y)
    for c in (1e-30, 1e-6, 1e-2, 7.0, 1e6, 1e20):
        # one rounding of the samples
        assert gaps.suggest_gap(np.float32(c) * x, np.float32(c) * y) == pytest.approx(c * once, rel=1e-6), c


def test_another_key_suggests_another_gap_near_by():
    x, y = normal(80, 5), normal(80, 5, 1.0, 1)
    first, other = gaps.suggest_gap(x, y), gaps.suggest_gap(x, y, key=jax.random.key(7))
    assert first != other
    # a median over 256 points
    assert other == pytest.approx(first, rel=0.3)
