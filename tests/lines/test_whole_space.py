"""Single lines to charges: the flux that a line of revolution encloses, the way back, why a line did not arrive."""

import _lines_to_charges
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from _lines_to_charges import KEY, LINES, plates
from scipy import stats

from efm_jax.charges.plates import Charges, capacitor
from efm_jax.fields import field_fn
from efm_jax.lines import adaptive, fixed, launches, whole_space

pytestmark = pytest.mark.optimized  # thousands of lines

plane = _lines_to_charges.plane  # the fixture


@pytest.fixture(scope="module")
def kept(plane):
    """The same lines with points along them."""
    charges, launch, _ = plane
    return whole_space.to_charges(launch.points, charges, save=33)


# ---- single lines ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, *(pytest.param(dim, marks=pytest.mark.slow) for dim in (2, 3, 4))])
def test_the_flux_enclosed_by_a_line_of_a_dipole_is_conserved(dim):
    """`C(theta1) - C(theta2)`, C the share of the sphere within an angle of the axis: theta at D = 1, cos at D = 2."""
    # two charges among many of 0, which are no charges: the shapes of the other tests
    many = plates(dim)
    two = jnp.zeros(256).at[jnp.asarray([0, 255])].set(jnp.asarray([1.0, -1.0]))
    upper = np.append(np.zeros(dim), 2.0)
    charges = Charges(many.positions.at[0].set(0.0).at[255].set(upper), two)
    launch = launches.from_charges(KEY, charges, LINES, distance=0.01)
    lines = whole_space.to_charges(launch.points, charges, stepping=adaptive(rtol=1e-4), save=33)
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
        center = (x**2 + z * (z - 2)) / (2 * x)
        angle = np.arctan2(1.0, -np.sign(x) * center)
        # less the way to the launch, 0.01 of the charge's own radius, which is the gap
        np.testing.assert_allclose(lines.length, 2 * angle / np.sin(angle) - 0.02, rtol=5e-3)


@pytest.mark.slow
def test_a_line_traced_back_returns_to_where_it_left(plane, kept):
    charges, launch, _ = plane
    close = whole_space.capture_radius(charges, reverse=True, share=0.1)
    back = whole_space.to_charges(kept.path[-2], charges, reverse=True, reach=close, save=33)
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


@pytest.mark.slow
def test_ends_do_not_depend_on_the_tolerance(plane):
    charges, launch, lines = plane
    fine = whole_space.to_charges(launch.points, charges, stepping=adaptive(rtol=1e-5))
    rough = whole_space.to_charges(launch.points, charges, stepping=adaptive(rtol=1e-2, greatest_step=0.8))
    astray = [np.mean(np.asarray(fine.charge) != np.asarray(other.charge)) for other in (lines, rough)]
    assert astray[0] < 0.01
    # the check can fail: much looser, some lines go astray
    assert astray[1] > 0.02
    cost = [float(other.num_evaluations.mean()) for other in (rough, lines, fine)]
    assert cost[0] < cost[1] < cost[2]


@pytest.mark.slow
def test_ends_do_not_depend_on_who_else_is_under_way(plane):
    charges, launch, lines = plane
    beside = whole_space.to_charges(launch.points, charges, at_once=200)
    # blocks of another size round otherwise
    assert np.mean(np.asarray(beside.charge) == np.asarray(lines.charge)) > 0.998
    np.testing.assert_allclose(np.median(beside.length - lines.length), 0.0, atol=1e-3)
    assert np.mean(np.abs(np.asarray(beside.num_evaluations - lines.num_evaluations)) <= 6) > 0.95


@pytest.mark.slow
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


@pytest.mark.parametrize("dim", [2, *(pytest.param(dim, marks=pytest.mark.slow) for dim in (1, 3))])
def test_what_enters_the_capture_radius_ends_there(dim):
    """On the sphere of that radius round each negative charge the field points inward everywhere."""
    charges = plates(dim)
    reach = np.asarray(whole_space.capture_radius(charges))
    assert np.all(reach[:128] == 0)
    assert np.all(reach[128:] > 0)
    rng = np.random.default_rng(0)
    way = rng.normal(size=(128, 20, dim + 1))
    way /= np.linalg.norm(way, axis=2, keepdims=True)
    points = np.asarray(charges.positions, np.float64)[128:, None] + reach[128:, None, None] * way
    field = reference.coulomb(points.reshape(-1, dim + 1), *charges).direction
    inward = -np.sum(field.reshape(way.shape) * way, axis=2)
    assert inward.min() > 0.5
    back = np.asarray(whole_space.capture_radius(charges, reverse=True))
    assert np.all((back > 0) == (reach == 0))


@pytest.mark.slow
def test_under_jit_only_the_charges_that_lines_end_on_capture():
    charges = plates(2)
    radius = jax.jit(whole_space.capture_radius)(charges)
    np.testing.assert_allclose(radius, whole_space.capture_radius(charges), rtol=1e-5)
    assert ((np.asarray(radius) > 0) == (np.asarray(charges.charge) < 0)).all()


# ---- lines that do not arrive ---------------------------------------------------------------------------------------


def affine(value, turn, points):
    return value + points @ turn


def test_lines_that_do_not_arrive_say_why():
    charges = plates(2)
    launch = launches.from_charges(KEY, charges, LINES, draws="independent")

    def reasons(charges=charges, **policy):
        lines = whole_space.to_charges(launch.points, charges, **policy)
        assert np.all(np.isfinite(np.asarray(lines.end)))
        np.testing.assert_array_equal(lines.arrived, np.asarray(lines.reason) == whole_space.ARRIVED)
        assert np.all((np.asarray(lines.charge) >= 0) == np.asarray(lines.arrived))
        return lines, whole_space.tally(lines)

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

    def linear(value, turn):
        """A field of one program: `value + p turn`."""
        field = jax.tree_util.Partial(affine, jnp.asarray(value), jnp.asarray(turn))
        return {"field": field, "stepping": adaptive(rtol=1e-3, max_steps=60)}

    for value in (jnp.nan, 0.0):
        lines, count = reasons(**linear(value, np.zeros((3, 3), np.float32)))
        assert count == {"no direction": LINES}
        np.testing.assert_array_equal(lines.end, launch.points)
    spinning = linear(0.0, np.asarray([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]], np.float32))
    lines, count = reasons(reach=jnp.zeros(256), **spinning)
    assert count == {"out of steps": LINES}
    assert np.asarray(lines.num_evaluations).max() <= 1 + 6 * 60


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
        ({"stepping": fixed("euler", 4)}, "choose their steps by arc length"),
        ({"stepping": adaptive(clock="sine")}, "choose their steps by arc length"),
        ({"stepping": "tsit5"}, "stepping must be what lines.fixed or lines.adaptive returns, got 'tsit5'"),
        ({"stepping": adaptive(greatest_step=1.0)}, "greatest_step must be below 1"),
        ({"max_length": -1.0}, "max_length must be"),
        ({"region": float("nan")}, "region must be"),
        ({"at_once": 0}, "at_once must be"),
        ({"save": 1}, "save must be a whole number >= 2"),
    ],
)
def test_bad_input_of_lines_to_charges_is_named(change, message):
    x = jnp.asarray([[0.0, 0.0], [1.0, 0.0]])
    arguments = {"points": jnp.ones((3, 3)), "charges": capacitor(x, x, 2.0), **change}
    with pytest.raises(ValueError, match=message):
        whole_space.to_charges(arguments.pop("points"), arguments.pop("charges"), **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"share": 1.0}, "below 1"), ({"height": 1.0}, "negative charge for lines to end on at height 1.0")],
)
def test_bad_capture_is_named(options, message):
    x = jnp.asarray([[0.0], [1.0]])
    with pytest.raises(ValueError, match=message):
        whole_space.capture_radius(capacitor(x, x, 2.0), **options)


def test_points_of_float32_may_follow_a_field_of_float64():
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(3, 1))
        charges = capacitor(x, x + 1.0, 2.0)
        field = field_fn(charges)
        points = jnp.asarray(np.concatenate([x, np.full((3, 1), 0.5)], axis=1), jnp.float32)
        ended = whole_space.to_charges(points, charges)
        same = whole_space.to_charges(points.astype(jnp.float64), charges)
        np.testing.assert_array_equal(ended.charge, same.charge)
        for follow in (whole_space.to_height, whole_space.to_plate):
            ended, same = (follow(field, p, 2.0) for p in (points, points.astype(jnp.float64)))
            assert ended.end.dtype == jnp.float32
            np.testing.assert_array_equal(ended.arrived, same.arrived)
            # each step of the lines errs by up to 1e-4
            np.testing.assert_allclose(ended.end, same.end, atol=1e-2)
