"""The field of the endless capacitor chain between its plates, all images summed, in log space and any dimension.

A charge's potential is half the time that a Brownian motion spends at a place. Across the plates that motion is a Gaussian
of variance T, along z it is one reflected at both plates (`_slab`), so that for a charge x_i of the plate z = 0

    E_x = 1/2 int dT N(x; x_i, T I) (x - x_i) / T stay(z, T),     E_z = 1/2 int dT N(x; x_i, T I) leave(z, T),

and for the plate z = gap the same with z -> gap - z, E_x turned about. The integrand is analytic in log T: the trapezoid
rule converges exponentially, and its nodes are shared by all charges of a plate. At D = 1 the sum is elementary (`_strip`).
"""

from functools import partial
from math import log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax import _checks
from efm_jax._differences import squared_distances, weighted_displacements
from efm_jax._types import Field
from efm_jax.fields._slab import log_leave, log_stay
from efm_jax.fields._strip import strip
from efm_jax.fields._times import count, window
from efm_jax.fields.point_charges import _direction_and_log_length

_PAIRS = 2**19  # points x charges held at a time
_LONGER = log(1e3)  # farthest over nearest distance that the number of times allows for
_TOGETHER = 8  # times whose exponentials the compiler joins into one pass over the pairs


class Parts(NamedTuple):
    """The field in two parts, each to its own relative accuracy: `E_x = direction exp(log_lateral)`, `E_z = exp(log_z)`."""

    direction: Float[Array, "p dim"]
    log_lateral: Float[Array, " p"]
    log_z: Float[Array, " p"]


def chain(
    points: Float[Array, "*batch dim1"],
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    gap: float,
    *,
    tolerance: float = 1e-5,
) -> Field:
    """Electric field of the endless capacitor chain, between the plates.

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
            a height that can be seen is outside [0, gap].

    Example:
        Charges at one place on both plates, D = 1, half-way between them: `1 / (2 gap)`.

        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((1, 1))
        >>> field = chain(jnp.asarray([0.0, 0.5]), x, x, gap=1.0)
        >>> field.direction.tolist(), round(float(jnp.exp(field.log_magnitude)), 5)
        ([0.0, 1.0], 0.5)

    Source:
        The chain: "Capacitor chain" abstract, OpenReview VDnHEHyVl5; the time integral is derived above.
    """
    points, parts = _parts(points, x_pos, x_neg, gap, tolerance)
    scale = lax.stop_gradient(jnp.maximum(parts.log_lateral, parts.log_z))
    scale = jnp.where(jnp.isfinite(scale), scale, 0)
    lateral = parts.direction * jnp.exp(parts.log_lateral - scale)[:, None]
    whole = jnp.concatenate([lateral, jnp.exp(parts.log_z - scale)[:, None]], axis=1)
    direction, log_length = _direction_and_log_length(whole)
    return Field(direction.reshape(points.shape), (log_length + scale).reshape(points.shape[:-1]))


def chain_velocity(
    points: Float[Array, "*batch dim1"],
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    gap: float,
    *,
    tolerance: float = 1e-5,
) -> Float[Array, "*batch dim"]:
    """Velocity `dx/dz = E_x / E_z` of the chain's lines, which carries P along `2 E_z` to Q.

    Both parts are right by themselves, so the ratio is, also far from all charges, where E_z is smaller than E_x by
    exp(-pi rho / gap): there the velocity itself is that large. On the plates it is infinite.

    Args:
        points: As in `chain`, [..., D+1], 0 < z < gap.
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0.
        tolerance: As in `chain`.

    Returns:
        Velocities, [..., D].

    Raises:
        ValueError: As `chain` does.

    Example:
        Charges at one place on both plates, D = 1: `v = tanh(pi x / gap) / tan(pi z / gap)`.

        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((1, 1))
        >>> round(float(chain_velocity(jnp.asarray([0.2, 0.25]), x, x, gap=1.0)[0]), 4)  # tanh(pi / 5)
        0.5569

    Source:
        Derived: `2 E_z` is conserved along `E_x / E_z`, for the divergence of E is zero.
    """
    points, parts = _parts(points, x_pos, x_neg, gap, tolerance)
    velocity = parts.direction * jnp.exp(parts.log_lateral - parts.log_z)[:, None]
    return velocity.reshape(*points.shape[:-1], -1)


def log_density_path(
    points: Float[Array, "*batch dim1"],
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    gap: float,
    *,
    tolerance: float = 1e-5,
) -> Float[Array, "*batch"]:
    """Log-density of the chain's path from P to Q: `log p_z(x) = log(2 E_z(x, z))`.

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

    Example:
        Charges at one place on both plates, D = 1, half-way between them: `1 / gap`.

        >>> import jax.numpy as jnp
        >>> x = jnp.zeros((1, 1))
        >>> round(float(jnp.exp(log_density_path(jnp.asarray([0.0, 0.5]), x, x, gap=1.0))), 5)
        1.0

    Source:
        Derived; the chain is that of OpenReview VDnHEHyVl5.
    """
    points, parts = _parts(points, x_pos, x_neg, gap, tolerance)
    return (log(2) + parts.log_z).reshape(points.shape[:-1])


def _parts(points, x_pos, x_neg, gap, tolerance) -> tuple[Array, Parts]:
    """The points as they are taken, and the parts of the field at all of them."""
    x_pos, x_neg = _checks.samples("x_pos", x_pos), _checks.samples("x_neg", x_neg)
    if x_pos.shape[1] != x_neg.shape[1]:
        raise ValueError(
            f"x_pos and x_neg must have the same number of dimensions D, got {x_pos.shape} and {x_neg.shape}; "
            "flatten pictures of one shape on both plates."
        )
    points = _checks.floating("points", points)
    if points.ndim < 1 or points.shape[-1] != x_pos.shape[1] + 1:
        raise ValueError(
            f"points must have shape [..., {x_pos.shape[1] + 1}], (x, z) with z last, for samples of {x_pos.shape[1]} "
            f"dimensions, got {points.shape}; append the height z to samples x."
        )
    gap, tolerance = _checks.positive("gap", gap), _checks.positive("tolerance", tolerance)
    if not isinstance(points, Tracer):
        heights = np.asarray(points[..., -1])
        outside = int(((heights < 0) | (heights > gap)).sum())
        if outside:
            raise ValueError(
                f"points must lie between the plates, 0 <= z <= gap = {gap!r}; {outside} do not. The chain repeats with "
                "period 2 gap and mirrors at every plate; or take fields.coulomb of charges.capacitor_chain."
            )
    dtype = jnp.result_type(points, x_pos, x_neg, jnp.float32)
    points, x_pos, x_neg = (array.astype(dtype) for array in (points, x_pos, x_neg))
    flat = points.reshape(-1, points.shape[-1])
    return points, _all_parts(flat, x_pos, x_neg, jnp.asarray(gap, dtype), tolerance)


@partial(jax.jit, static_argnames="tolerance")
def _all_parts(points: Array, x_pos: Array, x_neg: Array, gap: Array, tolerance: float) -> Parts:
    size = int(np.clip(_PAIRS // max(len(x_pos), len(x_neg)), 1, max(len(points), 1)))
    groups = jnp.pad(points, ((0, -len(points) % size), (0, 0)), mode="edge" if len(points) else "constant")

    def group(members):
        x, z = members[:, :-1], members[:, -1]
        z = jnp.where((z >= 0) & (z <= gap), z, jnp.nan)
        log_sine = jnp.log(jnp.sin(pi * jnp.minimum(z, gap - z) / gap))
        if x.shape[1] == 1:
            sign, log_lateral, log_z = strip(x[:, 0], z, x_pos[:, 0], x_neg[:, 0], gap)
            return Parts(sign[:, None], log_lateral, log_z + log_sine)
        plus = _plate(x, z, x_pos, gap, tolerance)
        minus = _plate(x, gap - z, x_neg, gap, tolerance)
        scale = jnp.maximum(plus.log_lateral, minus.log_lateral)
        scale = lax.stop_gradient(jnp.where(jnp.isneginf(scale), 0, scale))
        sides = (part.direction * jnp.exp(part.log_lateral - scale)[:, None] for part in (plus, minus))
        direction, log_length = _direction_and_log_length(next(sides) - next(sides))
        return Parts(direction, log_length + scale, jnp.logaddexp(plus.log_z, minus.log_z) + log_sine)

    done = lax.map(jax.checkpoint(group), groups.reshape(-1, size, points.shape[1]))
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(points)], done)


def _plate(x: Array, z: Array, samples: Array, gap: Array, tolerance: float) -> Parts:
    """Parts of the field of one plate of total 1 at height 0 and its images; E_z lacks the factor sin(pi z / gap)."""
    number, dim = samples.shape
    depth = log(number / tolerance)
    squared = squared_distances(x, samples)
    felt = squared + (z * z)[:, None] != 0
    squared = jnp.where(felt, squared, 1)
    nearest = jnp.min(jnp.where(felt, lax.stop_gradient(squared), jnp.inf), axis=1)
    nearest = jnp.where(jnp.isposinf(nearest), 1, nearest)
    beyond = jnp.where(felt, squared - nearest[:, None], jnp.inf)
    own = nearest + z * z
    farthest = jnp.max(jnp.where(felt, lax.stop_gradient(squared), 0), axis=1)
    still = lax.stop_gradient((z, own))
    low = jnp.log(still[1]) - jnp.log(5.4 * (depth + dim + 1 + 5 * jnp.sqrt(nearest) / gap))

    def sums(kernel, power, high, arm, steps):
        """Times and relative terms of the nodes of `1/2 int dT (2 pi T)^-D/2 T^(D/2 - power) exp(-r^2 / 2T) kernel`, log of its greatest term."""

        def profile(s):
            z, own = still
            return -0.5 * own * jnp.exp(-s) - (power - 1) * s + kernel(z / gap, jnp.exp(s) / gap**2) + arm(s)

        first, peak, last = window(profile, low, high, depth)
        nodes = first + (jnp.arange(steps)[:, None] + 0.5) * (last - first) / steps
        away, time = nodes - peak, jnp.exp(peak)
        at_peak = kernel(z / gap, time / gap**2)
        terms = -0.5 * own / time * jnp.expm1(-away) - (power - 1) * away
        terms = terms + jax.vmap(lambda s: kernel(z / gap, jnp.exp(s) / gap**2))(nodes) - at_peak
        greatest = at_peak + (1 - power + 0.5 * dim) * peak - log(2)
        greatest = greatest - 0.5 * dim * (jnp.log(2 * pi * time) + own / time / dim)
        return 0.5 * jnp.exp(-nodes), jnp.exp(terms) * (last - first) / steps, greatest

    steepest, slowest = 0.5 * (dim + 1), 0.5 * dim
    high = jnp.log(still[1] / (2 * steepest)) + depth / steepest + 2
    rates, terms, greatest = sums(log_leave, slowest, high, jnp.zeros_like, count(steepest, depth))
    share = _mix(beyond, rates, terms) @ jnp.full(number, 1 / number, x.dtype)
    log_z = jnp.log(share) + greatest - 2 * jnp.log(gap)

    # charges farther off than the nearest pull by a longer arm, of the order of sqrt(T), late times longer therefore
    def arm(s):
        return 0.5 * jnp.log(jnp.minimum(jnp.exp(s), farthest) + still[1])

    longer = 0.5 * jnp.log1p(farthest / still[1])
    high = jnp.log((still[1] + gap**2) / (2 * slowest)) + (depth + longer) / slowest + 2
    rates, terms, greatest = sums(log_stay, slowest + 1, high, arm, count(slowest, depth + _LONGER))
    pulls = weighted_displacements(_mix(beyond, rates, terms) / number, x, samples)
    direction, log_length = _direction_and_log_length(pulls)
    return Parts(direction, log_length + greatest - jnp.log(gap), log_z)


def _mix(beyond: Float[Array, "p n"], inverse: Float[Array, "t p"], terms: Float[Array, "t p"]) -> Float[Array, "p n"]:
    """`sum_t terms_tp exp(-beyond_pn inverse_tp)`, some of the times in each pass over the pairs."""
    more = ((0, -len(inverse) % _TOGETHER), (0, 0))
    inverse, terms = jnp.pad(inverse, more, mode="edge"), jnp.pad(terms, more)

    def visit(total, some):
        for rate, term in zip(*some, strict=True):
            total = total + term[:, None] * jnp.exp(-beyond * rate[:, None])
        return total, None

    some = tuple(array.reshape(-1, _TOGETHER, array.shape[1]) for array in (inverse, terms))
    return lax.scan(jax.checkpoint(visit), jnp.zeros_like(beyond), some)[0]
