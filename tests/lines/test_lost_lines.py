"""Lines that do not arrive: stopped where they are, finite, reported, and no hindrance to the others."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, linear_field, starts

from efm_jax.lines import adaptive, fixed, trace
from efm_jax.lines.whole_space import to_height


def turning_field(points):
    """A line that never climbs above z = 1."""
    x, z = points[:, :-1], points[:, -1:]
    return jnp.concatenate([jnp.ones_like(x), 1.0 - z], axis=1)


@pytest.mark.parametrize(
    "stepping", [adaptive(), fixed("euler", step=0.1), fixed("midpoint", 12, clock="linear")]
)
def test_a_line_that_turns_back_is_stopped_and_reported(stepping):
    points = jnp.asarray([[0.0, 0.0], [1.0, 0.5]])
    lines = trace(turning_field, points, GAP, stepping=stepping, save=5)
    assert not lines.arrived.any()
    assert np.isfinite(lines.end).all()
    assert np.isfinite(lines.path).all()
    # stopped at the last place below the turn; a fixed step may end up to one step short of it
    assert np.all(np.asarray(lines.end)[:, -1] <= 1.0 + 1e-4)
    assert np.all(np.asarray(lines.end)[:, -1] > 0.8)
    np.testing.assert_array_equal(lines.path[-1], lines.end)
    # past its end a path is the end, its height too
    end, heights = np.asarray(lines.end), np.linspace(np.asarray(points)[:, 1], GAP, 5)
    past = heights > end[:, -1] + 1e-3
    assert past.sum() >= 4
    np.testing.assert_array_equal(np.asarray(lines.path)[past], np.broadcast_to(end, (5, 2, 2))[past])
    below = trace(turning_field, points, 0.9, stepping=adaptive(rtol=1e-5))
    assert below.arrived.all()
    exact = np.asarray(points)[:, 0] + np.log((1 - np.asarray(points)[:, 1]) / 0.1)
    np.testing.assert_allclose(
        below.end[:, 0], exact, atol=1e-3
    )  # slope 10 at the end magnifies step errors of 1e-5


def test_a_line_too_long_is_given_up():
    lines = to_height(turning_field, starts(dim=1), GAP, max_length=50.0)
    assert not lines.arrived.any()
    assert np.isfinite(lines.end).all()
    # the step that passes the limit is the last; steps are at most half the distance from the start
    assert np.all(np.asarray(lines.end)[:, 0] < 120.0)


@pytest.mark.parametrize(
    "follow", [trace, partial(trace, stepping=fixed("heun", 8, clock="linear")), to_height]
)
def test_nan_stops_only_the_lines_that_meet_it(follow):
    def field(points):
        flow = jnp.concatenate([jnp.ones_like(points[:, :-1]), jnp.ones_like(points[:, -1:])], axis=1)
        return jnp.where(points[:, :1] > 1.0, jnp.nan, flow)

    points = jnp.asarray([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    lines = follow(field, points, GAP, save=3)
    np.testing.assert_array_equal(lines.arrived, [True, False, False])
    assert np.isfinite(lines.end).all()
    assert np.isfinite(lines.path).all()
    # some fifty steps, each rounded to 2.4e-7
    np.testing.assert_allclose(lines.end[0], [0.0, GAP], atol=3e-5)
    assert lines.end[1, 0] <= 1.0 + 1e-5
    np.testing.assert_array_equal(lines.end[2], points[2])  # it was there from the start


def test_steps_that_run_out_are_reported():
    lines = trace(linear_field, starts(), GAP, stepping=adaptive(max_steps=2))
    assert not lines.arrived.any()
    assert np.isfinite(lines.end).all()
    assert np.all(np.asarray(lines.end)[:, -1] < GAP)


@pytest.mark.parametrize("follow", [trace, to_height])
def test_where_the_field_vanishes_a_line_does_not_move(follow):
    lines = follow(jnp.zeros_like, starts(), GAP)
    assert not lines.arrived.any()
    np.testing.assert_array_equal(lines.end, starts())
