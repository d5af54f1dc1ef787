"""Field lines through the whole space, round the outside of the plates too, by arc length.

`lines.trace` follows lines that go from one plate to the other. Here a line may leave backward, come round, cross a plate
and turn back, as the theorem's stochastic map has it. `to_charges` follows the lines of point charges until each is caught
by the charge it ends on. `to_plate` follows those of any field, learned ones too, until they meet the plate on which the
field ends. `to_height` stops lines where they first meet a height. Every line that does not arrive says why.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from efm_jax._core import checks
from efm_jax._core.trees import as_pytree
from efm_jax.charges.plates import Charges, as_charges
from efm_jax.fields import field_fn
from efm_jax.fields.nearest_charges import radii
from efm_jax.lines import _arrivals
from efm_jax.lines._steps import ARRIVED, LEFT, LOST, OUT_OF_STEPS, STUCK, TOO_LONG, check_save, warn_of_lost
from efm_jax.lines.stepping import Stepping, adaptive, chosen
from efm_jax.types import FieldFn

__all__ = ["REASONS", "EndedLines", "capture_radius", "tally", "to_charges", "to_height", "to_plate"]

REASONS = {
    ARRIVED: "arrived",
    OUT_OF_STEPS: "out of steps",
    TOO_LONG: "too long",
    LEFT: "left the region",
    LOST: "no direction",
    STUCK: "stuck on the other plate",
}
"""How a line ended, in words."""


_FIX = (
    "whole_space.tally(lines) counts why. Out of steps: take stepping=lines.adaptive(max_steps=4000); too long or left the\n"
    "region: raise max_length or region; no direction or stuck: the field is not defined, or ends lines, on the way."
)


class EndedLines(NamedTuple):
    """Field lines as they ended.

    Attributes:
        end: Where each line ended, [n, D+1]: on its charge or plate where `arrived`, else the last place reached.
        path: Points along each line at equal numbers of length scales, [k, n, D+1], the first its start and the last
            its end; None if not asked for.
        arrived: Whether the line ended where lines of this field end, [n].
        charge: Number of the charge it ended on, [n]; -1 where there is none.
        reason: How it ended, [n]: a key of `REASONS`.
        length: Its length, [n].
        num_evaluations: Field evaluations spent on it, [n].
    """

    end: Float[Array, "n dim1"]
    path: Float[Array, "k n dim1"] | None
    arrived: Bool[Array, " n"]
    charge: Int[Array, " n"]
    reason: Int[Array, " n"]
    length: Float[Array, " n"]
    num_evaluations: Int[Array, " n"]


def to_charges(
    points: Float[Array, "n dim1"],
    charges: Charges,
    *,
    field: FieldFn | None = None,
    reverse: bool = False,
    reach: Float[Array, " m"] | None = None,
    stepping: Stepping | None = None,
    max_length: float | None = None,
    region: float | None = None,
    at_once: int | None = None,
    save: int | None = None,
) -> EndedLines:
    r"""Follow the field lines of point charges, anywhere in space, each to the charge it ends on.

    $$\frac{d(x, z)}{ds} = \pm \frac{E}{|E|}$$

    by arc length. The length scale at a point is the distance to the nearest charge: a step is at most half of it, so none
    passes over a charge, steps far out are long, and its error is a small share of it. A line that comes within the
    capture radius of a charge of the sign it seeks, where that charge's own field rules, ends there.

    Launched from the positive charges by `launches.from_charges`, lines reach every negative charge in proportion to
    its charge: the theorem's stochastic map T for two plates, the deterministic map of the capacitor chain.

    Args:
        points: Where lines start, [n, D+1], z last.
        charges: Positions [m, D+1] and signed charges [m]; among charges at one place the first counts as the end.
        field: The field to follow, [k, D+1] to [k, D+1], any positive scale; None: the exact field of the charges.
        reverse: Follow -E, to positive charges.
        reach: Capture radius of every charge, [m], 0 for those that capture nothing; None: `capture_radius(charges)`.
            Worth computing once where the charges serve many calls.
        stepping: `lines.adaptive(...)`, its unit the distance to the nearest charge; None: `adaptive(rtol=1e-3)`.
        max_length: Length after which a line is left where it is; None for no bound.
        region: Distance from the middle of the charges beyond which a line is left; None: 100,000 times their extent.
        at_once: Lines under way at once; when one ends another takes its place, so the cost is the sum over the lines and
            not the longest. None: 128.
        save: Points to keep along each line, start and end among them (>= 2), at equal numbers of length scales; the
            lines are then followed twice.

    Raises:
        ValueError: If a shape, an option or a value that can be seen is not as said above.

    Examples:
        All lines of a dipole run from one charge to the other, half of them backward and round the outside. Here each
        charge is two at one place; lines end on the first of them.

        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.lines import launches
        >>> from efm_jax.charges import capacitor
        >>> charges = capacitor(jnp.zeros((2, 1)), jnp.zeros((2, 1)), gap=2.0)
        >>> launch = launches.from_charges(jax.random.key(0), charges, 6)
        >>> lines = to_charges(launch.points, charges)
        >>> lines.charge.tolist(), lines.end[0].tolist()
        ([2, 2, 2, 2, 2, 2], [0.0, 2.0])

    Source: Kolesov et al. (2025), arXiv 2502.02367, Theorem 3.1.
    """
    charges = as_charges(charges)
    points = checks.starts(points)
    if points.shape[1] != charges.positions.shape[1]:
        raise ValueError(
            f"points must have shape [n, {charges.positions.shape[1]}], (x, z) as the charges' positions have, got "
            f"{points.shape}."
        )
    points = points.astype(jnp.result_type(points, charges.positions))
    stepping = chosen(stepping, adaptive(rtol=1e-3))
    numbers, policy = _options(
        points, stepping, reverse, max_length, region, 128 if at_once is None else at_once, save
    )
    if reach is None:
        reach = capture_radius(charges, reverse=reverse)
    elif np.shape(reach) != charges.charge.shape:
        raise ValueError(
            f"reach must hold one radius per charge, {charges.charge.shape}, got {np.shape(reach)}."
        )
    field = as_pytree(field_fn(charges) if field is None else field)
    # inside someone's jit the function may hold that trace's values: no cache of ours may keep it
    run = _arrivals.to_charges if isinstance(points, Tracer) else _arrivals.to_charges_jit
    reach = jnp.asarray(reach, points.dtype)
    return _lines(
        lambda times: run(field, points, charges, reach, {**numbers, "save": times}, **policy), points, save
    )


def capture_radius(
    charges: Charges, *, reverse: bool = False, share: float = 0.2, height: float | None = None
) -> Float[Array, " n"]:
    r"""Return the radius within which a line has reached a charge for good.

    $$\text{share} \cdot \min(\text{distance to the nearest neighbor}, r), \quad |q| / (S_D r^D) = |F|,$$

    F the field of the others. Within it the charge's own field is $\text{share}^{-D}$ times the others' and all lines
    run into it, so what ends is what would have ended, only sooner.

    Args:
        charges: Positions [n, D+1] and signed charges [n].
        reverse: For lines against the field, which end on positive charges; else they end on negative ones.
        share: Share of the radius of the charge's own field, in (0, 1).
        height: Only charges of the plate at this height capture; None for all of the sign.

    Returns:
        The radius of every charge, [n], 0 for those that capture nothing.

    Raises:
        ValueError: If a shape or value is not as said above, or no charge of that sign is there.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> charges = capacitor(jnp.asarray([[0.0], [1.0]]), jnp.asarray([[0.0], [1.0]]), gap=10.0)
        >>> [round(float(r), 2) for r in capture_radius(charges, share=0.1)]
        [0.0, 0.0, 0.1, 0.1]
    """
    charges = as_charges(charges)
    share = checks.positive("share", share)
    if share >= 1.0:
        raise ValueError(f"share must be below 1, got {share!r}: beyond, another charge's field rules.")
    ends = jnp.sign(charges.charge) == (1.0 if reverse else -1.0)
    if height is not None:
        heights = charges.positions[:, -1]
        ends &= jnp.abs(heights - checks.finite("height", height)) <= 1e-6 * jnp.max(jnp.abs(heights))
    if isinstance(ends, Tracer):
        which = jnp.arange(len(ends))
    else:
        (which,) = np.nonzero(np.asarray(ends))
        if len(which) == 0:
            raise ValueError(
                f"charges must hold a {'positive' if reverse else 'negative'} charge for lines to end on"
                f"{'' if height is None else f' at height {height!r}'}."
            )
    own = radii(charges, jnp.asarray(which)).own_radius
    # a charge alone in the world has no scale
    own = jnp.where(jnp.isfinite(own), own, 1.0)
    return jnp.where(ends, jnp.zeros_like(charges.charge).at[which].set(share * own), 0)


def to_plate(
    field: FieldFn,
    points: Float[Array, "n dim1"],
    gap: float,
    *,
    offset: float | None = None,
    reverse: bool = False,
    stepping: Stepping | None = None,
    max_length: float | None = None,
    region: float | None = None,
    at_once: int | None = None,
    save: int | None = None,
) -> EndedLines:
    r"""Follow the lines of a smooth or learned field, anywhere in space, until they end on a plate.

    The field jumps at both plates, `z = 0` and `z = gap`, so each side of a plate is integrated by itself: between a
    plate and the height `offset` from it the field is that at the offset, and a line that meets a plate is put on it
    exactly. There both sides are looked at. If they point at each other the line ends; if both have one sign it crosses,
    and may bend back and end from the other side. Lines end on `z = gap`, or on `z = 0` when `reverse`; one that the
    field stops on the other plate is `STUCK`.

    The length scale at a point p is $\sqrt{\text{gap}^2 + |p - c|^2}$, c the middle of the starts at half the gap.

    Args:
        field: The field, [n, D+1] to [n, D+1], any positive scale.
        points: Where lines start, [n, D+1]; those exactly on a plate start on the side that the field sends them to.
        gap: Distance L between the plates.
        offset: Distance from a plate at which its sides are looked at; None: 0.1 % of the gap. For a field of point
            charges well above their spacing.
        reverse: Follow -E from z = gap to z = 0.
        stepping: `lines.adaptive(...)` in length scales; None: `adaptive()`.
        max_length: Length after which a line is left where it is; None for no bound.
        region: Distance from c beyond which a line is left; None: 10,000 times the gap or the starts' spread.
        at_once: Lines under way at once; None: all, and row i of what the field is given is always line i.
        save: Points to keep along each line, as in `to_charges`.

    Raises:
        ValueError: If a shape, an option or a value that can be seen is not as said above.

    Examples:
        A uniform field between the plates that points back at the upper one from behind it.

        >>> import jax.numpy as jnp
        >>> def field(p):
        ...     up = jnp.where(p[:, 1] < 2.0, 1.0, -1.0)
        ...     return jnp.stack([jnp.full_like(up, 0.5), up], axis=1)
        >>> lines = to_plate(field, jnp.asarray([[0.0, 0.1]]), 2.0)
        >>> lines.arrived.tolist(), [round(float(c), 3) for c in lines.end[0]]
        ([True], [0.95, 2.0])

    Source: Kolesov et al. (2025), arXiv 2502.02367, Theorem 3.1.
    """
    points = checks.starts(points)
    gap = checks.positive("gap", gap)
    offset = 1e-3 * gap if offset is None else checks.positive("offset", offset)
    if offset >= 0.5 * gap:
        raise ValueError(f"offset must be below half the gap, got {offset!r} for a gap of {gap!r}.")
    if not callable(field):
        raise ValueError(f"field must be a function from points [n, D+1] to vectors [n, D+1], got {field!r}.")
    stepping = chosen(stepping, adaptive())
    numbers, policy = _options(points, stepping, reverse, max_length, region, at_once, save)
    numbers |= {"gap": gap, "offset": offset}
    run = _arrivals.to_plate if isinstance(points, Tracer) else _arrivals.to_plate_jit
    field = as_pytree(field)
    return _lines(lambda times: run(field, points, {**numbers, "save": times}, **policy), points, save)


def to_height(
    field: FieldFn,
    points: Float[Array, "n dim1"],
    to: float | Float[Array, ""],
    *,
    reverse: bool | None = None,
    stepping: Stepping | None = None,
    max_length: float | None = None,
    region: float | None = None,
    at_once: int | None = None,
    save: int | None = None,
) -> EndedLines:
    r"""Follow lines by arc length, anywhere in space, until they first meet the height `to`.

    The length scale $\ell$ at a point p is $1/\ell = 1/\sqrt{g^2 + |p - p_0|^2} + 1/(2.2 \sqrt{d^2 + (g/50)^2})$, with g
    the gap $|to - z_0|$, $p_0$ the line's start and d the distance from the height: a line that goes far out takes long
    steps there, and none jumps across the height.

    Args:
        field: The field, [n, D+1] to [n, D+1], any positive scale.
        points: Where lines start, [n, D+1], not at the height `to`.
        to: The height.
        reverse: Follow -E; None: against the field from points above `to`, with it from points below.
        stepping: `lines.adaptive(...)` in length scales; None: `adaptive()`.
        max_length: Length after which a line is left where it is; None for no bound.
        region: Distance from the middle of the starts beyond which a line is left; None: 10,000 times the gap and the
            starts' spread.
        at_once: Lines under way at once; None: all, and row i of what the field is given is always line i.
        save: Points to keep along each line, as in `to_charges`.

    Raises:
        ValueError: If a shape, an option or a value that can be seen is not as said above.

    Examples:
        Circles about (0, 1) of radius 1.5 and 2 meet the height 2.

        >>> import jax.numpy as jnp
        >>> field = lambda p: jnp.stack([1.0 - p[:, 1], p[:, 0]], axis=1)
        >>> lines = to_height(field, jnp.asarray([[1.5, 1.0], [2.0, 1.0]]), 2.0)
        >>> [round(float(x), 3) for x in lines.end[:, 0]]
        [1.118, 1.732]

    Source: Kolesov et al. (2025), arXiv 2502.02367, Theorem 3.1 (the lines).
    """
    points = checks.starts(points)
    if not isinstance(to, Tracer):
        checks.finite("to", to)
    if not callable(field):
        raise ValueError(f"field must be a function from points [n, D+1] to vectors [n, D+1], got {field!r}.")
    stepping = chosen(stepping, adaptive())
    numbers, policy = _options(points, stepping, reverse, max_length, region, at_once, save)
    run = _arrivals.to_height if isinstance(points, Tracer) else _arrivals.to_height_jit
    field = as_pytree(field)
    return _lines(lambda times: run(field, points, to, {**numbers, "save": times}, **policy), points, save)


def tally(lines: EndedLines) -> dict[str, int]:
    """Count the lines by how they ended.

    Args:
        lines: Lines as they ended.

    Returns:
        The number of lines for each reason of `REASONS` that occurs, by its name.

    Examples:
        >>> import jax.numpy as jnp
        >>> reason = jnp.asarray([ARRIVED, ARRIVED, LEFT])
        >>> tally(EndedLines(*[jnp.zeros((3, 1))] * 4, reason, *[jnp.zeros(3)] * 2))
        {'arrived': 2, 'left the region': 1}
    """
    codes, counts = np.unique(np.asarray(lines.reason), return_counts=True)
    return {REASONS[int(code)]: int(count) for code, count in zip(codes, counts, strict=True)}


def _lines(run: Callable[[Array], _arrivals.Ended], points: Array, save: int | None) -> EndedLines:
    ended = run(jnp.zeros((len(points), 0), points.dtype))
    if save is not None:
        # how far a line runs is known now: once more, keeping its points
        ended = run(ended.t[:, None] * jnp.linspace(0.0, 1.0, save, dtype=points.dtype))
    path = None if save is None else ended.path
    arrived = ended.reason == ARRIVED
    warn_of_lost(arrived, _FIX, stacklevel=4)
    return EndedLines(
        ended.end, path, arrived, ended.charge, ended.reason, ended.length, ended.num_evaluations
    )


def _options(points, stepping, reverse, max_length, region, at_once, save) -> tuple[dict, dict]:
    """The numbers of a run, which are traced, and its policy, for which it is compiled."""
    check_save(save)
    if stepping.is_fixed or stepping.clock is not None:
        raise ValueError(
            f"lines through the whole space choose their steps by arc length, got {stepping}.\n"
            "Give lines.adaptive(...) without a clock."
        )
    greatest_step = 0.5 if stepping.greatest_step is None else stepping.greatest_step
    if greatest_step >= 1.0:
        raise ValueError(
            f"greatest_step must be below 1, got {greatest_step!r}: a longer step passes over a charge."
        )
    for name, value in (("max_length", max_length), ("region", region)):
        if value is not None:
            checks.positive(name, value)
    numbers = {
        "rtol": stepping.rtol,
        "atol": 0.0 if stepping.atol is None else stepping.atol,
        "greatest_step": greatest_step,
        "max_length": np.inf if max_length is None else max_length,
        "region": np.nan if region is None else region,
        "sign": np.nan if reverse is None else -1.0 if reverse else 1.0,
    }
    slots = len(points) if at_once is None else min(checks.count("at_once", at_once), len(points))
    return numbers, {"solver": stepping.solver, "max_steps": stepping.max_steps, "slots": slots}
