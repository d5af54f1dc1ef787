"""Poisson flow: a field of Coulomb's law in more dimensions, points and prior of its density, lines that end on the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coulomb as reference_coulomb
from scipy import stats

from efm_jax import fields, networks, sampling, training
from efm_jax.charges.plates import Charges
from efm_jax.lines import fixed, trace
from efm_jax.matching import denoising_network, flow_network, pfgm
from efm_jax.types import Network

# A p-value below this comes up once in 10^4 seeds when the law is right; seeds are fixed.
P = 1e-4


def normal(seed, n, dim, place=0.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, dim)) + place, jnp.float32)


def draw(recipe, x, *, n=None, seed=0):
    """A batch with as many points as rows of P, float64."""
    batch = jax.jit(recipe.draw)(jax.random.key(seed), jnp.zeros((n or len(x), x.shape[1])), jnp.asarray(x))
    return [np.asarray(part, np.float64) for part in batch]


def lifted(x, num_extra):
    """Samples with K heights of 0: charges in D + K dimensions, where Coulomb's law is the ordinary one."""
    return jnp.concatenate([x, jnp.zeros((len(x), num_extra), x.dtype)], axis=1)


# the target ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dim", "num_extra", "gamma"), [(3, 1, 0.0), (3, 8, 0.1), (3, 128, 5.0), (784, 1, 5.0), (784, 128, 0.0)]
)
def test_directions_are_those_of_coulomb_s_law_in_more_dimensions(dim, num_extra, gamma):
    x = normal(0, 40, dim, place=1.0)
    p, value, weight = draw(pfgm(gamma=gamma, num_extra=num_extra), x, n=60)
    charge = np.full(40, 1 / 40)
    there = np.c_[p, np.zeros((60, num_extra - 1))]
    exact = reference_coulomb(there, lifted(x, num_extra), charge, "per_plate", gamma)
    wanted = (exact.direction * np.exp(exact.log_magnitude)[:, None])[:, : dim + 1]
    wanted *= np.sqrt((dim + 1) / (dim + num_extra))
    # float32 distances to 1e-7, whose powers D + K are the weights, and the point itself to 1e-7 of its place, which
    # next to a charge is 1e-5 or so of the way from it
    slack = 1e-5 + 3e-7 * (dim + num_extra)
    error = np.linalg.norm(value - wanted, axis=1) / np.sqrt(dim + 1)
    assert np.quantile(error, 0.9) < slack
    assert error.max() < 10 * slack
    assert (value[:, -1] > 0).all()
    assert (weight == 1).all()


@pytest.mark.parametrize("far", [1e19, 1e25, 1e30])
@pytest.mark.parametrize("options", [{"num_extra": 1}, {"num_extra": 8, "target": "velocity"}])
def test_targets_hold_where_squares_overflow(far, options):
    x = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
    x[0] = far
    recipe = pfgm(gamma=0.0, **options)
    p, value, _ = draw(recipe, x, n=64)
    there = np.c_[p, np.zeros((64, options["num_extra"] - 1))]
    exact = reference_coulomb(
        there, lifted(jnp.asarray(x), options["num_extra"]), np.full(8, 1 / 8)
    ).direction[:, :3]
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = value / np.linalg.norm(value, axis=1, keepdims=True)
    assert (np.abs(p) > 0.5 * far).any()
    # float32 distances, and next to a charge a place known to 1e-4 of the way from it
    np.testing.assert_allclose(found, exact, atol=1e-3)


def posterior(x, z, data, num_extra):
    """The law of the charge that a point of p_z came from, D = 1, [..., n]: from the t-densities of all charges."""
    scale = z / np.sqrt(num_extra)
    log_p = stats.t.logpdf(x[..., None] - data, num_extra, scale=scale[..., None])
    p = np.exp(log_p - log_p.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("num_extra", [3, 8])
def test_velocities_are_the_mean_of_single_charge_velocities(num_extra):
    data = np.array([-2.0, -0.5, 0.0, 3.0])
    p, value, weight = draw(
        pfgm(target="velocity", num_extra=num_extra), jnp.asarray(data[:, None], jnp.float32), n=4000
    )
    x, z = p.T
    wanted = (posterior(x, z, data, num_extra) * (x[:, None] - data)).sum(1) / z
    # next to a charge at 3 float32 knows x - x_i to 2e-7, which is divided by z; else 1e-5 of the value
    assert (np.abs(value[:, 0] - wanted) < 4e-7 / z + 1e-5 * (1 + np.abs(wanted))).all()
    assert (value[:, 1] == 1).all()
    assert (weight == 1).all()


# points and starts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "num_extra"), [(1, 1), (2, 1), (2, 8), (784, 1), (784, 128)])
def test_lines_start_from_the_hemisphere(dim, num_extra):
    start = jax.jit(pfgm(40.0, num_extra=num_extra).start, static_argnums=2)
    p = np.asarray(start(jax.random.key(0), jnp.full((4000, dim), 7.0), False), np.float64)
    assert (p[:, -1] == 40.0).all()
    x = p[:, :-1]
    share = (x**2).sum(1) / ((x**2).sum(1) + 1600.0)
    assert stats.kstest(share, stats.beta(dim / 2, num_extra / 2).cdf).pvalue > P
    # any direction alike: one coordinate of a unit vector
    if dim > 1:
        one = x[:, 0] / np.linalg.norm(x, axis=1)
        assert stats.kstest(0.5 * (1 + one), stats.beta((dim - 1) / 2, (dim - 1) / 2).cdf).pvalue > P
    other = start(jax.random.key(1), jnp.zeros((4000, dim)), False)
    assert not (np.asarray(other)[:, 0] == p[:, 0]).any()


def test_in_reverse_lines_start_from_the_samples():
    recipe = pfgm(40.0, eps=0.01)
    x = normal(0, 5, 3)
    p = recipe.start(jax.random.key(0), x, True)
    assert (p[:, :-1] == x).all()
    assert (p[:, -1] == np.float32(0.01)).all()
    assert recipe.span == (40.0, 0.01)


@pytest.mark.parametrize(("dim", "num_extra"), [(1, 3), (3, 1), (3, 128)])
def test_points_of_the_flux_are_log_uniform_in_height_and_t_around_a_charge(dim, num_extra):
    data = jnp.full((1, dim), -2.0)
    p, _, _ = draw(pfgm(20.0, num_extra=num_extra, points="flux", eps=0.1), data, n=10_000)
    z = p[:, -1]
    assert stats.kstest(np.log(z / 0.1) / np.log(200.0), "uniform").pvalue > P
    ratio = ((p[:, :-1] + 2.0) ** 2).sum(1) / z**2
    assert stats.kstest(ratio * num_extra / dim, stats.f(dim, num_extra).cdf).pvalue > P
    # and the one tells nothing of the other
    assert stats.spearmanr(z, ratio).pvalue > P


def test_perturbed_points_have_the_scales_of_the_paper():
    data = jnp.full((1, 3), -2.0)
    p, _, _ = draw(pfgm(sigma=0.02, tau=0.05, most=100.0), data, n=20_000)
    z = p[:, -1]
    scales = 0.02 * 1.05 ** (100.0 * (np.arange(200) + 0.5) / 200)  # errs by 1e-5: 20,000 draws tell 1e-2

    def law(z):
        return stats.halfnorm.cdf(z[:, None] / scales).mean(1)

    assert stats.kstest(z, law).pvalue > P
    # x and z are normal with one scale
    assert stats.kstest(((p[:, :3] + 2.0) ** 2).sum(1) / (3 * z**2), stats.f(3, 1).cdf).pvalue > P
    # defaults: up to 0.01 * 1.03^291 = 54
    default, _, _ = draw(pfgm(), data, n=20_000)
    assert np.quantile(default[:, -1], 0.999) == pytest.approx(54.4 * 1.96, rel=0.2)
    assert default[:, -1].min() > 0


@pytest.mark.parametrize("points", ["perturbed", "flux"])
def test_every_sample_has_its_points(points):
    data = jnp.asarray([[-1e4], [0.0], [1e4], [2e4]])
    p, _, _ = draw(pfgm(1.0, num_extra=3, points=points, most=100.0), data, n=10_000)
    near = np.abs(p[:, :1] - np.asarray(data)[:, 0]).argmin(1)
    assert stats.chisquare(np.bincount(near)).pvalue > P


# the gradient is that of the whole field ----------------------------------------------------------------------------

DATA = np.array([-2.0, -1.0, 0.3, 1.2])
WEIGHTS = np.array([0.2, -0.3, 0.5, 0.1, 0.4, -0.2])
K, EPS, Z_MAX = 3, 0.05, 20.0


def features(x, z, xp):
    u = xp.log(z)
    near, far = xp.exp(-(x**2) / 4), xp.exp(-((x - 2) ** 2) / 2)
    return xp.stack([xp.ones_like(x), xp.tanh(x / 2), near, u + 0 * x, u * xp.tanh(x / 2), far], -1)


def whole_gradient():
    """`int d log z int dx p_z features (f - E_x / E_z)` of all data by quadrature, f linear in the features."""
    node, share = np.polynomial.legendre.leggauss(40)
    z = EPS * (Z_MAX / EPS) ** (0.5 * (1 + node))
    total = 0.0
    for height, s in zip(z, share / 2, strict=True):
        away = np.geomspace(1e-3 * height, 1e5, 1000)
        x = np.unique(np.concatenate([DATA, *(c + side * away for c in DATA for side in (-1, 1))]))
        p = stats.t.pdf(x[:, None] - DATA, K, scale=height / np.sqrt(K)).mean(1)
        mean = (posterior(x, np.full_like(x, height), DATA, K) * (x[:, None] - DATA)).sum(1)
        phi = features(x, np.full_like(x, height), np)
        total = total + s * np.trapezoid(phi * (p * (phi @ WEIGHTS - mean / height))[:, None], x, axis=0)
    return total


@pytest.mark.parametrize("size", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_velocities_of_minibatches_give_the_gradient_of_the_whole_field(size):
    recipe = pfgm(Z_MAX, target="velocity", num_extra=K, eps=EPS, num_points=64)

    def one(key):
        key_data, key_draw = jax.random.split(key)
        x = jax.random.permutation(key_data, jnp.asarray(DATA, jnp.float32))[:size, None]
        batch = recipe.draw(key_draw, x, x)
        phi = features(*batch.points.T, jnp)
        return ((phi @ jnp.asarray(WEIGHTS, jnp.float32) - batch.target[:, 0])[:, None] * phi).mean(0)

    keys = jax.random.split(jax.random.key(size), (100, 100))
    gradients = np.concatenate(jax.jit(lambda k: jax.lax.map(jax.vmap(one), k))(keys)).astype(np.float64)
    truth = whole_gradient()
    error = gradients.std(0) / np.sqrt(len(gradients))
    # six features: a distance above 4 standard errors comes up once in 2,600 seeds
    assert (np.abs(gradients.mean(0) - truth) < 4 * error).all()
    # and these are small enough for a factor or a sign to show
    assert error.max() < 0.03 * np.abs(truth).max()


# lines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_extra", [pytest.param(1, marks=pytest.mark.slow), 8])
def test_exact_lines_carry_the_hemisphere_to_the_data_and_back(num_extra):
    angle = np.arange(12) * np.pi / 6
    data = jnp.asarray(
        3.0 * np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + np.arange(12) % 2)[:, None], jnp.float32
    )
    recipe = pfgm(200.0, num_extra=num_extra, eps=1e-2)
    coulomb = fields.field_fn(Charges(lifted(data, num_extra), jnp.full(12, 1 / 12)))

    def field(p):
        return coulomb(lifted(p, num_extra - 1))[:, :3]

    n = 1200
    start = recipe.start(jax.random.key(0), jnp.zeros((n, 2)), False)
    down = trace(field, start, recipe.span[1], stepping=fixed("midpoint", 80, clock="log"))
    assert down.arrived.all()
    end = np.asarray(down.end)[:, :2]
    distance = np.linalg.norm(end[:, None] - np.asarray(data), axis=2)
    # nearly all lines end at a charge as narrowly as at that height, the law of whose distance has K degrees of freedom
    wanted = stats.f(2, num_extra).cdf((0.5 / 0.01) ** 2 * num_extra / 2)
    assert (distance.min(1) < 0.5).mean() > wanted - 0.02
    # at equal shares: 11 degrees of freedom; the prior is that of a charge in the middle, and wrong by (6 / 200)^2
    assert stats.chisquare(np.bincount(distance.argmin(1), minlength=12)).pvalue > P
    back = trace(field, down.end, recipe.span[0], stepping=fixed("midpoint", 80, clock="log"))
    # what the midpoint rule misses next to a charge grows with the height, like everything there
    miss = np.linalg.norm(np.asarray(back.end - start)[:, :2], axis=1) / np.linalg.norm(start, axis=1)
    assert np.median(miss) < 0.02


def test_transport_runs_from_the_hemisphere_to_eps_and_back():
    recipe = pfgm(40.0, target="velocity", num_extra=8, eps=1e-3)
    network = flow_network(networks.mlp(2, gap=40.0, height="log", width=8, depth=1))
    state = training.init_state(jax.random.key(0), network, training.adam())
    x = normal(0, 6, 2)
    key = jax.random.key(3)
    go = {"stepping": fixed(steps=4, clock="log"), "save": 5}
    down = sampling.transport(state, recipe, network, x, key=key, **go)
    up = sampling.transport(state, recipe, network, x, reverse=True, **go)
    assert down.arrived.all()
    assert up.arrived.all()
    # a new network is the zero field: lines are plumb
    np.testing.assert_array_equal(down.end[:, :2], recipe.start(key, x, False)[:, :2])
    np.testing.assert_array_equal(up.end[:, :2], x)
    for path, first, last in ((down.path, 40.0, 1e-3), (up.path, 1e-3, 40.0)):
        assert (path[0, :, 2] == np.float32(first)).all()
        assert (path[-1, :, 2] == np.float32(last)).all()


def trained(recipe, network, steps):
    """A state trained on N((2, -1), diag(1, 1/4)) with batches of 128."""
    rng = np.random.default_rng(0)
    optimizer = training.adam(5e-3, warmup=10, cosine_steps=steps)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    state = training.init_state(jax.random.key(0), network, optimizer)
    for _ in range(steps):
        x = (rng.normal(size=(128, 2)) * [1.0, 0.5] + [2.0, -1.0]).astype(np.float32)
        state, _ = step(state, x, x)
    return state


@pytest.mark.parametrize("target", ["velocity", pytest.param("direction", marks=pytest.mark.slow)])
def test_learned_lines_carry_noise_to_a_gaussian(target):
    recipe = pfgm(200.0, target=target, num_extra=8, gamma=0.01, eps=0.01)
    network = networks.mlp(2, gap=200.0, height=0.01, scale=2.0, width=32, depth=2)
    if target == "velocity":
        network = flow_network(network)
    state = trained(recipe, network, 400)
    lines = sampling.transport(
        state,
        recipe,
        network,
        np.zeros((1000, 2), np.float32),
        stepping=fixed(steps=30, clock="log"),
        key=jax.random.key(5),
    )
    assert lines.arrived.mean() > 0.99
    end = np.asarray(lines.end)[np.asarray(lines.arrived), :2]
    # a short training errs by up to 0.17 with other seeds; a wrong sign or height by 1 and more
    np.testing.assert_allclose(np.median(end, axis=0), [2.0, -1.0], atol=0.3)
    spread = stats.iqr(end, axis=0) / stats.iqr(stats.norm.ppf(np.linspace(0.001, 0.999, 1001)))
    np.testing.assert_allclose(spread, [1.0, 0.5], atol=0.25)


# the draw (the other demands on every recipe: test_matching.py) ------------------------------------------------------

RECIPES = {
    "direction": pfgm(num_points=24, gamma=0.1),
    "velocity": pfgm(target="velocity", num_extra=8, num_points=24),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_a_draw_is_a_function_of_its_key_and_of_the_data_alone(recipe):
    x_pos, x_neg = normal(0, 16, 3), normal(1, 20, 3)
    jitted = jax.jit(recipe.draw)
    one, moved, other = (
        jitted(jax.random.key(k), x_pos + shift, x_neg) for k, shift in ((3, 0.0), (3, 5.0), (4, 0.0))
    )
    assert one.points.shape == one.target.shape == (24, 4)
    assert one.weight.shape == (24,)
    np.testing.assert_array_equal(one.points, moved.points)
    np.testing.assert_array_equal(one.target, moved.target)
    assert not (one.points == other.points).any(axis=1).any()
    # as many points as rows of P when not told otherwise
    assert jax.eval_shape(pfgm().draw, jax.random.key(0), x_pos, x_neg).weight.shape == (16,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"z_max": 0.0}, "z_max must be a finite number > 0, got 0.0"),
        ({"eps": -1.0}, "eps must be a finite number > 0, got -1.0"),
        ({"z_max": 1.0, "eps": 1.0}, "eps must be below z_max = 1.0, where lines start, got 1.0"),
        ({"gamma": -1.0}, "gamma must be >= 0, got -1.0"),
        ({"gamma": np.nan}, "gamma must be a finite number"),
        ({"target": "slope"}, "'direction', 'velocity', got 'slope'"),
        ({"points": "box"}, "'perturbed', 'flux', got 'box'"),
        ({"num_extra": 0}, "num_extra must be a whole number >= 1, got 0"),
        ({"sigma": 0.0}, "sigma must be a finite number > 0"),
        ({"tau": 0.0}, "tau must be a finite number > 0"),
        ({"most": 0.0}, "most must be a finite number > 0"),
        ({"num_points": 0}, "num_points must be a whole number >= 1, got 0"),
        ({"target": "velocity"}, "num_extra >= 3 and points='flux', got 1 and 'flux'.*num_extra=8"),
        ({"target": "velocity", "num_extra": 8, "points": "perturbed"}, "got 8 and 'perturbed'"),
    ],
)
def test_bad_options_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        pfgm(**options)


def test_samples_of_two_spaces_are_refused():
    with pytest.raises(ValueError, match="same number of dimensions"):
        pfgm().draw(jax.random.key(0), jnp.zeros((4, 2)), jnp.zeros((4, 3)))


def test_a_denoising_network_that_knows_nothing_has_the_lines_of_a_gaussian():
    # data N(0, s^2 I) under noise z / sqrt(K): E[x_i | x] = x s^2 / (s^2 + z^2 / K), and v = (x - E[x_i | x]) / z
    scale, extra = 0.7, 8
    silent = Network(lambda key: jnp.zeros(()), lambda params, points, **_: jnp.zeros_like(points))
    network = denoising_network(silent, num_extra=extra, scale=scale)
    points = jnp.asarray([[1.0, -2.0, 0.01], [3.0, 0.5, 1.0], [40.0, -8.0, 30.0]])
    x, z = np.asarray(points, np.float64)[:, :2], np.asarray(points, np.float64)[:, 2:]
    expected = (x - x * scale**2 / (scale**2 + z**2 / extra)) / z
    found = np.asarray(network.apply(jnp.zeros(()), points))
    np.testing.assert_allclose(found[:, :2], expected, rtol=1e-5)  # some roundings of float32
    assert (found[:, 2] == 1.0).all()
