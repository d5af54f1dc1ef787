"""The nearest charge of a point and own radii: no points, coordinates whose squares overflow, and the smallest radii."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cdist

from efm_jax.charges.plates import Charges, capacitor
from efm_jax.fields.nearest_charges import capturing, nearest, radii


def scene(dim):
    """Sixteen charges, and a point a fifth of a unit beside each."""
    rng = np.random.default_rng(dim)
    charges = capacitor(*rng.standard_normal((2, 8, dim)).astype(np.float32), 6.0)
    aside = rng.standard_normal(charges.positions.shape)
    aside *= 0.2 / np.linalg.norm(aside, axis=1, keepdims=True)
    return charges, charges.positions + aside.astype(np.float32)


def test_no_points_have_no_nearest_charge():
    charges, points = scene(2)
    reach = jnp.full(16, 0.5)
    assert capturing(points[:0], charges, reach).shape == (0,)
    assert [part.shape for part in nearest(points[:0], charges, reach)] == [(0,), (0,)]
    own = radii(charges, jnp.zeros(0, jnp.int32))
    assert own.others.direction.shape == (0, 3)
    assert own.neighbor.shape == own.field_radius.shape == own.own_radius.shape == (0,)


@pytest.mark.optimized  # where distances cancel, the roundings count
@pytest.mark.parametrize("dim", [2, 20])
def test_distances_hold_where_squares_overflow(dim):
    charges, points = scene(dim)
    reach = jnp.full(16, 0.5)
    near, whose = nearest(points, charges, reach), capturing(points, charges, reach)
    true = cdist(points, charges.positions)
    # products of 21 dimensions, about the middle
    np.testing.assert_allclose(near[0], true.min(axis=1), rtol=2e-4)
    np.testing.assert_allclose(near[1], true.min(axis=1) / 0.5, rtol=2e-4)
    np.testing.assert_array_equal(whose, true.argmin(axis=1))
    own = radii(charges, jnp.arange(16))
    for unit in np.float32([1e20, 1e30]):
        far = charges._replace(positions=charges.positions * unit)
        found = nearest(points * unit, far, reach * unit)
        # coordinates rounded anew
        np.testing.assert_allclose(found[0] / unit, near[0], rtol=1e-4)
        np.testing.assert_allclose(found[1], near[1], rtol=1e-4)
        np.testing.assert_array_equal(capturing(points * unit, far, reach * unit), whose)
        wider = radii(far, jnp.arange(16))
        np.testing.assert_allclose(wider.neighbor / unit, own.neighbor, rtol=1e-4)
        np.testing.assert_allclose(wider.own_radius / unit, own.own_radius, rtol=1e-4)


def test_the_smallest_radius_captures_what_is_within_it_and_none_captures_nothing():
    charges = Charges(jnp.asarray([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]), jnp.ones(3))
    reach = jnp.asarray([1e-20, 0.0, 1e-30])
    points = jnp.asarray([[0.0, 0.0], [1e-15, 0.0], [1.0, 0.0], [2.0, 0.0]])
    distance, relative = nearest(points, charges, reach)
    np.testing.assert_allclose(distance, [0.0, 1e-15, 0.0, 0.0], rtol=1e-6)
    np.testing.assert_allclose(relative, [0.0, 1e5, 1e20, 0.0], rtol=1e-5)
    np.testing.assert_array_equal(capturing(points, charges, reach), [0, 0, 0, 2])
    # below the normal numbers of float32
    assert not np.isnan(nearest(points, charges, jnp.asarray([1e-40, 0.5, 0.0]))[1]).any()


@pytest.mark.parametrize("dim", [20, 784, 3072])
def test_a_charge_is_at_its_own_place_in_many_dimensions(dim):
    charges, _ = scene(dim)
    # far from the origin, so that little of a product's digits is left for distances
    charges = charges._replace(positions=charges.positions + 30.0)
    reach = jnp.full(16, 0.1)
    distance, relative = nearest(charges.positions, charges, reach)
    assert not distance.any()
    assert not relative.any()
    np.testing.assert_array_equal(capturing(charges.positions, charges, reach), np.arange(16))


def test_distances_keep_the_digits_of_float64():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        positions = jnp.asarray(rng.standard_normal((300, 20)) + 1e3)
        charges = Charges(positions, jnp.ones(300))
        aside = 1e-6 * np.eye(20)[0]
        distance, _ = nearest(positions[:8] + aside, charges, jnp.full(300, 1.0))
        # rounding of 1e-16 of squares of about 20, where the middle is taken off
        np.testing.assert_allclose(distance, 1e-6, rtol=0.02)
