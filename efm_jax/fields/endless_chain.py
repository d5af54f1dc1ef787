"""The exact field of the endless capacitor chain between its plates, in log space and any dimension.

The potential of a charge at a point is half the time that a Brownian motion from the charge spends there. Along x that
motion is a Gaussian of variance T; along z both plates reflect it (`_chain.slab`). So for a charge x_i of the plate z = 0

    E_x = 1/2 int dT N(x; x_i, T I) (x - x_i) / T stay(z, T),     E_z = 1/2 int dT N(x; x_i, T I) leave(z, T),

and for the plate z = gap the same with z -> gap - z and the sign of E_x reversed. The integrand is analytic in log T: the
trapezoid rule converges exponentially, and all charges of a plate share its nodes. At D = 1 the sum is elementary
(`_chain.strip`).
"""

from dataclasses import dataclass
from functools import partial
from math import log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.distances import common_unit
from efm_jax._core.heights import at_heights
from efm_jax.fields._chain.plate import plate_field
from efm_jax.fields._chain.strip import strip
from efm_jax.fields._sums.log_lengths import direction_and_log_length
from efm_jax.types import Field, FieldFn, SamplesP, SamplesQ

__all__ = ["chain", "chain_fn", "chain_velocity", "log_density_path"]

_PAIRS = 2**19  # points x charges held at a time
_LARGEST = 1e15  # length in the unit of the sums, whose squares and times stay in the range of float32


class _Parts(NamedTuple):
    """The field in two parts, each to its own accuracy: `E_x = direction exp(log_lateral)`, `E_z = sine exp(log_z)`."""

    direction: Float[Array, "p dim"]
    log_lateral: Float[Array, " p"]
    log_z: Float[Array, " p"]
    sine: Float[Array, " p"]


def chain(
    points: Float[Array, "*batch dim1"],
    x_pos: SamplesP,
    x_neg: SamplesQ,
    gap: float,
    *,
    tolerance: float = 1e-5,
) -> Field:
    """Return the electric field of the endless capacitor chain between its plates.

    The chain has P on the heights `2 k gap` and Q on `(2 k + 1) gap`, all k; with n and m equal charges of total +1 and -1
    a plate. Between the plates `E_z > 0`, `integral E_z dx = 1/2` at every height, and `2 E_z` is a density path from P to Q
    that `E_x / E_z` carries along.

    The error of each charge's part is a share `tolerance` of the largest of them, on top of float32 roundings (about
    1e-7 (D+1) of it). Memory is O(charges + 2^19); time is that of some 15 (high D) to 100 (D = 2) exponentials a pair.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1], 0 <= z <= gap, in the units of the data. On a charge the
            field is that of the others.
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0.
        tolerance: Relative error of the sum over images, for each charge.

    Returns:
        `Field(direction [..., D+1], log_magnitude [...])`. NaN where a traced height is outside [0, gap]; NaN in, NaN out.

    Raises:
        ValueError: If the samples are not [n, D] and [m, D], the points not [..., D+1], the gap or the tolerance not > 0, or
            a known height is outside [0, gap].

    Examples:
        Charges at one place on both plates, D = 1, half-way between them: `1 / (2 gap)`.

        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((1, 1))
        >>> field = chain(jnp.asarray([0.0, 0.5]), x, x, gap=1.0)
        >>> field.direction.tolist(), round(float(jnp.exp(field.log_magnitude)), 5)
        ([0.0, 1.0], 0.5)

    Source: The chain: "Capacitor chain" abstract, OpenReview VDnHEHyVl5; the time integral is derived above.
    """
    points, parts = _parts(points, x_pos, x_neg, gap, tolerance)
    scale = lax.stop_gradient(jnp.maximum(parts.log_lateral, parts.log_z + jnp.log(parts.sine)))
    scale = jnp.where(jnp.isneginf(scale), 0, scale)
    lateral = parts.direction * jnp.exp(parts.log_lateral - scale)[:, None]
    shrunk = jnp.where(parts.sine > 0, parts.log_z - scale, 0)  # on a plate it may be large, and is not felt
    whole = jnp.concatenate([lateral, (parts.sine * jnp.exp(shrunk))[:, None]], axis=1)
    direction, log_length = direction_and_log_length(whole)
    return Field(direction.reshape(points.shape), (log_length + scale).reshape(points.shape[:-1]))


def chain_velocity(
    points: Float[Array, "*batch dim1"],
    x_pos: SamplesP,
    x_neg: SamplesQ,
    gap: float,
    *,
    tolerance: float = 1e-5,
) -> Float[Array, "*batch dim"]:
    """Return the velocity `dx/dz = E_x / E_z` of the chain's lines, which carries P along `2 E_z` to Q.

    Both parts have a small relative error, so the ratio has one too, even far from all charges. There E_z is smaller than
    E_x by exp(-pi rho / gap), and the velocity as much larger than 1. Where it is greater than all floats, as on the
    plates, it is the greatest float.

    Args:
        points: As in `chain`, [..., D+1], 0 < z < gap.
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0.
        tolerance: As in `chain`.

    Raises:
        ValueError: As `chain` does.

    Examples:
        Charges at one place on both plates, D = 1: `v = tanh(pi x / gap) / tan(pi z / gap)`.

        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((1, 1))
        >>> round(float(chain_velocity(jnp.asarray([0.2, 0.25]), x, x, gap=1.0)[0]), 4)  # tanh(pi / 5)
        0.5569

    Source: Derived: `2 E_z` is conserved along `E_x / E_z`, for the divergence of E is zero.
    """
    points, parts = _parts(points, x_pos, x_neg, gap, tolerance)
    speed = jnp.exp(parts.log_lateral - parts.log_z) / parts.sine
    velocity = parts.direction * jnp.minimum(speed, jnp.finfo(speed.dtype).max)[:, None]
    return velocity.reshape(*points.shape[:-1], -1)


def log_density_path(
    points: Float[Array, "*batch dim1"],
    x_pos: SamplesP,
    x_neg: SamplesQ,
    gap: float,
    *,
    tolerance: float = 1e-5,
) -> Float[Array, "*batch"]:
    """Return the log-density of the chain's path from P to Q: `log p_z(x) = log(2 E_z(x, z))`.

    `p_z = sum_i (1/n) int leave(z, T) N(x; x_i, T I) dT + (the same of Q, gap - z)`: where a Brownian motion started at
    height z over x leaves the slab. It integrates to 1 over x, tends to P at z = 0 and to Q at z = gap.

    Args:
        points: As in `chain`, [..., D+1]; on the plates the density of samples is 0 or infinite.
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0.
        tolerance: As in `chain`.

    Returns:
        Log-densities in nats, per unit of x-volume, [...].

    Raises:
        ValueError: As `chain` does.

    Examples:
        Charges at one place on both plates, D = 1, half-way between them: `1 / gap`.

        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((1, 1))
        >>> round(float(jnp.exp(log_density_path(jnp.asarray([0.0, 0.5]), x, x, gap=1.0))), 5)
        1.0

    Source: Derived; the chain is that of OpenReview VDnHEHyVl5.
    """
    points, parts = _parts(points, x_pos, x_neg, gap, tolerance)
    return (log(2) + parts.log_z + jnp.log(parts.sine)).reshape(points.shape[:-1])


def _parts(points, x_pos, x_neg, gap, tolerance) -> tuple[Array, _Parts]:
    """The points in the dtype of the sums, and the parts of the field at all of them."""
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    points = checks.floating("points", points)
    if points.ndim < 1 or points.shape[-1] != x_pos.shape[1] + 1:
        raise ValueError(
            f"points must have shape [..., {x_pos.shape[1] + 1}], (x, z) with z last, for samples of {x_pos.shape[1]} "
            f"dimensions, got {points.shape}; append the height z to samples x."
        )
    gap, tolerance = checks.length("gap", gap), checks.positive("tolerance", tolerance)
    if not isinstance(points, Tracer) and not isinstance(gap, Tracer):
        heights = np.asarray(points)[..., -1]
        outside = int(((heights < 0) | (heights > gap)).sum())
        if outside:
            raise ValueError(
                f"points must lie between the plates, 0 <= z <= gap = {gap!r}; {outside} do not.\n"
                "fields.chain_fn takes any height."
            )
    dtype = jnp.result_type(points, x_pos, x_neg, jnp.float32)
    points, x_pos, x_neg = (array.astype(dtype) for array in (points, x_pos, x_neg))
    flat = points.reshape(-1, points.shape[-1])
    return points, _all_parts(flat, x_pos, x_neg, jnp.asarray(gap, dtype), tolerance)


@partial(jax.jit, static_argnames="tolerance")
def _all_parts(points: Array, x_pos: Array, x_neg: Array, gap: Array, tolerance: float) -> _Parts:
    unit = common_unit(_LARGEST, points, x_pos, x_neg, gap)
    points, x_pos, x_neg, gap = (length / unit for length in (points, x_pos, x_neg, gap))
    size = int(np.clip(_PAIRS // max(len(x_pos), len(x_neg)), 1, max(len(points), 1)))
    groups = jnp.pad(points, ((0, -len(points) % size), (0, 0)), mode="edge" if len(points) else "constant")

    def group(members):
        x, z = members[:, :-1], members[:, -1]
        z = jnp.where((z >= 0) & (z <= gap), z, jnp.nan)
        sine = jnp.sin(pi * jnp.minimum(z, gap - z) / gap)
        if x.shape[1] == 1:
            sign, log_lateral, log_z = strip(x[:, 0], z, x_pos[:, 0], x_neg[:, 0], gap)
            return _Parts(sign[:, None], log_lateral, log_z, sine)
        plus = plate_field(x, z, x_pos, gap, tolerance)
        minus = plate_field(x, gap - z, x_neg, gap, tolerance)
        scale = jnp.maximum(plus.log_lateral, minus.log_lateral)
        scale = lax.stop_gradient(jnp.where(jnp.isneginf(scale), 0, scale))
        sides = (part.direction * jnp.exp(part.log_lateral - scale)[:, None] for part in (plus, minus))
        direction, log_length = direction_and_log_length(next(sides) - next(sides))
        return _Parts(direction, log_length + scale, jnp.logaddexp(plus.log_z, minus.log_z), sine)

    done = lax.map(jax.checkpoint(group), groups.reshape(-1, size, points.shape[1]))
    done = jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(points)], done)
    per_unit = (points.shape[1] - 1) * jnp.log(unit)
    return done._replace(log_lateral=done.log_lateral - per_unit, log_z=done.log_z - per_unit)


def chain_fn(x_pos: SamplesP, x_neg: SamplesQ, gap: float, *, tolerance: float = 1e-5) -> FieldFn:
    """Return the endless chain's field as a function from points, at any height, to unit directions.

    Both plates are mirrors: `E_x(x, -z) = E_x(x, z)`, `E_z(x, -z) = -E_z(x, z)`, and all has the period `2 gap`, so a point
    at any height is folded into the slab.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0.
        tolerance: As in `chain`.

    Returns:
        A function from points [k, D+1] to unit vectors [k, D+1]. It is a pytree of the samples and the gap: chains of the
        same shapes share their compiled lines.

    Raises:
        ValueError: As `chain` does, for the samples and options at once, for points when the function is called.

    Examples:
        >>> import jax.numpy as jnp
        >>> field = chain_fn(jnp.zeros((1, 1)), jnp.zeros((1, 1)), 1.0)
        >>> field(jnp.array([[0.0, 0.25], [0.0, 1.75]])).tolist()
        [[0.0, 1.0], [0.0, -1.0]]

    Source: The chain: "Capacitor chain" abstract, OpenReview VDnHEHyVl5.
    """
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    gap, tolerance = checks.length("gap", gap), checks.positive("tolerance", tolerance)
    return jax.tree_util.Partial(_Folded(tolerance), gap, x_pos, x_neg)


@dataclass(frozen=True)
class _Folded:
    """The directions of `chain` at any height; those of one tolerance are equal, by which compiled lines are kept."""

    tolerance: float

    def __call__(self, gap: float, x_pos: Array, x_neg: Array, points: Array) -> Array:
        height = jnp.mod(points[:, -1], 2 * gap)
        upright = height <= gap
        height = jnp.where(upright, height, 2 * gap - height)
        inside = at_heights(points[:, :-1], height)
        direction = chain(inside, x_pos, x_neg, gap, tolerance=self.tolerance).direction
        return direction.at[:, -1].multiply(jnp.where(upright, 1, -1).astype(direction.dtype))
