"""The engine of lines by height: a batch of differential equations advanced together, each line with its own steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from efm_jax.lines._steps import (
    ARRIVED,
    LOST,
    RUNNING,
    Control,
    PerLine,
    between,
    by_error,
    choose_rows,
    cost,
    history,
)

Rate = Callable[[Float[Array, " n"], Float[Array, "n d"]], Float[Array, "n d"]]
"""`rate(t [n], y [n, d]) -> dy/dt [n, d]`."""


class Marched(NamedTuple):
    """Where the lines are."""

    t: Float[Array, " n"]  # parameter reached, [n]
    y: Float[Array, "n d"]  # state reached, [n, d]
    status: Int[Array, " n"]  # RUNNING, ARRIVED or LOST, [n]
    evaluations: Int[Array, " n"]  # rates evaluated for each line while it was under way, [n]
    # state at each parameter of `save`, [k, n, d]; the last state from where a line stopped
    path: Float[Array, "k n d"]


class _State(NamedTuple):
    marched: Marched
    step: Float[Array, " n"]
    warm: Bool[Array, " n"]
    solver: Any
    controller: Any
    steps: Int[Array, ""]


def march(
    rate: Rate,
    y: Float[Array, "n d"],
    stop: Float[Array, " n"],
    solver: diffrax.AbstractSolver,
    control: Control,
    *,
    arrived: Bool[Array, " n"],
    save: Float[Array, "k n"],
    bound: int,
) -> Marched:
    """Advance each line by `dy/dt = rate` from parameter 0 until it arrives at `stop`, is lost, or steps run out.

    Lines that have `arrived` before the first step stay. States are kept at the rising parameters `save`; past a line's end
    they are its end. Steps are at most `bound`.
    """
    num_lines = y.shape[0]
    stages, reuses = cost(solver)
    judge = by_error(solver, control) if control.adaptive else _as_it_is

    def advance(state: _State) -> _State:
        now = state.marched
        active = now.status == RUNNING
        step = state.step
        if control.lengths is not None:
            last = state.steps + 1 >= control.most_steps
            step = jnp.where(last, stop - now.t, control.lengths[state.steps])
        step = jnp.where(active, step, 0.0)
        if control.adaptive:
            # a last step that would leave a crumb takes it along
            step = jnp.where(step >= stop - now.t - control.least_step, stop - now.t, step)
        cold = jnp.any(active & ~state.warm)
        term = PerLine(rate, now.t, step)
        y1, error, dense, solver_state, _ = solver.step(term, zero, one, now.y, None, state.solver, cold)
        keep, lost, wanted, controller = judge(step, *jax.lax.stop_gradient((now.y, y1, error)), state)
        keep &= active

        t1 = now.t + step
        status = jnp.where(active & lost, LOST, now.status)
        status = jnp.where(keep & (t1 >= stop), ARRIVED, status)
        path = now.path
        if len(save):
            theta = (save - now.t) / jnp.where(step > 0, step, 1.0)
            # compared as t itself is counted: no wish falls between two steps
            inside = keep & (save > now.t) & (save <= t1)
            path = jnp.where(inside[..., None], between(solver, dense, jnp.clip(theta, 0.0, 1.0)), path)
        marched = Marched(
            t=jnp.where(keep, t1, now.t),
            y=jnp.where(keep[:, None], y1, now.y),
            status=status,
            evaluations=now.evaluations + jnp.where(active, stages - jnp.where(cold, 0, int(reuses)), 0),
            path=path,
        )
        return _State(
            marched,
            jnp.where(active, wanted, state.step),
            state.warm | keep,
            choose_rows(keep, solver_state, state.solver),
            choose_rows(active, controller, state.controller),
            state.steps + 1,
        )

    zero, one = jnp.zeros((), y.dtype), jnp.ones((), y.dtype)
    start = Marched(
        t=jnp.zeros((num_lines,), y.dtype),
        y=y,
        status=jnp.where(arrived, ARRIVED, RUNNING).astype(jnp.int32),
        evaluations=jnp.zeros((num_lines,), jnp.int32),
        path=jnp.broadcast_to(y, (len(save), *y.shape)),
    )
    state = _State(
        start,
        control.first,
        warm=jnp.zeros((num_lines,), bool),
        solver=jax.tree.map(
            jnp.asarray, solver.init(PerLine(rate, start.t, control.first), zero, one, y, None)
        ),
        controller=history(control, y) if control.adaptive else None,
        steps=jnp.zeros((), jnp.int32),
    )
    # scans of 16 rounds inside one another, left when all lines have ended: they have a gradient in both modes
    state = eqxi.while_loop(
        lambda s: (s.steps < control.most_steps) & jnp.any(s.marched.status == RUNNING),
        jax.checkpoint(advance, prevent_cse=False),
        state,
        max_steps=bound,
        kind="bounded",
    )
    marched = state.marched
    after = save > marched.t
    return marched._replace(path=jnp.where(after[..., None], marched.y, marched.path))


def _as_it_is(step: Array, y0: Array, y1: Array, error, state):
    """Take every valid step and the same again: (keep, lost, wanted step, controller)."""
    valid = jnp.all(jnp.isfinite(y1), axis=1)
    return valid, ~valid, state.step, state.controller
