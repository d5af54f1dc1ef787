"""Lines against closed forms: straight lines and linear flows; one compilation; bad input by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, A, linear_field, starts
from scipy.linalg import expm

from efm_jax.lines import clocks
from efm_jax.lines.tracing import trace

FIXED = ("euler", "heun", "midpoint", "ab2")
ADAPTIVE = ("bosh3", "tsit5", "dopri5")


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


def test_a_line_that_has_arrived_stays_so_while_others_run():
    """It ends in a step that is also past the longest way, beside a shorter line that needs many more steps."""

    def field(points):
        side = jnp.where(points[:, 0] > 50.0, 0.3 * jnp.sin(30.0 * points[:, 1]), 0.0)
        return jnp.stack([side, jnp.ones_like(side)], axis=1)

    start = jnp.asarray([[0.0, 0.0], [100.0, 2.0]])
    alone, both = (trace(field, x, 6.0, by="arc", max_length=5.9999) for x in (start[:1], start))
    assert alone.arrived.tolist() == [True]
    assert both.arrived.tolist() == [True, True]
    assert both.num_evaluations[1] > both.num_evaluations[0]


# ---- bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": jnp.zeros((3,))}, r"points must have shape \[n, D\+1\]"),
        ({"points": jnp.zeros((3, 1))}, "height z last"),
        ({"points": jnp.zeros((0, 3))}, "n >= 1"),
        ({"points": jnp.asarray([[0.0, jnp.nan, 0.0]])}, "points holds 1 NaN"),
        ({"points": np.zeros((3, 3), np.int64)}, "floating-point"),
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
