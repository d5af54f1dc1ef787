"""Solvers of lines: the order of their steps, errors that follow the tolerance, and evaluations counted as made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, A, linear_field, starts

from efm_jax.lines import adaptive, fixed, trace
from efm_jax.lines.whole_space import to_height


def waving_field(points):
    """`dx/dz = x cos z`: x(z) = x(0) exp(sin z)."""
    x, z = points[:, :-1], points[:, -1:]
    return jnp.concatenate([x * jnp.cos(z), jnp.ones_like(z)], axis=1)


@pytest.mark.parametrize(
    ("solver", "order"),
    [("euler", 1), ("heun", 2), ("midpoint", 2), ("ab2", 2), ("bosh3", 3), ("tsit5", 5), ("dopri5", 5)],
)
def test_fixed_steps_converge_with_the_order_of_the_solver(solver, order):
    clock = "sine" if solver in ("midpoint", "tsit5") else "linear"
    counts = (64, 128, 256)
    with jax.enable_x64(True):  # at fifth order float32 has no room between coarse steps and rounding
        points = jnp.asarray([[0.7, 0.0]])
        ends = [trace(waving_field, points, 3.0, stepping=fixed(solver, k, clock=clock)).end for k in counts]
    errors = [abs(float(end[0, 0]) - 0.7 * np.exp(np.sin(3.0))) for end in ends]
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    # the next power of the step still shows: measured 1.01, 2.09, 2.14, 2.0, 2.98, 4.9, 4.99
    assert abs(slope - order) < 0.3, (errors, slope)


@pytest.mark.parametrize(
    ("solver", "follow"), [("bosh3", trace), ("tsit5", to_height), ("dopri5", to_height)]
)
def test_error_follows_the_tolerance(solver, follow):
    points = starts(dim=1)
    exact = np.asarray(points, np.float64)[:, :1] * np.exp(np.sin(3.0))
    errors, costs = [], []
    tolerances = (1e-2, 1e-3, 1e-4)
    for tolerance in tolerances:
        stepping = adaptive(solver, rtol=tolerance, greatest_step=0.9)  # so that the tolerance chooses
        lines = follow(waving_field, points, 3.0, stepping=stepping)
        errors.append(np.abs(np.asarray(lines.end)[:, :-1] - exact).max())
        costs.append(int(lines.num_evaluations.max()))
    # some ten steps, each with at most its tolerance relative to |x| <= 3
    assert all(e < 10 * t for e, t in zip(errors, tolerances, strict=True)), errors
    assert errors[2] < errors[0] / 10
    assert costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize(
    ("follow", "stepping", "expected"),
    [
        (trace, fixed("euler", step=0.25), 8),
        (trace, fixed("heun", 8), 16),
        (trace, fixed("midpoint", 8), 16),
        (trace, fixed("ab2", 8), 8),
        (trace, fixed("tsit5", 8), 49),  # the last stage of a step is the first of the next
        (trace, adaptive(), None),
        (to_height, adaptive("bosh3"), None),
    ],
)
def test_evaluations_reported_are_the_evaluations_made(follow, stepping, expected):
    calls = []

    def counted(points):
        jax.debug.callback(lambda: calls.append(1))
        return linear_field(points)

    points = starts()
    lines = jax.block_until_ready(follow(counted, points, GAP, stepping=stepping))
    jax.effects_barrier()
    evaluations = np.asarray(lines.num_evaluations)
    # every call serves the whole batch; its last line is under way in all of them
    assert len(calls) == evaluations.max()
    if expected is not None:
        np.testing.assert_array_equal(evaluations, expected)
    else:
        alone = [
            int(follow(linear_field, p[None], GAP, stepping=stepping).num_evaluations[0]) for p in points
        ]
        # a line's cost is its own: a first stage computed anew for another's rejected first step may add one or two
        assert np.all(np.abs(evaluations - alone) <= 2), (evaluations, alone)


def test_a_step_is_at_most_dz_and_divides_the_way():
    one = starts(n=1)
    for step, count in ((0.1, 20), (0.3, 7), (2.0, 1), (5.0, 1)):
        assert (
            int(trace(linear_field, one, GAP, stepping=fixed("euler", step=step)).num_evaluations[0]) == count
        )
    # 4.9 / 0.7 is a rounding above 7 in float32
    assert int(trace(linear_field, one, 4.9, stepping=fixed("euler", step=0.7)).num_evaluations[0]) == 7
    three = starts(n=3).at[:, -1].set(jnp.asarray([0.0, 1.0, 1.75]))
    lines = trace(linear_field, three, GAP, stepping=fixed("euler", step=0.5))
    assert lines.num_evaluations.tolist() == [4, 2, 1]
    by_hand = np.asarray(one, np.float64)[0, :-1]
    for _ in range(20):  # Algorithm 2 of the paper, x += (f_x / f_z) dz
        by_hand = by_hand + A @ by_hand * 0.1
    end = trace(linear_field, one, GAP, stepping=fixed("euler", step=0.1)).end
    np.testing.assert_allclose(end[0, :-1], by_hand, atol=1e-5)  # rounding of 20 steps


def test_no_adaptive_step_is_longer_than_the_longest():
    def upright(points):
        return jnp.zeros_like(points).at[:, -1].set(1.0)

    for greatest, least in ((None, 1), (0.05, 20)):
        stepping = adaptive("bosh3", clock="linear", greatest_step=greatest)
        count = trace(upright, starts(n=1), GAP, stepping=stepping).num_evaluations[0]
        # three rates a step; steps grow to the longest from a hundredth of the way
        assert 3 * least <= count < 3 * (least + 8)
