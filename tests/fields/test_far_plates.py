"""Plates far apart: against float64 sums, conservation of flux, order in one dimension, and where lines end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.special import gammaln, logsumexp

from efm_jax.charges import far_plates
from efm_jax.fields import directions, far_lines, far_plate
from efm_jax.matching import couplings

KEY = jax.random.key(0)
KINDS = [1, 3, None]


def on_lines(dim, n=64, p=48, angle=0.3, seed=0, extra=1):
    """Charges of which some nearly coincide, and points on lines that leave them."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, dim))
    y[n // 2 :] = y[: n - n // 2] + np.sin(angle) * rng.normal(size=(n - n // 2, dim))
    tau = np.asarray(directions(jax.random.key(seed), (p, dim), extra=extra))
    x = np.cos(angle) * y[rng.integers(n, size=p)] + np.sin(angle) * tau
    return x.astype(np.float32), y.astype(np.float32)


def by_formula(x, angle, y, extra):
    """Velocity, mean and log-density in float64, straight from the formulas."""
    x, y, angle = x.astype(np.float64), y.astype(np.float64), float(np.float32(angle))
    (n, dim), c, s = y.shape, np.cos(angle), np.sin(angle)
    squared = np.stack([((row - c * y) ** 2).sum(1) for row in x]) / s**2
    if extra is None:
        log_w, log_norm = -0.5 * squared, 0.5 * dim * np.log(2 * np.pi)
    else:
        log_w = -0.5 * (dim + extra) * np.log1p(squared / extra)
        log_norm = 0.5 * dim * np.log(extra * np.pi) + gammaln(0.5 * extra) - gammaln(0.5 * (dim + extra))
    log_sum = logsumexp(log_w, axis=1)
    mean = np.exp(log_w - log_sum[:, None]) @ y
    return (c * x - mean) / s, mean, log_sum - np.log(n) - log_norm - dim * np.log(s)


@pytest.mark.parametrize("extra", KINDS)
@pytest.mark.parametrize("dim", [1, 2, 63, 64, 784, 3072])
def test_float32_sums_are_those_of_float64(dim, extra):
    for angle in (0.03, 0.3, 1.0, np.pi / 2):
        x, y = on_lines(dim, angle=angle, extra=extra)
        field = far_plate(x, angle, y, extra=extra)
        velocity, mean, log_density = by_formula(x, angle, y, extra)
        # a log weight is (D + K) / 2 times a logarithm of rounded squares: a few units of D in the last place
        error = 1e-6 * (10 + dim)
        scale = np.abs(y).max()
        np.testing.assert_allclose(field.mean, mean, rtol=0, atol=error * scale)
        np.testing.assert_allclose(field.velocity, velocity, rtol=1e-5, atol=error * scale / np.sin(angle))
        np.testing.assert_allclose(field.log_density, log_density, rtol=1e-6, atol=error)


@pytest.mark.parametrize("extra", KINDS)
@pytest.mark.parametrize("far", [1e19, 1e25, 1e30])
def test_the_field_holds_where_squares_overflow(extra, far):
    for angle in (0.03, 1.0, 1.5):
        x, y = on_lines(2, n=8, p=8, angle=angle, extra=extra)
        x[0], y[1] = far, -far
        field = far_plate(x, angle, y, extra=extra)
        velocity, mean, log_density = by_formula(x, angle, y, extra)
        # shares of a mean to 1e-6, of places of which one is far away where it counts
        scale = np.abs(mean).max(1, keepdims=True) + np.abs(x)
        assert (np.abs(field.mean - mean) < 3e-5 * scale).all()
        assert (np.abs(field.velocity - velocity) < 3e-5 * scale / np.sin(angle)).all()
        least = np.finfo(np.float32).min
        np.testing.assert_allclose(field.log_density, np.maximum(log_density, least), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("frame", ["rms", "whitened"])
def test_lines_end_on_charges_where_squares_overflow(frame):
    x, y = np.random.default_rng(0).standard_normal((2, 8, 2)).astype(np.float32)
    near = far_lines(far_plates(x, y, frame=frame), x)
    for far in (1e19, 1e25, 1e30):
        unit = np.float32(far)
        lines = far_lines(far_plates(x * unit, y * unit, frame=frame), x * unit)
        assert (lines.partner == near.partner).all()
        # coordinates rounded anew
        np.testing.assert_allclose(lines.end / unit, near.end, atol=1e-4)


def test_blocks_change_nothing_but_rounding_and_angles_may_differ():
    x, y = on_lines(3)
    angles = np.linspace(0.1, 1.5, len(x)).astype(np.float32)
    whole = far_plate(x, angles, y, block_size=64)
    apart = far_plate(x, angles, y, block_size=7)
    for a, b in zip(whole, apart, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)  # sums in another order
    one = far_plate(x[5:6], angles[5], y)
    np.testing.assert_allclose(one.velocity[0], whole.velocity[5], rtol=2e-5, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("extra", [1, None])
def test_flux_is_conserved_along_the_way(extra):
    x, y = on_lines(2, n=9, p=20, angle=0.8, extra=extra)

    def density(x, angle):
        return jnp.exp(far_plate(x[None], angle, y, extra=extra).log_density[0])

    def flux(x, angle):
        return density(x, angle) * far_plate(x[None], angle, y, extra=extra).velocity[0]

    with jax.enable_x64(True):
        y, x = jnp.asarray(y, jnp.float64), jnp.asarray(x, jnp.float64)
        angle = jnp.full(len(x), 0.8)
        change = jax.vmap(jax.jacfwd(density, 1))(x, angle)
        divergence = jax.vmap(lambda *at: jnp.trace(jax.jacfwd(flux)(*at)))(x, angle)
        # float64, terms of about 1
        np.testing.assert_allclose(change, -divergence, rtol=0, atol=1e-10)


def test_the_density_integrates_to_one():
    y = np.random.default_rng(0).normal(size=(12, 1))
    x = np.linspace(-12, 12, 4001, dtype=np.float32)[:, None]
    density = np.exp(np.asarray(far_plate(x, 0.5, y, extra=None).log_density, np.float64))
    # float32 values of a smooth density summed over its whole width
    assert np.trapezoid(density, x[:, 0]) == pytest.approx(1.0, abs=1e-5)


def test_normal_charges_in_the_limit_stay_where_they_are():
    # the smoothed density is N(0, 1) at every angle, so that nothing moves
    y = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)[:, None]
    x = np.linspace(-2, 2, 41)[:, None]
    for angle in (0.1, 0.5, 1.2):
        velocity = far_plate(x, angle, y, extra=None).velocity
        # quantiles cut off the tails: the variance of the charges is 1 to 1e-3
        assert np.abs(velocity).max() < 5e-3


@pytest.mark.parametrize("extra", KINDS)
def test_in_one_dimension_the_order_is_kept(extra):
    rng, levels = np.random.default_rng(1), (np.arange(100)[:, None] + 0.5) / 100
    x, y = rng.permutation(stats.norm.ppf(levels)), rng.permutation(stats.expon.ppf(levels))
    # the closest charges are 1 % of the spread apart: lines start below that
    lines = far_lines(far_plates(x, y), x, extra=extra, steps=40, first=1e-3)
    ranks = [np.argsort(np.argsort(v[:, 0])) for v in (x, y[np.asarray(lines.partner)])]
    assert (ranks[0] == ranks[1]).all()


@pytest.mark.parametrize("extra", [1, None])
def test_lines_of_fresh_samples_leave_in_the_directions_of_the_flux(extra):
    rng = np.random.default_rng(2)
    y, x = rng.uniform(-1, 1, size=(4000, 2)), rng.uniform(-1, 1, size=(500, 2))
    plates = far_plates(y, y)
    path = far_lines(plates, x, extra=extra, save=True, first=0.1).path
    tau = np.asarray(path)[len(path) // 2, :, 0]  # half-way theta is pi/2
    expected = stats.norm if extra is None else stats.t(extra)
    # 500 lines: the distance exceeds 0.073 by chance once in a hundred
    assert stats.kstest(tau, expected.cdf).statistic < 0.073


@pytest.mark.parametrize("extra", KINDS)
def test_lines_launched_by_flux_hit_every_charge_equally_often(extra):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 3)) ** 3
    starts = np.repeat(x, 200, axis=0)
    towards = directions(jax.random.key(0), starts.shape, extra=extra)
    lines = far_lines(far_plates(x, y), starts, extra=extra, towards=towards, steps=40, first=0.01)
    hits = np.bincount(np.asarray(lines.partner), minlength=16)
    # stays with one line for each charge of P are not independent draws, so the statistic is below that of chi-square
    assert stats.chisquare(hits).pvalue > 1e-3


def test_back_is_the_inverse():
    rng, first = np.random.default_rng(4), 0.1
    x, y = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)) @ [[2.0, 0.5], [0.0, 0.7]] + 3
    plates = far_plates(x, y)
    there = far_lines(plates, x[:50], steps=80, first=first, save=True)
    ends = plates.neg.outside(there.path[-1, :, :-1] / np.cos(first))
    back = far_lines(plates, ends, reverse=True, steps=80, first=first, save=True)
    # the error of 80 midpoint steps, measured 2e-3 at most
    np.testing.assert_allclose(back.path[-1, :, :-1], there.path[0, :, :-1], atol=1e-2)
    theta = np.asarray(there.path[..., -1])
    assert (theta == theta[:, :1]).all()
    assert (np.diff(theta[:, 0]) > 0).all()
    np.testing.assert_allclose(theta[:, 0] + theta[::-1, 0], np.pi, rtol=1e-6)
    assert theta[0, 0] == np.float32(first)


def test_steps_converge_at_second_order():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) ** 3
    plates = far_plates(x, y)
    ends = {n: np.asarray(far_lines(plates, x, steps=n, first=0.3).end) for n in (5, 10, 20, 160)}
    errors = {n: np.median(np.linalg.norm(ends[n] - ends[160], axis=1)) for n in (5, 10, 20)}
    # halving a midpoint step divides the error by four, in the limit
    assert errors[5] / errors[10] > 3
    assert errors[10] / errors[20] > 3


def test_whitened_plates_do_not_see_linear_maps():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(80, 3)), rng.normal(size=(80, 3)) ** 3
    stretched = x @ np.diag([10.0, 1.0, 0.1])
    plain = far_lines(far_plates(x, y, frame="whitened"), x).partner
    same = far_lines(far_plates(stretched, y, frame="whitened"), stretched).partner
    # square roots of covariances differ by a rotation, unless the axes are those of the map: most partners stay
    assert np.mean(np.asarray(plain) == np.asarray(same)) > 0.5
    inside = far_plates(stretched, y, frame="whitened").pos.charges
    np.testing.assert_allclose(np.cov(np.asarray(inside).T, bias=True), np.eye(3), atol=1e-3)


@pytest.mark.parametrize("first", [-1, 2**24 - 1, 2**31 - 2])
def test_groups_may_have_any_whole_numbers(first):
    """Above 2^24 a number and the next are one in float32."""
    x, y = jnp.asarray([[0.0], [1.0], [0.1], [1.1]]), jnp.asarray([[200.0], [201.0], [100.0], [101.0]])
    groups = np.asarray([1, 1, 0, 0])
    wanted = far_lines(far_plates(x, y), x, groups=(groups, groups)).end
    numbers = np.int32(groups.astype(np.int64) + first)
    np.testing.assert_array_equal(far_lines(far_plates(x, y), x, groups=(numbers, numbers)).end, wanted)
    traced = jax.jit(lambda g: far_lines(far_plates(x, y), x, groups=(g, g)).end)(numbers)
    # two programs; a group's charges lie 1 apart and the other group's 99
    np.testing.assert_allclose(traced, wanted, atol=0.01)
    assert (np.abs(np.asarray(wanted)[:, 0] - [200.5, 200.5, 100.5, 100.5]) < 1).all()


def test_lines_of_groups_are_those_of_the_groups_alone():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(40, 2))
    groups = np.arange(30) % 2, np.arange(40) % 2
    plates = far_plates(x, y)
    partner = np.asarray(far_lines(plates, x, groups=groups).partner)
    assert (groups[1][partner] == groups[0]).all()
    alone = far_plates(x, y)
    alone = alone._replace(
        pos=alone.pos._replace(charges=alone.pos.charges[::2]),
        neg=alone.neg._replace(charges=alone.neg.charges[::2]),
    )
    assert (2 * np.asarray(far_lines(alone, x[::2]).partner) == partner[::2]).all()


def test_the_plan_costs_little_more_than_the_best_one():
    from efm_jax.datasets.toys import eight_gaussians, moons

    rng = np.random.default_rng(0)
    x, y = moons().draw(rng, 512), eight_gaussians().draw(rng, 512)
    costs = {
        "lines": ((x - y[couplings.lines_plan(x, y)]) ** 2).sum(1).mean(),
        "best": ((x - y[couplings.whole_plan(x, y)]) ** 2).sum(1).mean(),
        "independent": cdist(x, y, "sqeuclidean").mean(),
    }
    assert costs["lines"] < 1.06 * costs["best"]
    assert costs["independent"] > 4 * costs["best"]


def test_stretched_lines_reach_as_many_charges_as_random_ones_would_in_many_dimensions():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(512, 32)), rng.normal(size=(512, 32)) + 3 * (np.arange(512) % 4)[:, None]
    plates = far_plates(x, y)
    reached = {}
    for stretch in (False, True):
        partner = far_lines(plates, x, stretch=stretch).partner
        reached[stretch] = len(np.unique(np.asarray(partner))) / 512
    # drawing 512 of 512 with replacement reaches 1 - 1/e = 0.63 of them
    assert reached[False] < 0.4
    assert reached[True] > 0.55


def test_a_plan_of_lines_takes_all_options_of_lines():
    rng = np.random.default_rng(10)
    x = (rng.normal(size=(200, 2)) * [5.0, 0.5]).astype(np.float32)
    y = (rng.normal(size=(200, 2)) ** 3 @ [[1.0, 2.0], [0.0, 0.5]]).astype(np.float32)
    chosen = {"extra": 3, "stretch": False, "steps": 6, "first": 0.4}
    plates = far_plates(x, y, frame="whitened")
    plan = couplings.lines_plan(x, y, frame="whitened", **chosen)
    np.testing.assert_array_equal(plan, far_lines(plates, x, **chosen).partner)
    _, j = couplings.field_lines(frame="whitened", **chosen)(jax.random.key(0), x, y, 200)
    np.testing.assert_array_equal(np.sort(j), np.sort(plan))
    # measured: with the default in place of any of the five it would be another plan
    assert (couplings.lines_plan(x, y) != plan).mean() > 0.5


def test_a_little_flux_leaves_lines_all_but_upright():
    rng = np.random.default_rng(11)
    x, y = rng.normal(size=(2, 100, 2)).astype(np.float32)
    upright, nearly, random = (couplings.lines_plan(x, y, flux=flux) for flux in (0.0, 1e-4, 1.0))
    assert (nearly == upright).mean() > 0.97
    assert (random == upright).mean() < 0.7
    assert (couplings.lines_plan(x, y, flux=1.0, seed=1) != random).any()
    # each block has directions of its own
    twice = np.tile(x, (2, 1)), np.tile(y, (2, 1))
    halves = np.split(couplings.lines_plan(*twice, flux=1.0, block_size=100), 2)
    np.testing.assert_array_equal(halves[0], random)
    assert (halves[1] - 100 != random).mean() > 0.3


def test_one_to_one_is_the_least_change_of_the_ends():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(128, 16)), rng.normal(size=(128, 16)) + 3 * (np.arange(128) % 4)[:, None]
    lines = far_lines(far_plates(x, y), x, stretch=True)
    j = couplings.lines_plan(x, y, one_to_one=True)
    assert len(np.unique(lines.partner)) < 100
    np.testing.assert_array_equal(np.sort(j), np.arange(128))
    end = np.asarray(lines.end, np.float64)
    cost = cdist(end, y, "sqeuclidean")
    rows, best = linear_sum_assignment(cost)
    np.testing.assert_allclose(cost[rows, j].sum(), cost[rows, best].sum(), rtol=1e-6)  # x, y were rounded
    halves = couplings.lines_plan(x, y, one_to_one=True, block_size=64)
    assert (np.sort(halves[:64]) == np.arange(64)).all()
    assert (np.sort(halves[64:]) == np.arange(64, 128)).all()
    with pytest.raises(ValueError, match="one_to_one pairs as many rows of either side"):
        couplings.lines_plan(x, y[:100], one_to_one=True)


def lines_of_two(**options):
    return far_lines(far_plates(np.eye(2), np.eye(2)), np.eye(2), **options)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: far_plates(np.zeros((3, 2)), np.ones((3, 2))), "x_pos has no spread"),
        (
            lambda: far_plates(np.full((3, 2), 0.1), np.eye(2)),
            "x_pos has no spread",
        ),  # a mean of 0.1 is rounded
        (lambda: far_plates(np.eye(2), np.eye(3)), "same number of dimensions"),
        (lambda: far_plates(np.eye(2), np.eye(2), frame="box"), "frame"),
        (lambda: far_plate(np.eye(2), 0.1, np.eye(2), extra=0), "extra"),
        (lambda: far_plate(np.eye(2), 0.0, np.eye(2)), r"angle must lie in \(0, pi/2\].\n.* e.g. 0.0;"),
        (lambda: far_plate(np.eye(2), 2.0, np.eye(2)), r"angle must lie in \(0, pi/2\].\n.* e.g. 2.0;"),
        (lambda: far_plate(np.eye(2), np.nan, np.eye(2)), "angle must lie in"),
        (lambda: far_plate(np.eye(2), jnp.asarray([0.5, -0.5]), np.eye(2)), "1 of 2 do not, e.g. -0.5;"),
        (lambda: far_plate(np.ones(2), 0.1, np.eye(2)), r"points must have shape \[n, D\]"),
        (lambda: far_plate(np.eye(2), 0.1, np.eye(3)), "points and charges must have the same number of dim"),
        (lambda: lines_of_two(first=2.0), "below pi/2"),
        (
            lambda: far_lines(far_plates(np.eye(2), np.eye(2)), np.ones((4, 1))),
            r"x and the charges .* same number",
        ),
        (
            lambda: lines_of_two(towards=np.ones((1, 2))),
            r"towards must have the shape of x, \(2, 2\), got \(1, 2\)",
        ),
        (
            lambda: lines_of_two(groups=(np.zeros(2, int), np.zeros(1, int))),
            r"\(2,\) and \(2,\), got \(2,\) and \(1,\)",
        ),
        (
            lambda: lines_of_two(groups=(np.zeros(1, int), np.zeros(2, int))),
            r"\(2,\) and \(2,\), got \(1,\) and \(2,\)",
        ),
        (lambda: directions(KEY, (4, 2), extra=0), "extra must be a whole number >= 1, got 0"),
        (lambda: directions(KEY, (4, 2), extra=1, cut=1.5), "cut must be a share between 0 and 1, got 1.5"),
        (lambda: directions(KEY, (4,)), r"shape must be \(n, D\)"),
        (lambda: couplings.field_lines(first=-1.0), "first must be a finite number > 0, got -1.0"),
        (lambda: couplings.field_lines(first=2.0), "below pi/2"),
        (lambda: couplings.lines_plan(np.eye(3), np.ones((9, 3)), block_size=5), "blocks pair as many rows"),
    ],
)
def test_bad_input_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_traced_angle_out_of_range_gives_nan_for_its_point_alone():
    x, y = on_lines(2, n=8, p=5)
    angles = np.float32([0.3, 0.0, 2.0, np.nan, 0.5 * np.pi])
    within = np.array([True, False, False, False, True])
    for part in jax.jit(far_plate)(x, angles, y):
        np.testing.assert_array_equal(np.isfinite(part.reshape(5, -1)).all(1), within)
        assert np.isnan(part[~within]).all()
    known = far_plate(x[within], angles[within], y)
    np.testing.assert_allclose(jax.jit(far_plate)(x, angles, y).mean[within], known.mean, rtol=1e-6)


def test_a_right_angle_of_any_dtype_is_taken():
    x, y = on_lines(2, n=8, p=5)
    for angle in (np.pi / 2, np.float32(np.pi / 2), np.float64(np.pi / 2), jnp.arctan2(1.0, 0.0)):
        assert np.isfinite(far_plate(x, angle, y).velocity).all()
    with jax.enable_x64(True):
        assert np.isfinite(far_plate(x.astype(float), np.float32(np.pi / 2), y.astype(float)).velocity).all()


@pytest.mark.parametrize("frame", ["rms", "whitened"])
def test_half_precision_is_computed_in_float32(frame):
    x, y = on_lines(2, n=16, p=16)
    x, y = (np.asarray(part, np.float16) for part in (x, y))
    plates, wide = (
        far_plates(*(part.astype(t) for part in (x, y)), frame=frame) for t in (x.dtype, np.float32)
    )
    for part, same in zip(jax.tree.leaves(plates), jax.tree.leaves(wide), strict=True):
        np.testing.assert_array_equal(part, same, strict=True)
    field = far_plate(x, 0.1, plates.pos.charges)
    np.testing.assert_array_equal(
        field.velocity, far_plate(x.astype(np.float32), 0.1, plates.pos.charges).velocity
    )
    ends = far_lines(plates, x).end
    np.testing.assert_array_equal(ends, far_lines(plates, x.astype(np.float32)).end, strict=True)


def test_the_wider_dtype_of_points_and_charges_is_taken():
    with jax.enable_x64(True):
        x, y = (np.random.default_rng(seed).normal(size=(8, 2)) for seed in (0, 1))
        narrow = x.astype(np.float32)
        for a, b in ((narrow, y), (y, narrow)):
            found = far_plate(a, 0.1, b)
            same = far_plate(a.astype(np.float64), 0.1, b.astype(np.float64))
            np.testing.assert_allclose(found.velocity, same.velocity, rtol=1e-12)
            lines = far_lines(far_plates(a, b), a)
            assert lines.end.dtype == np.float64
