"""The theorem's stochastic map: lines through the whole space, and what they do to P.

Oracles: Gauss's law as a count of hits, the flux a line of revolution encloses, the way back, closed forms of smooth
plates. The shapes of most tests are those of one fixture, so that few programs are compiled.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from strips import Strips

from efm_jax import _endings, launches, metrics, roaming, sampling
from efm_jax.charges import Charges, capacitor, capacitor_chain
from efm_jax.datasets import toys
from efm_jax.fields import coulomb, field_fn

KEY = jax.random.key(7)
LINES = 2048
FIELD = Strips()


def plates(dim, n=128, gap=6.0, seed=0):
    rng = np.random.default_rng(seed)
    return capacitor(
        rng.normal(size=(n, dim)).astype(np.float32),
        (0.7 * rng.normal(size=(n, dim)) + 1).astype(np.float32),
        gap,
    )


def mapped(charges, num=LINES, draws="independent", **policy):
    launch = launches.from_charges(KEY, charges, num, draws=draws)
    return launch, roaming.to_charges(launch.points, charges, **policy)


@pytest.fixture(scope="module")
def plane():
    """Lines of 128 + 128 charges at D = 2."""
    charges = plates(2)
    launch, lines = mapped(charges)
    return charges, launch, lines


@pytest.fixture(scope="module")
def kept(plane):
    """The same lines with points along them."""
    charges, launch, _ = plane
    return roaming.to_charges(launch.points, charges, save=33)


@pytest.fixture(scope="module")
def smooth():
    """Lines of two strips of uniform charge by the flux rule, from either plate."""
    lines = {}
    for reverse in (False, True):
        start, stop = Strips().q if reverse else Strips().p
        x = np.random.default_rng(0).uniform(start, stop, size=(2000, 1)).astype(np.float32)
        lines[reverse] = sampling.stochastic_map(KEY, FIELD, x, 2.0, reverse=reverse, offset=2e-3, save=40)
    return lines


def assert_uniform(lines, charges, independent=True):
    """Every negative charge is hit as often as any other; 99.8 % of the lines arrive."""
    arrived = np.asarray(lines.arrived)
    assert arrived.mean() >= 0.998, roaming.tally(lines)
    (ends,) = np.nonzero(np.asarray(charges.charge) < 0)
    hits = np.bincount(np.asarray(lines.charge)[arrived], minlength=len(charges.charge))
    assert hits[ends].sum() == arrived.sum()
    expected = arrived.sum() / len(ends)
    statistic = np.sum((hits[ends] - expected) ** 2 / expected)
    low, high = stats.chi2(len(ends) - 1).ppf([0.005, 0.995])
    # launches without replacement vary less than chance: then too little is no fault
    assert low * independent <= statistic <= high, statistic / (len(ends) - 1)
    return statistic / (len(ends) - 1)


# ---- hits -----------------------------------------------------------------------------------------------------------


def test_every_negative_charge_is_hit_equally_often(plane):
    """By flux each of n lines from random charges in random directions ends on any negative charge with chance 1/128."""
    charges, launch, lines = plane
    assert_uniform(lines, charges)
    up = np.asarray(launch.up)
    # the map is stochastic: lines of one charge part, and half leave backward
    assert 0.4 < up.mean() < 0.6
    assert len(np.unique(np.asarray(lines.charge)[np.asarray(launch.origin) == 5])) > 3
    length = np.asarray(lines.length)
    assert 6.0 < np.median(length) < 64.0
    assert length.max() > 1000.0


@pytest.mark.slow
@pytest.mark.parametrize("gap", [6.0, 30.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_hits_are_uniform_in_every_dimension(dim, gap):
    charges = plates(dim, gap=gap, seed=dim)
    assert_uniform(mapped(charges)[1], charges)
    assert_uniform(mapped(charges, draws="even")[1], charges, independent=False)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [6.0, 30.0])
@pytest.mark.parametrize("target", ["swiss_roll", "two_gaussians"])
def test_the_toys_arrive_with_uniform_hits_and_the_right_law(target, gap):
    toy = getattr(toys, target)()
    rng = np.random.default_rng(0)
    charges = capacitor(toys.gaussian().draw(rng, 1024), toy.draw(rng, 1024), gap)
    _, lines = mapped(charges)
    assert_uniform(lines, charges)
    _, even = mapped(charges, draws="even")
    q = np.asarray(charges.positions)[1024:, :-1]
    # random charges of Q in place of those that lines end on: what W2 to Q chance alone leaves
    floor = np.mean([metrics.wasserstein2(q[rng.integers(0, 1024, 1024)], q) for _ in range(3)])
    # launches without replacement only help; the spread of W2 where modes are 16 apart is some 30 %
    assert metrics.wasserstein2(np.asarray(even.end)[:1024, :-1], q) < 1.3 * floor


@pytest.mark.slow
def test_the_chain_is_deterministic_where_order_is_kept():
    """At D = 1 lines cannot cross: of 16 lines from each of 128 charges, 16 end on each, but for shared border lines."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 128, 1)).astype(np.float32)
    charges = capacitor_chain(x, 0.7 * y + 1, 6.0, reach=60.0)
    launch = launches.from_charges(KEY, charges, LINES, height=0.0, hemisphere="up")
    reach = roaming.capture_radius(charges, height=6.0)
    lines = roaming.to_charges(launch.points, charges, reach=reach)
    assert np.asarray(lines.arrived).mean() >= 0.999, roaming.tally(lines)
    hits = np.bincount(np.asarray(lines.charge), minlength=len(charges.charge))[np.asarray(reach) > 0]
    assert np.abs(hits - 16).max() <= 3
    from_, to = np.asarray(charges.positions)[np.asarray(launch.origin), 0], np.asarray(lines.end)[:, 0]
    order = np.lexsort((to, from_))
    assert np.mean(np.diff(to[order]) >= 0) > 0.99


# ---- single lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, *(pytest.param(dim, marks=pytest.mark.slow) for dim in (1, 3, 4))])
def test_the_flux_enclosed_by_a_line_of_a_dipole_is_conserved(dim):
    """`C(theta1) - C(theta2)`, C the share of the sphere within an angle of the axis: theta at D = 1, cos at D = 2."""
    # two charges among many of 0, which are no charges: the shapes of the other tests
    many = plates(dim)
    two = jnp.zeros(256).at[jnp.asarray([0, 255])].set(jnp.asarray([1.0, -1.0]))
    upper = np.append(np.zeros(dim), 2.0)
    charges = Charges(many.positions.at[0].set(0.0).at[255].set(upper), two)
    launch = launches.from_charges(KEY, charges, LINES, distance=0.01)
    lines = roaming.to_charges(launch.points, charges, tolerance=1e-4, save=33)
    assert lines.arrived.all()
    assert np.all(np.asarray(lines.charge) == 255)

    def cap(away):
        angle = np.arctan2(np.linalg.norm(away[..., :-1], axis=-1), away[..., -1])
        # the integral of sin^(D-1), normed: for angles below pi/2 half of I(D/2, 1/2) of sin^2
        half = 0.5 * stats.beta(0.5 * dim, 0.5).cdf(np.sin(angle) ** 2)
        return np.where(angle < np.pi / 2, half, 1 - half)

    path = np.asarray(lines.path, np.float64)[:-1]
    enclosed = cap(path) - cap(path - upper)
    far = np.linalg.norm(path, axis=2).max(axis=0)
    # steps of error 1e-4 each, some fifty of them; the lines that go far out close to the axis come last
    np.testing.assert_allclose(enclosed, np.broadcast_to(enclosed[0], enclosed.shape), atol=3e-3)
    assert np.ptp(enclosed[0]) > 0.5
    assert far.max() > 5.0
    if dim == 1:
        # a circle through both charges, left at the angle phi to the axis: an arc of 2 phi / sin phi
        x, z = path[0].T
        centre = (x**2 + z * (z - 2)) / (2 * x)
        angle = np.arctan2(1.0, -np.sign(x) * centre)
        # less the way to the launch, 0.01 of the charge's own radius, which is the gap
        np.testing.assert_allclose(lines.length, 2 * angle / np.sin(angle) - 0.02, rtol=5e-3)


def test_a_line_traced_back_returns_to_where_it_left(plane, kept):
    charges, launch, _ = plane
    close = roaming.capture_radius(charges, reverse=True, share=0.1)
    back = roaming.to_charges(kept.path[-2], charges, reverse=True, reach=close, save=33)
    # the error of a step is 1e-3: one line in a hundred may take the other side of a border
    assert np.mean(np.asarray(back.charge) == np.asarray(launch.origin)) > 0.99
    # and comes in where it went out: a uniform direction meets that within 11 degrees once in a hundred times
    origin = np.asarray(charges.positions, np.float64)[np.asarray(launch.origin)]
    out = np.asarray(launch.points, np.float64) - origin
    into = np.asarray(back.path[-2], np.float64) - origin
    cosine = np.sum(out * into, axis=1) / np.linalg.norm(out, axis=1) / np.linalg.norm(into, axis=1)
    near = np.linalg.norm(into, axis=1) < 3 * np.asarray(close)[np.asarray(launch.origin)]
    assert near.sum() > 200
    # within three tenths of its own radius a line is bent by some (3/10)^2
    assert np.median(cosine[near]) > 0.99
    assert np.mean(cosine[near] > 0.9) > 0.98


def test_ends_do_not_depend_on_the_tolerance(plane):
    charges, launch, lines = plane
    fine = roaming.to_charges(launch.points, charges, tolerance=1e-5)
    rough = roaming.to_charges(launch.points, charges, tolerance=1e-2, greatest_step=0.8)
    astray = [np.mean(np.asarray(fine.charge) != np.asarray(other.charge)) for other in (lines, rough)]
    assert astray[0] < 0.01
    # the check can fail: much looser, some lines go astray
    assert astray[1] > 0.02
    cost = [float(other.num_evaluations.mean()) for other in (rough, lines, fine)]
    assert cost[0] < cost[1] < cost[2]


@pytest.mark.slow
def test_ends_do_not_depend_on_who_else_is_under_way(plane):
    charges, launch, lines = plane
    beside = roaming.to_charges(launch.points, charges, at_once=200)
    # blocks of another size round otherwise
    assert np.mean(np.asarray(beside.charge) == np.asarray(lines.charge)) > 0.998
    np.testing.assert_allclose(np.median(beside.length - lines.length), 0.0, atol=1e-3)
    assert np.mean(np.abs(np.asarray(beside.num_evaluations - lines.num_evaluations)) <= 6) > 0.95


def test_paths_run_from_the_launch_to_the_charge(plane, kept):
    charges, launch, lines = plane
    np.testing.assert_array_equal(kept.path[0], launch.points)
    np.testing.assert_array_equal(kept.path[-1], charges.positions[kept.charge])
    assert (
        np.mean(np.asarray(kept.charge) == np.asarray(lines.charge)) > 0.998
    )  # another program, other roundings
    path = np.asarray(kept.path, np.float64)
    chords = np.linalg.norm(np.diff(path, axis=0), axis=2)
    # a polygon is shorter than its line, but for errors of 1e-3 of the steps
    ratio = chords.sum(axis=0) / np.asarray(kept.length)
    assert ratio.max() < 1.01
    assert np.median(ratio) > 0.95
    assert np.mean(path[..., -1].min(axis=0) < -0.5) > 0.1  # round the outside
    assert np.mean(path[..., -1].max(axis=0) > 6.5) > 0.1  # past the plate of Q


def test_equal_shapes_are_compiled_once(plane):
    before = _endings.to_charges_jit._cache_size()
    other = plates(2, gap=5.0, seed=9)
    lines = mapped(other)[1]
    assert _endings.to_charges_jit._cache_size() == before
    assert_uniform(lines, other)
    assert np.all(np.asarray(lines.end)[:, -1] == 5.0)


@pytest.mark.parametrize("dim", [1, *(pytest.param(dim, marks=pytest.mark.slow) for dim in (2, 3))])
def test_what_enters_the_capture_radius_ends_there(dim):
    """On the sphere of that radius round each negative charge the field points inward everywhere."""
    charges = plates(dim)
    reach = np.asarray(roaming.capture_radius(charges))
    assert np.all(reach[:128] == 0)
    assert np.all(reach[128:] > 0)
    rng = np.random.default_rng(0)
    way = rng.normal(size=(128, 20, dim + 1))
    way /= np.linalg.norm(way, axis=2, keepdims=True)
    points = np.asarray(charges.positions, np.float64)[128:, None] + reach[128:, None, None] * way
    field = coulomb(jnp.asarray(points.reshape(-1, dim + 1), jnp.float32), charges).direction
    inward = -np.sum(np.asarray(field).reshape(way.shape) * way, axis=2)
    assert inward.min() > 0.5
    back = np.asarray(roaming.capture_radius(charges, reverse=True))
    assert np.all((back > 0) == (reach == 0))


# ---- lines that do not arrive ---------------------------------------------------------------------------------------


def test_lines_that_do_not_arrive_say_why(plane):
    charges, launch, _ = plane

    def reasons(charges=charges, **policy):
        lines = roaming.to_charges(launch.points, charges, **policy)
        assert np.all(np.isfinite(np.asarray(lines.end)))
        np.testing.assert_array_equal(lines.arrived, np.asarray(lines.reason) == roaming.ARRIVED)
        assert np.all((np.asarray(lines.charge) >= 0) == np.asarray(lines.arrived))
        return lines, roaming.tally(lines)

    lines, count = reasons(max_length=8.0)
    assert set(count) == {"arrived", "too long"}
    # the last bit, from the sphere of capture to the charge, is not asked about
    assert np.all(np.asarray(lines.length)[np.asarray(lines.arrived)] <= 8.2)
    lines, count = reasons(region=12.0)
    assert set(count) == {"arrived", "left the region"}
    # P outweighs Q: a third of its lines goes off for ever
    heavier = charges._replace(charge=jnp.where(charges.charge > 0, 1.5 * charges.charge, charges.charge))
    _, count = reasons(charges=heavier)
    # four standard errors of 2,048 lines
    assert abs(count["left the region"] / LINES - 1 / 3) < 0.045
    for value in (jnp.nan, 0.0):
        nowhere = jax.tree_util.Partial(lambda value, p: jnp.full_like(p, value), jnp.asarray(value))
        lines, count = reasons(field=nowhere, max_steps=60)
        assert count == {"no direction": LINES}
        np.testing.assert_array_equal(lines.end, launch.points)
    spinning = jax.tree_util.Partial(
        lambda turn, p: p @ turn, jnp.asarray([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]])
    )
    lines, count = reasons(field=spinning, reach=jnp.zeros(256), max_steps=60)
    assert count == {"out of steps": LINES}
    assert np.asarray(lines.num_evaluations).max() <= 1 + 6 * 60


# ---- smooth plates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
def test_uniform_strips_map_onto_each_other(smooth, reverse):
    """Fresh uniform samples of P, each sent up or down by the flux rule, end uniform on Q, whatever the way."""
    low, high = FIELD.p if reverse else FIELD.q
    lines = smooth[reverse]
    arrived = np.asarray(lines.arrived)
    assert arrived.mean() >= 0.998, roaming.tally(lines)
    end = np.asarray(lines.end)
    np.testing.assert_array_equal(end[arrived, 1], 0.0 if reverse else 2.0)
    share = (end[:, 0] - low) / (high - low)
    # edges, where the field is singular, are blurred by the offset of 2e-3 and some
    assert stats.kstest(share[arrived], "uniform").pvalue > 1e-2
    # those that keep inside alone are another map, and a wrong one: the test can fail
    direct = np.asarray(lines.length) < 4.0
    assert 0.2 < direct.mean() < 0.8
    assert stats.kstest(share[direct & arrived], "uniform").pvalue < 1e-6


def test_a_line_may_cross_the_plate_and_end_on_it_from_behind(smooth):
    from_behind = np.asarray(smooth[False].path)[-2, :, 1] > 2.0
    # the share of Q's flux that comes from above is what its upper side shows, E_z(+0) < 0 there
    y = np.linspace(*FIELD.q, 2001)[1:-1, None]
    upper = -FIELD.field(np.c_[y, np.full_like(y, 2.0 + 1e-6)])[:, 1]
    share = np.clip(upper * (FIELD.q[1] - FIELD.q[0]), 0, 1).mean()
    assert 0.2 < share < 0.8
    # four standard errors of 2,000 lines
    assert abs(from_behind.mean() - share) < 0.045, (from_behind.mean(), share)


def test_lines_end_where_both_sides_of_the_plate_meet():
    """Round and round about (0, 1): through both plates, unless the field turns about behind one at x > 0."""

    def wheel(turn, p):
        way, plate, side = turn
        spin = way * jnp.stack([-(p[:, 1] - 1.0), p[:, 0]], axis=1)
        behind = (side * (p[:, 1] - plate) > 0) & (p[:, 0] > 0)
        return jnp.where(behind[:, None], -spin, spin)

    def run(*turn):
        field = jax.tree_util.Partial(wheel, jnp.asarray(turn))
        return roaming.to_plate(field, jnp.asarray([[1.5, 1.0], [2.0, 1.0]]), 2.0, max_length=40.0)

    radius = np.array([1.5, 2.0])
    free = run(1.0, 0.0, 0.0)
    assert roaming.tally(free) == {"too long": 2}
    # three turns and more: on the circle still, steps of error 1e-4 of three
    np.testing.assert_allclose(np.linalg.norm(np.asarray(free.end) - [0, 1], axis=1), radius, rtol=0.02)
    np.testing.assert_allclose(free.length, 40.0, atol=1.6)  # the step that goes beyond is the last
    caught = run(1.0, 2.0, 1.0)
    assert caught.arrived.all()
    np.testing.assert_allclose(caught.end, np.c_[np.sqrt(radius**2 - 1), [2.0, 2.0]], atol=5e-3)
    np.testing.assert_allclose(caught.length, radius * np.arcsin(1 / radius), atol=5e-3)
    # backward they would meet the lower plate first, and it is not theirs to end on
    stuck = run(-1.0, 0.0, -1.0)
    assert roaming.tally(stuck) == {"stuck on the other plate": 2}
    np.testing.assert_allclose(stuck.end, np.c_[np.sqrt(radius**2 - 1), [0.0, 0.0]], atol=5e-3)


@pytest.mark.slow
def test_fresh_samples_of_a_plate_of_charges_go_where_its_flux_goes():
    """2,048 charges a plate as if smooth, seen from three spacings off: W2 to Q beside that of two sets of Q."""
    rng = np.random.default_rng(0)
    charges = capacitor(
        rng.normal(size=(2048, 2)).astype(np.float32), rng.normal(size=(2048, 2)).astype(np.float32) + 2, 6.0
    )
    x = jnp.asarray(rng.normal(size=(512, 2)), jnp.float32)
    lines = sampling.stochastic_map(
        KEY, field_fn(charges), x, 6.0, offset=3 * launches.spacing(charges), tolerance=1e-3, at_once=128
    )
    arrived = np.asarray(lines.arrived)
    assert arrived.mean() > 0.98, roaming.tally(lines)
    floor = metrics.wasserstein2(rng.normal(size=(512, 2)), rng.normal(size=(512, 2)))
    end = np.asarray(lines.end)[arrived][:, :-1]
    # seen from the offset, the plates are smeared by it, and thin tails are lost
    assert metrics.wasserstein2(end, rng.normal(size=(len(end), 2)) + 2) < 2.5 * floor


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": jnp.zeros((3, 4))}, r"points must have shape \[n, 3\]"),
        ({"points": jnp.zeros((0, 3))}, "n >= 1"),
        ({"points": jnp.full((2, 3), jnp.inf)}, "6 NaN or infinite"),
        ({"charges": Charges(jnp.zeros((2, 3)), jnp.ones(2))}, "must hold a negative charge"),
        ({"charges": Charges(jnp.zeros((2, 3)), jnp.ones(3))}, "charges must be positions"),
        ({"reach": jnp.ones(3)}, "one radius per charge"),
        ({"field": lambda p: p[:, :1], "reach": jnp.ones(4)}, "one vector"),
        ({"solver": "euler"}, "solver must be one of 'bosh3', 'tsit5', 'dopri5'"),
        ({"tolerance": 0.0}, "tolerance must be a finite number > 0"),
        ({"greatest_step": 1.0}, "greatest_step must be below 1"),
        ({"max_length": -1.0}, "max_length must be"),
        ({"region": float("nan")}, "region must be"),
        ({"max_steps": 0}, "max_steps must be"),
        ({"at_once": 0}, "at_once must be"),
        ({"save": 1}, "save must be a whole number >= 2"),
    ],
)
def test_bad_input_of_lines_to_charges_is_named(change, message):
    x = jnp.asarray([[0.0, 0.0], [1.0, 0.0]])
    arguments = {"points": jnp.ones((3, 3)), "charges": capacitor(x, x, 2.0), **change}
    with pytest.raises(ValueError, match=message):
        roaming.to_charges(arguments.pop("points"), arguments.pop("charges"), **arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gap": 0.0}, "gap must be"),
        ({"offset": 2.0}, "offset must be below half the gap"),
        ({"field": 3.0}, "field must be a function"),
        ({"field": lambda p: p[:, :1]}, "one vector"),
    ],
)
def test_bad_input_of_lines_to_plates_is_named(change, message):
    arguments = {"field": jnp.ones_like, "points": jnp.ones((3, 3)), "gap": 2.0, **change}
    with pytest.raises(ValueError, match=message):
        roaming.to_plate(arguments.pop("field"), arguments.pop("points"), arguments.pop("gap"), **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"share": 1.0}, "below 1"), ({"height": 1.0}, "negative charge for lines to end on at height 1.0")],
)
def test_bad_capture_is_named(options, message):
    x = jnp.asarray([[0.0], [1.0]])
    with pytest.raises(ValueError, match=message):
        roaming.capture_radius(capacitor(x, x, 2.0), **options)
