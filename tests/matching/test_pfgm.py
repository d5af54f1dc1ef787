"""Poisson flow: targets of the exact mean over charges, its density, the prior, and lines that end on the data."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coulomb as reference_coulomb
from scipy import stats
from scipy.special import gammaln, logsumexp

from efm_jax import charges, matching, networks, sampling, training
from efm_jax.fields import directions
from efm_jax.lines import fixed, trace
from efm_jax.matching import cfm, flow_network, tail_network
from efm_jax.matching.by_height import denoising_network, pfgm_by_height
from efm_jax.types import Network

# A p-value below this comes up once in 10^4 seeds when the law is right; seeds are fixed.
P = 1e-4
KINDS = [1, 8, None]
WIDTH = 0.1
pfgm = partial(matching.pfgm, width=WIDTH)


def normal(seed, n, dim, place=0.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, dim)) + place, jnp.float32)


def draw(recipe, x, *, n=None, seed=0):
    """A batch with as many points as rows of P, float64."""
    batch = jax.jit(recipe.draw)(jax.random.key(seed), jnp.zeros((n or len(x), x.shape[1])), jnp.asarray(x))
    return [np.asarray(part, np.float64) for part in batch]


def by_formula(x, t, y, extra, xp=np, width=WIDTH):
    """Velocity and log-density of `x = t y + b tau` with equal charges y at points x [p, D] and times t [p]."""
    dim = y.shape[1]
    b = xp.sqrt((1 - t) ** 2 + width**2 * t)[:, None]
    slope = (width**2 / 2 - (1 - t))[:, None] / b
    away = (x[:, None] - t[:, None, None] * y) / b[..., None]
    squared = (away**2).sum(-1)
    if extra is None:
        log_p = -squared / 2 - dim / 2 * np.log(2 * np.pi)
    else:
        log_p = -(dim + extra) / 2 * xp.log1p(squared / extra) - dim / 2 * np.log(extra * np.pi)
        log_p = log_p + gammaln((dim + extra) / 2) - gammaln(extra / 2)
    top = log_p.max(1, keepdims=True)
    share = xp.exp(log_p - top)
    total = share.sum(1, keepdims=True)
    log_density = (top + xp.log(total))[:, 0] - np.log(len(y)) - dim * xp.log(b[:, 0])
    share = share / total
    return share @ y + slope * (share[..., None] * away).sum(1), log_density


# the target ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", KINDS)
@pytest.mark.parametrize("dim", [1, 2, 64, 3072])
def test_targets_are_those_of_float64_sums(dim, extra):
    y = normal(0, 40, dim, place=1.0)
    p, value, weight = draw(pfgm(2.0, num_extra=extra), y, n=60)
    x, t = p[:, :-1], p[:, -1] / 2
    wanted, _ = by_formula(x, t, np.asarray(y, np.float64), extra)
    # log weights are (D + K) / 2 times logs of rounded squares, and x is rounded too, by 1e-7 of the noise that it is
    slack = 1e-6 * (10 + dim)
    size = 1 + np.abs(wanted).max(1)
    assert (np.abs(value[:, :-1] - wanted / 2).max(1) / size < slack).all()
    assert (value[:, -1] == 1).all()
    r2 = np.ones(60) if extra is None else 1 + (x**2).mean(1) / 9
    np.testing.assert_allclose(weight, 1 / r2, rtol=1e-5)


def test_the_weight_is_that_of_data_of_any_scale():
    p, _, weight = draw(pfgm(scale=5.0, num_extra=1), normal(0, 8, 3), n=200)
    np.testing.assert_allclose(weight, 1 / (1 + (p[:, :-1] ** 2).mean(1) / 225), rtol=1e-5)
    assert 0.01 < weight.min() < 0.9


@pytest.mark.parametrize("extra", KINDS)
def test_the_velocity_carries_the_density_of_the_points(extra):
    y = np.random.default_rng(0).normal(size=(7, 2)) * 2

    def density(x, t):
        return jnp.exp(by_formula(x[None], t[None], y, extra, jnp)[1][0])

    def flux(x, t):
        return density(x, t) * by_formula(x[None], t[None], y, extra, jnp)[0][0]

    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        x, t = jnp.asarray(rng.normal(size=(50, 2))), jnp.asarray(rng.uniform(0.05, 0.95, 50))
        change = jax.vmap(jax.jacfwd(density, 1))(x, t)
        divergence = jax.vmap(lambda *at: jnp.trace(jax.jacfwd(flux)(*at)))(x, t)
        # float64, terms of about 1
        np.testing.assert_allclose(change, -divergence, rtol=0, atol=1e-9)


def test_far_charges_are_summed_in_blocks():
    y = normal(0, 50, 3)
    whole, blocks = (draw(pfgm(block_size=size), y, n=40) for size in (50, 7))
    # the same sums in another order
    np.testing.assert_allclose(blocks[1], whole[1], rtol=2e-5, atol=2e-5)


def test_normal_data_move_as_gaussians_do():
    # quantiles of N(0, 1): x = t y + b tau is normal, and v = (t + b b') / (t^2 + b^2) x
    y = jnp.asarray(stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None], jnp.float32)
    p, value, _ = draw(pfgm(num_extra=None), y, n=500)
    x, t = p.T
    b2, half_slope = (1 - t) ** 2 + WIDTH**2 * t, WIDTH**2 / 2 - (1 - t)
    # quantiles cut off the tails: the variance is 1 to 1e-3, felt where few charges lie
    inner = np.abs(x) < 2
    np.testing.assert_allclose(value[inner, 0], ((t + half_slope) / (t**2 + b2) * x)[inner], atol=0.02)


def test_in_the_limit_it_is_flow_matching_from_noise_without_the_noise_of_pairs():
    y = jnp.asarray([[-2.0], [-1.0], [0.3], [1.2]])
    n = 100_000
    noise = jax.random.normal(jax.random.key(9), (n, 1))
    pairs = jax.jit(cfm(width=lambda z, gap: WIDTH * jnp.sqrt(z / gap)).draw)(
        jax.random.key(1), noise, jnp.tile(y, (n // 4, 1))
    )
    exact = jax.jit(pfgm(num_extra=None).draw)(jax.random.key(2), noise, y)
    means, errors, spreads = [], [], []
    for batch in (pairs, exact):
        phi = features(*batch.points.T, jnp)
        terms = np.asarray(phi * batch.target[:, :1], np.float64)
        means.append(terms.mean(0))
        errors.append(terms.std(0) / np.sqrt(n))
        spreads.append(np.square(terms).mean())
    # the mean of the target given the point is the same; six features, beyond 4 standard errors once in 2,600 seeds
    assert (np.abs(means[0] - means[1]) < 4 * np.hypot(*errors)).all()
    assert np.hypot(*errors).max() < 0.03
    assert spreads[1] < 0.7 * spreads[0]


# points and starts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "extra"), [(1, 1), (2, 8), (784, 1), (784, 128)])
def test_lines_start_in_the_directions_of_the_flux_but_for_the_longest(dim, extra):
    start = jax.jit(pfgm(num_extra=extra, cut=0.9).start, static_argnums=2)
    p = np.asarray(start(jax.random.key(0), jnp.full((4000, dim), 7.0), False), np.float64)
    assert (p[:, -1] == 0).all()
    x = p[:, :-1]
    ratio, longest = (x**2).mean(1), stats.f(dim, extra).ppf(0.9)
    short = ratio < 0.999 * longest
    assert stats.binomtest(int(short.sum()), 4000, 0.9).pvalue > P
    # float32 lengths
    np.testing.assert_allclose(ratio[~short], longest, rtol=1e-3)
    assert stats.kstest(stats.f(dim, extra).cdf(ratio[short]) / 0.9, "uniform").pvalue > P
    # any direction alike: one coordinate of a unit vector
    if dim > 1:
        one = x[:, 0] / np.linalg.norm(x, axis=1)
        assert stats.kstest(0.5 * (1 + one), stats.beta((dim - 1) / 2, (dim - 1) / 2).cdf).pvalue > P
    other = start(jax.random.key(1), jnp.zeros((4000, dim)), False)
    assert not (np.asarray(other)[:, 0] == p[:, 0])[short].any()


def test_in_the_limit_and_in_reverse_lines_start_at_the_samples():
    x, key = normal(0, 5, 3), jax.random.key(0)
    np.testing.assert_array_equal(pfgm(4.0, num_extra=None).start(key, x, False), jnp.c_[x, jnp.zeros(5)])
    for extra in KINDS:
        recipe = pfgm(4.0, num_extra=extra)
        np.testing.assert_array_equal(recipe.start(key, x, True), jnp.c_[x, jnp.full(5, 4.0)])
        assert recipe.span == (0.0, 4.0)


def test_every_charge_has_its_points_and_those_given_replace_the_minibatch():
    y = jnp.asarray([[-1e2], [0.0], [1e2], [2e2]])
    given = pfgm(charges=charges.plate(y, 1.0, -1.0))
    for recipe, x in ((pfgm(), y), (given, jnp.ones((9, 1)))):
        p, value, _ = draw(recipe, x, n=10_000)
        late = p[p[:, 1] > 0.5]
        near = np.abs(late[:, :1] / late[:, 1:] - np.asarray(y)[:, 0]).argmin(1)
        assert stats.chisquare(np.bincount(near)).pvalue > P
        wanted, _ = by_formula(p[:, :1], p[:, 1], np.asarray(y, np.float64), 8)
        # float32 places of 1e2, over a noise of 0.1 or more
        np.testing.assert_allclose(value[:, :1], wanted, atol=2e-3, rtol=1e-4)


# the gradient is that of the whole field ----------------------------------------------------------------------------

DATA = np.array([-2.0, -1.0, 0.3, 1.2])
WEIGHTS = np.array([0.2, -0.3, 0.5, 0.1, 0.4, -0.2])


def features(x, z, xp):
    near, far = xp.exp(-(x**2) / 4), xp.exp(-((x - 2) ** 2) / 2)
    return xp.stack([xp.ones_like(x), xp.tanh(x / 2), near, z + 0 * x, z * xp.tanh(x / 2), far], -1)


def whole_gradient(extra):
    """`int dt int dx p w features (f - v)` of all data by quadrature, f linear in the features."""
    node, share = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for t, s in zip(0.5 * (1 + node), share / 2, strict=True):
        away = np.geomspace(1e-4, 1e5, 1500)
        x = np.unique(np.concatenate([DATA, *(t * c + side * away for c in DATA for side in (-1, 1))]))
        v, log_p = by_formula(x[:, None], np.full_like(x, t), DATA[:, None], extra)
        phi = features(x, np.full_like(x, t), np)
        terms = phi * (np.exp(log_p) / (1 + x**2 / 9) * (phi @ WEIGHTS - v[:, 0]))[:, None]
        total = total + s * np.trapezoid(terms, x, axis=0)
    return total


@pytest.mark.parametrize(("extra", "size"), [(1, 2), pytest.param(8, 1, marks=pytest.mark.slow)])
def test_minibatches_give_the_gradient_of_the_whole_field(extra, size):
    recipe = pfgm(num_extra=extra, num_points=64)

    def one(key):
        key_data, key_draw = jax.random.split(key)
        y = jax.random.permutation(key_data, jnp.asarray(DATA, jnp.float32))[:size, None]
        batch = recipe.draw(key_draw, y, y)
        phi = features(*batch.points.T, jnp)
        residual = phi @ jnp.asarray(WEIGHTS, jnp.float32) - batch.target[:, 0]
        return ((batch.weight * residual)[:, None] * phi).mean(0)

    keys = jax.random.split(jax.random.key(size), (100, 100))
    gradients = np.concatenate(jax.jit(lambda k: jax.lax.map(jax.vmap(one), k))(keys)).astype(np.float64)
    truth = whole_gradient(extra)
    error = gradients.std(0) / np.sqrt(len(gradients))
    # six features: a distance above 4 standard errors comes up once in 2,600 seeds
    assert (np.abs(gradients.mean(0) - truth) < 4 * error).all()
    # and these are small enough for a factor or a sign to show
    assert error.max() < 0.03 * np.abs(truth).max()


# lines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", KINDS)
def test_exact_lines_carry_the_noise_to_the_data_and_back(extra):
    angle = np.arange(12) * np.pi / 6
    y = 3.0 * np.stack([np.cos(angle), np.sin(angle)], 1) * (1 + np.arange(12) % 2)[:, None]
    y = jnp.asarray(y, jnp.float32)
    width, n = 0.03, 1200
    recipe = pfgm(num_extra=extra, width=width)
    start = recipe.start(jax.random.key(0), normal(0, n, 2), False)

    def field(p):
        velocity, _ = by_formula(p[:, :-1], p[:, -1], y, extra, jnp, width)
        return jnp.c_[velocity, jnp.ones(len(p))]

    stepping = fixed("midpoint", 200, clock="linear")
    up = trace(field, start, 1.0, stepping=stepping)
    assert up.arrived.all()
    distance = np.linalg.norm(np.asarray(up.end)[:, None, :2] - np.asarray(y), axis=2)
    # a line ends beside its charge by the width times a direction
    law = stats.chi2(2) if extra is None else stats.f(2, extra)
    ratio = (distance.min(1) / width) ** 2 / (1 if extra is None else 2)
    for share in (0.5, 0.9):
        # binomial, and the steps
        assert (ratio < law.ppf(share)).mean() == pytest.approx(share, abs=0.06)
    # at equal shares: 11 degrees of freedom
    assert stats.chisquare(np.bincount(distance.argmin(1), minlength=12)).pvalue > P
    back = trace(field, up.end, 0.0, stepping=stepping)
    miss = np.linalg.norm(np.asarray(back.end - start)[:, :2], axis=1) / np.linalg.norm(start[:, :2], axis=1)
    assert np.median(miss) < 0.02  # what the midpoint rule misses next to a charge


# the tails of K = 1 need more steps
@pytest.mark.parametrize("extra", [None, pytest.param(8, marks=pytest.mark.slow)])
def test_learned_lines_carry_noise_to_a_gaussian(extra):
    recipe = matching.pfgm(num_extra=extra)
    form = flow_network if extra is None else tail_network
    network = form(networks.mlp(2, gap=1.0, scale=2.0, width=32, depth=2))
    optimizer = training.adam(5e-3, warmup=10, cosine_steps=400)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    state = training.init_state(jax.random.key(0), network, optimizer)
    rng = np.random.default_rng(0)
    for _ in range(400):
        y = (rng.normal(size=(128, 2)) * [1.0, 0.5] + [2.0, -1.0]).astype(np.float32)
        state, _ = step(state, y, y)
    x = rng.normal(size=(1000, 2)).astype(np.float32)
    lines = sampling.transport(
        state, recipe, network, x, stepping=fixed("euler", 100, clock="linear"), key=jax.random.key(5)
    )
    assert lines.arrived.all()
    end = np.asarray(lines.end)[:, :2]
    # a short training errs by up to 0.15 with other seeds; a wrong sign or factor by 1 and more
    np.testing.assert_allclose(np.median(end, axis=0), [2.0, -1.0], atol=0.3)
    spread = stats.iqr(end, axis=0) / stats.iqr(stats.norm.ppf(np.linspace(0.001, 0.999, 1001)))
    np.testing.assert_allclose(spread, [1.0, 0.5], atol=0.25)


# the draw (the other demands on every recipe: test_matching.py) ------------------------------------------------------


@pytest.mark.parametrize("extra", KINDS)
def test_a_draw_is_a_function_of_its_key_and_of_the_data_alone(extra):
    x_pos, x_neg = normal(0, 16, 3), normal(1, 20, 3)
    jitted = jax.jit(pfgm(num_extra=extra, num_points=24).draw)
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
        ({"gap": 0.0}, "gap must be a finite number > 0, got 0.0"),
        ({"num_extra": 0}, "num_extra must be a whole number >= 1, got 0"),
        ({"width": 0.0}, "width must be a finite number > 0, got 0.0"),
        ({"scale": -1.0}, "scale must be a finite number > 0, got -1.0"),
        ({"cut": 1.0}, "cut must be a share between 0 and 1, got 1.0"),
        ({"height": "log"}, "height must be one of"),
        ({"num_points": 0}, "num_points must be a whole number >= 1, got 0"),
    ],
)
def test_bad_options_say_what_was_expected(options, message):
    with pytest.raises(ValueError, match=message):
        pfgm(**options)


def test_charges_that_are_not_equal_are_refused():
    x = jnp.zeros((2, 1))
    with pytest.raises(
        ValueError, match=r"charges must be equal, e.g. charges.plate\(x_neg, gap, -1.0\), got -0.5 to 0.5"
    ):
        pfgm(charges=charges.capacitor(x, x, 1.0))
    with pytest.raises(ValueError, match="got 0 to 0"):
        pfgm(charges=charges.Charges(jnp.zeros((2, 2)), jnp.zeros(2)))


def test_samples_of_two_spaces_are_refused():
    with pytest.raises(ValueError, match="same number of dimensions"):
        pfgm().draw(jax.random.key(0), jnp.zeros((4, 2)), jnp.zeros((4, 3)))


def test_a_tail_network_grows_like_its_input():
    network = tail_network(networks.mlp(3, gap=1.0, width=8, depth=1), scale=2.0)
    params = jax.tree.map(lambda leaf: leaf + 0.1, network.init(jax.random.key(0)))
    x = np.asarray(directions(jax.random.key(1), (20, 3)))
    for length in (1.0, 1e3, 1e9):
        r = np.sqrt(1 + (length * x**2 * length).mean(1, keepdims=True) / 36)
        plain = networks.mlp(3, gap=1.0, width=8, depth=1).apply(
            params, jnp.c_[length * x / r, jnp.full(20, 0.5)]
        )
        found = network.apply(params, jnp.c_[length * x, jnp.full(20, 0.5)])
        np.testing.assert_allclose(found[:, :3], r * plain[:, :3], rtol=1e-5)
        assert (found[:, 3] == 1).all()


# runs of earlier versions, by height -------------------------------------------------------------------------------


def lifted(x, num_extra):
    """Samples with K heights of 0: charges in D + K dimensions, where Coulomb's law is the ordinary one."""
    return jnp.concatenate([x, jnp.zeros((len(x), num_extra), x.dtype)], axis=1)


@pytest.mark.parametrize(("dim", "num_extra", "gamma"), [(3, 1, 0.0), (784, 128, 5.0)])
def test_by_height_directions_are_those_of_coulomb_s_law_in_more_dimensions(dim, num_extra, gamma):
    x = normal(0, 40, dim, place=1.0)
    p, value, weight = draw(pfgm_by_height(40.0, gamma=gamma, num_extra=num_extra), x, n=60)
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
    assert (weight == 1).all()


@pytest.mark.parametrize("far", [1e19, 1e30])
@pytest.mark.parametrize("options", [{"num_extra": 1}, {"num_extra": 8, "target": "velocity"}])
def test_by_height_targets_hold_where_squares_overflow(far, options):
    x = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
    x[0] = far
    p, value, _ = draw(pfgm_by_height(40.0, gamma=0.0, **options), x, n=64)
    there = np.c_[p, np.zeros((64, options["num_extra"] - 1))]
    exact = reference_coulomb(
        there, lifted(jnp.asarray(x), options["num_extra"]), np.full(8, 1 / 8)
    ).direction[:, :3]
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = value / np.linalg.norm(value, axis=1, keepdims=True)
    assert (np.abs(p) > 0.5 * far).any()
    # float32 distances, and next to a charge a place known to 1e-4 of the way from it
    np.testing.assert_allclose(found, exact, atol=1e-3)


def test_by_height_velocities_are_the_mean_of_single_charge_velocities():
    recipe = pfgm_by_height(40.0, target="velocity", num_extra=8)
    p, value, _ = draw(recipe, jnp.asarray(DATA[:, None], jnp.float32), n=4000)
    x, z = p.T
    log_p = stats.t.logpdf(x[:, None] - DATA, 8, scale=z[:, None] / np.sqrt(8))
    share = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
    wanted = (share * (x[:, None] - DATA)).sum(1) / z
    # next to a charge float32 knows x - x_i to 2e-7, which is divided by z; else 1e-5 of the value
    assert (np.abs(value[:, 0] - wanted) < 4e-7 / z + 1e-5 * (1 + np.abs(wanted))).all()
    assert (value[:, 1] == 1).all()
    assert stats.kstest(np.log(z / 1e-3) / np.log(4e4), "uniform").pvalue > P


def test_by_height_lines_start_from_the_hemisphere():
    recipe = pfgm_by_height(40.0, num_extra=8)
    p = np.asarray(recipe.start(jax.random.key(0), jnp.full((4000, 2), 7.0), False), np.float64)
    assert (p[:, -1] == 40.0).all()
    share = (p[:, :2] ** 2).sum(1) / ((p[:, :2] ** 2).sum(1) + 1600.0)
    assert stats.kstest(share, stats.beta(1, 4).cdf).pvalue > P
    back = recipe.start(jax.random.key(0), normal(0, 5, 3), True)
    assert (back[:, -1] == np.float32(1e-3)).all()


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


def test_by_height_points_of_the_first_paper_are_at_all_scales():
    """`(x - x_i, z) = s (e, |e'|)` with one s of 0.01 to 54, evenly in its logarithm."""
    p, _, _ = draw(pfgm_by_height(40.0), jnp.full((1, 2), 3.0), n=4000)
    scales = 0.01 * 1.03 ** (291 * (np.arange(400) + 0.5) / 400)
    for found, law in (
        (p[:, 2], stats.halfnorm),
        (np.linalg.norm(p[:, :2] - 3.0, axis=1), stats.rayleigh),
    ):
        assert stats.kstest(found, lambda r, law=law: law.cdf(r[:, None] / scales).mean(1)).pvalue > P
