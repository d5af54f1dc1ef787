"""Recipes of pairs: interaction fields, straight tubes, and flow matching, which regresses on one pair at a time.

Both take a coupling (which samples are paired) and a width (how far the lines of a pair bulge). For the conserving law they
have the same lines. `cfm` is taught the velocity of the pair that a point was drawn from. `ifm` is taught the mean velocity
of all pairs of the minibatch that pass there, a target with less noise.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import checks, dtypes
from efm_jax._core.heights import at_heights, on_plates
from efm_jax.fields import interaction
from efm_jax.fields.interaction import LAWS
from efm_jax.fields.widths import Width, checked_width, constant, ramped, with_slope
from efm_jax.matching.couplings import field_lines, given, independent
from efm_jax.matching.points import HEIGHTS, heights
from efm_jax.types import Batch, Coupling, FieldMatching, Key, Part, PointSampler

__all__ = ["cfm", "ifm", "tubes"]


def cfm(
    gap: float = 1.0,
    *,
    coupling: Coupling | None = None,
    width: Width | None = None,
    height: str = "linear",
    num_points: int | None = None,
) -> FieldMatching:
    """Conditional flow matching as a field with `E_z = 1`: I-CFM, or OT-CFM with `couplings.minibatch_ot()`.

    With `t = z / L`, a pair of samples and `e ~ N(0, I)`: the point `x = (1 - t) x_pos + t x_neg + sigma(z) e` and the
    target `((x_neg - x_pos) / L + sigma'(z) e, 1)`.

    Args:
        gap: Distance L between the plates; a unit of time. Lines do not depend on it.
        coupling: Which samples are paired; `couplings.independent()` when None.
        width: Width of the path; `widths.constant(0.1)` when None.
        height: How z is distributed, see `points.heights`.
        num_points: Supervised points per step; as many as rows of x_pos when None.

    Returns:
        The recipe. Wrap the network by `flow_network`, which sets f_z = 1.

    Raises:
        ValueError: `gap` is not positive, `width` is no function, `height` is unknown, or `num_points` is not a whole
            number >= 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = cfm().draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> batch.target[0].tolist()
        [1.0, 1.0, 1.0]

    Source: Tong et al. (2023), arXiv 2302.00482, eq. 14-15 and Algorithms 2-3.
    """
    gap = checks.positive("gap", gap)
    couple = (
        independent() if coupling is None else checks.made("coupling", coupling, "couplings.minibatch_ot()")
    )
    spread = constant() if width is None else checked_width(width)
    checks.choice("height", height, HEIGHTS)
    if num_points is not None:
        checks.count("num_points", num_points)

    return FieldMatching(
        partial(_draw_cfm, gap, couple, spread, height, num_points), on_plates(gap), (0.0, gap)
    )


def _draw_cfm(
    gap,
    couple,
    spread,
    height,
    num_points,
    key: Key,
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
) -> Batch:
    key_pair, key_point = jax.random.split(key)
    i, j = couple(key_pair, x_pos, x_neg, num_points or x_pos.shape[0])
    a, b = dtypes.at_least_float32(x_pos[i]), dtypes.at_least_float32(x_neg[j])
    z, noise = _around_pairs(height, key_point, gap, a)
    sigma, slope = with_slope(spread, z, gap)
    t = (z / gap)[:, None]
    x = (1.0 - t) * a + t * b + sigma[:, None] * noise
    velocity = (b - a) / gap + slope[:, None] * noise
    return Batch(at_heights(x, z), at_heights(velocity, jnp.ones_like(z)), jnp.ones_like(z))


def ifm(
    gap: float,
    *,
    law: str = "conserving",
    target: str | None = None,
    coupling: Coupling | None = None,
    width: Width | None = None,
    points: PointSampler | None = None,
    height: str = "linear",
    num_points: int | None = None,
    block_size: int | None = None,
) -> FieldMatching:
    """Interaction field matching: regress on the summed field of all pairs of the minibatch.

    The coupling makes as many pairs as the smaller plate has rows; at the supervised points the target is, of the field of
    `fields.interaction`,

    - `velocity`: `(E_x / E_z, 1)`. For the conserving law and points of the field's own density (the default) the gradient
      is that of the whole field, without bias, however few the pairs (with an independent coupling);
    - `direction`: `sqrt(D+1) E / |E|`, as the paper trains.

    Args:
        gap: Distance L between the plates, in units of the data.
        law: `conserving` or `official`, see `fields.interaction`.
        target: `velocity` or `direction`; None: velocity for the conserving law, direction for the official one.
        coupling: Which samples are paired; `couplings.independent()` when None.
        width: How far lines bulge; `widths.ramped()` when None.
        points: Where to supervise, a sampler that is given the pairs row by row. None: around the axis of a random
            pair, by its own width, `x = m + sigma(z) e`.
        height: How z is distributed when `points` is None, see `points.heights`.
        num_points: Supervised points per step; as many as pairs when None. The pairs per step are another number: more
            pairs, less noise.
        block_size: Pairs per block, see `fields.interaction`.

    Returns:
        The recipe. For velocities wrap the network by `flow_network`, which sets f_z = 1.

    Raises:
        ValueError: `gap` is not positive, `law`, `target` or `height` is unknown, `width` or `points` is no function, or
            `num_points` or `block_size` is not a whole number >= 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> batch = ifm(6.0, num_points=16).draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> batch.points.shape, bool((batch.target[:, 2] == 1).all())
        ((16, 3), True)

    Source: Manukhov et al. (2025), arXiv 2506.02950; the conserving law and its gradient: docs/concepts/interaction.md.
    """
    gap = checks.positive("gap", gap)
    checks.choice("law", law, LAWS)
    target = ("velocity" if law == "conserving" else "direction") if target is None else target
    checks.choice("target", target, ("velocity", "direction"))
    couple = (
        independent() if coupling is None else checks.made("coupling", coupling, "couplings.minibatch_ot()")
    )
    spread = ramped() if width is None else checked_width(width)
    if points is not None:
        checks.made("points", points, "points.segment()")
    checks.choice("height", height, HEIGHTS)
    if num_points is not None:
        checks.count("num_points", num_points)
    if block_size is not None:
        checks.count("block_size", block_size)

    return FieldMatching(
        partial(_draw_ifm, gap, law, target, couple, spread, points, height, num_points, block_size),
        on_plates(gap),
        (0.0, gap),
    )


def _draw_ifm(
    gap,
    law,
    target,
    couple,
    spread,
    points,
    height,
    num_points,
    block_size,
    key: Key,
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    *,
    part: Part = None,
) -> Batch:
    key_pair, key_row, key_point = jax.random.split(key, 3)
    num_pairs = min(x_pos.shape[0], x_neg.shape[0])
    i, j = couple(key_pair, x_pos, x_neg, num_pairs)
    a, b = dtypes.at_least_float32(x_pos[i]), dtypes.at_least_float32(x_neg[j])
    count = num_points or num_pairs
    if points is None:
        row, _ = given()(key_row, a, b, count)
        z, noise = _around_pairs(height, key_point, gap, a[row])
        t = (z / gap)[:, None]
        where = at_heights((1.0 - t) * a[row] + t * b[row] + spread(z, gap)[:, None] * noise, z)
    else:
        where = points(key_point, a, b, gap, count)
    where = where if part is None else part(where)
    unit = interaction(where, a, b, gap, width=spread, law=law, block_size=block_size).direction
    flat = jnp.ones_like(where[:, -1])
    if target == "velocity":
        return Batch(where, at_heights(unit[:, :-1] / unit[:, -1:], flat), flat)
    return Batch(where, jnp.sqrt(jnp.asarray(where.shape[1], where.dtype)) * unit, flat)


def tubes(
    gap: float = 1.0,
    *,
    coupling: Coupling | None = None,
    width: Width | None = None,
    height: str = "linear",
    num_points: int | None = None,
) -> FieldMatching:
    """Electrostatic field matching by straight tubes between the ends of exact lines.

    The exact lines of two plates far apart carry P to Q at about the least cost, but mass on them waits and then hurries,
    which networks learn badly. Their ends are kept, and each pair is joined by a straight tube of flux: `ifm` of the
    conserving law, whose lines carry the same mass. Velocities are bounded by the distances of pairs.

    Args:
        gap: Distance L between the plates, a unit of time.
        coupling: How samples are paired; `couplings.field_lines()` of each minibatch when None. For training sets paired
            once by `couplings.lines_plan`: `couplings.given()`.
        width: Width of the tubes; `widths.constant(0.1)` when None.
        height: How z is distributed, see `points.heights`.
        num_points: Supervised points per step; as many as pairs when None.

    Returns:
        The recipe. Wrap the network by `flow_network`, which sets f_z = 1.

    Raises:
        ValueError: As `ifm` does.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0], [5.0]])
        >>> batch = tubes(num_points=4).draw(jax.random.key(0), x, x[::-1] + 9.0)
        >>> batch.target.round(3).tolist() == [[9.0, 1.0]] * 4
        True

    Source: docs/concepts/far_plates.md. It is a rectified flow (Liu et al. 2022, arXiv 2209.03003) on an exact teacher.
    """
    couple = field_lines() if coupling is None else coupling
    spread = constant(0.1) if width is None else width
    return ifm(gap, coupling=couple, width=spread, height=height, num_points=num_points)


def _around_pairs(height: str, key: Key, gap: float, a: Array) -> tuple[Array, Array]:
    """Draw a height and a standard normal offset for each row of a."""
    key_z, key_e = jax.random.split(key)
    z = heights(key_z, gap, len(a), height=height).astype(a.dtype)
    return z, jax.random.normal(key_e, a.shape, a.dtype)
