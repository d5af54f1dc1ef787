"""The flux density: draws of `points.flux` against E_z of the charges, computed here in float64 by sums of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from efm_jax import points

GAP = 4.0
N = 40_000
# A p-value below this comes up once in 10^4 seeds when the law is right; seeds are fixed.
P = 1e-4


def draw_at(kind, z, x_pos, x_neg, *, gap=GAP, n=N, seed=0, monkeypatch):
    """Draws of x at one height: the law of the heights is replaced by that height."""
    monkeypatch.setattr(points, "heights", lambda key, gap, k, law: jnp.full(k, z, jnp.float32))
    law = points.flux(kind)
    p = law(jax.random.key(seed), jnp.asarray(x_pos, jnp.float32), jnp.asarray(x_neg, jnp.float32), gap, n)
    assert (p[:, -1] == np.float32(z)).all()
    return np.asarray(p[:, :-1], np.float64)


def kernel(kind, rho2, z, gap, dim, images=400):
    """Density round one charge at lateral distance rho and height z above its plate, up to 1 / (area of the sphere).

    A plate's charge and its images, all of one sign, at even multiples of the gap; k and -k are added in pairs, whose sum
    falls like k^-(dim + 1); those left out are summed as an integral.
    """
    scale = np.maximum(rho2 + z * z, 1e-300)
    total = z * np.ones_like(rho2)
    for k in range(1, images + 1 if kind == "chain" else 1):
        for height in (z - 2 * k * gap, z + 2 * k * gap):
            total = total + height * ((rho2 + height**2) / scale) ** (-(dim + 1) / 2)
    if kind == "chain":
        rest = 2 * z * (2 * gap) ** -(dim + 1) * (images + 0.5) ** -dim
        total = total - rest * scale ** ((dim + 1) / 2)
    factor = 2.0 if kind == "chain" else 1.0
    return factor * total * scale ** (-(dim + 1) / 2)


def density(kind, x, z, x_pos, x_neg, gap=GAP):
    """p(x | z) = 2 E_z (chain) or E_z (two plates), [...] for x [..., D]."""
    dim = x.shape[-1]
    area = {1: 2 * np.pi, 2: 4 * np.pi}[dim]
    total = 0.0
    for charges, height in ((x_pos, z), (x_neg, gap - z)):
        rho2 = ((x[..., None, :] - np.asarray(charges, np.float64)) ** 2).sum(-1)
        total = total + kernel(kind, rho2, height, gap, dim).mean(-1)
    return total / area


def chi_square(counts, share):
    """p-value of counts beside shares; cells with fewer than ten expected draws are put together."""
    expected = counts.sum() * share
    small = expected < 10
    counts = np.r_[counts[~small], counts[small].sum()]
    expected = np.r_[expected[~small], expected[small].sum()]
    return stats.chi2.sf(((counts - expected) ** 2 / np.maximum(expected, 1)).sum(), len(counts) - 1)


LINE = np.array([[-3.0], [-2.5], [0.0]]), np.array([[1.0], [4.0]])
PLANE = np.array([[-3.0, 0.0], [0.0, 1.0], [0.5, 1.5]]), np.array([[3.0, -2.0], [2.0, 2.0]])


@pytest.mark.parametrize("kind", ["chain", "two_plates"])
@pytest.mark.parametrize("z", [0.3, 2.0, 3.4])
def test_draws_on_the_line_fill_its_cells_like_the_field(kind, z, monkeypatch):
    x = draw_at(kind, z, *LINE, monkeypatch=monkeypatch)[:, 0]
    edges = np.linspace(-9.0, 9.0, 61)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    half = (edges[1] - edges[0]) / 2
    where = (edges[:-1] + half)[:, None] + half * nodes
    share = half * (density(kind, where[..., None], z, *LINE) * weights).sum(1)
    share = np.r_[share, 1 - share.sum()]
    counts = np.r_[np.histogram(x, edges)[0], ((x < -9) | (x > 9)).sum()]
    assert chi_square(counts, share) > P


@pytest.mark.parametrize("z", [0.3, 2.0, 3.4])
def test_draws_on_the_line_follow_the_stream_function(z, monkeypatch):
    x = draw_at("chain", z, *LINE, monkeypatch=monkeypatch, seed=1)[:, 0]
    b = np.pi * float(np.float32(z)) / (2 * GAP)

    def flux_to_the_left(x):
        # E_x - i E_z = (1/4L) (mean coth(w - w_i) - mean tanh(w - w_j)), w = pi (x + iz) / 2L: arguments of sinh and cosh
        a = np.pi * (np.asarray(x)[:, None] - LINE[0][:, 0]) / (2 * GAP)
        c = np.pi * (np.asarray(x)[:, None] - LINE[1][:, 0]) / (2 * GAP)
        plus = np.pi - b - np.arctan2(np.sin(b), np.tanh(a) * np.cos(b))
        minus = np.arctan2(np.tanh(c) * np.sin(b), np.cos(b)) + b
        return (plus.mean(1) + minus.mean(1)) / np.pi

    assert flux_to_the_left([1e3]) == pytest.approx(1.0, abs=1e-12)
    assert stats.kstest(x, flux_to_the_left).pvalue > P


@pytest.mark.parametrize("kind", ["chain", "two_plates"])
@pytest.mark.parametrize("z", [0.4, 1.6, 3.2])
def test_draws_in_the_plane_fill_its_cells_like_the_field(kind, z, monkeypatch):
    x = draw_at(kind, z, *PLANE, monkeypatch=monkeypatch)
    edges = np.linspace(-6.0, 6.0, 17)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    half = (edges[1] - edges[0]) / 2
    line = ((edges[:-1] + half)[:, None] + half * nodes).ravel()
    where = np.stack(np.meshgrid(line, line, indexing="ij"), -1)
    value = density(kind, where, z, *PLANE) * np.outer(np.tile(weights, 16), np.tile(weights, 16))
    share = half**2 * value.reshape(16, 6, 16, 6).sum((1, 3)).ravel()
    counts = np.histogram2d(*x.T, [edges, edges])[0].ravel()
    outside = len(x) - counts.sum()
    assert chi_square(np.r_[counts, outside], np.r_[share, 1 - share.sum()]) > P


@pytest.mark.parametrize("z", [0.5, 2.0])
def test_the_radius_in_784_dimensions(z, monkeypatch):
    dim, n = 784, 4000
    # so far away that no draw of one plate is taken for one of the other
    x_pos, x_neg = np.zeros((1, dim)), np.full((1, dim), 1e3)
    x = draw_at("two_plates", z, x_pos, x_neg, n=n, monkeypatch=monkeypatch)
    of_p = x.mean(1) < 500  # a Cauchy draw has one scale for all dimensions, so that its mean stays small
    assert stats.binomtest(int(of_p.sum()), n, 0.5).pvalue > P
    r2 = (x[of_p] ** 2).sum(1)
    assert stats.kstest(r2 / (dim * z * z), stats.f(dim, 1).cdf).pvalue > P

    x = draw_at("chain", z, x_pos, x_neg, n=n, monkeypatch=monkeypatch)
    of_p = x.mean(1) < 500
    assert stats.binomtest(int(of_p.sum()), n, 1 - z / GAP).pvalue > P
    r = np.sqrt((x[of_p] ** 2).sum(1))
    # r^(D-1) E_z(r), with r in logs; twelve gaps per dimension hold all but e^-70 of it
    grid = np.exp(np.linspace(np.log(0.02 * z * np.sqrt(dim)), np.log(12 * GAP * np.sqrt(dim)), 40_000))
    ratio = kernel_over_first(grid, z, dim)
    log_density = dim * np.log(grid) - 0.5 * (dim + 1) * np.log(grid**2 + z * z) + np.log(ratio)
    value = np.exp(log_density - log_density.max())
    law = np.cumsum(value) / value.sum()
    assert stats.kstest(r, lambda r: np.interp(r, grid, law)).pvalue > P


def kernel_over_first(r, z, dim):
    """Sum of the images beside the charge itself; below 1e-12 the float64 sum is only noise and counts as 0."""
    total = np.ones_like(r)
    for k in range(1, 60):
        for height in (z - 2 * k * GAP, z + 2 * k * GAP):
            total = total + height / z * ((r**2 + height**2) / (r**2 + z * z)) ** (-(dim + 1) / 2)
    return np.maximum(total, 1e-12)
