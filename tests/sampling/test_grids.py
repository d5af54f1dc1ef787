"""Grids: solvers keep their order on them, nodes share the error equally, and few steps go where lines bend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.lines import clocks, fixed, trace
from efm_jax.sampling import grids


def waving_field(points):
    """dx/dz = x cos z: x = x_0 exp(sin z)."""
    return jnp.stack([points[:, 0] * jnp.cos(points[:, 1]), jnp.ones(len(points))], axis=1)


def layered_field(points):
    """dx/dz = sech^2((z - 0.3) / d) / d, d = 0.02: a rise of tanh(0.3 / d) + tanh(0.7 / d) = 2 in a thin layer."""
    inner = jnp.cosh(jnp.clip((points[:, 1] - 0.3) / 0.02, -40.0, 40.0))
    return jnp.stack([inner**-2 / 0.02, jnp.ones(len(points))], axis=1)


@pytest.mark.parametrize(
    ("solver", "order", "along"),
    [("euler", 1, "linear"), ("midpoint", 2, "sine"), ("heun", 2, "linear"), ("ab2", 2, "linear")],
)
def test_solvers_keep_their_order_on_uneven_steps(solver, order, along):
    errors, counts = [], (16, 32, 64)
    with jax.enable_x64(True):
        points = jnp.asarray([[0.7, 0.0]])
        for k in counts:
            nodes = np.linspace(0.0, 1.0, k + 1)
            # uneven within a step of its neighbor too: every second node is moved by a third of a step
            nodes[1:-1:2] += 1.0 / (3 * k)
            lines = trace(
                waving_field, points, 2.0, stepping=fixed(solver, k, clock=clocks.grid(nodes**1.5, along))
            )
            errors.append(abs(float(lines.end[0, 0]) - 0.7 * np.exp(np.sin(2.0))))
            assert lines.num_evaluations.tolist() == [k * (2 if solver in ("midpoint", "heun") else 1)]
            assert float(lines.end[0, 1]) == 2.0
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # the next power of the step still shows: 0.98, 2.25, 2.14, 2.08 in float64
    assert abs(slope - order) < 0.3, (errors, slope)


@pytest.mark.parametrize(("solver", "nodes"), [("euler", [0.0, 1.0]), ("ab2", [0.0, 0.1, 0.4, 1.0])])
def test_straight_lines_are_exact_in_one_step_of_euler_or_in_any(solver, nodes):
    points = jnp.asarray([[0.2, -1.0, 0.5], [3.0, 2.0, 0.5]])
    lines = trace(
        lambda p: jnp.broadcast_to(jnp.asarray([0.5, -1.0, 2.0]), p.shape),
        points,
        6.0,
        stepping=fixed(solver, clock=clocks.grid(nodes)),
        save=5,
    )
    straight = np.asarray(points) + np.linspace(0.0, 1.0, 5)[:, None, None] * np.array([1.375, -2.75, 5.5])
    # three roundings at size 6
    np.testing.assert_allclose(lines.path, straight, atol=3e-6)
    assert lines.arrived.all()
    assert lines.num_evaluations.tolist() == [len(nodes) - 1] * 2


def test_equal_nodes_are_the_equal_steps_of_the_clock():
    points = jnp.asarray([[0.7, 0.0]])
    even = clocks.grid(np.linspace(0.0, 1.0, 7), "sine")
    by_grid = trace(waving_field, points, 3.0, stepping=fixed("heun", clock=even))
    by_steps = trace(waving_field, points, 3.0, stepping=fixed("heun", 6))
    # the same twelve evaluations, the parameter counted in steps or in shares: float32 roundings
    np.testing.assert_allclose(by_grid.end, by_steps.end, rtol=2e-6)
    np.testing.assert_allclose(
        even(jnp.linspace(0.0, 1.0, 7), 0.0, 3.0), clocks.sine(jnp.linspace(0.0, 1.0, 7), 0.0, 3.0), atol=1e-6
    )


def test_nodes_share_the_density_equally():
    # rho = 2 s has the integral s^2: nodes at sqrt(j / k). Between two of 1,000 edges the integral is taken as straight,
    # which is off by less than an edge's width
    nodes = grids.equidistribute((np.arange(1000) + 0.5) / 500, 8)
    np.testing.assert_allclose(nodes, np.sqrt(np.arange(9) / 8), atol=1e-3)
    assert grids.equidistribute(np.ones(3), 1).tolist() == [0.0, 1.0]


def test_the_density_is_that_of_the_formula():
    s = np.linspace(0.0, 1.0, 65)
    middle = 0.5 * (s[1:] + s[:-1])

    def mixed(rho):
        return (1 - grids.EVEN) * rho / rho.mean() + grids.EVEN

    cubic = s[:, None, None] ** 3
    # one line, x = s^3: x'' = 6 s, and differences of 3 s^2 are exact at the middles
    found = grids.density(cubic, 3 * cubic ** (2 / 3), 1)
    np.testing.assert_allclose(found, mixed(middle**0.5), rtol=1e-9)
    # x = s^4, order 2: x''' = 24 s, whose second differences are exact at nodes and straight between, but the outermost
    # half intervals repeat their neighbors: a sixtieth of all
    found = grids.density(cubic ** (4 / 3), 4 * cubic, 2)
    np.testing.assert_allclose(found[1:-1], mixed(middle ** (1 / 3))[1:-1], rtol=2e-3)
    # lines x = x_0 e^s bend as much as they spread: the same error everywhere counts the same at the end
    growing = np.exp(s)[:, None, None] * np.array([[-1.0], [0.5], [3.0]])
    # e^s is differenced and averaged over intervals, which costs each the same factor
    np.testing.assert_allclose(grids.density(growing, growing, 1), 1.0, rtol=1e-9)
    assert grids.density(np.zeros((5, 2, 1)), np.ones((5, 2, 1)), 1).tolist() == [1.0] * 4


@pytest.mark.parametrize(("solver", "steps"), [("euler", 8), ("midpoint", 4), ("ab2", 12)])
def test_few_steps_go_into_a_thin_layer(solver, steps):
    pilots = grids.pilot_lines(layered_field, jnp.zeros((1, 2)), 1.0, along="linear", resolution=256)
    # 256 midpoints, five of them in each layer's half-width, are spectrally accurate for a rise that is flat at both ends
    np.testing.assert_allclose(pilots.ends, 2.0, atol=1e-3)
    placed = grids.place(pilots, steps, solver=solver)
    assert (placed.solver, placed.steps) == (solver, steps)
    errors = []
    for stepping in (placed, fixed(solver, steps, clock="linear")):
        lines = trace(layered_field, jnp.asarray([[0.0, 0.0]]), 1.0, stepping=stepping)
        errors.append(abs(float(lines.end[0, 0]) - 2.0))
    # equal steps of 1/12 to 1/4 see a layer of 0.02 at one point or at none and miss most of the rise, or make too much of
    # it; placed ones are about as long as the layer is wide
    assert errors[1] > 0.8
    assert errors[0] < 0.25 * errors[1], errors
    inner = placed.clock.shares[1:-1]
    assert ((inner > 0.15) & (inner < 0.45)).sum() >= steps / 2 - 1


def test_the_clock_in_which_lines_are_straight_is_found():
    # x = log(z / (1 - z)) is straight in the logit of the height
    def field(points):
        z = points[:, 1]
        return jnp.stack([1.0 / (z * (1.0 - z)), jnp.ones(len(z))], axis=1)

    eps = 0.01
    pilots = grids.pilot_lines(
        field, jnp.asarray([[0.0, eps]]), 1.0 - eps, along=("linear", clocks.logit(eps))
    )
    stepping = grids.place(pilots, 2, solver="euler")
    end = trace(field, jnp.asarray([[0.0, eps]]), 1.0 - eps, stepping=stepping).end[0, 0]
    # the fine lines in height, with which clocks are compared, are off by 1 % of the 9.19; the rounding of tanh near the
    # ends is seen through a slope of 100
    assert float(end) == pytest.approx(2 * np.log(99.0), abs=2e-2)


def test_pilots_that_turn_back_are_left_out_and_none_is_told():
    def field(points):
        up = jnp.where(points[:, 0] > 1.0, -1.0, 1.0)
        return jnp.stack([0.0 * up, up], axis=1)

    pilots = grids.pilot_lines(
        field, jnp.asarray([[0.0, 0.0], [2.0, 0.0]]), 1.0, along="linear", resolution=4
    )
    assert pilots.paths[0].shape == (5, 1, 1)
    assert np.isnan(pilots.ends[:, 0]).tolist() == [False, True]
    with pytest.raises(ValueError, match="none of 2 pilot lines arrives by the clock 'linear'"):
        grids.pilot_lines(field, jnp.asarray([[3.0, 0.0], [2.0, 0.0]]), 1.0, along="linear", resolution=4)


@pytest.mark.parametrize("steps", [2, 4])
def test_a_grid_by_which_lines_are_lost_is_the_last_choice(steps):
    """Where a step overshoots, the field points down: lines stop there, near the end of the fine ones in x."""

    def field(points):
        x, z = points[:, 0], points[:, 1]
        slope = jnp.where(z < 0.124, 4.0, jnp.where(z < 0.248, -4.0, 0.2))
        return jnp.stack([slope, jnp.where((z > 0.3) & (jnp.abs(x) > 0.3), -1.0, 1.0)], axis=1)

    start = jnp.zeros((4, 2))
    pilots = grids.pilot_lines(field, start, 1.0, along="linear", resolution=64)
    stepping = grids.place(pilots, steps, solver="euler")
    assert trace(field, start, 1.0, stepping=stepping).arrived.all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: clocks.grid([0.0, 0.5, 0.5, 1.0]), "nodes .* that rise from 0 to 1"),
        (lambda: clocks.grid([0.1, 1.0]), "nodes .* that rise from 0 to 1"),
        (lambda: grids.equidistribute(np.array([1.0, -1.0]), 2), "finite numbers >= 0"),
        (lambda: grids.equidistribute(np.zeros(3), 2), "one of them positive"),
        (lambda: grids.equidistribute(np.ones(3), 0), "steps must be a whole number >= 1"),
        (
            lambda: grids.density(np.zeros((2, 1, 1)), np.zeros((2, 1, 1)), 2),
            "order must be from 1 to the 1 steps",
        ),
        (lambda: grids.pilot_lines(waving_field, jnp.zeros((1, 2)), 1.0, along=()), "one clock at least"),
    ],
)
def test_bad_input_is_named(call, told):
    with pytest.raises(ValueError, match=told):
        call()
