"""Laws in the plane: their moments, arcs, cells and scales against closed forms."""

import numpy as np
import pytest
from _data import draw
from scipy import stats

from efm_jax.datasets import toys

N = 20_000


def test_gaussian_and_mixtures_have_their_moments():
    x = draw(toys.gaussian(3, std=1.5), N)
    assert stats.kstest(x[:, 2], "norm", (0, 1.5)).pvalue > 1e-3
    x = draw(toys.two_gaussians(8.0, std=0.5), N)
    assert abs((x[:, 0] > 0).mean() - 0.5) < 0.015  # four standard errors
    assert stats.kstest(np.abs(x[:, 0]), "norm", (8, 0.5)).pvalue > 1e-3
    assert stats.kstest(x[:, 1], "norm", (0, 0.5)).pvalue > 1e-3
    x = draw(toys.eight_gaussians(), N).astype(np.float64)
    which = np.rint(np.arctan2(x[:, 1], x[:, 0]) / (np.pi / 4)).astype(int) % 8
    offset = x - 5.0 * np.stack([np.cos(which * np.pi / 4), np.sin(which * np.pi / 4)], axis=1)
    assert stats.chisquare(np.bincount(which)).pvalue > 1e-3
    # variance sqrt(0.1), not 0.1; 40,000 numbers know it to 0.7 %, and a few cross to the neighbor's sector
    assert offset.var() == pytest.approx(0.1**0.5, rel=0.03)


def test_swiss_roll_follows_its_spiral_and_scale():
    x = draw(toys.swiss_roll(noise=0.0, scale=1.0), 2000).astype(np.float64)
    t = np.hypot(*x.T)
    np.testing.assert_allclose(
        x, np.stack([t * np.cos(t), t * np.sin(t)], axis=1), atol=1e-4
    )  # float32 phase of t
    assert stats.kstest(t, "uniform", (1.5 * np.pi, 3 * np.pi)).pvalue > 1e-3
    noisy, smooth = draw(toys.swiss_roll(), N), draw(toys.swiss_roll(noise=0.0), N)
    # noise adds its variance: (0.8 * 2/7.5)^2 on each coordinate; the roll's own variance is known to 1 %
    assert (noisy.var(axis=0) - smooth.var(axis=0)).mean() == pytest.approx((0.8 * 2 / 7.5) ** 2, abs=0.08)
    assert smooth.max() == pytest.approx(4.5 * np.pi * 2 / 7.5, rel=0.1)


def test_moons_lie_on_their_half_circles():
    x = (draw(toys.moons(noise=0.0), 4000).astype(np.float64) + 1.0) / 3.0
    upper = (np.abs(np.hypot(*x.T) - 1.0) < 1e-5) & (x[:, 1] > -1e-6)
    lower = (np.abs(np.hypot(x[:, 0] - 1.0, x[:, 1] - 0.5) - 1.0) < 1e-5) & (x[:, 1] < 0.5 + 1e-6)
    assert (upper | lower).all()
    assert (
        abs(upper.mean() - 0.5) < 0.04
    )  # five standard errors; the arcs cross nowhere on a set of positive measure
    angle = np.arctan2(x[upper & ~lower, 1], x[upper & ~lower, 0])
    assert stats.kstest(angle, "uniform", (0, np.pi)).pvalue > 1e-3
    noise = draw(toys.moons(), N).var(axis=0) - draw(toys.moons(noise=0.0), N).var(axis=0)
    assert noise.mean() == pytest.approx(
        0.6**2, abs=0.1
    )  # (3 * 0.2)^2; each variance is known to about 2 % of 4


def test_s_curve_lies_on_its_two_arcs():
    x = draw(toys.s_curve(noise=0.0, scale=1.0), 4000).astype(np.float64)
    up, down = np.hypot(x[:, 0], x[:, 1] - 1.0), np.hypot(x[:, 0], x[:, 1] + 1.0)
    assert (np.minimum(np.abs(up - 1.0), np.abs(down - 1.0)) < 1e-5).all()
    assert abs((x[:, 1] > 0).mean() - 0.5) < 0.04  # five standard errors
    # of each arc of 3/2 pi, the quarter of the S from its middle (|t| < pi/2) has |y| < 1
    assert (np.abs(x[:, 1]) < 1).mean() == pytest.approx(1 / 3, abs=0.04)
    assert np.abs(draw(toys.s_curve(noise=0.0), 4000)).max(axis=0) == pytest.approx([2, 4], rel=1e-3)


def test_checkerboard_and_rings_keep_to_their_cells():
    x = draw(toys.checkerboard(half_width=4.0), N)
    cell = np.floor((x + 4.0) / 2.0).astype(int)
    assert cell.min() == 0
    assert cell.max() == 3
    assert (cell.sum(axis=1) % 2 == 0).all()
    counts = np.bincount(4 * cell[:, 0] + cell[:, 1])
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3
    assert (counts > 0).sum() == 8
    assert stats.kstest(((x + 4.0) / 2.0 % 1.0).ravel(), "uniform").pvalue > 1e-3
    x = draw(toys.rings(radii=(1.0, 3.0), noise=0.05), N).astype(np.float64)
    r = np.hypot(*x.T)
    near = np.abs(r[:, None] - [1.0, 3.0]).argmin(axis=1)
    assert stats.kstest(r - np.array([1.0, 3.0])[near], "norm", (0, 0.05)).pvalue > 1e-3
    assert stats.kstest(np.arctan2(x[:, 1], x[:, 0]), "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3


@pytest.mark.parametrize(
    "make",
    [
        lambda: toys.gaussian(0),
        lambda: toys.gaussian(2, std=-1.0),
        lambda: toys.swiss_roll(noise=-1.0),
        lambda: toys.swiss_roll(scale=0.0),
        lambda: toys.two_gaussians(np.inf),
        lambda: toys.two_gaussians(std=0.0),
        lambda: toys.eight_gaussians(variance=0.0),
        lambda: toys.eight_gaussians(radius=-1.0),
        lambda: toys.moons(noise=np.nan),
        lambda: toys.s_curve(scale=-1.0),
        lambda: toys.checkerboard(half_width=0.0),
        lambda: toys.rings(radii=()),
        lambda: toys.rings(radii=(0.0,)),
    ],
)
def test_bad_toys(make):
    with pytest.raises(ValueError, match=r"must (be|hold)"):
        make()
