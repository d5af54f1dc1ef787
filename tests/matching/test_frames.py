"""The chain in frames of its plates: the closed form of its velocity's parts, and that P is still carried to Q."""

import chain_reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from efm_jax.matching import _frames, c2fm

GAP = 1.5


def whitened(rng, n, dim):
    """Samples of mean 0 and covariance I, on which frames change nothing."""
    x = rng.standard_exponential((n, dim))
    x -= x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / n)
    return x @ (vectors / np.sqrt(values)) @ vectors.T


def kernels(z, time):
    """`stay` and `leave` of the slab (0, 1), by images for short times and by waves for long ones, in float64."""
    k = np.arange(-8, 9)[:, None]
    images = np.exp(-((z - 2 * k) ** 2) / (2 * time)) / np.sqrt(2 * np.pi * time)
    m = np.arange(1, 40)[:, None]
    waves = np.exp(-((np.pi * m) ** 2) * time / 2)
    stay = np.where(time < 0.6, images.sum(0), 0.5 + (np.cos(np.pi * m * z) * waves).sum(0))
    by_images = ((z - 2 * k) / time * images).sum(0)
    leave = np.where(time < 0.6, by_images, (np.pi * m * np.sin(np.pi * m * z) * waves).sum(0))
    return stay, leave


def parts(p, x, y, gap):
    """The chain's velocity without the slow part, its slow part, and E_z, by quadrature over exit times in float64."""
    dim, (nodes, step) = x.shape[1], np.linspace(np.log(1e-5), 40.0, 8000, retstep=True)
    time, tau = np.exp(nodes), 2 / np.pi**2
    fast, slow, up = np.zeros_like(p[:, :-1]), np.zeros_like(p[:, :-1]), np.zeros(len(p))
    for k, point in enumerate(p / gap):
        for side, z, sign in ((x, point[-1], 1), (y, 1 - point[-1], -1)):
            stay, leave = kernels(z, time)
            for away in point[:-1] - side / gap:
                spread = (
                    np.exp(-(away @ away) / (2 * time)) * (2 * np.pi * time) ** (-dim / 2) * time * step / 2
                )
                share = 1 / len(side)
                late = special.gammainc(dim / 2, away @ away / (2 * tau))
                mode = (
                    away
                    * late
                    / (away @ away) ** (dim / 2)
                    * special.gamma(dim / 2)
                    / (2 * np.pi ** (dim / 2))
                )
                slow[k] += sign * share * mode / 2
                # without the blurred mode: that of times beyond tau, under whose integral stay is 1/2
                fast[k] += sign * share * away * ((spread / time * stay).sum() - late_part(away, tau, dim))
                up[k] += share * (spread * leave).sum()
    return fast / up[:, None], slow / up[:, None], up


def late_part(away, tau, dim):
    """`1/2 int_tau dT (2 pi T)^-D/2 exp(-r^2 / 2T) / 2T` by its own quadrature."""
    s = np.linspace(np.log(tau), np.log(tau) + 40, 20_001)
    value = np.exp(-(away @ away) / (2 * np.exp(s))) * (2 * np.pi * np.exp(s)) ** (-dim / 2)
    return 0.25 * np.trapezoid(value, s)


@pytest.fixture(
    scope="module",
    params=[2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)],
)
def scene(request):
    dim, rng = request.param, np.random.default_rng(request.param)
    x, y = whitened(rng, 5, dim), whitened(rng, 6, dim)
    p = np.c_[1.5 * rng.normal(size=(12, dim)), rng.uniform(0.1, GAP - 0.1, 12)]
    p[:2, :-1] = x[:2] + 1e-3  # over a charge
    p = p.astype(np.float32).astype(np.float64)

    def law(key, x_pos, x_neg, gap, k):
        return jnp.asarray(p, jnp.float32)

    def taught(**options):
        recipe = c2fm(GAP, frame="whitened", points=law, num_points=12, tolerance=1e-6, reach=20.0, **options)
        batch = recipe.draw(jax.random.key(0), jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
        return np.asarray(batch.target, np.float64)[:, :-1]

    return p, taught, parts(p, x, y, GAP), (x, y)


def test_the_quadrature_is_the_sum_over_images(scene):
    p, _, (fast, slow, _), (x, y) = scene
    dim, total = x.shape[1], np.zeros_like(p)
    for side, z, sign in ((x, 0.0, 1.0), (y, GAP, -1.0)):
        away = p[:, None, :-1] - side
        rho = np.linalg.norm(away, axis=-1)
        e_rho, e_z = chain_reference.by_images(rho, p[:, None, -1] - z, GAP, dim)
        total[:, :-1] += sign * (e_rho[..., None] * away / rho[..., None]).mean(1)
        total[:, -1] += sign * e_z.mean(1)
    # both in float64, the image sum's own tail is good to 1e-9 of a charge's field, ten times E_z at the farthest point
    np.testing.assert_allclose(fast + slow, total[:, :-1] / total[:, -1:], rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_the_target_is_the_bounded_part_and_the_slow_part_cut(scene):
    p, taught, (fast, slow, _), _ = scene
    # float32 sums err by 1e-6 of a plate's part, the truncated chain by 1e-6 of a charge's, both over E_z
    size = 1 + np.linalg.norm(fast, axis=1, keepdims=True) + np.linalg.norm(slow, axis=1, keepdims=True)
    assert (np.abs(taught(target="robust", cut=1e-9) - fast) < 2e-4 * size**2).all()
    assert (np.abs(taught(target="velocity") - fast - slow) < 2e-4 * size**2).all()
    x = np.linalg.norm(slow, axis=1) * p[:, -1] * (GAP - p[:, -1]) / GAP
    half = taught(target="robust", cut=0.02) - fast
    cut = np.linalg.norm(half, axis=1) * p[:, -1] * (GAP - p[:, -1]) / GAP
    most = 0.25 * 0.02 * np.sqrt(2 * p[:, :-1].shape[1] + p[:, :-1].shape[1] * GAP**2 / 4)
    assert (np.abs(cut - np.minimum(x, most)) < 2e-4 * size[:, 0] ** 2).all()
    assert (x > most).sum() >= 2


def test_the_bounded_part_is_bounded_where_the_velocity_explodes():
    """At 2 to 8 gaps from charges whose dipole is large, and over single charges."""
    x, y = np.array([[-1.0, 0.0], [0.0, 0.5]]), np.array([[1.0, 0.0], [1.5, -0.5]])
    out = np.array([[r * GAP, 0.3, h * GAP] for r in (2, 4, 8) for h in (0.1, 0.5, 0.9)])
    over = np.array([[*(x[0] + 10.0**-k), 0.5 * GAP] for k in (2, 4)])
    p = np.r_[out, over]
    fast, slow, _ = parts(p, x, y, GAP)
    away = np.linalg.norm(p[:, None, :-1] - np.r_[x, y], axis=-1).max(1)
    near = np.minimum(p[:, -1], GAP - p[:, -1])
    assert (np.linalg.norm(fast, axis=1) < 2 * away / near).all()
    assert np.linalg.norm(slow[6:9], axis=1).min() > 1e5
    assert np.linalg.norm(slow[:9], axis=1).max() > 1e7


@pytest.mark.slow
def test_frames_carry_each_plate_to_itself_and_the_velocity_is_that_of_the_moving_points():
    """Points near a plate lie about its own samples; far up the exact map of Gaussians is a straight line."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 2)).astype(np.float32)
    x, y = x * np.float32([3, 0.5]) + np.float32([5, 0]), y * np.float32([0.5, 2]) - np.float32([0, 7])
    recipe = c2fm(4.0, target="robust", frame="whitened", num_points=4000)
    batch = jax.jit(recipe.draw)(jax.random.key(0), x, y)
    p = np.asarray(batch.points)
    for side, h in ((x, p[:, -1]), (y, 4.0 - p[:, -1])):
        near = p[h < 0.02, :-1]
        assert len(near) > 200
        # by the median and the quartiles: a share z / L comes from the other plate. 200 points: a tenth of the spread
        for d in range(2):
            mine, theirs = (np.quantile(s[:, d], [0.25, 0.5, 0.75]) for s in (near, side))
            assert (np.abs(mine - theirs) < 0.35 * side[:, d].std()).all()


@pytest.mark.slow
@pytest.mark.parametrize("frame", ["rms", "whitened"])
def test_the_mean_of_the_velocity_is_that_of_the_means(frame):
    """d/dz of the mean of p_z, by the continuity equation: the integral of p v, for every minibatch."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 64, 2)).astype(np.float32)
    x, y = x + np.float32([4, 0]), 2 * y - np.float32([0, 6])

    recipe = c2fm(3.0, target="velocity", frame=frame, num_points=20_000, reach=20.0)
    batch = jax.jit(recipe.draw)(jax.random.key(2), x, y)
    middle = np.abs(np.asarray(batch.points)[:, -1] / 3.0 - 0.5) < 0.1
    v = np.asarray(batch.target)[middle, :-1]
    rate = (y.mean(0) - x.mean(0)) / 3.0
    # means of frames are 0 at every height, so the mean moves at a constant rate
    assert (np.abs(v.mean(0) - rate) < 5 * v.std(0) / np.sqrt(len(v))).all()


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="frame must be one of 'rms', 'whitened', got 'pca'"):
        c2fm(1.0, target="robust", frame="pca")
    with pytest.raises(ValueError, match="frame='rms' is for velocities of the chain of each minibatch"):
        c2fm(1.0, target="direction", frame="rms")


@pytest.mark.parametrize("frame", ["rms", "whitened"])
def test_both_frames_have_the_geometric_mean_of_the_spreads_as_unit(frame):
    rng = np.random.default_rng(0)
    x, y = 4.0 + 0.5 * rng.normal(size=(8, 2)), 9.0 * rng.normal(size=(10, 2))
    plates = _frames.in_frames(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), frame)
    unit = np.sqrt(np.sqrt(x.var(0).mean() * y.var(0).mean()))
    for plate, side in zip(plates, (x, y), strict=True):
        np.testing.assert_allclose(np.sqrt(np.square(plate.charges).mean()), unit, rtol=1e-5)
        np.testing.assert_allclose(plate.outside(plate.charges), side, rtol=1e-4, atol=1e-4)
