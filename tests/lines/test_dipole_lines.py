"""Lines of a dipole: circles in the plane, a stream function in space, across the plate and backwards."""

import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP

from efm_jax.charges.plates import capacitor
from efm_jax.fields import field_fn
from efm_jax.lines import adaptive, trace
from efm_jax.lines.whole_space import to_height


def dipole(dim):
    """A charge +1 at the origin, -1 at height GAP above it."""
    return field_fn(capacitor(jnp.zeros((1, dim)), jnp.zeros((1, dim)), GAP))


def plain_dipole(points):
    """The same by hand: cheap to compile."""
    away = points.at[:, -1].add(-GAP)
    return sum(
        s * d / jnp.linalg.norm(d, axis=1, keepdims=True) ** d.shape[1] for s, d in ((1, points), (-1, away))
    )


def circle(points):
    """Center x and radius of the circle through both charges of the 1-D dipole and each point."""
    x, z = np.asarray(points, np.float64).T
    center = (x**2 + z * (z - GAP)) / (2 * x)
    return center, np.sqrt(center**2 + (GAP / 2) ** 2)


@pytest.mark.smoke
def test_lines_of_a_plain_dipole_are_circles_through_both_charges():
    points = jnp.asarray([[0.1, 1.0], [-0.3, 0.6], [0.5, 1.1]])
    center, radius = circle(points)
    lines = trace(dipole(1), points, 1.9, stepping=adaptive(rtol=1e-5), save=6)
    # the arc of the circle between the charges bulges away from its center
    expected = center + np.sign(np.asarray(points)[:, 0]) * np.sqrt(radius**2 - (1.9 - GAP / 2) ** 2)
    # step errors of 1e-5, magnified less than tenfold near the charge
    np.testing.assert_allclose(lines.end[:, 0], expected, atol=1e-4)
    x, z = np.asarray(lines.path, np.float64)[..., 0], np.asarray(lines.path, np.float64)[..., 1]
    np.testing.assert_allclose(np.hypot(x - center, z - GAP / 2), np.broadcast_to(radius, x.shape), rtol=1e-3)


def test_a_line_that_leaves_backward_meets_the_other_plane_where_its_circle_does():
    """By arc length: out through z < 0, round, and up through z = GAP at twice the center of its circle."""
    points = jnp.asarray(
        [[0.1, -0.1], [-0.05, -0.2], [0.02, -0.05], [-0.1, -0.1], [0.05, -0.2], [0.08, -0.15]]
    )
    center, radius = circle(points)
    lines = to_height(plain_dipole, points, GAP, reverse=False, stepping=adaptive(rtol=1e-5), save=30)
    assert lines.arrived.all()
    assert np.all(np.abs(center) > 0.1)
    # relative to the size of the circles, up to ten gaps: step errors of 1e-5 relative, some fifty steps
    np.testing.assert_allclose(lines.end[:, 0], 2 * center, rtol=1e-3)
    path = np.asarray(lines.path, np.float64)
    off = np.hypot(path[..., 0] - center, path[..., 1] - GAP / 2) / radius
    np.testing.assert_allclose(off, 1.0, atol=1e-3)
    assert path[..., 1].min() < -0.2
    np.testing.assert_array_equal(path[0], points)
    np.testing.assert_array_equal(path[-1], lines.end)


def test_the_stream_function_of_a_dipole_in_space_is_conserved():
    rng = np.random.default_rng(1)
    points = jnp.asarray(np.c_[rng.normal(size=(6, 2)) * 0.3, rng.uniform(0.3, 0.8, 6)], jnp.float32)
    along = trace(plain_dipole, points, 1.8, stepping=adaptive(rtol=1e-5), save=8)

    def stream(p):
        rho, z = np.hypot(p[..., 0], p[..., 1]), p[..., 2]
        return z / np.hypot(rho, z) - (z - GAP) / np.hypot(rho, z - GAP)

    values = stream(np.asarray(along.path, np.float64))
    np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), atol=2e-4)
    assert np.ptp(values[0]) > 0.1  # the lines do differ in it
    by_arc = to_height(plain_dipole, points, 1.8, stepping=adaptive(rtol=1e-5))
    # two solutions of one line, each to 1e-4
    np.testing.assert_allclose(by_arc.end, along.end, atol=2e-4)
    assert (along.arrived & by_arc.arrived).all()


def test_reverse_follows_the_field_backwards():
    """From the upper charge's plane down to the lower: against E by default, with E it never arrives."""
    points = jnp.asarray([[0.05, 1.8], [-0.1, 1.7], [0.2, 1.7], [-0.05, 1.75], [0.1, 1.6], [-0.3, 1.5]])
    down = to_height(plain_dipole, points, 0.2)
    assert down.arrived.all()
    center, radius = circle(points)
    expected = center + np.sign(np.asarray(points)[:, 0]) * np.sqrt(radius**2 - (0.2 - GAP / 2) ** 2)
    np.testing.assert_allclose(
        down.end[:, 0], expected, atol=1e-3
    )  # tolerance 1e-4, magnified near the charge
    assert not to_height(plain_dipole, points, 0.2, reverse=False, max_length=50.0).arrived.any()


def test_loose_steps_by_arc_do_not_jump_across_the_plate():
    """Behind the last charge the field is turned about: a step that overshoots would circle there."""
    points = jnp.asarray(np.c_[np.linspace(-0.05, 0.05, 6), np.full(6, 0.04)], jnp.float32)
    lines = to_height(plain_dipole, points, GAP - 0.04, stepping=adaptive(rtol=1e-2))
    assert lines.arrived.all()
    assert lines.num_evaluations.max() < 150
    # the circle is symmetric about the middle of the gap; well inside the tolerance
    np.testing.assert_allclose(lines.end[:, 0], points[:, 0], atol=5e-3)
