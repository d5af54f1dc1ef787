"""Lines against closed forms: circles of a dipole, linear flows, exact clocks; their order, cost and failures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from efm_jax import clocks
from efm_jax.charges import capacitor
from efm_jax.fields import field_fn
from efm_jax.lines import trace

GAP = 2.0
FIXED = ("euler", "heun", "midpoint", "ab2")
ADAPTIVE = ("bosh3", "tsit5", "dopri5")
A = np.array([[0.1, -0.6], [0.5, -0.2]])


def linear_field(points):
    """`dx/dz = A x`, times a positive factor that must not matter."""
    x = points[:, :-1]
    scale = 1.0 + jnp.sum(x * x, axis=1, keepdims=True)
    return jnp.concatenate([x @ jnp.asarray(A, x.dtype).T, jnp.ones_like(x[:, :1])], axis=1) * scale


def waving_field(points):
    """`dx/dz = x cos z`: x(z) = x(0) exp(sin z)."""
    x, z = points[:, :-1], points[:, -1:]
    return jnp.concatenate([x * jnp.cos(z), jnp.ones_like(z)], axis=1)


def turning_field(points):
    """A line that never climbs above z = 1."""
    x, z = points[:, :-1], points[:, -1:]
    return jnp.concatenate([jnp.ones_like(x), 1.0 - z], axis=1)


def dipole(dim):
    """A charge +1 at the origin, -1 at height GAP above it."""
    return field_fn(capacitor(jnp.zeros((1, dim)), jnp.zeros((1, dim)), GAP))


def plain_dipole(points):
    """The same by hand: cheap to compile."""
    away = points.at[:, -1].add(-GAP)
    return sum(
        s * d / jnp.linalg.norm(d, axis=1, keepdims=True) ** d.shape[1] for s, d in ((1, points), (-1, away))
    )


def starts(n=5, dim=2, z=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, dim))
    return jnp.asarray(np.c_[x, np.full(n, z)], jnp.float32)


def circle(points):
    """Centre x and radius of the circle through both charges of the 1-D dipole and each point."""
    x, z = np.asarray(points, np.float64).T
    centre = (x**2 + z * (z - GAP)) / (2 * x)
    return centre, np.sqrt(centre**2 + (GAP / 2) ** 2)


# ---- straight lines and linear flows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "by"),
    [*((solver, "height") for solver in FIXED + ADAPTIVE), ("euler", "arc"), ("dopri5", "arc")],
)
def test_lines_of_a_uniform_field_are_straight(solver, by):
    def field(points):
        return jnp.broadcast_to(jnp.asarray([0.5, -1.0, 2.0]), points.shape)

    points = starts(z=0.5)
    option = {} if solver in ADAPTIVE else {"step": 0.25}
    lines = trace(field, points, GAP, by=by, solver=solver, **option)
    expected = np.asarray(points) + np.array([0.5, -1.0, 2.0]) * (GAP - 0.5) / 2.0
    # every solver is exact here: rounding of some ten steps at size 3
    np.testing.assert_allclose(lines.end, expected, atol=3e-6)
    assert lines.arrived.all()


@pytest.mark.parametrize(
    ("solver", "clock"),
    [
        ("bosh3", "linear"),
        ("tsit5", "sine"),
        ("tsit5", "logit"),
        ("tsit5", clocks.logit(1e-3)),
        ("dopri5", "log"),
    ],
)
def test_a_linear_flow_ends_at_the_matrix_exponential(solver, clock):
    points = starts(z=0.1)
    lines = trace(linear_field, points, GAP, solver=solver, clock=clock, rtol=1e-5, atol=1e-5)
    expected = np.asarray(points)[:, :-1] @ expm(A * (GAP - 0.1)).T
    # the tolerance bounds the error of a step; some forty steps add up
    np.testing.assert_allclose(lines.end[:, :-1], expected, atol=4e-4)
    np.testing.assert_array_equal(lines.end[:, -1], GAP)


@pytest.mark.parametrize("by", ["height", "arc"])
def test_lines_back_return_to_their_start(by):
    points = starts(z=0.3)
    there = trace(linear_field, points, GAP, by=by, rtol=1e-5, atol=1e-5)
    back = trace(linear_field, there.end, 0.3, by=by, rtol=1e-5, atol=1e-5)
    assert (there.arrived & back.arrived).all()
    # two traces of error 2e-4 each at most, and the way back does not magnify it by more than e
    np.testing.assert_allclose(back.end, points, atol=5e-4)
    assert np.abs(np.asarray(there.end - points)[:, :-1]).max() > 0.1  # they did move


def test_each_line_starts_from_its_own_height():
    points = starts().at[:, -1].set(jnp.asarray([0.0, 0.5, 1.0, 1.9, GAP]))
    lines = trace(linear_field, points, GAP, rtol=1e-5, atol=1e-5)
    for point, end in zip(np.asarray(points, np.float64), np.asarray(lines.end), strict=True):
        np.testing.assert_allclose(end[:-1], expm(A * (GAP - point[-1])) @ point[:-1], atol=2e-4)
    assert lines.arrived.all()
    assert lines.num_evaluations[-1] == 0  # already there


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("by", ["height", "arc"])
def test_only_the_direction_of_the_field_matters(by, scale):
    points = starts()
    plain = trace(linear_field, points, GAP, by=by)
    scaled = trace(lambda p: linear_field(p) * scale, points, GAP, by=by)
    # rounding of the scaled numbers, magnified by the flow
    np.testing.assert_allclose(scaled.end, plain.end, atol=1e-4)


# ---- the dipole: circles in the plane, a stream function in space ---------------------------------------------------


def test_lines_of_a_plain_dipole_are_circles_through_both_charges():
    points = jnp.asarray([[0.1, 1.0], [-0.3, 0.6], [0.5, 1.1]])
    centre, radius = circle(points)
    lines = trace(dipole(1), points, 1.9, rtol=1e-5, atol=1e-5, save=6)
    # the arc of the circle between the charges bulges away from its centre
    expected = centre + np.sign(np.asarray(points)[:, 0]) * np.sqrt(radius**2 - (1.9 - GAP / 2) ** 2)
    # step errors of 1e-5, magnified less than tenfold near the charge
    np.testing.assert_allclose(lines.end[:, 0], expected, atol=1e-4)
    x, z = np.asarray(lines.path, np.float64)[..., 0], np.asarray(lines.path, np.float64)[..., 1]
    np.testing.assert_allclose(np.hypot(x - centre, z - GAP / 2), np.broadcast_to(radius, x.shape), rtol=1e-3)


def test_a_line_that_leaves_backward_meets_the_other_plane_where_its_circle_does():
    """By arc length: out through z < 0, round, and up through z = GAP at twice the centre of its circle."""
    points = jnp.asarray([[0.1, -0.1], [-0.05, -0.2], [0.02, -0.05]])
    centre, radius = circle(points)
    lines = trace(plain_dipole, points, GAP, by="arc", reverse=False, rtol=1e-5, atol=1e-5, save=30)
    assert lines.arrived.all()
    assert np.all(np.abs(centre) > 0.1)
    # relative to the size of the circles, up to ten gaps: step errors of 1e-5 relative, some fifty steps
    np.testing.assert_allclose(lines.end[:, 0], 2 * centre, rtol=1e-3)
    path = np.asarray(lines.path, np.float64)
    off = np.hypot(path[..., 0] - centre, path[..., 1] - GAP / 2) / radius
    np.testing.assert_allclose(off, 1.0, atol=1e-3)
    assert path[..., 1].min() < -0.2
    np.testing.assert_array_equal(path[0], points)
    np.testing.assert_array_equal(path[-1], lines.end)


def test_the_stream_function_of_a_dipole_in_space_is_conserved():
    rng = np.random.default_rng(1)
    points = jnp.asarray(np.c_[rng.normal(size=(6, 2)) * 0.3, rng.uniform(0.3, 0.8, 6)], jnp.float32)
    along = trace(plain_dipole, points, 1.8, rtol=1e-5, atol=1e-5, save=8)

    def stream(p):
        rho, z = np.hypot(p[..., 0], p[..., 1]), p[..., 2]
        return z / np.hypot(rho, z) - (z - GAP) / np.hypot(rho, z - GAP)

    values = stream(np.asarray(along.path, np.float64))
    np.testing.assert_allclose(values, np.broadcast_to(values[0], values.shape), atol=2e-4)
    assert np.ptp(values[0]) > 0.1  # the lines do differ in it
    by_arc = trace(plain_dipole, points, 1.8, by="arc", rtol=1e-5, atol=1e-5)
    # two solutions of one line, each to 1e-4
    np.testing.assert_allclose(by_arc.end, along.end, atol=2e-4)
    assert (along.arrived & by_arc.arrived).all()


def test_reverse_follows_the_field_backwards():
    """From the upper charge's plane down to the lower: against E by default, with E it never arrives."""
    points = jnp.asarray([[0.05, 1.8], [-0.1, 1.7]])
    down = trace(plain_dipole, points, 0.2, by="arc")
    assert down.arrived.all()
    centre, radius = circle(points)
    expected = centre + np.sign(np.asarray(points)[:, 0]) * np.sqrt(radius**2 - (0.2 - GAP / 2) ** 2)
    np.testing.assert_allclose(
        down.end[:, 0], expected, atol=1e-3
    )  # tolerance 1e-4, magnified near the charge
    assert not trace(plain_dipole, points, 0.2, by="arc", reverse=False, max_steps=60).arrived.any()


# ---- order, tolerance, cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "order"),
    [("euler", 1), ("heun", 2), ("midpoint", 2), ("ab2", 2), ("bosh3", 3), ("tsit5", 5), ("dopri5", 5)],
)
def test_fixed_steps_converge_with_the_order_of_the_solver(solver, order):
    clock = "sine" if solver in ("midpoint", "tsit5") else "linear"
    counts = (64, 128, 256)
    with jax.enable_x64(True):  # at fifth order float32 has no room between coarse steps and rounding
        points = jnp.asarray([[0.7, 0.0]])
        ends = [trace(waving_field, points, 3.0, solver=solver, steps=k, clock=clock).end for k in counts]
    errors = [abs(float(end[0, 0]) - 0.7 * np.exp(np.sin(3.0))) for end in ends]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # the next power of the step still shows: measured 1.01, 2.09, 2.14, 2.0, 2.98, 4.9, 4.99
    assert abs(slope - order) < 0.3, (errors, slope)


@pytest.mark.parametrize(("solver", "by"), [("bosh3", "height"), ("tsit5", "arc"), ("dopri5", "arc")])
def test_error_follows_the_tolerance(solver, by):
    points = starts(dim=1)
    exact = np.asarray(points, np.float64)[:, :1] * np.exp(np.sin(3.0))
    errors, costs = [], []
    for tolerance in (1e-2, 1e-3, 1e-4):
        lines = trace(waving_field, points, 3.0, by=by, solver=solver, rtol=tolerance, atol=tolerance)
        errors.append(np.abs(np.asarray(lines.end)[:, :-1] - exact).max())
        costs.append(int(lines.num_evaluations.max()))
    # some ten steps, each with at most its tolerance relative to |x| <= 3
    assert all(e < 10 * t for e, t in zip(errors, (1e-2, 1e-3, 1e-4), strict=True)), errors
    assert errors[2] < errors[0] / 10
    assert costs[0] < costs[1] < costs[2]


def test_loose_steps_by_arc_do_not_jump_across_the_plate():
    """Behind the last charge the field is turned about: a step that overshoots would circle there."""
    points = jnp.asarray(np.c_[np.linspace(-0.05, 0.05, 9), np.full(9, 0.04)], jnp.float32)
    lines = trace(plain_dipole, points, GAP - 0.04, by="arc", rtol=1e-2, atol=1e-2)
    assert lines.arrived.all()
    assert lines.num_evaluations.max() < 150
    # the circle is symmetric about the middle of the gap; well inside the tolerance
    np.testing.assert_allclose(lines.end[:, 0], points[:, 0], atol=5e-3)


@pytest.mark.parametrize(
    ("solver", "option", "expected"),
    [
        ("euler", {"step": 0.25}, 8),
        ("heun", {"steps": 8}, 16),
        ("midpoint", {"steps": 8}, 16),
        ("ab2", {"steps": 8}, 8),
        ("tsit5", {"steps": 8}, 49),  # the last stage of a step is the first of the next
        ("tsit5", {}, None),
        ("bosh3", {"by": "arc"}, None),
    ],
)
def test_evaluations_reported_are_the_evaluations_made(solver, option, expected):
    calls = []

    def counted(points):
        jax.debug.callback(lambda: calls.append(1))
        return linear_field(points)

    points = starts()
    lines = jax.block_until_ready(trace(counted, points, GAP, solver=solver, **option))
    jax.effects_barrier()
    evaluations = np.asarray(lines.num_evaluations)
    # every call serves the whole batch; its last line is under way in all of them
    assert len(calls) == evaluations.max()
    if expected is not None:
        np.testing.assert_array_equal(evaluations, expected)
    else:
        alone = [
            int(trace(linear_field, p[None], GAP, solver=solver, **option).num_evaluations[0]) for p in points
        ]
        # a line's cost is its own: a first stage computed anew for another's rejected first step may add one or two
        assert np.all(np.abs(evaluations - alone) <= 2), (evaluations, alone)


def test_a_step_is_at_most_dz_and_divides_the_way():
    one = starts(n=1)
    for step, count in ((0.1, 20), (0.3, 7), (2.0, 1), (5.0, 1)):
        assert int(trace(linear_field, one, GAP, solver="euler", step=step).num_evaluations[0]) == count
    by_hand = np.asarray(one, np.float64)[0, :-1]
    for _ in range(20):  # Algorithm 2 of the paper, x += (f_x / f_z) dz
        by_hand = by_hand + A @ by_hand * 0.1
    end = trace(linear_field, one, GAP, solver="euler", step=0.1).end
    np.testing.assert_allclose(end[0, :-1], by_hand, atol=1e-5)  # rounding of 20 steps


# ---- clocks ---------------------------------------------------------------------------------------------------------


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
        lines = trace(field, points, (1 - eps) * GAP, solver=solver, steps=16, clock=clock)
        return abs(float(lines.end[0, 0]) - exact)

    # the slope is constant in this clock; gap - z near the far plate is known to four digits
    assert error("euler", clocks.logit(eps)) < 1e-2
    assert error("midpoint", "sine") < error("midpoint", "linear") / 4
    assert error("midpoint", clocks.logit(eps)) < error("midpoint", "linear") / 100


def test_paths_are_at_equal_heights_whatever_the_clock():
    points = starts(z=0.2)
    paths = [
        trace(linear_field, points, GAP, clock=clock, rtol=1e-5, atol=1e-5, save=7).path
        for clock in ("linear", clocks.logit(1e-2))
    ]
    heights = np.linspace(0.2, GAP, 7)
    for path in paths:
        assert path.shape == (7, 5, 3)
        np.testing.assert_array_equal(path[0], points)
        np.testing.assert_allclose(path[..., -1], np.broadcast_to(heights[:, None], (7, 5)), atol=1e-5)
        expected = np.stack([np.asarray(points)[:, :-1] @ expm(A * (z - 0.2)).T for z in heights])
        np.testing.assert_allclose(path[..., :-1], expected, atol=5e-4)  # interpolants between accepted steps


# ---- lines that do not arrive ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [{}, {"solver": "euler", "step": 0.1}, {"solver": "midpoint", "steps": 12}]
)
def test_a_line_that_turns_back_is_stopped_and_reported(option):
    points = jnp.asarray([[0.0, 0.0], [1.0, 0.5]])
    lines = trace(turning_field, points, GAP, save=5, **option)
    assert not lines.arrived.any()
    assert np.isfinite(lines.end).all()
    assert np.isfinite(lines.path).all()
    # stopped at the last place below the turn; a fixed step may end up to one step short of it
    assert np.all(np.asarray(lines.end)[:, -1] <= 1.0 + 1e-4)
    assert np.all(np.asarray(lines.end)[:, -1] > 0.8)
    np.testing.assert_array_equal(lines.path[-1], lines.end)
    below = trace(turning_field, points, 0.9, rtol=1e-5, atol=1e-5)
    assert below.arrived.all()
    exact = np.asarray(points)[:, 0] + np.log((1 - np.asarray(points)[:, 1]) / 0.1)
    np.testing.assert_allclose(
        below.end[:, 0], exact, atol=1e-3
    )  # slope 10 at the end magnifies step errors of 1e-5


def test_a_line_too_long_is_given_up():
    lines = trace(turning_field, starts(dim=1), GAP, by="arc", max_length=50.0)
    assert not lines.arrived.any()
    assert np.isfinite(lines.end).all()
    # the step that passes the limit is the last; steps are at most half the distance from the start
    assert np.all(np.asarray(lines.end)[:, 0] < 120.0)


@pytest.mark.parametrize("option", [{}, {"solver": "heun", "steps": 8}, {"by": "arc"}])
def test_nan_stops_only_the_lines_that_meet_it(option):
    def field(points):
        flow = jnp.concatenate([jnp.ones_like(points[:, :-1]), jnp.ones_like(points[:, -1:])], axis=1)
        return jnp.where(points[:, :1] > 1.0, jnp.nan, flow)

    points = jnp.asarray([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    lines = trace(field, points, GAP, save=3, **option)
    np.testing.assert_array_equal(lines.arrived, [True, False, False])
    assert np.isfinite(lines.end).all()
    assert np.isfinite(lines.path).all()
    np.testing.assert_allclose(lines.end[0], [0.0, GAP], atol=1e-5)
    assert lines.end[1, 0] <= 1.0 + 1e-5
    np.testing.assert_array_equal(lines.end[2], points[2])  # it was there from the start


def test_steps_that_run_out_are_reported():
    lines = trace(linear_field, starts(), GAP, max_steps=2)
    assert not lines.arrived.any()
    assert np.isfinite(lines.end).all()
    assert np.all(np.asarray(lines.end)[:, -1] < GAP)


@pytest.mark.parametrize("by", ["height", "arc"])
def test_where_the_field_vanishes_a_line_does_not_move(by):
    lines = trace(jnp.zeros_like, starts(), GAP, by=by)
    assert not lines.arrived.any()
    np.testing.assert_array_equal(lines.end, starts())


# ---- compilation ----------------------------------------------------------------------------------------------------


def test_new_numbers_do_not_compile_anew():
    traces = []

    def apply(matrix, points):
        traces.append(1)
        x = points[:, :-1]
        return jnp.concatenate([x @ matrix.T, jnp.ones_like(x[:, :1])], axis=1)

    def run(matrix, to, steps):
        field = jax.tree_util.Partial(apply, jnp.asarray(matrix, jnp.float32))
        return trace(field, starts(), to, solver="heun", steps=steps, clock=clocks.logit(1e-2))

    first = run(A, 2.0, 20)
    count = len(traces)
    second = run(-A, 1.5, 30)
    assert len(traces) == count
    np.testing.assert_allclose(second.end[:, :-1], np.asarray(starts())[:, :-1] @ expm(-A * 1.5).T, atol=5e-3)
    assert not np.allclose(first.end, second.end)


@pytest.mark.parametrize("by", ["height", "arc"])
def test_inside_jit_the_field_may_be_a_closure_over_traced_values(by):
    @jax.jit
    def run(matrix, points):
        def field(p):
            x = p[:, :-1]
            return jnp.concatenate([x @ matrix.T, jnp.ones_like(x[:, :1])], axis=1)

        return trace(field, points, GAP, by=by)

    points = starts()
    expected = trace(linear_field, points, GAP, by=by).end
    np.testing.assert_allclose(run(jnp.asarray(A, jnp.float32), points).end, expected, atol=1e-4)
    assert not np.allclose(run(jnp.asarray(-A, jnp.float32), points).end, expected, atol=1e-2)


def test_rows_keep_their_place():
    """A field may hold data of each line: row i of what it is given is always line i."""
    slopes = jnp.asarray([[0.0], [1.0], [2.0], [-1.0], [5.0]])
    field = jax.tree_util.Partial(lambda s, p: jnp.concatenate([s, jnp.ones_like(s)], axis=1), slopes)
    for by in ("height", "arc"):
        lines = trace(field, starts(dim=1), GAP, by=by)
        np.testing.assert_allclose(lines.end[:, :1] - starts(dim=1)[:, :1], slopes * GAP, atol=2e-5)


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": jnp.zeros((3,))}, r"points must have shape \[n, D\+1\]"),
        ({"points": jnp.zeros((3, 1))}, "height z last"),
        ({"points": jnp.zeros((0, 3))}, "n >= 1"),
        ({"points": jnp.asarray([[0.0, jnp.nan, 0.0]])}, "points holds 1 NaN"),
        ({"points": np.zeros((3, 3), np.int64).astype("O")}, "floating-point"),
        ({"to": float("inf")}, "to must be"),
        ({"field": lambda p: p[:, :-1]}, "one vector"),
        ({"field": 3.0}, "field must be a function"),
        ({"by": "time"}, "by must be one of 'height', 'arc'"),
        ({"solver": "rk4"}, "solver must be one of"),
        ({"solver": "euler"}, "give steps= or step="),
        ({"solver": "ab2"}, "give steps= or step="),
        ({"steps": 4, "step": 0.1}, "give one of them"),
        ({"steps": 0}, "steps must be a whole number >= 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"step": -0.1}, "step must be a finite number > 0"),
        ({"rtol": 0.0}, "rtol must be a finite number > 0"),
        ({"atol": float("nan")}, "atol must be a finite number > 0"),
        ({"max_steps": 0}, "max_steps must be a whole number >= 1"),
        ({"save": 1}, "save must be a whole number >= 2"),
        ({"clock": "cuckoo"}, "clock must be one of 'linear'"),
        ({"reverse": True}, "reverse is for by='arc'"),
        ({"max_length": 3.0}, "max_length is for by='arc'"),
        ({"by": "arc", "steps": 5}, "give step= instead"),
        ({"by": "arc", "clock": "sine"}, "is for by='height'"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"field": linear_field, "points": starts(), "to": GAP, **change}
    with pytest.raises(ValueError, match=message):
        trace(arguments.pop("field"), arguments.pop("points"), arguments.pop("to"), **arguments)


@pytest.mark.parametrize("eps", [0.0, 0.5, -1.0, float("nan")])
def test_a_logit_clock_needs_a_share(eps):
    with pytest.raises(ValueError, match="must lie in"):
        clocks.logit(eps)
