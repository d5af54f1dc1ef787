"""The engine of lines by arc length: through the whole space, as many under way at once as there are slots.

Lines differ in length by orders of magnitude. Each slot holds one line. When that has ended, its result is put away and
the next line takes the slot, so the work is in proportion to the sum of the lines and not to the longest. With as many
slots as lines, slot i holds line i throughout.

A line's length scale at the point where a step begins (the distance to the nearest charge, say) is the unit of that step:
steps are at most a share of it, and the error of a step is a share of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efm_jax.lines._steps import (
    LOST,
    OUT_OF_STEPS,
    RUNNING,
    TOO_LONG,
    Control,
    PerLine,
    between,
    by_error,
    choose_rows,
    cost,
    history,
)

_LEAST_STEP = 1e-4
"""In length scales; a step as short as that is taken whatever its error."""


class Step(NamedTuple):
    """What became of the steps of all slots."""

    share: Float[Array, " w"]  # share of the step that is taken: below 1 where it is cut, [w]
    end: Float[Array, "w d"]
    status: Int[Array, " w"]  # RUNNING where the line goes on, [w]
    surroundings: Any


class Rules(NamedTuple):
    """Where lines run and where they end; surroundings are a pytree with a row for each line and a field `scale`."""

    # `rate(points, surroundings) -> unit vectors`, zero or NaN where the field has no direction
    rate: Callable[[Array, Any], Array]
    # `settle(before, after, between, surroundings) -> Step`: what becomes of the steps from before to after, were
    # they taken; `between(theta [w])` are the points at a share of each
    settle: Callable[[Array, Array, Callable[[Array], Array], Any], Step]
    cuts: bool  # whether a line may run on from where a step was cut short
    first: float = 0.2  # first step of a line, in length scales


class Followed(NamedTuple):
    """Lines as they ended, a row for each."""

    end: Float[Array, "n d"]  # the last place, [n, d]
    t: Float[Array, " n"]  # number of length scales run through, [n]
    status: Int[Array, " n"]  # ARRIVED, OUT_OF_STEPS, TOO_LONG, LEFT, LOST or STUCK, [n]
    evaluations: Int[Array, " n"]  # field evaluations spent on the line, [n]
    length: Float[Array, " n"]
    path: Float[Array, "n k d"]  # the points at the values of t asked for, [n, k, d]; past the end, the end
    surroundings: Any


class _Slots(NamedTuple):
    line: Int[Array, " w"]
    now: Followed
    step: Float[Array, " w"]
    steps: Int[Array, " w"]
    rate: Float[Array, "w d"]
    controller: Any


class _State(NamedTuple):
    slots: _Slots
    ended: Followed
    next: Int[Array, ""]


def follow(
    rules: Rules,
    start: Float[Array, "n d"],
    surroundings: Any,
    solver: diffrax.AbstractSolver,
    *,
    rtol: Float[Array, ""],
    atol: Float[Array, ""],
    greatest_step: Float[Array, ""],
    max_steps: int,
    max_length: Float[Array, ""],
    slots: int,
    save: Float[Array, "n k"],
) -> Followed:
    """Follow every line until it ends, at most `slots` at once.

    The solver's last stage is the first of its next step. An error of `rtol` length scales plus `atol`, in units of length,
    is allowed; no step is longer than `greatest_step` length scales. After `max_steps` steps, taken or rejected, and beyond
    `max_length` a line is left where it is. It is kept at the rising values `save` of t.
    """
    num_lines, dtype = len(start), start.dtype
    stages, _ = cost(solver)
    control = Control(
        first=jnp.full((num_lines,), rules.first, dtype),
        adaptive=True,
        rtol=0.0,
        atol=1.0,
        least_step=_LEAST_STEP,
        greatest_step=greatest_step,
        accept_least=True,
        most_steps=max_steps,
    )
    judge = by_error(solver, control)

    def rate(points, surroundings):
        found = rules.rate(points, surroundings)
        # no direction: no step is valid
        return jnp.where(jnp.any(found != 0, axis=1, keepdims=True), found, jnp.nan)

    def advance(slots: _Slots) -> _Slots:
        now = slots.now
        active = now.status == RUNNING
        scale = now.surroundings.scale
        term = PerLine(
            lambda _, y: rate(y, now.surroundings), now.t, jnp.where(active, slots.step * scale, 0.0)
        )
        no = jnp.asarray(False)
        zero, one = jnp.zeros((), dtype), jnp.ones((), dtype)
        after, error, dense, (_, last), _ = solver.step(term, zero, one, now.end, None, (no, slots.rate), no)
        # rounding of the coordinates is no error of the step
        allowed = rtol * scale + atol + 4 * float(jnp.finfo(dtype).eps) * jnp.max(jnp.abs(now.end), axis=1)
        judged = slots.step, now.end, after, error / allowed[:, None]
        # of the last argument only the controller is read
        keep, lost, wanted, controller = judge(*judged, slots)
        keep &= active

        step = rules.settle(now.end, after, lambda theta: between(solver, dense, theta), now.surroundings)
        cut = keep & (step.share < 1) & (step.status == RUNNING)
        if rules.cuts:
            last = jax.lax.cond(
                jnp.any(cut),
                lambda: jnp.where(cut[:, None], rate(step.end, step.surroundings), last),
                lambda: last,
            )
        length = now.length + jnp.where(keep, slots.step * scale * step.share, 0.0)
        t = now.t + jnp.where(keep, slots.step * step.share, 0.0)
        status = jnp.where(keep, step.status, RUNNING)
        for reason, met in ((TOO_LONG, length > max_length), (OUT_OF_STEPS, slots.steps + 1 >= max_steps)):
            status = jnp.where((status == RUNNING) & met, reason, status)
        path = now.path
        if save.shape[1]:
            wish = save[jnp.minimum(slots.line, num_lines - 1)]
            theta = (wish - now.t[:, None]) / slots.step[:, None]
            # compared as t itself is counted: no wish falls between two steps
            inside = keep[:, None] & (wish > now.t[:, None]) & (wish <= t[:, None])
            points = between(solver, dense, jnp.clip(theta, 0.0, 1.0).T).swapaxes(0, 1)
            path = jnp.where(inside[..., None], points, path)
        now = Followed(
            end=jnp.where(keep[:, None], step.end, now.end),
            t=t,
            status=jnp.where(active, jnp.where(lost, LOST, status), now.status).astype(jnp.int32),
            evaluations=now.evaluations + jnp.where(active, stages - 1, 0) + jnp.where(cut, 1, 0),
            length=length,
            path=path,
            surroundings=choose_rows(keep, step.surroundings, now.surroundings),
        )
        return _Slots(
            line=slots.line,
            now=now,
            step=wanted,
            steps=slots.steps + 1,
            rate=jnp.where(keep[:, None], last, slots.rate),
            controller=choose_rows(active, controller, slots.controller),
        )

    first = _Slots(
        line=jnp.arange(num_lines),
        now=Followed(
            end=start,
            t=jnp.zeros((num_lines,), dtype),
            status=jnp.full((num_lines,), RUNNING, jnp.int32),
            evaluations=jnp.ones((num_lines,), jnp.int32),
            length=jnp.zeros((num_lines,), dtype),
            path=jnp.broadcast_to(start[:, None], (num_lines, save.shape[1], start.shape[1])),
            surroundings=surroundings,
        ),
        step=control.first,
        steps=jnp.zeros((num_lines,), jnp.int32),
        rate=in_groups(lambda rows: rate(start[rows], _take(surroundings, rows)), num_lines, slots),
        controller=history(control, start),
    )

    def exchange(state: _State) -> _State:
        """Put away the lines that have ended; the next ones take their slots."""
        slots = state.slots
        free = slots.now.status != RUNNING
        place = jnp.where(free, slots.line, num_lines)
        ended = jax.tree.map(lambda rows, new: rows.at[place].set(new, mode="drop"), state.ended, slots.now)
        line = state.next + jnp.cumsum(free) - 1
        taken = free & (line < num_lines)
        slots = choose_rows(taken, _take(first, jnp.minimum(line, num_lines - 1)), slots)
        # a slot without a line belongs to none
        slots = slots._replace(line=jnp.where(free & ~taken, num_lines, slots.line))
        return _State(slots, ended, state.next + jnp.sum(taken))

    def turn(state: _State) -> _State:
        state = state._replace(slots=advance(state.slots))
        ended = (state.slots.now.status != RUNNING) & (state.slots.line < num_lines)
        return jax.lax.cond(jnp.any(ended), exchange, lambda state: state, state)

    state = _State(_take(first, jnp.arange(slots)), first.now, jnp.asarray(slots))
    state = jax.lax.while_loop(lambda state: jnp.any(state.slots.now.status == RUNNING), turn, state)
    ended = state.ended
    return ended._replace(
        path=jnp.where((save > ended.t[:, None])[..., None], ended.end[:, None], ended.path)
    )


def in_groups(function: Callable[[Array], Any], count: int, size: int) -> Any:
    """`function(rows)` for all rows, `size` at a time; at once if that is all."""
    if size >= count:
        return function(jnp.arange(count))
    rows = jnp.minimum(jnp.arange(-(-count // size) * size), count - 1).reshape(-1, size)
    found = jax.lax.map(function, rows)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)


def _take(tree: Any, rows: Array) -> Any:
    """Those rows of every leaf."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)
