"""Brownian exits: side and time against their series in float64, written here a second time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

from efm_jax.matching import _brownian

GAP = 6.0
N = 40_000
# A p-value below this comes up once in 10^4 seeds when the law is right; seeds are fixed.
P = 1e-4


def left_by(t, z, gap):
    """P(T <= t, through z = 0) by images: reflections of the erfc law of a single plate."""
    t, k = np.asarray(t)[..., None], np.arange(60)
    root = np.sqrt(2 * t)
    plus = special.erfc((2 * k * gap + z) / root).sum(-1)
    return plus - special.erfc((2 * k[1:] * gap - z) / root).sum(-1)


def unit_law(t):
    """P(tau <= t) and P(tau > t) for the exit of (-1, 1) from 0."""
    n = np.arange(40)
    sign = (-1.0) ** n
    below = 2 * np.sum(sign * special.erfc((2 * n + 1) / np.sqrt(2 * t)))
    above = 4 / np.pi * np.sum(sign / (2 * n + 1) * np.exp(-((2 * n + 1) ** 2) * np.pi**2 * t / 8))
    return below, above


def test_the_quantile_inverts_both_theta_series():
    u = np.float32([1e-7, 1e-5, 1e-3, 0.1, 0.3, 0.4999, 0.5, 0.5001, 0.6, 0.9, 0.999, 1 - 1e-6])
    found = np.asarray(_brownian.unit_exit_quantile(jnp.asarray(u)), np.float64)
    for value, t in zip(u.astype(np.float64), found, strict=True):
        side = 0 if value < 0.6 else 1

        def miss(t, value=value, side=side):
            return unit_law(t)[side] - (value, 1 - value)[side]

        # float32 all the way: three roundings
        assert t == pytest.approx(optimize.brentq(miss, 1e-3, 50, xtol=1e-14), rel=5e-7)


@pytest.mark.parametrize("share", [1e-4, 0.03, 0.5, 0.7, 0.999])
def test_side_and_time_follow_their_series(share):
    z = share * GAP
    below, time = map(np.asarray, _brownian.leave_slab(jax.random.key(3), jnp.full(N, z, jnp.float32), GAP))
    z = float(np.float32(z))
    assert stats.binomtest(int(below.sum()), N, 1 - z / GAP).pvalue > P
    for side, start in ((below, z), (~below, GAP - z)):
        if side.sum() > 20:
            times, total = time[side].astype(np.float64), 1 - start / GAP
            assert stats.kstest(times, lambda t, s=start, c=total: left_by(t, s, GAP) / c).pvalue > P
            # E[T | through 0] = z (2L - z) / 3 and E[T^2 | through 0] < L^4: five standard errors
            assert abs(times.mean() - start * (2 * GAP - start) / 3) < 5 * times.std() / np.sqrt(len(times))


def test_a_batch_of_heights_is_as_good_as_one():
    z = jnp.asarray(np.random.default_rng(0).uniform(0.0, GAP, N), jnp.float32)
    below, time = map(np.asarray, _brownian.leave_slab(jax.random.key(5), z, GAP))
    start = np.where(below, z, GAP - np.asarray(z)).astype(np.float64)
    # given side and height, the law of T at T is uniform
    u = np.array([left_by(t, s, GAP) / (1 - s / GAP) for t, s in zip(time[:4000], start[:4000], strict=True)])
    assert stats.kstest(u, "uniform").pvalue > P


def test_on_a_plate_the_walk_is_over():
    below, time = _brownian.leave_slab(jax.random.key(0), jnp.asarray([0.0, GAP, GAP / 2]), GAP)
    assert below[:2].tolist() == [True, False]
    assert time[:2].tolist() == [0.0, 0.0]
    assert float(time[2]) > 0


def test_the_scale_of_the_gap_is_the_only_one():
    z = jnp.linspace(0.1, 0.9, 50)
    one = _brownian.leave_slab(jax.random.key(1), z, 1.0)
    far = _brownian.leave_slab(jax.random.key(1), 1024.0 * z, 1024.0)
    assert (one.below == far.below).all()
    assert (far.time == 1024.0**2 * one.time).all()  # powers of two: exact


def test_jit_and_vmap_give_the_same_walks():
    keys, z = jax.random.split(jax.random.key(2), 8), jnp.linspace(0.5, 5.5, 8)
    batched = jax.jit(jax.vmap(lambda key, z: _brownian.leave_slab(key, z, GAP)))(keys, z)
    for i in (0, 5):
        alone = _brownian.leave_slab(keys[i], z[i], GAP)
        assert bool(alone.below) == bool(batched.below[i])
        np.testing.assert_allclose(alone.time, batched.time[i], rtol=1e-6)  # fused otherwise: roundings


@pytest.mark.parametrize("z", [0.01, 1.0, 3.0, 5.9])
def test_the_distribution_of_times_is_the_integral_of_both_series(z):
    t = np.geomspace(1e-4, 300.0, 400)
    n = np.arange(1, 4000)[:, None]
    k = np.arange(-60, 61)[:, None]
    images = ((z + 2 * k * GAP) * np.exp(-((z + 2 * k * GAP) ** 2) / (2 * t))).sum(0) / np.sqrt(
        2 * np.pi * t**3
    )
    decay = np.exp(-((n * np.pi / GAP) ** 2) * t / 2)
    sines = np.pi / GAP**2 * (n * np.sin(n * np.pi * z / GAP) * decay).sum(0)
    wanted = np.where(t < 2.0, images, sines)
    # the derivative of the law drawn from; central differences of relative step 1e-4 err by about 1e-7
    slope = (left_by(t * (1 + 1e-4), z, GAP) - left_by(t * (1 - 1e-4), z, GAP)) / (2e-4 * t)
    np.testing.assert_allclose(slope, wanted, rtol=1e-5, atol=1e-7 * wanted.max())


def test_the_time_to_a_plane_is_levys():
    r = 2.5
    time = np.asarray(_brownian.reach_plane(jax.random.key(4), jnp.full(N, r)), np.float64)
    assert stats.kstest(time, lambda t: special.erfc(r / np.sqrt(2 * t))).pvalue > P


def test_bad_input_says_what_was_expected():
    with pytest.raises(ValueError, match="gap must be a finite number > 0, got 0"):
        _brownian.leave_slab(jax.random.key(0), jnp.ones(3), 0)
    with pytest.raises(ValueError, match="z must hold floating-point numbers"):
        _brownian.leave_slab(jax.random.key(0), jnp.ones(3, jnp.int32), 2.0)
