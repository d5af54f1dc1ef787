"""Clocks: monotone between both ends, slow where the field is stiff, and paths at equal heights whatever the clock."""

import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, A, linear_field, starts
from scipy.linalg import expm

from efm_jax.lines import adaptive, clocks, fixed
from efm_jax.lines.tracing import trace


@pytest.mark.parametrize(
    "clock", [clocks.linear, clocks.sine, clocks.logit(), clocks.logit(1e-4), clocks.log]
)
@pytest.mark.parametrize(("start", "stop"), [(0.5, 6.0), (6.0, 0.5)])
def test_clocks_are_monotone_and_meet_both_ends(clock, start, stop):
    u = jnp.linspace(0.0, 1.0, 101)
    z = np.asarray(clock(u, jnp.asarray(start), jnp.asarray(stop)))
    np.testing.assert_allclose(z[[0, -1]], [start, stop], rtol=1e-6)
    assert np.all(np.diff(z) * np.sign(stop - start) > 0)
    back = clocks.parameter(clock, jnp.asarray(z), jnp.asarray(start), jnp.asarray(stop))
    shown = np.asarray(clock(back, jnp.asarray(start), jnp.asarray(stop)))
    np.testing.assert_allclose(shown, z, atol=3e-6)  # float32 at size 6


def test_the_logit_clock_is_the_logit_of_the_height():
    eps = 1e-3
    z = np.asarray(
        clocks.logit(eps)(jnp.linspace(0, 1, 11), jnp.asarray(eps * 6), jnp.asarray((1 - eps) * 6))
    )
    s = np.log(z / (6 - z))
    # equal steps of s; near the far end 6 - z = 6e-3 holds four digits of float32
    np.testing.assert_allclose(np.diff(s), 2 * np.log((1 - eps) / eps) / 10, rtol=1e-3)


def test_a_clock_slow_near_the_plates_pays_where_the_field_is_stiff_there():
    """`dx/dz = gap / (z (gap - z))`, that is `x = logit(z / gap)`: one Euler step by logit is exact."""

    def field(points):
        z = points[:, -1:]
        return jnp.concatenate([jnp.full_like(z, GAP), z * (GAP - z)], axis=1)

    eps = 1e-3
    points = jnp.asarray([[0.0, eps * GAP]])
    exact = 2 * np.log((1 - eps) / eps)

    def error(solver, clock):
        lines = trace(field, points, (1 - eps) * GAP, stepping=fixed(solver, 16, clock=clock))
        return abs(float(lines.end[0, 0]) - exact)

    # the slope is constant in this clock; gap - z near the far plate is known to four digits
    assert error("euler", clocks.logit(eps)) < 1e-2
    assert error("midpoint", "sine") < error("midpoint", "linear") / 4
    assert error("midpoint", clocks.logit(eps)) < error("midpoint", "linear") / 100


def test_paths_are_at_equal_heights_whatever_the_clock():
    points = starts(z=0.2)
    paths = [
        trace(linear_field, points, GAP, stepping=adaptive(rtol=1e-5, clock=clock), save=7).path
        for clock in ("linear", clocks.logit(1e-2))
    ]
    heights = np.linspace(0.2, GAP, 7)
    for path in paths:
        assert path.shape == (7, 5, 3)
        np.testing.assert_array_equal(path[0], points)
        np.testing.assert_allclose(path[..., -1], np.broadcast_to(heights[:, None], (7, 5)), atol=1e-5)
        expected = np.stack([np.asarray(points)[:, :-1] @ expm(A * (z - 0.2)).T for z in heights])
        np.testing.assert_allclose(path[..., :-1], expected, atol=5e-4)  # interpolants between accepted steps


@pytest.mark.parametrize("eps", [0.0, 0.5, -1.0, float("nan")])
def test_a_logit_clock_needs_a_share(eps):
    with pytest.raises(ValueError, match="must lie in"):
        clocks.logit(eps)
