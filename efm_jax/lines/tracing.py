"""Field lines: from points along a field to a plate, by height or by arc length.

A field is any function from points `(x, z)` [n, D+1] to vectors `(E_x, E_z)` [n, D+1]; only its direction matters, and
an exact field and a learned one pass through the same door. What becomes of a line is part of the result, never an
exception: a line that turns back, meets a NaN, or runs out of steps is reported as not arrived, its end finite.

A field that is a pytree, such as `jax.tree_util.Partial(apply, params)`, is compiled once for its structure and
shapes and may change its arrays freely; any other function is compiled once per function object.
"""

from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.trees import as_pytree
from efm_jax.lines import clocks
from efm_jax.lines._march import ARRIVED, Control, Marched, march
from efm_jax.lines._multistep import AdamsBashforth2
from efm_jax.types import FieldFn, FieldLines

_SOLVERS = {
    "euler": diffrax.Euler,
    "heun": diffrax.Heun,
    "midpoint": diffrax.Midpoint,
    "ab2": AdamsBashforth2,
    "bosh3": diffrax.Bosh3,
    "tsit5": diffrax.Tsit5,
    "dopri5": diffrax.Dopri5,
}


def trace(
    field: FieldFn,
    points: Float[Array, "n dim1"],
    to: float | Float[Array, ""],
    *,
    by: str = "height",
    solver: str = "tsit5",
    steps: int | None = None,
    step: float | None = None,
    clock: str | clocks.Clock = "linear",
    rtol: float = 1e-4,
    atol: float = 1e-4,
    max_steps: int = 1000,
    reverse: bool | None = None,
    max_length: float | None = None,
    save: int | None = None,
) -> FieldLines:
    r"""Follow the field lines through `points` to the plate at height `to`.

    By height, for lines that never turn back ($E_z > 0$, as between the plates),

    $$\frac{dx}{dz} = \frac{E_x}{E_z},$$

    from each point's own height to `to`, upwards (P to Q) or downwards (Q to P). A line that meets $E_z \le 0$ is
    stopped there and has not arrived. By arc length, for any line,

    $$\frac{d(x, z)}{ds} = \pm \frac{E}{|E|},$$

    until it first meets the height `to`, which is located on the solver's interpolant. Steps are measured in the
    distance scale $\ell$, $1/\ell = 1/\sqrt{g^2 + |p - p_0|^2} + 1/(2.2 \sqrt{d^2 + (g/50)^2})$, with g the gap
    $|to - z_0|$, $p_0$ the line's start and d its distance from the plate, and are at most half of it: a line that
    goes far out takes long steps there, and none jumps across the plate.

    With `steps` or `step` every solver takes fixed steps; `solver="euler"` is then Algorithm 2 of the paper,
    `x += (f_x / f_z) dz`. Without them the steps of each line follow its own error estimate: the root mean square
    over the line's components of `error / (atol + rtol |component|)` stays below 1.

    Args:
        field: The field, [n, D+1] to [n, D+1], any positive scale; row i is always line i.
        points: Where the lines start, [n, D+1], z last.
        to: Height of the plate to reach.
        by: "height" or "arc".
        solver: "euler" (order 1), "heun", "midpoint", "ab2" (2), "bosh3" (3), "tsit5" or "dopri5" (5). "euler" and "ab2"
            take fixed steps only, at one evaluation each; "ab2" is Adams and Bashforth's, its first step Euler's.
        steps: Number of fixed steps from start to end; by height only.
        step: Fixed step: by height the greatest mean dz (the number of equal steps in the clock is
            `ceil(|to - z| / step)`), by arc length the share of the distance scale.
        clock: By height, how z advances: "linear", "sine", "logit", "log", or a function of `clocks`; a `clocks.Grid` holds
            the steps themselves.
        rtol: Relative tolerance under error control.
        atol: Absolute tolerance under error control, in the units of the points.
        max_steps: Steps, taken or rejected, after which a line has not arrived; fixed steps by height need no bound.
        reverse: By arc, whether to follow -E; None: against the field when `to` is below the start.
        max_length: By arc, length beyond which a line has not arrived; None: 10,000 times the line's gap.
        save: Points to keep along each line, start and end among them (>= 2): at equal heights by height, at equal
            steps of the distance-scaled arc length by arc, which follows the lines a second time.

    Returns:
        The lines as they ended.

    Raises:
        ValueError: If a shape, an option or a value that can be seen is not as said above.

    Examples:
        A uniform field, tilted: the line is straight.

        >>> import jax.numpy as jnp
        >>> field = lambda points: jnp.broadcast_to(jnp.asarray([1.0, 2.0]), points.shape)
        >>> lines = trace(field, jnp.asarray([[0.0, 0.0]]), 6.0, solver="euler", step=0.25)
        >>> lines.end.tolist(), lines.arrived.tolist(), lines.num_evaluations.tolist()
        ([[3.0, 6.0]], [True], [24])

    Source: Kolesov et al. 2025 (arXiv 2502.02367), Algorithm 2 (by height) and Theorem 3.1 (the lines).
    """
    points = checks.starts(points)
    by = checks.choice("by", by, ("height", "arc"))
    solver = checks.choice("solver", solver, tuple(_SOLVERS))
    max_steps = checks.count("max_steps", max_steps)
    clock, lengths, steps = _laid_out(by, clock, steps, step)
    _check_policy(by, solver, steps, step, clock, reverse, max_length, save)
    for name, value in (("rtol", rtol), ("atol", atol), ("step", step), ("max_length", max_length)):
        if value is not None and not isinstance(value, Tracer):
            checks.positive(name, value)
    if not isinstance(to, Tracer) and not np.isfinite(to):
        raise ValueError(f"to must be the finite height of a plate, got {to!r}.")
    if not callable(field):
        raise ValueError(f"field must be a function from points [n, D+1] to vectors [n, D+1], got {field!r}.")
    field, clock = as_pytree(field), as_pytree(clocks.named(clock))
    numbers = {"to": to, "rtol": rtol, "atol": atol, "steps": steps, "step": step, "max_length": max_length}
    numbers["lengths"] = lengths
    policy = {"by": by, "solver": solver, "max_steps": max_steps, "reverse": reverse, "save": save}
    # inside someone's jit the function may hold that trace's values: no cache of ours may keep it
    run = _trace if isinstance(points, Tracer) else _trace_jit
    return run(field, points, clock, numbers, **policy)


def _trace(field, points, clock, numbers, *, by, solver, max_steps, reverse, save) -> FieldLines:
    shown = jax.eval_shape(field, points)
    if getattr(shown, "shape", None) != points.shape:
        raise ValueError(
            f"field must return one vector [D+1] for each point: {points.shape} for these points, got {shown}; "
            "if it returns a Field, take its direction."
        )
    follow = _by_height if by == "height" else partial(_by_arc, reverse=reverse)
    numbers = {name: None if value is None else jnp.asarray(value) for name, value in numbers.items()}
    return follow(field, points, clock, numbers, solver=_SOLVERS[solver](), max_steps=max_steps, save=save)


_trace_jit = jax.jit(_trace, static_argnames=("by", "solver", "max_steps", "reverse", "save"))


def rate(
    field: FieldFn,
    clock: clocks.Clock,
    start: Float[Array, " n"],
    to: Float[Array, " n"],
    u: Float[Array, " n"],
    du: Float[Array, " n"],
    x: Float[Array, "n dim"],
) -> Float[Array, "n dim"]:
    """`dx/du du` of lines by height, `(E_x / E_z) dz/du du` with z by the clock; NaN where a line turns back."""
    z, dz = jax.jvp(lambda u: clock(u, start, to), (u,), (du,))
    e = field(jnp.concatenate([x, z[:, None]], axis=1)).astype(x.dtype)
    up = e[:, -1:] > 0
    slope = jnp.where(up, e[:, :-1] / jnp.where(up, e[:, -1:], 1.0), jnp.nan)
    return jnp.where(dz[:, None] == 0, 0.0, slope * dz[:, None])


def _by_height(field, points, clock, numbers, *, solver, max_steps, save) -> FieldLines:
    dtype = points.dtype
    lengths = numbers["lengths"]
    x, start = points[:, :-1], points[:, -1]
    to = jnp.broadcast_to(numbers["to"].astype(dtype), start.shape)
    fixed = numbers["steps"] is not None or numbers["step"] is not None
    if lengths is not None:
        count = jnp.ones_like(start)
    elif numbers["step"] is not None:
        # 1e-3: |to - z| / step a rounding above a whole number is that number
        count = jnp.ceil(jnp.abs(to - start) / numbers["step"] - 1e-3)
        count = jnp.where(count >= 1, count, 1)
    else:
        count = jnp.ones_like(start) if numbers["steps"] is None else jnp.full_like(start, numbers["steps"])
    # the parameter counts steps, so that fixed steps are exactly 1; under error control it runs from 0 to 1

    def height(t):
        return jnp.where(t >= count, to, clock(t / count, start, to))

    def by_count(t, x):
        return rate(field, clock, start, to, t / count, 1.0 / count, x)

    control = Control(
        first=jnp.ones_like(start) if fixed else jnp.full_like(start, 1e-2),
        adaptive=not fixed,
        rtol=numbers["rtol"],
        atol=numbers["atol"],
        least_step=1e-5,
        greatest_step=1.0,
        accept_least=False,
        most_steps=numbers["steps"]
        if lengths is not None
        else jnp.iinfo(jnp.int32).max
        if fixed
        else max_steps,
        lengths=None if lengths is None else lengths.astype(dtype),
    )
    heights = start + jnp.linspace(0.0, 1.0, save or 0, dtype=dtype)[:, None] * (to - start)
    times = count * clocks.parameter(clock, heights, start, to)
    done = march(by_count, x, count, solver, control, arrived=start == to, save=times)

    end = jnp.concatenate([done.y, height(done.t)[:, None]], axis=1)
    end = jnp.where((start == to)[:, None], points, end)
    z = jnp.where(times > done.t, end[:, -1], heights)
    path = jnp.concatenate([done.path, z[..., None]], axis=-1)
    return _field_lines(done, points, end, path if save else None)


def _by_arc(field, points, clock, numbers, *, solver, max_steps, save, reverse) -> FieldLines:
    del clock
    dtype = points.dtype
    start = points[:, -1]
    to = jnp.broadcast_to(numbers["to"].astype(dtype), start.shape)
    gap = jnp.abs(to - start)
    side = jnp.sign(to - start)
    along = side if reverse is None else jnp.full_like(start, -1.0 if reverse else 1.0)
    longest = 1e4 * gap if numbers["max_length"] is None else jnp.full_like(gap, numbers["max_length"])

    def rate(t, y):
        e = field(y).astype(dtype)
        # scaled first: the square of a large or small field leaves the range of float32
        e = e / jnp.max(jnp.abs(e), axis=1, keepdims=True)
        away = y - points
        far = jnp.sqrt(gap**2 + jnp.sum(away * away, axis=1))
        # half of this, the longest step, goes just past the plate: beyond it the field is turned about
        near = 2.2 * jnp.sqrt((to - y[:, -1]) ** 2 + (0.02 * gap) ** 2)
        scale = far * near / (far + near)
        return e * (along * scale / jnp.sqrt(jnp.sum(e * e, axis=1)))[:, None]

    fixed = numbers["step"] is not None
    control = Control(
        first=jnp.full_like(start, numbers["step"] if fixed else 1e-2),
        adaptive=not fixed,
        rtol=numbers["rtol"],
        atol=numbers["atol"],
        least_step=1e-6,
        greatest_step=0.5,
        # at a charge the direction turns about within no distance at all: a least step moves 1e-6 of the scale
        accept_least=True,
        most_steps=max_steps,
    )
    run = partial(march, rate, points, solver=solver, control=control, arrived=start == to)
    endless = jnp.full_like(start, jnp.inf)
    done = run(endless, reach=(to, side), longest=longest, save=jnp.zeros((0, len(points)), dtype))
    if save is None:
        return _field_lines(done, points, done.y, None)
    # where a line ends is known now: once more, to the same end
    times = jnp.linspace(0.0, 1.0, save, dtype=dtype)[:, None] * done.t
    return _field_lines(done, points, done.y, run(done.t, save=times).path)


def _field_lines(done: Marched, start: Array, end: Array, path: Array | None) -> FieldLines:
    if path is not None:
        path = path.at[0].set(start).at[-1].set(end)
    return FieldLines(end, path, done.status == ARRIVED, done.evaluations)


def _laid_out(by, clock, steps, step):
    """The clock along which steps are taken, their lengths where they are laid out beforehand, and how many."""
    if not isinstance(clock, clocks.Grid):
        return clock, None, steps
    if by != "height":
        raise ValueError(
            "a grid lays out steps in height, for by='height'; by='arc' steps by the distance scale."
        )
    if step is not None or steps not in (None, clock.steps):
        raise ValueError(
            f"the grid holds {clock.steps} steps, got steps={steps!r}, step={step!r}; leave both out, or place another "
            "grid."
        )
    # as long as that of other few steps: one compilation for all of them
    spare = -clock.steps % 64
    return clock.along, jnp.pad(jnp.diff(clock.shares), (0, spare)), clock.steps


def _check_policy(by, solver, steps, step, clock, reverse, max_length, save) -> None:
    if steps is not None and step is not None:
        raise ValueError(f"steps ({steps}) and step ({step}) say the same thing twice; give one of them.")
    if steps is not None and (isinstance(steps, bool) or int(steps) != steps or steps < 1):
        raise ValueError(f"steps must be a whole number >= 1, got {steps!r}.")
    if solver in ("euler", "ab2") and steps is None and step is None:
        raise ValueError(
            f"solver={solver!r} has no error estimate: give steps= or step=, or take solver='tsit5' or 'dopri5'."
        )
    if save is not None and (isinstance(save, bool) or int(save) != save or save < 2):
        raise ValueError(
            f"save must be a whole number >= 2 (start and end are among the points), got {save!r}."
        )
    if by == "height":
        if reverse is not None:
            raise ValueError(
                "reverse is for by='arc': by height a line goes from its point's z to `to`, up or down."
            )
        if max_length is not None:
            raise ValueError("max_length is for by='arc': by height a line ends at `to`.")
    else:
        if steps is not None:
            raise ValueError(
                "by='arc' cannot know the number of steps beforehand; give step= instead of steps=."
            )
        if clock != "linear":
            raise ValueError(f"clock={clock!r} is for by='height'; by='arc' steps by the distance scale.")
