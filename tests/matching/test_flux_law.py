"""The flux density: draws of `points.flux` against E_z of the charges, computed here in float64 by sums of images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from efm_jax.matching import c2fm, efm, points

GAP = 4.0
N = 40_000
# A p-value below this comes up once in 10^4 seeds when the law is right; seeds are fixed.
P = 1e-4


def draw_at(kind, z, x_pos, x_neg, *, gap=GAP, n=N, seed=0, monkeypatch):
    """Draws of x at one height: the law of the heights is replaced by that height."""
    monkeypatch.setattr(points, "heights", lambda key, gap, k, height: jnp.full(k, z, jnp.float32))
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


# Unbiasedness. All of the "data" are four charges a plate; a minibatch is one of each, or two.
DATA = np.array([-2.0, -1.0, 0.3, 1.2]), np.array([-1.5, 0.5, 2.0, 2.5])
WEIGHTS = np.array([0.2, -0.3, 0.5, 0.1, 0.4, -0.2])


def features(x, z, xp):
    u = z / GAP
    near, far = xp.exp(-(x**2) / 4), xp.exp(-((x - 2) ** 2) / 2)
    return xp.stack([xp.ones_like(x), xp.tanh(x / 2), near, u + 0 * x, u * xp.tanh(x / 2), far], -1)


def whole_gradient(kind):
    """Gradient of the loss with f linear in features and the field of all charges, by quadrature.

    With `p = c E_z` it is `2 / (D + 1) int int w(z)^2 features (p f - c E_x)`; at D = 1 the field is one complex function.
    """
    s_max = np.log(1e4 - 1)
    node, weight = np.polynomial.legendre.leggauss(48)
    total = 0.0
    for s, share in zip(s_max * node, weight / 2, strict=True):
        z = GAP / (1 + np.exp(-s))
        away = np.geomspace(0.01 * min(z, GAP - z), 1e6, 1000)
        x = np.unique(np.concatenate([c + side * away for c in np.concatenate(DATA) for side in (-1, 1)]))
        above, below = ((x[:, None] - c) + 1j * h for c, h in zip(DATA, (z, z - GAP), strict=True))
        if kind == "chain":
            field = (1 / np.tanh(np.pi * above / (2 * GAP))).mean(1) - (
                1 / np.tanh(np.pi * below / (2 * GAP))
            ).mean(1)
            field = field / (2 * GAP)  # twice the field: p = 2 E_z
        else:
            field = ((1 / above).mean(1) - (1 / below).mean(1)) / (2 * np.pi)
        phi = features(x, z, np)
        inner = phi * (-field.imag * (phi @ WEIGHTS) - field.real)[:, None]
        total = total + share * (4 * z * (GAP - z) / GAP**2) ** 2 * np.trapezoid(inner, x, axis=0)
    return total


def minibatch_gradients(recipe, size, number, seed=0):
    """Gradients of the training loss with minibatches of `size` charges a plate, [number, features]."""

    def one(key):
        key_p, key_n, key_draw = jax.random.split(key, 3)
        p, n = (jnp.asarray(d, jnp.float32) for d in DATA)
        p, n = (jax.random.permutation(k, x)[:size, None] for k, x in ((key_p, p), (key_n, n)))
        batch = recipe.draw(key_draw, p, n)
        phi = features(*batch.points.T, jnp)
        miss = phi @ jnp.asarray(WEIGHTS, jnp.float32) - batch.target[:, 0]
        return ((batch.weight * miss)[:, None] * phi).mean(0)

    keys = jax.random.split(jax.random.key(seed), (number // 100, 100))
    return np.concatenate(jax.lax.map(jax.vmap(one), keys)).astype(np.float64)


def apart(gradients, truth):
    """Distance of the mean from the truth in standard errors, per feature, and the largest of these beside the truth."""
    error = gradients.std(0) / np.sqrt(len(gradients))
    return np.abs(gradients.mean(0) - truth) / error, error.max() / np.abs(truth).max()


@pytest.mark.parametrize(
    ("kind", "size", "number"),
    [
        pytest.param("chain", 1, 3_000, marks=pytest.mark.slow),
        pytest.param("chain", 1, 20_000, marks=pytest.mark.slow),
        pytest.param("chain", 2, 20_000, marks=pytest.mark.slow),
        pytest.param("two_plates", 1, 20_000, marks=pytest.mark.slow),
        pytest.param("two_plates", 2, 20_000, marks=pytest.mark.slow),
    ],
)
def test_velocities_at_flux_points_give_the_gradient_of_the_whole_field(kind, size, number):
    law = points.flux(kind, height="logit")
    recipe = {"chain": c2fm, "two_plates": efm}[kind](GAP, target="velocity", points=law, num_points=64)
    distance, relative = apart(minibatch_gradients(recipe, size, number), whole_gradient(kind))
    # six features: a distance above 4 comes up once in 2,600 seeds
    assert distance.max() < 4
    # the standard error is small enough for a factor or a sign to show
    assert relative < 0.1 * (2_000 / number) ** 0.5


@pytest.mark.slow
def test_directions_on_segments_do_not():
    recipe = efm(GAP, points=points.segment(), num_points=64)
    # the same points, the same loss: only the field is that of all the charges
    whole = minibatch_gradients(recipe, 4, 20_000, seed=1)
    distance, _ = apart(minibatch_gradients(recipe, 1, 20_000), whole.mean(0))
    assert distance.max() > 20


def test_the_second_moment_grows_as_stated():
    from experiments.flux_density.run import rms_on_the_line

    # int E_x^2 / E_z ~ e^(pi a / 2L); the next term is smaller by e^(-pi a / 2L)
    moment = [(a * rms_on_the_line(a)) ** 2 for a in (10.0, 12.0)]
    assert moment[1] / moment[0] == pytest.approx(np.exp(np.pi), rel=2e-3)
    recipe = c2fm(1.0, target="velocity", num_points=40_000, reach=12.0, tolerance=1e-4)
    _, v, weight = jax.jit(recipe.draw)(jax.random.key(0), jnp.zeros((1, 1)), jnp.ones((1, 1)))
    square = np.asarray(weight * (0.25 * v[:, 0]) ** 2, np.float64)
    # a = L: bounded, five standard errors
    assert abs(square.mean() - rms_on_the_line(1.0) ** 2) < 5 * square.std() / np.sqrt(len(square))
