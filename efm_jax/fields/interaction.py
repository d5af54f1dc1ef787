"""Interaction fields: lines of its own join every pair of samples, and the fields of all pairs add up.

Coulomb's field does not depend on who is paired with whom; an interaction field does. With `t = z / L`, the axis of
a pair at `m = (1 - t) x_pos + t x_neg`, offset `rho = x - m`, width `sigma(z)` and `Delta = x_neg - x_pos`, two laws:

- `conserving`: `E = N(x; m, sigma^2 I) (Delta / L + rho sigma' / sigma, 1)`. Its z-part is a density at every height, and
  lines of a pair keep `rho / sigma`: div E = 0 exactly, for tilted pairs too. It is the conditional path of flow
  matching written as a field.
- `official`: `E = e^(-rho^2 / 2 sigma^2) / (cos(a) (sigma / s0)^D + 0.01) (cos(a) n + sin(a) rho / |rho|)`, n the unit
  vector along `(Delta, L)`, `tan(a) = |rho| sigma' / sigma`, s0 the width at mid-gap. It does not conserve flux for tilted
  pairs, nor where the 0.01 matters.
"""

from collections.abc import Callable
from math import log, pi

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.distances import unit_of_squares
from efm_jax.fields._sums.differences import displacements_by_slabs, squared_lengths
from efm_jax.fields._sums.log_lengths import direction_and_log_length
from efm_jax.fields.widths import Width, checked_width, ramped, with_slope
from efm_jax.types import Field, Points

__all__ = ["LAWS", "interaction"]

LAWS = ("conserving", "official")
_ARCH = ramped()
_NEAREST = 1e-5
"""Share of the gap next to a plate within which the field is taken as at that height."""
_UNROLLED = 4  # dimensions
_FAR = 1e3  # spreads of the pairs from where squared distances are compared by their differences
_MOST = 1e37  # squares of a tangent, in float32


def interaction(
    points: Points,
    x_pos: Float[Array, "k dim"],
    x_neg: Float[Array, "k dim"],
    gap: float,
    *,
    width: Width | None = None,
    law: str = "conserving",
    block_size: int | None = None,
) -> Field:
    """Return the mean of the interaction fields of pairs `(x_pos_k, x_neg_k)`, in log space.

    `E = mean_k E_k`, the laws of one pair at the head of this module. With the law `conserving`, `E_x / E_z` is the mean
    of the pairs' velocities under their share of the density at that point: the marginal velocity of flow matching.

    Args:
        points: Where to evaluate, [p, D+1], between the plates; on a plate and outside, the field is that `1e-5 gap`
            away from it.
        x_pos: Ends of the pairs on z = 0, [k, D].
        x_neg: Ends of the pairs on z = gap, row by row, [k, D].
        gap: Distance L between the plates.
        width: How far lines bulge, a function of `widths`; `widths.ramped()` when None.
        law: `conserving` or `official`.
        block_size: Pairs per block of the streamed sum; None: 2^21 points x pairs.

    Returns:
        Direction [p, D+1] and log magnitude [p]; for `conserving` in units of a density.

    Raises:
        ValueError: Shapes do not fit, `gap` is not positive, `width` is no function, or `law` is unknown.

    Examples:
        >>> import jax.numpy as jnp
        >>> field = interaction(jnp.asarray([[1.0, 1.0]]), jnp.zeros((1, 1)), jnp.full((1, 1), 2.0), 2.0)
        >>> [round(float(e), 4) for e in field.direction[0]], round(float(jnp.exp(field.log_magnitude[0])), 3)
        ([0.7071, 0.7071], 0.564)

    Source: Manukhov et al. (2025), arXiv 2506.02950 (official law); the conserving law is the duality of field
    and flow matching, arXiv 2602.02261.
    """
    points, x_pos, x_neg = (
        checks.floating(n, a) for n, a in (("points", points), ("x_pos", x_pos), ("x_neg", x_neg))
    )
    gap = checks.length("gap", gap)
    checks.choice("law", law, LAWS)
    width = _ARCH if width is None else checked_width(width)
    if x_pos.ndim != 2 or x_pos.shape != x_neg.shape or len(x_pos) == 0:
        raise ValueError(
            f"x_pos and x_neg must be pairs row by row, both [k, D] with k >= 1, got {x_pos.shape} and {x_neg.shape}; "
            "pair samples by a coupling first."
        )
    dim = x_pos.shape[1]
    if points.ndim != 2 or points.shape[1] != dim + 1:
        raise ValueError(f"points must have shape [p, {dim + 1}] for pairs in D = {dim}, got {points.shape}.")
    num_pairs = len(x_pos)
    if block_size is None:
        block_size = max(1, min(num_pairs, 2**21 // max(1, len(points))))
    size = min(checks.count("block_size", block_size), num_pairs)
    dtype = jnp.result_type(points, x_pos, x_neg, jnp.float32)
    if len(points) == 0:
        return Field(points.astype(dtype), points[:, 0].astype(dtype))
    summed = _OF_TRACED_GAP if isinstance(gap, Tracer) else _OF_GAP
    return summed(points.astype(dtype), x_pos.astype(dtype), x_neg.astype(dtype), gap, width, law, size)


def _summed(
    points: Array, x_pos: Array, x_neg: Array, gap: float, width: Width, law: str, size: int
) -> Field:
    """The field, of blocks of `size` pairs.

    Next to a plate log weights are as large as 1e10, with roundings of hundreds. So they are taken relative to the pair
    nearest to each point, from differences of samples: what counts is then small, and may be rounded in any way.
    """
    num_pairs, dim = x_pos.shape
    x, z = points[:, :-1], jnp.clip(points[:, -1], _NEAREST * gap, (1.0 - _NEAREST) * gap)
    sigma, slope = with_slope(width, z, gap)
    log_unit = _log_unit(law, sigma, width, gap, dim)
    unit = unit_of_squares(dim + 1, points, x_pos, x_neg, jnp.asarray(gap, z.dtype))
    x, x_pos, x_neg, sigma = (length / unit for length in (x, x_pos, x_neg, sigma))
    variance = jnp.maximum(sigma**2, float(jnp.finfo(z.dtype).tiny))
    shares = ((gap - z) / gap)[:, None], (z / gap)[:, None]

    def cut(block):
        first = jnp.minimum(block * size, num_pairs - size)
        fresh = first + jnp.arange(size) >= block * size  # the last block overlaps the one before it
        return first, fresh, *(lax.dynamic_slice_in_dim(ends, first, size) for ends in (x_pos, x_neg))

    def compared(a_near, b_near, offset, a, b):
        """Squared distances from the axes of pairs less that of a near one, from differences of samples."""
        return _over_dims(
            lambda apart, near: apart * (2 * near + apart), shares, (a_near, a), (b_near, b), offset
        )

    few = dim <= _UNROLLED
    eps = float(jnp.finfo(z.dtype).eps)
    # of few dimensions the compiler computes squares and weights twice, and may round apart; far out weights are the larger
    from_first = lax.stop_gradient(shares[0] * (x - x_pos[0]) + shares[1] * (x - x_neg[0]))
    spread = jnp.maximum(*(jnp.max(jnp.abs(ends - ends[0])) for ends in (x_pos, x_neg)))
    distance = jnp.max(jnp.abs(from_first), axis=1, keepdims=True)
    far = distance > _FAR * spread

    def closer(nearest, block):
        first, _, a, b = cut(block)
        squared = _over_dims(jnp.square, *lax.stop_gradient((shares, (x, a), (x, b))))
        if few:
            squared = jnp.where(
                far, compared(x_pos[:1], x_neg[:1], from_first, *lax.stop_gradient((a, b))), squared
            )
        least = jnp.min(squared, axis=1, keepdims=True)
        most = (
            jnp.where(far, least + 16 * eps * distance * spread, (1.0 + 4.0 * eps) * least) if few else least
        )
        least = least[:, 0]
        # argmin, as two reductions that vectorize
        index = jnp.min(jnp.where(squared <= most, jnp.arange(size), size - 1), axis=1)
        nearer = ~(least >= nearest[0])
        return (jnp.where(nearer, least, nearest[0]), jnp.where(nearer, first + index, nearest[1])), None

    blocks = jnp.arange(-(-num_pairs // size))
    start = jnp.full_like(z, jnp.inf), jnp.zeros(len(z), blocks.dtype)
    nearest = lax.stop_gradient(lax.scan(closer, start, blocks)[0][1])
    a_near, b_near = x_pos[nearest], x_neg[nearest]
    offset = shares[0] * (x - a_near) + shares[1] * (x - b_near)
    least = squared_lengths(offset)

    def add(sums, block):
        _, fresh, a, b = cut(block)
        across = b - a
        more = compared(a_near, b_near, offset, a, b)
        log_w = -0.5 * more / variance[:, None]
        if few:
            log_w = jnp.where(far, jnp.minimum(log_w, 0.0), log_w)
        along, aside = 1.0 / gap * unit, (slope / sigma)[:, None]
        if law == "official":
            squared = jnp.maximum(least[:, None] + more, 0.0)
            tangent = squared * jnp.minimum(aside**2, _MOST)
            cosine = lax.rsqrt(1.0 + tangent)
            log_w = log_w - jnp.log(cosine * jnp.exp(log_unit)[:, None] + 1e-2)
            along = cosine * lax.rsqrt(jnp.sum(across**2, axis=1) + (gap / unit) ** 2)
            upright = tangent < _MOST
            # far out the angle is a right one
            right = jnp.sign(aside) * lax.rsqrt(jnp.where(upright, 1.0, squared))
            aside = jnp.where(upright, cosine * aside, right)
        log_w = jnp.where(fresh, log_w, -jnp.inf)
        top = jnp.maximum(sums[0], jnp.max(log_w, axis=1))
        w = jnp.exp(log_w - top[:, None])
        old = jnp.exp(sums[0] - top)[:, None]
        forward, outward = w * along, w * aside
        lateral = jnp.matmul(forward, across, precision=lax.Precision.HIGHEST)
        for share, ends in zip(shares, (a, b), strict=True):
            lateral = lateral + share * displacements_by_slabs(outward, x, ends)
        upward = gap * jnp.sum(forward, axis=1, keepdims=True) / unit
        return (top, sums[1] * old + jnp.concatenate([lateral, upward], axis=1)), None

    start = (jnp.full_like(z, -jnp.inf), jnp.zeros_like(points))
    (top, vector), _ = lax.scan(add, start, blocks)
    direction, log_length = direction_and_log_length(vector)
    away = jnp.minimum(0.5 * least / variance, float(jnp.finfo(z.dtype).max))
    log_magnitude = log_length + top - away - log(num_pairs)
    return Field(direction, log_magnitude - log_unit if law == "conserving" else log_magnitude)


# widths may ask for the gap as a number, where it is one
_OF_GAP = jax.jit(_summed, static_argnames=("gap", "width", "law", "size"))
_OF_TRACED_GAP = jax.jit(_summed, static_argnames=("width", "law", "size"))


def _log_unit(law: str, sigma: Array, width: Width, gap: float, dim: int) -> Array:
    """`D log(sigma sqrt(2 pi))`, the norm of the Gaussian, or `D log(sigma / s0)`."""
    unit = 1.0 / (2.0 * pi) ** 0.5 if law == "conserving" else width(jnp.asarray(0.5 * gap, sigma.dtype), gap)
    return dim * jnp.log(sigma / unit)


def _over_dims(
    term: Callable, shares, of_p: tuple[Array, Array], of_q: tuple[Array, Array], *more: Array
) -> Array:
    """`sum_d term(share_p (x_d - a_d) + share_q (y_d - b_d), *more_d)`, [p, k], of `(x [p, D], a [k, D])` and `(y, b)`."""
    down, up = shares

    def add(total, column):
        x, a, y, b, *rest = column
        apart = down * (x[:, None] - a) + up * (y[:, None] - b)
        return total + term(apart, *(r[:, None] for r in rest)), None

    zero = jnp.zeros((len(down), len(of_p[1])), down.dtype)
    columns = tuple(part.T for part in (*of_p, *of_q, *more))
    return lax.scan(add, zero, columns, unroll=len(columns[0]) <= _UNROLLED)[0]
