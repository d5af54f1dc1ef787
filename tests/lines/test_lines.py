"""Lines against closed forms: straight lines and linear flows; one compilation; bad input by name."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, A, linear_field, starts
from scipy.linalg import expm

from efm_jax.lines import adaptive, clocks, fixed, trace
from efm_jax.lines.whole_space import to_height

FIXED = ("euler", "heun", "midpoint", "ab2")
ADAPTIVE = ("bosh3", "tsit5", "dopri5")


# ---- straight lines and linear flows --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "follow",
    [
        *(partial(trace, stepping=fixed(solver, step=0.25)) for solver in FIXED),
        *(partial(trace, stepping=adaptive(solver, clock="linear")) for solver in ADAPTIVE),
        partial(to_height, stepping=adaptive("dopri5")),
    ],
)
def test_lines_of_a_uniform_field_are_straight(follow):
    def field(points):
        return jnp.broadcast_to(jnp.asarray([0.5, -1.0, 2.0]), points.shape)

    points = starts(z=0.5)
    lines = follow(field, points, GAP)
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
    lines = trace(linear_field, points, GAP, stepping=adaptive(solver, rtol=1e-5, clock=clock))
    expected = np.asarray(points)[:, :-1] @ expm(A * (GAP - 0.1)).T
    # the tolerance bounds the error of a step; some forty steps add up
    np.testing.assert_allclose(lines.end[:, :-1], expected, atol=4e-4)
    np.testing.assert_array_equal(lines.end[:, -1], GAP)


@pytest.mark.parametrize("follow", [trace, to_height])
def test_lines_back_return_to_their_start(follow):
    points, stepping = starts(z=0.3), adaptive(rtol=1e-5)
    there = follow(linear_field, points, GAP, stepping=stepping)
    back = follow(linear_field, there.end, 0.3, stepping=stepping)
    assert (there.arrived & back.arrived).all()
    # two traces of error 2e-4 each at most, and the way back does not magnify it by more than e
    np.testing.assert_allclose(back.end, points, atol=5e-4)
    assert np.abs(np.asarray(there.end - points)[:, :-1]).max() > 0.1  # they did move


@pytest.mark.smoke
def test_each_line_starts_from_its_own_height():
    points = starts().at[:, -1].set(jnp.asarray([0.0, 0.5, 1.0, 1.9, GAP]))
    lines = trace(linear_field, points, GAP, stepping=adaptive(rtol=1e-5))
    for point, end in zip(np.asarray(points, np.float64), np.asarray(lines.end), strict=True):
        np.testing.assert_allclose(end[:-1], expm(A * (GAP - point[-1])) @ point[:-1], atol=2e-4)
    assert lines.arrived.all()
    assert lines.num_evaluations[-1] == 0  # already there


def scaled_field(scale, points):
    return linear_field(points) * scale


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.parametrize("follow", [trace, to_height])
def test_only_the_direction_of_the_field_matters(follow, scale):
    # of one program: the scale is a number of the field
    plain, scaled = (
        follow(jax.tree_util.Partial(scaled_field, jnp.float32(by)), starts(), GAP) for by in (1.0, scale)
    )
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
        return trace(field, starts(), to, stepping=fixed("heun", steps, clock=clocks.logit(1e-2)))

    first = run(A, 2.0, 20)
    count = len(traces)
    second = run(-A, 1.5, 30)
    assert len(traces) == count
    np.testing.assert_allclose(second.end[:, :-1], np.asarray(starts())[:, :-1] @ expm(-A * 1.5).T, atol=5e-3)
    assert not np.allclose(first.end, second.end)


@pytest.mark.parametrize("follow", [trace, to_height])
def test_inside_jit_the_field_may_be_a_closure_over_traced_values(follow):
    @jax.jit
    def run(matrix, points):
        def field(p):
            x = p[:, :-1]
            return jnp.concatenate([x @ matrix.T, jnp.ones_like(x[:, :1])], axis=1)

        return follow(field, points, GAP)

    points = starts()
    expected = follow(linear_field, points, GAP).end
    np.testing.assert_allclose(run(jnp.asarray(A, jnp.float32), points).end, expected, atol=1e-4)
    assert not np.allclose(run(jnp.asarray(-A, jnp.float32), points).end, expected, atol=1e-2)


def test_rows_keep_their_place():
    """A field may hold data of each line: row i of what it is given is always line i."""
    slopes = jnp.asarray([[0.0], [1.0], [2.0], [-1.0], [5.0]])
    field = jax.tree_util.Partial(lambda s, p: jnp.concatenate([s, jnp.ones_like(s)], axis=1), slopes)
    for follow in (trace, to_height):
        lines = follow(field, starts(dim=1), GAP)
        # the tolerance of a step, relative
        np.testing.assert_allclose(
            lines.end[:, :1] - starts(dim=1)[:, :1], slopes * GAP, rtol=2e-4, atol=2e-5
        )


def test_a_line_that_has_arrived_stays_so_while_others_run():
    """It ends in a step that is also past the longest way, beside a shorter line that needs many more steps."""

    def field(points):
        side = jnp.where(points[:, 0] > 50.0, 0.3 * jnp.sin(30.0 * points[:, 1]), 0.0)
        return jnp.stack([side, jnp.ones_like(side)], axis=1)

    start = jnp.asarray([[0.0, 0.0], [100.0, 2.0]])
    alone, both = (to_height(field, x, 6.0, max_length=5.9999) for x in (start[:1], start))
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
        ({"to": jnp.asarray([1.0, 2.0, 3.0])}, "to must be"),
        ({"to": None}, "to must be"),
        ({"field": lambda p: p[:, :-1]}, "one vector"),
        ({"field": 3.0}, "field must be a function"),
        ({"save": 1}, "save must be a whole number >= 2"),
        ({"save": 5.0}, "save must be a whole number >= 2"),
        ({"save": "all"}, "save must be a whole number >= 2"),
        ({"stepping": "tsit5"}, "stepping must be what lines.fixed or lines.adaptive returns, got 'tsit5'"),
    ],
)
@pytest.mark.parametrize("follow", [trace, to_height])
def test_bad_input_is_named(follow, change, message):
    arguments = {"field": linear_field, "points": starts(), "to": GAP, **change}
    with pytest.raises(ValueError, match=message):
        follow(arguments.pop("field"), arguments.pop("points"), arguments.pop("to"), **arguments)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: adaptive("rk4"), "solver must be one of 'bosh3', 'tsit5', 'dopri5', got 'rk4'"),
        (lambda: fixed("rk4"), "solver must be one of 'euler'"),
        (lambda: adaptive("euler"), r"no error estimate; take fixed\('euler', steps\)"),
        (lambda: adaptive("ab2"), "no error estimate"),
        (lambda: fixed(steps=4, step=0.1), "give one of them"),
        (lambda: fixed(steps=0), "steps must be a whole number >= 1, got 0"),
        (lambda: fixed(steps=2.5), "steps must be a whole number"),
        (lambda: fixed(step=-0.1), "step must be a finite number > 0"),
        (lambda: adaptive(rtol=0.0), "rtol must be a finite number > 0"),
        (lambda: adaptive(atol=float("nan")), "atol must be a finite number > 0"),
        (lambda: adaptive(max_steps=0), "max_steps must be a whole number >= 1"),
        (lambda: adaptive(greatest_step=0.0), "greatest_step must be a finite number > 0"),
        (lambda: fixed(clock="cuckoo"), "clock must be one of 'linear'"),
        (lambda: adaptive(clock="cuckoo"), "clock must be one of 'linear'"),
        (lambda: adaptive(clock=clocks.grid([0.0, 1.0])), "a grid holds fixed steps"),
        (lambda: fixed(steps=3, clock=clocks.grid([0.0, 0.3, 1.0])), "holds 2 steps, got steps=3"),
        (lambda: fixed(step=0.1, clock=clocks.grid([0.0, 1.0])), "holds 1 steps, got steps=None, step=0.1"),
    ],
)
def test_bad_steppings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_steppings_say_what_they_are():
    grid = clocks.grid([0.0, 0.3, 1.0], "sine")
    assert fixed() == fixed("midpoint", 24, clock="sine")
    assert fixed("euler", step=0.1).clock == "linear"
    assert (fixed("heun", clock=grid).steps, fixed("heun", 2, clock=grid).clock) == (2, grid)
    assert [stepping.is_fixed for stepping in (fixed(), fixed(step=0.1), adaptive())] == [True, True, False]
    # the absolute tolerance is the relative one where it is not given, so these are the same lines
    ends = [
        trace(linear_field, starts(), GAP, stepping=adaptive(rtol=1e-2, atol=atol)).end
        for atol in (None, 1e-2)
    ]
    np.testing.assert_array_equal(*ends)
