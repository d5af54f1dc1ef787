"""Interaction fields: both laws against float64, flux, divergence, and the duality with flow matching."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.fields import interaction
from efm_jax.fields.widths import bridge, constant, ramped
from efm_jax.matching import cfm, couplings, ifm

GAP = 2.0
WIDTHS = {"ramped": ramped(0.8, rate=4.0), "constant": constant(0.3), "bridge": bridge(1.2)}


def pairs(dim, k=7, seed=0, shift=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, dim)), rng.normal(size=(k, dim)) + shift


def places(x_pos, x_neg, n=60, seed=1):
    """Points around the pairs' axes, at heights 5 % to 95 % of the gap."""
    rng = np.random.default_rng(seed)
    t, row = rng.uniform(0.05, 0.95, n), rng.integers(len(x_pos), size=n)
    x = (1 - t)[:, None] * x_pos[row] + t[:, None] * x_neg[row] + 0.3 * rng.normal(size=(n, x_pos.shape[1]))
    return np.c_[x, GAP * t]


def numbers(width, z):
    """sigma and sigma' in float64, by the formulas."""
    if width is WIDTHS["ramped"]:
        h = np.minimum(z, GAP - z)
        rising = h < np.pi / 8
        sigma = 0.8 * np.where(rising, np.sin(4 * h), 1.0)
        return sigma, 3.2 * np.where(rising, np.cos(4 * h), 0.0) * np.where(z < GAP / 2, 1, -1)
    if width is WIDTHS["constant"]:
        return np.full_like(z, 0.3), np.zeros_like(z)
    t = z / GAP
    sigma = 1.2 * np.sqrt(t * (1 - t))
    return sigma, 1.2 * (1 - 2 * t) / (2 * np.sqrt(t * (1 - t)) * GAP)


def each(points, x_pos, x_neg, width, law):
    """Log weight [p, k], but for the nearest pair's [p, 1], and vector [p, k, D+1] of each pair, from the formulas."""
    x, z = points[:, :-1], points[:, -1]
    sigma, slope = (a[:, None] for a in numbers(width, z))
    t, dim = (z / GAP)[:, None, None], x.shape[1]
    middle = (1 - t) * x_pos + t * x_neg
    rho = x[:, None] - middle
    squared, delta = (rho**2).sum(-1), x_neg - x_pos
    # far away what pairs differ by is less than a rounding of squares
    nearest = squared.argmin(1)[:, None, None]
    near = [np.take_along_axis(part, nearest, 1) for part in (middle, rho)]
    more = ((near[0] - middle) * (rho + near[1])).sum(-1)
    log_w, base = (-part / (2 * sigma**2) for part in (more, squared.min(1, keepdims=True)))
    if law == "conserving":
        base = base - dim * np.log(sigma * np.sqrt(2 * np.pi))
        lateral = delta / GAP + rho * (slope / sigma)[..., None]
        return log_w, base, np.concatenate([lateral, np.ones_like(lateral[..., :1])], -1)
    s0 = numbers(width, np.asarray([GAP / 2]))[0][0]
    alpha = np.arctan(np.sqrt(squared) * slope / sigma)
    log_w = log_w - np.log(np.cos(alpha) * (sigma / s0) ** dim + 1e-2)
    along = np.concatenate([delta, np.full_like(delta[:, :1], GAP)], 1)
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    outward = rho / np.sqrt(squared)[..., None]
    vector = np.cos(alpha)[..., None] * along
    vector[..., :-1] += np.sin(alpha)[..., None] * outward
    return log_w, base, vector


def reference(points, x_pos, x_neg, width, law):
    log_w, base, vector = each(points, x_pos, x_neg, width, law)
    top = log_w.max(1, keepdims=True)
    total = (np.exp(log_w - top)[..., None] * vector).mean(1)
    length = np.linalg.norm(total, axis=1)
    return total / length[:, None], (base + top)[:, 0] + np.log(length)


@pytest.mark.parametrize("law", ["conserving", "official"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dim", [pytest.param(1, marks=pytest.mark.slow), 2, 50])
def test_the_field_is_that_of_the_formula(law, width, dim):
    x_pos, x_neg = pairs(dim)
    points = places(x_pos, x_neg)
    direction, log_magnitude = reference(points, x_pos, x_neg, WIDTHS[width], law)
    field = interaction(
        *(jnp.asarray(a, jnp.float32) for a in (points, x_pos, x_neg)), GAP, width=WIDTHS[width], law=law
    )
    # a log weight |rho|^2 / 2 sigma^2 of up to a few hundred keeps 1e-7 of itself in float32, and so do the weights
    assert np.abs(np.asarray(field.direction) - direction).max() < 2e-4
    assert (
        np.abs(np.asarray(field.log_magnitude) - log_magnitude).max()
        < 1e-5 * np.abs(log_magnitude).max() + 2e-4
    )


@pytest.mark.parametrize("law", ["conserving", "official"])
def test_in_float64_the_field_keeps_its_digits(law):
    x_pos, x_neg = pairs(2)
    points = places(x_pos, x_neg, n=12)
    direction, log_magnitude = reference(points, x_pos, x_neg, WIDTHS["bridge"], law)
    with jax.enable_x64(True):
        field = interaction(points, x_pos, x_neg, GAP, width=WIDTHS["bridge"], law=law)
        assert field.direction.dtype == jnp.float64
    # log weights of up to a hundred, 1e-16 of them, times a few
    np.testing.assert_allclose(field.direction, direction, atol=1e-11)
    np.testing.assert_allclose(field.log_magnitude, log_magnitude, atol=1e-11)


@pytest.mark.parametrize("precise", range(3))
def test_one_array_of_float64_makes_the_field_one_of_float64(precise):
    arrays = [np.ones((1, 3)), np.zeros((4, 2)), np.eye(4, 2)]
    with jax.enable_x64(True):
        arrays = [a.astype(np.float64 if k == precise else np.float32) for k, a in enumerate(arrays)]
        assert interaction(*arrays, GAP).direction.dtype == jnp.float64


@pytest.mark.optimized  # where middles of pairs cancel, the roundings count
@pytest.mark.parametrize(
    ("law", "dim", "k"),
    [
        ("conserving", 1, 2),
        ("conserving", 2, 17),
        ("conserving", 16, 17),
        ("official", 2, 17),
        ("conserving", 3072, 17),
        pytest.param("official", 300, 2, marks=pytest.mark.slow),
    ],
)
def test_on_the_plates_the_nearest_pairs_count(law, dim, k):
    """Log weights of -1e10, at fresh points and where lines of a pair run, some pairs sharing an end."""
    rng = np.random.default_rng(dim)
    z = GAP * np.repeat([0.0, 1e-5, 1e-4, 1e-3, 1e-2, 0.5, 0.9999, 1.0], 4).astype(np.float32)
    h = np.maximum(np.minimum(z, GAP - z), 1e-5 * GAP)[:, None]
    for spread in (1e-3, 1.0, 1e3):
        x_pos, x_neg = (spread * rng.normal(size=(k, dim)).astype(np.float32) for _ in range(2))
        x_pos[1], x_neg[0] = x_pos[0], x_neg[-1]
        row, t = rng.integers(k, size=len(z)), (z / np.float32(GAP))[:, None]
        near = (1 - t) * x_pos[row] + t * x_neg[row] + h * rng.normal(size=(len(z), dim))
        x = np.where(np.arange(len(z))[:, None] % 2, spread * rng.normal(size=(len(z), dim)), near)
        points = np.c_[x, z].astype(np.float32)
        held = points.astype(np.float64)
        held[:, -1] = np.clip(z, 1e-5 * GAP, (1 - 1e-5) * GAP)
        direction, log_magnitude = reference(
            held, x_pos.astype(np.float64), x_neg.astype(np.float64), WIDTHS["ramped"], law
        )
        field = interaction(points, x_pos, x_neg, GAP, width=WIDTHS["ramped"], law=law)
        # at the spread 1e3 the middle of a pair is known to 1e-4, and widths next to the plates are as small as 6e-5
        assert np.abs(np.asarray(field.direction) - direction).max() < (1e-4 if spread > 1 else 2e-6), spread
        # the logarithm of the width's power D errs by some D units in the last place of log sigma, about 10
        atol = max(1e-4, 2e-6 * dim)
        np.testing.assert_allclose(field.log_magnitude, log_magnitude, rtol=2e-6, atol=atol)


def test_equally_near_pairs_weigh_the_same_on_the_plates():
    x_pos = jnp.asarray([[-1.0], [1.0]])
    field = interaction(jnp.asarray([[0.0, 0.0]]), x_pos, x_pos, 2.0)
    # the outward parts, 5e4 times the upward one each, cancel to a float32 rounding
    assert abs(float(field.direction[0, 0])) < 1e-2


def test_blocks_of_pairs_add_up_to_the_whole():
    x_pos, x_neg = (jnp.asarray(x, jnp.float32) for x in pairs(3, k=23))
    points = jnp.asarray(places(np.asarray(x_pos), np.asarray(x_neg)), jnp.float32)
    whole = interaction(points, x_pos, x_neg, GAP)
    parts = interaction(points, x_pos, x_neg, GAP, block_size=5)
    # the same terms added in another order
    np.testing.assert_allclose(parts.direction, whole.direction, atol=2e-6)
    np.testing.assert_allclose(parts.log_magnitude, whole.log_magnitude, atol=1e-5)


def vectors(points, x_pos, x_neg, law, width):
    field = interaction(points, x_pos, x_neg, GAP, law=law, width=width)
    return field.direction * jnp.exp(field.log_magnitude)[:, None]


def divergence(points, x_pos, x_neg, law, width):
    """div E and |dE|, the sum of the sizes of its terms, at each point."""

    def one(p):
        return jnp.diagonal(jax.jacfwd(lambda q: vectors(q[None], x_pos, x_neg, law, width)[0])(p))

    terms = jax.jit(jax.vmap(one))(points)
    return np.asarray(terms.sum(1)), np.asarray(jnp.abs(terms).sum(1))


def test_only_the_conserving_law_has_no_divergence_for_tilted_pairs():
    x_pos, x_neg = (jnp.asarray(x, jnp.float32) for x in pairs(2, shift=3.0))
    points = jnp.asarray(places(np.asarray(x_pos), np.asarray(x_neg)), jnp.float32)
    width = ramped(0.8)
    total, terms = divergence(points, x_pos, x_neg, "conserving", width)
    # float32 derivatives of Gaussians with log weights up to 30: 30 * 1e-7 relative, and cancellation
    assert np.abs(total / terms).max() < 1e-4
    total, terms = divergence(points, x_pos, x_neg, "official", width)
    assert np.median(np.abs(total / terms)) > 1e-2


@pytest.mark.parametrize("width", WIDTHS)
def test_the_flux_through_every_height_is_one(width):
    x_pos, x_neg = (jnp.asarray(x, jnp.float32) for x in pairs(1, k=3))
    grid = jnp.linspace(-12.0, 12.0, 24_001)
    for z in (0.1, 0.7, 1.0, 1.95):
        points = jnp.stack([grid, jnp.full_like(grid, z)], 1)
        e_z = vectors(points, x_pos, x_neg, "conserving", WIDTHS[width])[:, -1]
        # the trapezium rule on Gaussians at least 0.1 wide, 1e-3 apart, is exact; float32 sums are not
        assert float(jnp.trapezoid(e_z, grid)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("width", WIDTHS)
def test_velocities_are_the_marginal_ones_of_flow_matching(width):
    # the duality: all n m pairs of an independent plan; the mean of the conditional velocities under Bayes' rule
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(5, 2)) + 2.0
    x_pos, x_neg = np.repeat(x, len(y), 0), np.tile(y, (len(x), 1))
    points = places(x_pos, x_neg, n=200)
    log_w, _, velocity = each(points, x_pos, x_neg, WIDTHS[width], "conserving")
    posterior = np.exp(log_w - log_w.max(1, keepdims=True))
    posterior /= posterior.sum(1, keepdims=True)
    wanted = (posterior[..., None] * velocity).sum(1)[:, :-1]
    field = interaction(
        *(jnp.asarray(a, jnp.float32) for a in (points, x_pos, x_neg)), GAP, width=WIDTHS[width]
    )
    found = np.asarray(field.direction[:, :-1] / field.direction[:, -1:])
    # float32: see the test of the formula
    assert np.abs(found - wanted).max() < 5e-4


def test_both_recipes_have_one_gradient():
    """E[g(x) v] agrees for test functions g: cfm's noisy targets, and ifm's of minibatches of pairs, beside float64."""
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(5, 1)), rng.normal(size=(4, 1)) + 2.0
    args = [jnp.asarray(a, jnp.float32) for a in (x, y)]
    width, n = constant(0.4), 4096
    features = lambda p: np.c_[np.ones(len(p)), p[:, 0], np.sin(2 * p[:, 0]) * p[:, 1], p[:, 1] ** 2]  # noqa: E731
    sums = {}
    for name, recipe in {
        "cfm": cfm(GAP, width=width, num_points=n),
        "ifm": ifm(GAP, width=width, num_points=n),  # four random pairs at a time
    }.items():
        draw = jax.jit(recipe.draw)
        each_draw = []
        for seed in range(150):
            p, v, weight = (np.asarray(part, np.float64) for part in draw(jax.random.key(seed), *args))
            assert (weight == 1).all()
            assert (v[:, -1] == 1).all()
            each_draw.append((features(p) * v[:, :1]).mean(0))
        sums[name] = np.asarray(each_draw)
    # by quadrature, of all pairs
    x_pos, x_neg = np.repeat(x, len(y), 0), np.tile(y, (len(x), 1))
    z, nodes = np.linspace(0, GAP, 402)[1:-1:2], np.polynomial.hermite_e.hermegauss(40)
    wanted = 0.0
    for a, b in zip(x_pos[:, 0], x_neg[:, 0], strict=True):
        for e, w in zip(nodes[0], nodes[1] / nodes[1].sum(), strict=True):
            where = np.c_[(1 - z / GAP) * a + z / GAP * b + 0.4 * e, z]
            wanted = wanted + w / len(x_pos) * (features(where) * (b - a) / GAP).mean(0)
    for name, found in sums.items():
        error = found.std(0) / np.sqrt(len(found))
        # four features, four standard errors, and the midpoint rule's 1e-4
        assert (np.abs(found.mean(0) - wanted) < 4 * error + 2e-4).all(), name
    # the minibatch's own four pairs make ifm vary more from draw to draw than cfm, which sees n pairs
    assert (sums["ifm"].std(0) > sums["cfm"].std(0)).all()


def test_a_line_of_one_pair_keeps_its_share_of_the_width():
    x_pos, x_neg, width = jnp.zeros((1, 2)), jnp.asarray([[3.0, -1.0]]), ramped(0.8)
    z = jnp.linspace(0.1, 1.9, 50)
    t = (z / GAP)[:, None]
    x = (1 - t) * x_pos + t * x_neg + width(z, GAP)[:, None] * jnp.asarray([0.5, 1.0])
    field = interaction(jnp.c_[x, z], x_pos, x_neg, GAP, width=width)
    slope = jax.jit(
        jax.vmap(jax.jacfwd(lambda h: h / GAP * x_neg[0] + width(h, GAP) * jnp.asarray([0.5, 1.0])))
    )(z)
    # the same closed form by another route, float32
    np.testing.assert_allclose(field.direction[:, :-1] / field.direction[:, -1:], slope, atol=2e-5)


def test_the_field_is_finite_on_the_plates_and_far_away():
    x_pos, x_neg = (jnp.asarray(x, jnp.float32) for x in pairs(2))
    points = jnp.asarray(
        [[0.0, 0.0, 0.0], [1.0, 1.0, GAP], [300.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 9.0]]
    )
    for law in ("conserving", "official"):
        field = interaction(points, x_pos, x_neg, GAP, law=law)
        assert jnp.isfinite(field.direction).all()
        np.testing.assert_allclose(jnp.linalg.norm(field.direction, axis=1), 1.0, rtol=1e-6)
    assert float(interaction(points, x_pos, x_neg, GAP).log_magnitude[2]) < -1e4


@pytest.mark.parametrize("law", ["conserving", "official"])
def test_equal_calls_compile_once(law):
    seen = []

    def width(z, gap):
        seen.append(gap)
        return constant(0.3)(z, gap)

    points, ends = jnp.ones((3, 3)), jnp.zeros((4, 2))
    first = interaction(points, ends, ends, GAP, width=width, law=law)
    count = len(seen)
    second = interaction(2.0 * points, ends, ends, GAP, width=width, law=law)
    assert len(seen) == count > 0
    assert not np.allclose(first.log_magnitude, second.log_magnitude)


@pytest.mark.parametrize("law", ["conserving", "official"])
def test_no_points_have_no_field(law):
    x = jnp.zeros((4, 2))
    field = interaction(jnp.zeros((0, 3)), x, x, GAP, law=law)
    assert (field.direction.shape, field.log_magnitude.shape) == ((0, 3), (0,))


def test_bad_input_says_what_was_expected():
    x = jnp.zeros((4, 2))
    with pytest.raises(
        ValueError, match=r"pairs row by row, both \[k, D\] with k >= 1, got \(4, 2\) and \(3, 2\)"
    ):
        interaction(jnp.zeros((1, 3)), x, x[:3], GAP)
    with pytest.raises(ValueError, match=r"with k >= 1, got \(0, 2\)"):
        interaction(jnp.zeros((1, 3)), x[:0], x[:0], GAP)
    with pytest.raises(ValueError, match=r"points must have shape \[p, 3\] for pairs in D = 2, got \(1, 2\)"):
        interaction(jnp.zeros((1, 2)), x, x, GAP)
    with pytest.raises(ValueError, match="'conserving', 'official', got 'strong'"):
        interaction(jnp.zeros((1, 3)), x, x, GAP, law="strong")
    with pytest.raises(ValueError, match="gap must be a finite number > 0, got 0"):
        interaction(jnp.zeros((1, 3)), x, x, 0)
    for made in (
        lambda: interaction(jnp.zeros((1, 3)), x, x, GAP, width=0.1),
        lambda: cfm(width=0.1),
        lambda: ifm(GAP, width=0.1),
    ):
        with pytest.raises(ValueError, match=r"width must be a function .* widths.constant\(0.1\), got 0.1"):
            made()
    with pytest.raises(ValueError, match=r"points must be a function .* points.segment\(\), got 'segment'"):
        ifm(GAP, points="segment")
    with pytest.raises(ValueError, match="'velocity', 'direction', got 'robust'"):
        ifm(GAP, target="robust")
    with pytest.raises(ValueError, match="num_points must be a whole number >= 1, got 0"):
        cfm(num_points=0)
    with pytest.raises(ValueError, match="rows, got 4 and 3"):
        ifm(GAP, coupling=couplings.given()).draw(jax.random.key(0), x, x[:3])


@pytest.mark.parametrize("law", ["conserving", "official"])
@pytest.mark.parametrize("far", [1e19, 1e25, 1e30])
@pytest.mark.parametrize("whose", ["points", "a pair"])
def test_the_direction_holds_where_squares_overflow(law, far, whose):
    x_pos, x_neg = (a.astype(np.float32) for a in pairs(2))
    points = places(x_pos, x_neg, n=12).astype(np.float32)
    if whose == "points":
        points[::2, 0], points[0, -1] = far, 1.9
    else:
        x_pos[3], x_neg[5] = far, -far
    direction, log_magnitude = reference(
        *(a.astype(np.float64) for a in (points, x_pos, x_neg)), WIDTHS["ramped"], law
    )
    field = interaction(points, x_pos, x_neg, GAP, width=WIDTHS["ramped"], law=law)
    # between samples at either end of 1e30 the smaller coordinates are below the roundings of the larger
    np.testing.assert_allclose(field.direction, direction, atol=2e-5)
    least = np.finfo(np.float32).min
    np.testing.assert_allclose(field.log_magnitude, np.maximum(log_magnitude, least), rtol=2e-6, atol=1e-4)
