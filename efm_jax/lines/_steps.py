"""What both engines of lines share: steps of a batch, their errors and interpolants, and how a line ends.

The Runge-Kutta steps, their error estimates, their interpolants and the PID rule are diffrax's. A step advances every line
of a batch at once, each by its own length: row i of what the field is given is always line i, so a field may hold data per
row, such as class labels. Each line keeps its own step size, error control, end and number of evaluations. diffrax's own
loop has one step size for the whole state; under `vmap` it would call the field with one point at a time.

A rate that is NaN or infinite says that the field is not valid there. Such a step is never taken: under error control it
is tried again shorter. A line for which no step down to `least_step` will do is lost, at the last place where all was well.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

RUNNING, ARRIVED, OUT_OF_STEPS, TOO_LONG, LEFT, LOST, STUCK = range(7)


def check_save(save: int | None) -> None:
    """Raise ValueError unless `save` is None or a whole number >= 2."""
    whole = isinstance(save, int | np.integer) and not isinstance(save, bool)
    if save is not None and not (whole and save >= 2):
        raise ValueError(
            f"save must be a whole number >= 2 (start and end are among the points), got {save!r}."
        )


def warn_of_lost(arrived: Bool[Array, " n"], fix: str, stacklevel: int = 3) -> None:
    """Warn if fewer than 90 % of the lines arrived, where that can be seen: not under jit or vmap."""
    if isinstance(arrived, Tracer):
        return
    share = float((np if arrived.is_fully_addressable else jnp).mean(arrived))
    if share < 0.9:
        count = round(share * len(arrived))
        warnings.warn(f"only {count} of {len(arrived)} lines arrived.\n{fix}", stacklevel=stacklevel)


def check_field(field: Callable, points: Float[Array, "n dim1"]) -> None:
    """Raise ValueError unless the field returns one vector for each point."""
    shown = jax.eval_shape(field, points)
    if getattr(shown, "shape", None) != points.shape:
        raise ValueError(
            f"field must return one vector [D+1] for each point: {points.shape} for these points, got {shown}; "
            "if it returns a Field, take its direction."
        )


class Control(NamedTuple):
    """How steps are chosen."""

    first: Float[Array, " n"]  # first step of each line, [n]; with `adaptive=False` every step
    adaptive: bool  # whether steps follow the error estimate
    rtol: Float[Array, ""] | float  # relative tolerance of a step, per component
    atol: Float[Array, ""] | float  # absolute tolerance of a step, per component
    least_step: float  # shortest step under error control
    greatest_step: Float[Array, ""] | float  # longest step under error control
    accept_least: bool  # whether a step of `least_step` is taken however large its error
    most_steps: Int[Array, ""] | int  # steps after which the lines still under way are left where they are
    # with `adaptive=False`, the length of each step, the same for all lines, [k] with k >= most_steps; the last step
    # goes to the end. None: `first` for every step.
    lengths: Float[Array, " k"] | None = None


class PerLine(diffrax.AbstractTerm):
    """`dy = rate(t + theta h, y) h dtheta`, theta from 0 to 1, with a step h for each line."""

    rate: Callable[[Array, Array], Array]
    t: Array
    step: Array

    def vf(self, t, y, args):
        return self.rate(self.t + t * self.step, y)

    def contr(self, t0, t1, **kwargs):
        return self.step[:, None] * (t1 - t0)

    def prod(self, vf, control):
        return vf * control


def by_error(solver: diffrax.AbstractSolver, control: Control):
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
        # the step wished for: the one taken is cut at the end, or takes a crumb along
        least = state.step <= control.least_step
        keep = (keep | least if control.accept_least else keep) & valid
        wanted = jnp.clip(wanted, control.least_step, control.greatest_step)
        return keep, ~keep & least, wanted, controller

    return judge


def cost(solver: diffrax.AbstractSolver) -> tuple[int, bool]:
    """Rates per step, and whether the last of a step is the first of the next."""
    tableau = getattr(solver, "tableau", None)
    return (1, False) if tableau is None else (tableau.num_stages, tableau.fsal)


def choose_rows(pick: Array, new, old):
    """Leaves of `new` in the picked rows, of `old` elsewhere; a leaf without rows is a flag of the whole batch."""

    def choose(a, b):
        a = jnp.asarray(a)
        return a if a.ndim == 0 else jnp.where(pick.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, new, old)


def _pid(control: Control) -> diffrax.PIDController:
    return diffrax.PIDController(control.rtol, control.atol, pcoeff=0.3, icoeff=0.4)


def history(control: Control, y: Array):
    """What the PID rule remembers of each line, before its first step."""

    def one(step, y):
        return _pid(control).init(None, 0.0, jnp.inf, y, step, None, _no_rate, None)[1]

    return jax.vmap(one)(control.first, y)


def _no_rate(*_):
    raise AssertionError("the first step is given, so none has to be found")


def between(solver: diffrax.AbstractSolver, dense: dict[str, Array], theta: Array) -> Array:
    """States of the last step at shares theta [..., n] of it: [..., n, d]."""
    axes = {name: 1 if name == "k" else 0 for name in dense}

    def one(dense, theta):
        return solver.interpolation_cls(t0=jnp.zeros_like(theta), t1=jnp.ones_like(theta), **dense).evaluate(
            theta
        )

    lines = jax.vmap(one, in_axes=(axes, 0))
    return lines(dense, theta) if theta.ndim == 1 else jax.vmap(lines, in_axes=(None, 0))(dense, theta)
