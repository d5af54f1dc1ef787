"""March: a batch of ordinary differential equations advanced together, each line with its own steps.

The Runge-Kutta steps, their error estimates, their interpolants and the PID rule are diffrax's. What this room adds is
the loop over a *batch*: the field is called once per stage with every line at once, row i always being line i (so it
may hold data per row, such as class labels), while each line keeps its own parameter, step size, error control, end
and number of evaluations. diffrax's own loop has one step size for the whole state; under `vmap` it would call the
field with one point at a time.

A rate that is NaN or infinite says that the parameter is not valid there. Such a step is never taken: under error
control it is tried again shorter, and a line for which no step down to `least_step` will do is lost, at the last place
where all was well.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

RUNNING, ARRIVED, LOST = 0, 1, 2

Rate = Callable[[Float[Array, " n"], Float[Array, "n d"]], Float[Array, "n d"]]
"""`rate(t [n], y [n, d]) -> dy/dt [n, d]`."""


class Control(NamedTuple):
    """How steps are chosen.

    Attributes:
        first: First step of each line, [n]; with `adaptive=False` every step.
        adaptive: Whether steps follow the error estimate.
        rtol: Relative tolerance of a step, per component.
        atol: Absolute tolerance of a step, per component.
        least_step: Shortest step under error control.
        greatest_step: Longest step under error control.
        accept_least: Whether a step of `least_step` is taken however large its error.
        most_steps: Steps after which the lines still under way are left where they are.
        lengths: With `adaptive=False`, the length of each step, the same for all lines, [k] with k >= most_steps; the last
            step goes to the end. None: `first` for every step.
    """

    first: Float[Array, " n"]
    adaptive: bool
    rtol: Float[Array, ""] | float
    atol: Float[Array, ""] | float
    least_step: float
    greatest_step: Float[Array, ""] | float
    accept_least: bool
    most_steps: Int[Array, ""] | int
    lengths: Float[Array, " k"] | None = None


class Marched(NamedTuple):
    """Where the lines are.

    Attributes:
        t: Parameter reached, [n].
        y: State reached, [n, d].
        status: RUNNING, ARRIVED or LOST, [n].
        evaluations: Rates evaluated for each line while it was under way, [n].
        length: Sum of the distances between accepted states, [n].
        path: State at each parameter of `save`, [k, n, d]; the last state from where a line stopped.
    """

    t: Float[Array, " n"]
    y: Float[Array, "n d"]
    status: Int[Array, " n"]
    evaluations: Int[Array, " n"]
    length: Float[Array, " n"]
    path: Float[Array, "k n d"]


class _State(NamedTuple):
    marched: Marched
    step: Float[Array, " n"]
    warm: Bool[Array, " n"]
    solver: Any
    controller: Any
    steps: Int[Array, ""]


class _PerLine(diffrax.AbstractTerm):
    """`dy = rate(t + theta h, y) h dtheta`, theta from 0 to 1, with a step h for each line."""

    rate: Rate
    t: Array
    step: Array

    def vf(self, t, y, args):
        return self.rate(self.t + t * self.step, y)

    def contr(self, t0, t1, **kwargs):
        return self.step[:, None] * (t1 - t0)

    def prod(self, vf, control):
        return vf * control


def march(
    rate: Rate,
    y: Float[Array, "n d"],
    stop: Float[Array, " n"],
    solver: diffrax.AbstractSolver,
    control: Control,
    *,
    arrived: Bool[Array, " n"],
    reach: tuple[Array, Array] | None = None,
    longest: Float[Array, " n"] | float = float("inf"),
    save: Float[Array, "k n"],
) -> Marched:
    """Advance each line from parameter 0 until it arrives, is lost, or steps run out.

    Args:
        rate: `dy/dt` of all lines.
        y: States at parameter 0.
        stop: Parameter at which a line ends; infinite for none.
        solver: A diffrax solver.
        control: How steps are chosen.
        arrived: Lines that are at their end before the first step.
        reach: `(height, side)`, each [n]: a line has arrived once `side * (y[:, -1] - height) >= 0`; it is put on
            that height. None: a line has arrived at `stop`.
        longest: Length beyond which a line is left where it is.
        save: Increasing parameters at which states are kept, none if k = 0; those past a line's end hold its end.

    Returns:
        The lines as they ended.
    """
    num_lines = y.shape[0]
    stages, reuses = _cost(solver)
    judge = _by_error(solver, control) if control.adaptive else _as_it_is

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
        term = _PerLine(rate, now.t, step)
        y1, error, dense, solver_state, _ = solver.step(term, zero, one, now.y, None, state.solver, cold)
        keep, lost, wanted, controller = judge(step, now.y, y1, error, state)
        keep &= active

        t1 = now.t + step
        if reach is None:
            done = keep & (t1 >= stop)
        else:
            done, y1 = _cross(solver, dense, y1, keep, *reach)
        length = now.length + jnp.where(keep, _norm(y1 - now.y), 0.0)
        status = jnp.where(active & (lost | (length > longest)), LOST, now.status)
        status = jnp.where(done, ARRIVED, status)
        path = now.path
        if len(save):
            theta = (save - now.t) / jnp.where(step > 0, step, 1.0)
            # compared as t itself is counted: no wish falls between two steps
            inside = keep & (save > now.t) & (save <= t1)
            path = jnp.where(inside[..., None], _between(solver, dense, jnp.clip(theta, 0.0, 1.0)), path)
        marched = Marched(
            t=jnp.where(keep, t1, now.t),
            y=jnp.where(keep[:, None], y1, now.y),
            status=status,
            evaluations=now.evaluations + jnp.where(active, stages - (~cold if reuses else 0), 0),
            length=length,
            path=path,
        )
        return _State(
            marched,
            jnp.where(active, wanted, state.step),
            state.warm | keep,
            _rows(keep, solver_state, state.solver),
            _rows(active, controller, state.controller),
            state.steps + 1,
        )

    zero, one = jnp.zeros((), y.dtype), jnp.ones((), y.dtype)
    start = Marched(
        t=jnp.zeros((num_lines,), y.dtype),
        y=y,
        status=jnp.where(arrived, ARRIVED, RUNNING).astype(jnp.int32),
        evaluations=jnp.zeros((num_lines,), jnp.int32),
        length=jnp.zeros((num_lines,), y.dtype),
        path=jnp.broadcast_to(y, (len(save), *y.shape)),
    )
    state = _State(
        start,
        control.first,
        warm=jnp.zeros((num_lines,), bool),
        solver=jax.tree.map(
            jnp.asarray, solver.init(_PerLine(rate, start.t, control.first), zero, one, y, None)
        ),
        controller=_history(control, y) if control.adaptive else None,
        steps=jnp.zeros((), jnp.int32),
    )
    state = jax.lax.while_loop(
        lambda s: (s.steps < control.most_steps) & jnp.any(s.marched.status == RUNNING), advance, state
    )
    marched = state.marched
    after = save > marched.t
    return marched._replace(path=jnp.where(after[..., None], marched.y, marched.path))


def _pid(control: Control) -> diffrax.PIDController:
    return diffrax.PIDController(control.rtol, control.atol, pcoeff=0.3, icoeff=0.4)


def _history(control: Control, y: Array):
    """What the PID rule remembers of each line, before its first step."""

    def one(step, y):
        return _pid(control).init(None, 0.0, jnp.inf, y, step, None, _no_rate, None)[1]

    return jax.vmap(one)(control.first, y)


def _no_rate(*_):
    raise AssertionError("the first step is given, so none has to be found")


def _as_it_is(step: Array, y0: Array, y1: Array, error, state):
    """Take every valid step and the same again: (keep, lost, wanted step, controller)."""
    valid = jnp.all(jnp.isfinite(y1), axis=1)
    return valid, ~valid, state.step, state.controller


def _by_error(solver: diffrax.AbstractSolver, control: Control):
    """Take the steps whose error is below the tolerance; wish for the next as the PID rule has it."""
    pid = _pid(control)
    # the error of the embedded pair (p, p - 1) over one step falls like step^p
    order = solver.order(diffrax.ODETerm(_no_rate)) or 1

    def adapt(step, y0, y1, error, state):
        keep, t0, t1, _, state, _ = pid.adapt_step_size(
            jnp.zeros_like(step), step, y0, y1, None, error, order, state
        )
        return jnp.asarray(keep), jnp.asarray(t1 - t0), state

    def judge(step: Array, y0: Array, y1: Array, error, state):
        valid = jnp.all(jnp.isfinite(y1) & jnp.isfinite(error), axis=1)
        error = jnp.where(valid[:, None], error, jnp.inf)
        keep, wanted, controller = jax.vmap(adapt)(step, y0, y1, error, state.controller)
        least = step <= control.least_step
        keep = (keep | least if control.accept_least else keep) & valid
        wanted = jnp.clip(wanted, control.least_step, control.greatest_step)
        return keep, ~keep & least, wanted, controller

    return judge


def _cost(solver: diffrax.AbstractSolver) -> tuple[int, bool]:
    """Rates per step, and whether the last of a step is the first of the next."""
    tableau = getattr(solver, "tableau", None)
    return (1, False) if tableau is None else (tableau.num_stages, tableau.fsal)


def _rows(pick: Array, new, old):
    """Leaves of `new` in the picked rows, of `old` elsewhere; a leaf without rows is a flag of the whole batch."""

    def choose(a, b):
        a = jnp.asarray(a)
        return a if a.ndim == 0 else jnp.where(pick.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, new, old)


def _norm(y: Array) -> Array:
    return jnp.sqrt(jnp.sum(y * y, axis=-1))


def _between(solver: diffrax.AbstractSolver, dense: dict[str, Array], theta: Array) -> Array:
    """States of the last step at shares theta [..., n] of it: [..., n, d]."""
    axes = {name: 1 if name == "k" else 0 for name in dense}

    def one(dense, theta):
        return solver.interpolation_cls(t0=jnp.zeros_like(theta), t1=jnp.ones_like(theta), **dense).evaluate(
            theta
        )

    lines = jax.vmap(one, in_axes=(axes, 0))
    return lines(dense, theta) if theta.ndim == 1 else jax.vmap(lines, in_axes=(None, 0))(dense, theta)


def _cross(solver, dense, y1: Array, keep: Array, height: Array, side: Array) -> tuple[Array, Array]:
    """Which of the steps reach the height, and the states cut there."""
    done = keep & (side * (y1[:, -1] - height) >= 0)

    def cut():
        last = {name: leaf[..., -1:] for name, leaf in dense.items()}

        def halve(_, bounds):
            low, high = bounds
            theta = 0.5 * (low + high)
            beyond = side * (_between(solver, last, theta)[:, 0] - height) >= 0
            return jnp.where(beyond, low, theta), jnp.where(beyond, theta, high)

        # 24 halvings: the bits of a float32 fraction
        _, theta = jax.lax.fori_loop(0, 24, halve, (jnp.zeros_like(height), jnp.ones_like(height)))
        there = _between(solver, dense, theta).at[:, -1].set(height)
        return jnp.where(done[:, None], there, y1)

    return done, jax.lax.cond(jnp.any(done), cut, lambda: y1)
