"""Field lines by height: from points along a field to a plate.

A field is any function from points `(x, z)` [n, D+1] to vectors `(E_x, E_z)` [n, D+1]; only its direction matters. Exact and
learned fields are followed alike. A line that turns back, meets a NaN, or runs out of steps raises nothing: the result
reports it as not arrived, with a finite end.

A field that is a pytree, such as `jax.tree_util.Partial(apply, params)`, is compiled once for its structure and
shapes and may change its arrays freely; any other function is compiled once per function object.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.trees import as_pytree
from efm_jax.lines import clocks
from efm_jax.lines._march import march
from efm_jax.lines._steps import ARRIVED, Control, check_field, check_save, warn_of_lost
from efm_jax.lines.stepping import SOLVERS, Stepping, adaptive, chosen
from efm_jax.types import FieldFn, FieldLines

__all__ = ["FieldLines", "rate", "trace"]

FIX = (
    "The others met E_z <= 0 or NaN, or ran out of steps. Take smaller steps, e.g. stepping=lines.fixed(steps=96) or\n"
    "lines.adaptive(rtol=1e-5), follow lines that turn back by lines.whole_space, and train a learned field longer."
)

_STRAIGHT = 2.5e-6
"""Share of the way at its end that lines go straight, under error control: at the plate itself the field of point charges
has no direction, and steps that look at it are never accurate. In the sine clock it is the last thousandth."""


def trace(
    field: FieldFn,
    points: Float[Array, "n dim1"],
    to: float | Float[Array, ""],
    *,
    stepping: Stepping | None = None,
    save: int | None = None,
) -> FieldLines:
    r"""Follow the field lines through `points` to the plate at height `to`.

    $$\frac{dx}{dz} = \frac{E_x}{E_z}$$

    from each point's own height to `to`, upwards (P to Q) or downwards (Q to P), for lines that never turn back
    ($E_z > 0$, as between the plates). A line that meets $E_z \le 0$ is stopped there and has not arrived. For lines that
    turn back see [efm_jax.lines.whole_space][]. A warning says so when fewer than 90 % of the lines arrive.

    The ends have gradients in both modes, `jax.grad` and `jax.jvp`; a step costs the memory of one state.

    Args:
        field: The field, [n, D+1] to [n, D+1], any positive scale; row i is always line i.
        points: Where the lines start, [n, D+1], z last.
        to: Height of the plate to reach.
        stepping: `lines.fixed(...)` or `lines.adaptive(...)`; None: `adaptive("bosh3", rtol=5e-4)`. `fixed("euler",
            step=dz)` is Algorithm 2 of the paper, `x += (f_x / f_z) dz`.
        save: Points to keep along each line at equal heights, start and end among them (>= 2).

    Raises:
        ValueError: If a shape, an option or a value that can be seen is not as said above.

    Examples:
        A uniform field, tilted: the line is straight.

        >>> import jax.numpy as jnp
        >>> from efm_jax.lines import fixed
        >>> field = lambda points: jnp.broadcast_to(jnp.asarray([1.0, 2.0]), points.shape)
        >>> lines = trace(field, jnp.asarray([[0.0, 0.0]]), 6.0, stepping=fixed("euler", step=0.25))
        >>> lines.end.tolist(), lines.arrived.tolist(), lines.num_evaluations.tolist()
        ([[3.0, 6.0]], [True], [24])

    Source: Kolesov et al. 2025 (arXiv 2502.02367), Algorithm 2 and Theorem 3.1 (the lines).
    """
    lines = follow(field, points, to, stepping=stepping, save=save)
    warn_of_lost(lines.arrived, FIX)
    return lines


def follow(field, points, to, *, stepping, save=None) -> FieldLines:
    """`trace` without the warning."""
    points = checks.starts(points)
    stepping = chosen(stepping, adaptive("bosh3", rtol=5e-4))
    check_save(save)
    if not isinstance(to, Tracer):
        checks.finite("to", to)
    if not callable(field):
        raise ValueError(f"field must be a function from points [n, D+1] to vectors [n, D+1], got {field!r}.")
    clock, lengths = _laid_out("sine" if stepping.clock is None else stepping.clock)
    numbers = {
        "to": to,
        "steps": stepping.steps,
        "max_steps": stepping.max_steps,
        "step": stepping.step,
        "lengths": lengths,
        "rtol": stepping.rtol,
        "atol": stepping.rtol if stepping.atol is None else stepping.atol,
        "greatest_step": 1.0 if stepping.greatest_step is None else stepping.greatest_step,
    }
    policy = {"solver": stepping.solver, "save": save, "bound": _bound(stepping, points, to)}
    # inside someone's jit the function may hold that trace's values: no cache of ours may keep it
    run = _trace if isinstance(points, Tracer) else _trace_jit
    return run(as_pytree(field), points, as_pytree(clocks.named(clock)), numbers, **policy)


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
    slope = jnp.where(up, e[:, :-1], jnp.nan) / jnp.where(up, e[:, -1:], 1.0)
    # chosen before the product: 0 times NaN would be the gradient
    return jnp.where(dz[:, None] == 0, 0.0, slope) * dz[:, None]


def _trace(field, points, clock, numbers, *, solver, save, bound) -> FieldLines:
    check_field(field, points)
    numbers = jax.tree.map(jnp.asarray, numbers)
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
        greatest_step=numbers["greatest_step"],
        accept_least=False,
        most_steps=numbers["steps"]
        if lengths is not None
        else jnp.iinfo(jnp.int32).max
        if fixed
        else numbers["max_steps"],
        lengths=None if lengths is None else lengths.astype(dtype),
    )
    heights = start + jnp.linspace(0.0, 1.0, save or 0, dtype=dtype)[:, None] * (to - start)
    times = count * clocks.parameter(clock, heights, start, to)
    there = start == to
    stop = count if fixed else clocks.parameter(clock, to - _STRAIGHT * (to - start), start, to)
    done = march(by_count, x, stop, SOLVERS[solver](), control, arrived=there, save=times, bound=bound)
    if not fixed:
        near = (done.status == ARRIVED) & ~there
        ahead = rate(field, clocks.linear, height(done.t), to, jnp.zeros_like(to), jnp.ones_like(to), done.y)
        y = jnp.where(near[:, None] & jnp.isfinite(ahead), done.y + ahead, done.y)
        done = done._replace(
            t=jnp.where(near, count, done.t), y=y, evaluations=done.evaluations + near.astype(jnp.int32)
        )
    end = jnp.concatenate([done.y, height(done.t)[:, None]], axis=1)
    end = jnp.where(there[:, None], points, end)
    z = jnp.where(times > done.t, end[:, -1], heights)
    path = None
    if save is not None:
        path = jnp.concatenate([done.path, z[..., None]], axis=-1).at[0].set(points).at[-1].set(end)
    return FieldLines(end, path, done.status == ARRIVED, done.evaluations)


_trace_jit = jax.jit(_trace, static_argnames=("solver", "save", "bound"))


def _bound(stepping: Stepping, points: Array, to: float | Array) -> int:
    """The least power of 16 that no number of steps passes: one compilation for many numbers."""
    most = stepping.max_steps if stepping.steps is None else stepping.steps
    if stepping.step is not None:
        seen = not any(isinstance(value, Tracer) for value in (points, to, stepping.step))
        most = np.max(np.abs(to - points[:, -1])) / stepping.step + 1 if seen else 16**5
    bound = 16
    while bound < most:
        bound *= 16
    return bound


def _laid_out(clock):
    """The clock along which steps are taken, and their lengths where they are laid out beforehand."""
    if not isinstance(clock, clocks.Grid):
        return clock, None
    # as long as that of other few steps: one compilation for all of them
    spare = -clock.steps % 64
    return clock.along, jnp.pad(jnp.diff(clock.shares), (0, spare))
