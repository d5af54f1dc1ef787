"""Point laws: every documented density is tested against the draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from efm_jax.matching import cfm, ifm, pfgm, points
from efm_jax.matching.couplings import minibatch_ot

GAP = 6.0
N = 20_000
# A Kolmogorov-Smirnov p-value below this comes up once in 10^4 seeds when the law is right; seeds are fixed.
P = 1e-4


def draw(law, x_pos, x_neg, seed=0, gap=GAP, n=N):
    return np.asarray(law(jax.random.key(seed), jnp.asarray(x_pos), jnp.asarray(x_neg), gap, n), np.float64)


def height_cdf(law, gap):
    margin = 1e-4

    def uniform(z):
        return np.clip((z / gap - margin) / (1 - 2 * margin), 0, 1)

    def log(z):
        h = np.minimum(z, gap - z) / gap
        below = 0.5 * np.log(np.maximum(h, margin) / margin) / np.log(0.5 / margin)
        return np.where(z < gap / 2, below, 1 - below)

    def arcsine(z):
        return 2 / np.pi * np.arcsin(np.sqrt(np.clip(z / gap, 0, 1)))

    def logit(z):
        u = np.clip(z / gap, margin, 1 - margin)
        return 0.5 + 0.5 * np.log(u / (1 - u)) / np.log(1 / margin - 1)

    return {"linear": uniform, "log_both": log, "sine": arcsine, "logit": logit}[law]


@pytest.mark.parametrize("law", points.HEIGHTS)
@pytest.mark.parametrize("gap", [0.01, 500.0])
def test_heights_follow_their_density(law, gap):
    z = np.asarray(points.heights(jax.random.key(1), gap, N, height=law), np.float64)
    assert z.min() > 0
    assert z.max() < gap
    assert stats.kstest(z, height_cdf(law, gap)).pvalue > P


def test_segment_noise_is_half_normal_in_radius_isotropic_and_dies_at_the_plates():
    a, b = np.array([[1.0, 2.0, -1.0]], np.float32), np.array([[4.0, -2.0, 0.0]], np.float32)
    p = draw(points.segment(noise=0.7), a, b)
    z, t = p[:, -1], p[:, -1:] / GAP
    offset = p[:, :-1] - ((1 - t) * a + t * b)
    radius = np.linalg.norm(offset, axis=1)
    sigma = 0.7 * np.sqrt(np.minimum(z, GAP - z))
    assert stats.kstest(radius / sigma, stats.halfnorm.cdf).pvalue > P
    # by Archimedes, a coordinate of a uniform direction on the 2-sphere is uniform
    for d in range(3):
        assert stats.kstest(offset[:, d] / radius, stats.uniform(-1, 2).cdf).pvalue > P
    near = np.minimum(z, GAP - z) < 1e-2
    # five standard deviations of the noise at that height
    assert radius[near].max() < 5 * 0.7 * np.sqrt(1e-2)


def test_segment_without_noise_joins_the_pairs_of_the_coupling():
    x = np.array([[0.0], [10.0]], np.float32)
    p = draw(points.segment(noise=0.0, coupling=minibatch_ot()), x, x[::-1].copy(), n=2)
    # matched to itself, a sample stays where it is up to float32 rounding of (1-t) x + t x
    assert np.abs(p[:, 0] - np.array([0.0, 10.0])[(p[:, 0] > 5).astype(int)]).max() < 1e-5


def test_box_is_uniform_in_the_enlarged_box():
    a, b = np.array([[0.0, 0.0], [1.0, 4.0]], np.float32), np.array([[2.0, -4.0]], np.float32)
    p = draw(points.box(margin=0.5, bulge=0.25), a, b)
    more = 0.25 * GAP
    assert stats.kstest(p[:, 0], stats.uniform(-1 - more, 4 + 2 * more).cdf).pvalue > P
    assert stats.kstest(p[:, 1], stats.uniform(-8 - more, 16 + 2 * more).cdf).pvalue > P
    assert abs(np.corrcoef(p.T)[0, 1]) < 5 / np.sqrt(N)  # five standard errors of an uncorrelated pair


def test_a_box_may_go_beyond_the_plates():
    a, b = np.array([[0.0], [1.0]], np.float32), np.array([[2.0]], np.float32)
    z = draw(points.box(beyond=0.5), a, b)[:, -1]
    # the heights' own margin of 1e-4 is felt by no test of 40,000 draws
    assert stats.kstest(z, stats.uniform(-0.5 * GAP, 2.0 * GAP).cdf).pvalue > P
    with pytest.raises(ValueError, match="beyond must be >= 0, got -1"):
        points.box(beyond=-1)


def test_defensive_points_are_half_on_segments_and_half_around_them():
    a, b = np.array([[1.0]], np.float32), np.array([[3.0]], np.float32)
    p = draw(points.defensive(noise=0.0), a, b)
    on, by_flux, in_box = np.split(p, [N // 2, 3 * N // 4])
    assert np.abs(on[:, 0] - 1 - on[:, 1] / 3).max() < 1e-5  # the rounding of heights up to 6
    assert np.abs(p[N // 2 :, 0] - 1 - p[N // 2 :, 1] / 3).min() > 0
    # with both charges, scale z about the one and gap - z about the other: the distribution function at x is uniform
    z = by_flux[:, 1]
    mixed = 0.5 * (stats.cauchy.cdf(by_flux[:, 0], 1, z) + stats.cauchy.cdf(by_flux[:, 0], 3, GAP - z))
    assert stats.kstest(mixed, stats.uniform.cdf).pvalue > P
    assert stats.kstest(in_box[:, 0], stats.uniform(1 - GAP, 2 + 2 * GAP).cdf).pvalue > P
    for k in (1, 3):
        assert draw(points.defensive(), a, b, n=k).shape == (k, 2)


def test_near_plate_scale_is_log_uniform_and_offsets_share_it():
    a, b = np.zeros((1, 3), np.float32), np.full((1, 3), 1e4, np.float32)
    sigma = 0.05
    p = draw(points.near_plate(sigma=sigma), a, b)
    below = p[:, 0] < 5e3
    assert abs(below.mean() - 0.5) < 5 * 0.5 / np.sqrt(N)  # five standard errors of a fair coin
    grid = np.linspace(0, 1, 401)  # the midpoint rule errs by 1e-5, far below what 4,000 draws tell
    scales = sigma * (GAP / sigma) ** ((grid[:-1] + grid[1:]) / 2)

    def height(h):  # P(folded |e| s <= h), averaged over the scales
        h = np.asarray(h)[:, None]
        images = sum(
            stats.norm.cdf((k * 2 * GAP + h) / scales) - stats.norm.cdf((k * 2 * GAP - h) / scales)
            for k in range(-3, 4)
        )
        return images.mean(1)

    h = p[below, -1][:4000]
    assert stats.kstest(h, height).pvalue > P

    def lateral(r):
        return stats.chi2(3).cdf((np.asarray(r)[:, None] / scales) ** 2).mean(1)

    assert stats.kstest(np.linalg.norm(p[below, :-1], axis=1)[:4000], lateral).pvalue > P
    # one scale for both: height and lateral offset rise together
    logs = np.log(np.c_[h, np.linalg.norm(p[below, :-1], axis=1)[:4000]])
    assert np.corrcoef(logs.T)[0, 1] > 0.5


@pytest.mark.parametrize("gap", [1e-3, 1e3])
@pytest.mark.parametrize(
    "law",
    [
        points.segment(),
        points.segment(height="log_both"),
        points.box(),
        points.near_plate(),
        points.flux(),
        points.flux("two_plates", height="logit"),
    ],
)
def test_points_lie_strictly_between_the_plates(law, gap):
    p = draw(law, np.zeros((2, 1), np.float32), np.ones((3, 1), np.float32), gap=gap, n=500)
    assert np.isfinite(p).all()
    assert p[:, -1].min() > 0
    assert p[:, -1].max() < gap


@pytest.mark.parametrize("gap", [100.0, 500.0])
def test_no_height_is_rounded_onto_the_far_plate(gap):
    """Of a million heights a score lie within a rounding of a gap so large; in half precision every fourth would."""
    x = np.zeros((1, 1), np.float32)
    z = draw(points.near_plate(), x, x, gap=gap, n=1_000_000)[:, -1]
    assert z.min() > 0
    assert z.max() < gap
    for law in (points.near_plate(), points.flux(), points.segment()):
        half = draw(law, jnp.zeros((2, 1), jnp.bfloat16), jnp.ones((2, 1), jnp.bfloat16), gap=gap, n=5000)
        assert half[:, -1].max() < gap
    x = jnp.zeros((5000, 1), jnp.bfloat16)
    for recipe in (cfm(gap), ifm(gap), pfgm(gap)):
        batch = recipe.draw(jax.random.key(0), x, x + 1)
        assert all(part.dtype == jnp.float32 for part in batch)
        assert batch.points[:, -1].max() < gap


def test_bad_options_say_what_was_expected():
    with pytest.raises(ValueError, match=r"e.g. couplings.minibatch_ot\(\), got 'minibatch_ot'"):
        points.segment(coupling="minibatch_ot")
    with pytest.raises(ValueError, match="noise must be >= 0, got -1"):
        points.segment(noise=-1)
    with pytest.raises(ValueError, match="noise must be a finite number, got inf"):
        points.segment(noise=float("inf"))
    with pytest.raises(ValueError, match="bulge must be a finite number, got inf"):
        points.box(bulge=float("inf"))
    with pytest.raises(ValueError, match="'linear', 'sine', 'logit', 'log_both', got 'lin'"):
        points.box(height="lin")
    with pytest.raises(ValueError, match="kind must be one of 'chain', 'two_plates', got 'slab'"):
        points.flux("slab")
    with pytest.raises(ValueError, match="'log_both', got 'log2'"):
        points.flux(height="log2")
    with pytest.raises(ValueError, match="margin"):
        points.box(margin=float("nan"))
    with pytest.raises(ValueError, match="sigma must be a finite number > 0"):
        points.near_plate(sigma=0)
    with pytest.raises(ValueError, match="gap must be a finite number > 0"):
        points.heights(jax.random.key(0), -1.0, 3)


@pytest.mark.parametrize("law", points.HEIGHTS)
def test_heights_keep_off_the_plates(law):
    share = np.asarray(points.heights(jax.random.key(2), GAP, 200_000, height=law), np.float64) / GAP
    # float32 of numbers near 1
    assert share.min() > 1e-4 * (1 - 1e-5)
    assert share.max() < 1 - 1e-4 + 2e-7
    assert min(share.min(), 1 - share.max()) < 2e-4


def test_near_plate_scales_are_no_larger_than_the_gap():
    x = np.zeros((1, 3), np.float32)
    p = draw(points.near_plate(sigma=5.0), x, x, gap=0.5, n=5000)
    # one scale is left, the gap
    assert stats.kstest(np.linalg.norm(p[:, :-1], axis=1) / 0.5, stats.chi(3).cdf).pvalue > P
