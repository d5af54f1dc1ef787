"""Launches: every line an equal share of the flux, from charges and from fresh samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from scipy import stats
from strips import Strips

from efm_jax.charges.plates import Charges, capacitor, plate
from efm_jax.fields import coulomb
from efm_jax.fields.nearest_charges import radii
from efm_jax.lines import launches

KEY = jax.random.key(3)


def plates(dim, n=40, gap=3.0, seed=0):
    rng = np.random.default_rng(seed)
    return capacitor(*(rng.normal(size=(2, n, dim)).astype(np.float32)), gap)


def filled(charges):
    """With charges of 0, which are no charges, up to 80: the shapes of the other tests."""
    more = 80 - len(charges.charge)
    return Charges(jnp.pad(charges.positions, ((0, more), (0, 0))), jnp.pad(charges.charge, (0, more)))


# ---- from charges ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num", "least", "most"), [(100, 2, 3), (80, 2, 2), (7, 0, 1)])
def test_even_draws_use_every_charge_equally_often(num, least, most):
    launch = launches.from_charges(KEY, plates(2), num)
    counts = np.bincount(launch.origin, minlength=80)
    assert counts[:40].min() == least
    assert counts[:40].max() == most
    assert counts[40:].sum() == 0  # none leaves from a negative charge
    assert not np.all(np.diff(np.asarray(launch.origin)) >= 0)  # in random order


@pytest.mark.parametrize("draws", ["even", "independent"])
def test_charges_are_drawn_in_proportion_to_what_they_carry(draws):
    charge = jnp.asarray([1.0, 2.0, -4.0, 5.0, 0.0])
    charges = filled(Charges(jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32), charge))
    counts = np.bincount(launches.from_charges(KEY, charges, 4000, draws=draws).origin, minlength=5)
    expected = np.array([500.0, 1000.0, 0.0, 2500.0, 0.0])
    # strata hold the counts to 1; four standard deviations of independent ones
    np.testing.assert_allclose(counts, expected, atol=1 if draws == "even" else 130)
    assert counts[2] == counts[4] == 0
    back = launches.from_charges(KEY, charges, 30, reverse=True)
    assert set(np.asarray(back.origin)) == {2}


@pytest.mark.parametrize("dim", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_directions_are_uniform_on_the_sphere(dim):
    """Also with what the field of the others bends, at a distance too small for it."""
    charges = plates(dim)
    launch = launches.from_charges(KEY, charges, 4000, distance=1e-2)
    away = np.asarray(launch.points, np.float64) - np.asarray(charges.positions, np.float64)[launch.origin]
    way = away / np.linalg.norm(away, axis=1, keepdims=True)
    # 4000 draws of standard deviation 1/sqrt(dim + 1): four standard errors
    assert np.abs(way.mean(axis=0)).max() < 4 / np.sqrt(4000 * (dim + 1))
    np.testing.assert_allclose(way.T @ way / 4000, np.eye(dim + 1) / (dim + 1), atol=0.03)
    if dim == 1:
        angle = np.arctan2(way[:, 1], way[:, 0]) / (2 * np.pi) % 1
        assert stats.kstest(angle, "uniform").pvalue > 1e-3
    else:
        # each of D + 1 coordinates squared follows Beta(1/2, D/2)
        assert stats.kstest(way[:, 0] ** 2, stats.beta(0.5, dim / 2).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(np.asarray(launch.up), way[:, -1] > 0)
    for hemisphere, side in (("up", 1), ("down", -1)):
        half = launches.from_charges(KEY, charges, 4000, height=0.0, hemisphere=hemisphere, distance=1e-2)
        z = side * np.asarray(half.points)[:, -1]
        # no mirror plane here: the others' field bends by up to 1e-2
        assert np.mean(z > 0) > 0.98
        assert np.mean(np.asarray(half.up) == (side > 0)) > 0.98


@pytest.mark.parametrize("dim", [2, 20])
def test_the_own_radius_is_where_the_own_field_has_fallen_to_the_others(dim):
    charges = plates(dim)
    positions, charge = (np.asarray(values, np.float64) for values in charges)
    found = radii(charges, jnp.arange(80))
    distance = np.linalg.norm(positions[:, None] - positions[None], axis=2) + np.diag(np.full(80, np.inf))
    # distances to three digits of the rounding of products at dim 20
    np.testing.assert_allclose(found.neighbor, distance.min(axis=1), rtol=1e-5)
    others = reference.coulomb(positions, positions, charge)
    own = (
        np.log(np.abs(charge))
        - reference.coulomb(np.eye(1, dim + 1), np.zeros((1, dim + 1)), [1.0]).log_magnitude * -1
    )
    radius = np.exp((own - others.log_magnitude) / dim)
    np.testing.assert_allclose(found.field_radius, radius, rtol=1e-3)
    np.testing.assert_allclose(found.own_radius, np.minimum(radius, distance.min(axis=1)), rtol=1e-3)
    launch = launches.from_charges(KEY, charges, 60, distance=0.1)
    gone = np.linalg.norm(np.asarray(launch.points, np.float64) - positions[launch.origin], axis=1)
    # float32 coordinates of size 3 beside distances of 0.01
    np.testing.assert_allclose(gone, 0.1 * np.asarray(found.own_radius)[launch.origin], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_launch_is_on_the_line_that_left_the_charge_in_that_direction(dim):
    """Two charges on the axis: `q1 C(theta1) + q2 C(theta2)`, C the share of a cap, is the flux a line of them encloses.

    At the charge itself theta1 is the direction and theta2 that of the other charge, so the value there is known. The
    first-order bend leaves a second-order error: a quarter for half the distance at D = 1, a sixteenth at D = 2.
    """
    q2, errors = -3.0, []
    positions = jnp.zeros((2, dim + 1)).at[1, -1].set(1.0)
    charges = filled(Charges(positions, jnp.asarray([1.0, q2])))

    def cap(cosine):
        return np.arccos(cosine) if dim == 1 else 1 - cosine

    for distance in (0.4, 0.2):
        launch = launches.from_charges(KEY, charges, 400, distance=distance)
        straight = np.asarray(jax.random.normal(jax.random.split(KEY, 3)[2], (400, dim + 1)), np.float64)
        straight /= np.linalg.norm(straight, axis=1, keepdims=True)
        away = np.asarray(launch.points, np.float64)
        from_other = away - np.asarray(positions[1], np.float64)
        cosines = (v[:, -1] / np.linalg.norm(v, axis=1) for v in (away, from_other))
        there = cap(next(cosines)) + q2 * cap(next(cosines))
        errors.append(np.abs(there - (cap(straight[:, -1]) + q2 * cap(-1.0))).max())
    radius = 0.2 * float(radii(charges, jnp.asarray([0])).own_radius[0])
    first_order = abs(q2) * radius**dim / 2  # what an unbent launch would err by, at least
    assert errors[1] < 0.5 * first_order, (errors, first_order)
    assert errors[1] < errors[0] / 2 ** (dim + 0.5), errors


def test_lines_against_the_field_are_launched_as_those_of_all_charges_reversed():
    charges = plates(2)
    conjugate = charges._replace(charge=-charges.charge)
    back = launches.from_charges(KEY, charges, 200, reverse=True, distance=0.4)
    forth = launches.from_charges(KEY, conjugate, 200, distance=0.4)
    np.testing.assert_array_equal(back.origin, forth.origin)
    # the same sums with plus and minus exchanged
    np.testing.assert_allclose(back.points, forth.points, atol=1e-5)


def test_a_launch_is_off_its_charge_whatever_float32_says():
    """Neighbors as close as the coordinates can tell, far from the origin."""
    charges = filled(plate(jnp.asarray([[1000.0], [1000.0 + 2e-4], [1001.0]]), 0.0, 1.0))
    launch = launches.from_charges(KEY, charges, 400)
    away = np.asarray(launch.points - charges.positions[launch.origin])
    assert np.all(np.linalg.norm(away, axis=1) > 0)
    first = away[np.asarray(launch.origin) == 0]
    assert (
        len(np.unique(np.round(np.arctan2(first[:, 1], first[:, 0]), 2))) > 50
    )  # directions are still told apart


def test_samples_at_one_place_count_as_one_charge():
    charges = filled(plate(jnp.asarray([[0.0], [0.0], [1.0]]), 0.0, 3.0))
    found = radii(charges, jnp.arange(3))
    np.testing.assert_allclose(found.neighbor, 1.0)
    # two charges of 1 at 0 beside one of 1 at 1: twice its field at the same place, 1 / (2 pi r), rules twice as far
    np.testing.assert_allclose(found.field_radius, [2.0, 2.0, 0.5], rtol=1e-5)
    halves = Charges(jnp.asarray([[0.0, 0.0], [0.0, 0.0], [0.0, 3.0]]), jnp.asarray([0.5, 0.5, -1.0]))
    whole = Charges(halves.positions[1:], jnp.asarray([1.0, -1.0]))
    apart, one = (
        launches.from_charges(KEY, charges, 400, distance=0.3) for charges in map(filled, (halves, whole))
    )
    np.testing.assert_allclose(apart.points, one.points, rtol=1e-5, atol=1e-6)


# ---- from samples ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.5, 4.0])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_flux_rule_gives_the_share_of_both_sides(gap, reverse):
    """Strips of uniform charge, their field in closed form: E_z(+0) / P leaves upward, where E_z(-0) <= 0."""
    strips = Strips(gap)
    low, high = strips.q if reverse else strips.p
    height, sign = (gap, -1.0) if reverse else (0.0, 1.0)
    x = np.random.default_rng(1).uniform(low, high, size=(4000, 1)).astype(np.float32)
    above, below = (sign * strips.field(np.c_[x, np.full_like(x, height + s * 1e-4)])[:, 1] for s in (1, -1))
    # the jump is the density; 1e-4 from the plate, the edges within 1e-2 put aside
    inner = (x[:, 0] > low + 1e-2) & (x[:, 0] < high - 1e-2)
    np.testing.assert_allclose((above - below)[inner], 1 / (high - low), atol=5e-3)
    share = np.where(below > 0, 1.0, np.maximum(above, 0) / (above - np.minimum(below, 0)))
    assert 0.2 < share.mean() < 0.95
    launch = launches.from_samples(KEY, strips, x, height=height, offset=1e-3, reverse=reverse)
    # four standard errors of 4000 draws, overall and weighted by x, which tells the places apart
    up = np.asarray(launch.up, float)
    assert abs((up - share).mean()) < 4 * 0.5 / np.sqrt(4000)
    weight = (x[:, 0] - x.mean()) / x.std()
    assert abs((weight * (up - share)).mean()) < 4 * 0.5 / np.sqrt(4000)
    z = np.asarray(launch.points)[:, 1]
    np.testing.assert_allclose(z, height + np.where(up > 0, 1e-3, -1e-3), atol=1e-6)
    np.testing.assert_array_equal(launch.origin, np.arange(4000))


def test_directions_alone_tell_as_much_as_magnitudes():
    """Both sides' tangential parts are equal, so unit vectors give the ratio of strengths: the same draws."""
    rng = np.random.default_rng(0)
    quantiles = stats.norm.ppf((np.arange(40)[:, None] + 0.5) / 40).astype(np.float32)
    charges = capacitor(quantiles, quantiles, 1.0)
    x = jnp.asarray(rng.normal(size=(2000, 1)), jnp.float32)
    offset, field = 3 * launches.spacing(charges), partial(coulomb, charges=charges, certified=False)
    by_field = launches.from_samples(KEY, field, x, offset=offset)
    by_direction = launches.from_samples(KEY, lambda p: 7.0 * field(p).direction, x, offset=offset)
    # the sheet of charges is seen from a height where tangential parts above and below still differ a little
    assert np.mean(np.asarray(by_field.up) == np.asarray(by_direction.up)) > 0.95
    assert 0.5 < np.mean(np.asarray(by_field.up)) < 0.95


def two_sides(above, below, points):
    return jnp.where(points[:, 1:] > 0, above, below)


@pytest.mark.parametrize(
    ("above", "below", "expected"),
    [((0.1, 1.0), (0.1, 0.2), 1.0), ((0.1, -0.2), (0.1, -1.0), 0.0), ((0.0, 1.0), (0.0, -1.0), 0.5)],
)
def test_lines_from_the_other_side_pass_and_symmetry_splits_evenly(above, below, expected):
    field = jax.tree_util.Partial(two_sides, jnp.asarray(above), jnp.asarray(below))
    launch = launches.from_samples(KEY, field, jnp.zeros((1000, 1)), offset=0.1)
    assert abs(float(launch.up.mean()) - expected) < (1e-9 if expected != 0.5 else 0.07)


def test_spacing_is_the_typical_distance_to_a_neighbor():
    """A Poisson process of density 1 in the plane, 80 points of it: median distance `sqrt(ln 2 / pi)`."""
    x = np.random.default_rng(0).uniform(high=np.sqrt(80), size=(80, 2)).astype(np.float32)
    # standard error of the median some 6 %, and points at the rim have fewer neighbors
    assert abs(launches.spacing(plate(x, 0.0, 1.0)) / np.sqrt(np.log(2) / np.pi) - 1) < 0.25


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_lines": 0}, "num_lines must be a whole number >= 1"),
        ({"hemisphere": "left"}, "hemisphere must be one of 'both', 'up', 'down'"),
        ({"draws": "odd"}, "draws must be one of 'even', 'independent'"),
        ({"distance": 1.5}, "below 1"),
        ({"distance": 1.0}, "below 1"),
        ({"distance": 0.0}, "distance must be a finite number > 0"),
        (
            {"height": 1.0},
            r"positive charge to launch from at height 1.0; got 4 charges at heights \[0.0, 2.0\]",
        ),
        ({"charges": plate(jnp.zeros((1, 1)), 0.0, -1.0)}, "must hold a positive charge"),
        ({"charges": Charges(jnp.zeros((2, 2)), jnp.zeros(3))}, "charges must be positions"),
    ],
)
def test_bad_launches_from_charges_are_named(change, message):
    x = jnp.asarray([[0.0], [1.0]])
    arguments = {"key": KEY, "charges": capacitor(x, x, 2.0), "num_lines": 3, **change}
    with pytest.raises(ValueError, match=message):
        launches.from_charges(
            arguments.pop("key"), arguments.pop("charges"), arguments.pop("num_lines"), **arguments
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": jnp.zeros(3)}, "x must have shape"),
        ({"offset": -1.0}, "offset must be a finite number > 0"),
        ({"field": lambda p: p[:, :1]}, "one vector"),
    ],
)
def test_bad_launches_from_samples_are_named(change, message):
    arguments = {"field": lambda p: p, "x": jnp.zeros((2, 1)), "offset": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        launches.from_samples(KEY, arguments["field"], arguments["x"], offset=arguments["offset"])


def test_launches_say_that_they_are_made_outside_jit():
    with pytest.raises(ValueError, match="outside jit"):
        jax.jit(lambda c: launches.from_charges(KEY, c, 3).points)(plates(1))


def test_one_place_has_no_spacing():
    with pytest.raises(ValueError, match="two places"):
        launches.spacing(filled(plate(jnp.zeros((3, 1)), 0.0, 1.0)))


def test_charges_of_0_have_no_part_in_the_spacing():
    # those that fill up lie 10 from the others
    charges = filled(plate(jnp.asarray([[10.0], [11.0], [12.0]]), 0.0, 1.0))
    assert launches.spacing(charges) == 1.0
