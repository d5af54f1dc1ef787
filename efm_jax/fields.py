"""Exact fields of point charges, in log space: Coulomb's law in D+1 dimensions.

A field is returned as a unit direction and a log-magnitude (`Field`), since `|E|` itself leaves floating point beyond
some thirty dimensions. Every sum over charges is streamed over blocks, so memory is O(points x block).
"""

from math import lgamma, log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from efm_jax import _checks
from efm_jax._differences import squared_distances, weighted_displacements
from efm_jax._types import Field, FieldFn
from efm_jax.charges import Charges

CONVENTIONS = ("superposed", "per_plate")


def coulomb(
    points: Float[Array, "*batch dim1"],
    charges: Charges,
    *,
    convention: str = "superposed",
    gamma: float | None = None,
    block_size: int | None = None,
) -> Field:
    """Electric field of point charges.

    With `d_i = x~ - x~_i` and `S_D = 2 pi^((D+1)/2) / Gamma((D+1)/2)`, the area of the unit sphere in D+1 dimensions:

    * `superposed`: `E(x~) = sum_i q_i d_i / (S_D |d_i|^(D+1))`, the field of the theory: its lines run from P to Q,
      its flux through a closed surface is the enclosed charge.
    * `per_plate`: `sqrt(D+1) (u+ + u-)` with `u = ±g / (|g| + gamma)` and `g` the mean of `d_i` over the charges of
      one sign, weighted by `|q_i| |d_i|^-(D+1)`: every plate counts as one (shrunk) unit vector, however weak its
      field. It is what the authors' published code trains on; no field of charges, and lines of it do not map P to Q
      exactly.

    A charge exerts no force on itself: where a point sits on a charge (squared distance 0 in floating point, that is
    closer than about 1e-19), the field is that of the other charges, and zero if there are none.

    The distance to the nearest charge sets the one scale of all plates, `w_i = q_i (|d_nearest| / |d_i|)^(D+1)`, so
    nothing overflows and what underflows is beyond the precision. Gradients flow to points, positions and charges;
    their memory is O(points x block) too.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1], in the units of the data.
        charges: Positions [n, D+1] and signed charges [n]; charges of 0 are ignored.
        convention: "superposed" or "per_plate".
        gamma: Shrinkage length of `per_plate`, >= 0, in the units of the data; the authors use 5 for pictures and 1e-7
            for toys. None means 0: unit vectors, the same for data of any scale.
        block_size: Charges visited at a time; memory grows with it. None chooses for the number of points.

    Returns:
        `Field(direction [..., D+1], log_magnitude [...])`, in float32 or better; where the field vanishes the direction
        is 0 and the log-magnitude -inf. NaN in, NaN out.

    Raises:
        ValueError: If shapes or dtypes do not fit, the convention is unknown, gamma is given for `superposed` or is
            negative, or block_size is not a whole number >= 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> between = coulomb(jnp.array([0.0, 0.0, 3.0]), capacitor(jnp.zeros((1, 2)), jnp.zeros((1, 2)), gap=6.0))
        >>> [round(float(e), 6) for e in between.direction * jnp.exp(between.log_magnitude)]  # 2 / (4 pi 3^2)
        [0.0, 0.0, 0.017684]

    Source:
        Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2 (`superposed`); the shrinkage of
        `per_plate` is that of Xu, Liu, Tegmark, Jaakkola (2022), arXiv 2209.11178, applied to each plate.
    """
    points, charges = _checked(points, charges)
    _checks.choice("convention", convention, CONVENTIONS)
    gamma = _checked_gamma(gamma, convention)
    flat = points.reshape(-1, points.shape[-1])
    size = (
        _block_size(len(flat), len(charges.charge))
        if block_size is None
        else _checks.count("block_size", block_size)
    )
    evaluate = _superposed if convention == "superposed" else _per_plate
    field = evaluate(flat, charges, gamma, size)
    return Field(field.direction.reshape(points.shape), field.log_magnitude.reshape(points.shape[:-1]))


def field_fn(
    charges: Charges,
    *,
    convention: str = "superposed",
    gamma: float | None = None,
    block_size: int | None = None,
) -> FieldFn:
    """The exact field as a function of points, as line tracing takes it: unit directions.

    `x~ -> E(x~) / |E(x~)|` for the chosen convention; zero where the field vanishes.

    Args:
        charges: Positions [n, D+1] and signed charges [n].
        convention: "superposed" or "per_plate", as in `coulomb`.
        gamma: Shrinkage length of `per_plate`, as in `coulomb`.
        block_size: Charges visited at a time, as in `coulomb`.

    Returns:
        A function from points [n, D+1] to unit vectors [n, D+1].

    Raises:
        ValueError: As `coulomb` does, when the function is called.

    Example:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> field = field_fn(capacitor(jnp.zeros((1, 1)), jnp.zeros((1, 1)), gap=2.0))
        >>> field(jnp.array([[0.0, 1.0], [0.0, 3.0]])).tolist()
        [[0.0, 1.0], [0.0, -1.0]]

    Source:
        Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2 and Algorithm 2.
    """

    def field(points):
        return coulomb(points, charges, convention=convention, gamma=gamma, block_size=block_size).direction

    return field


def _superposed(points: Array, charges: Charges, gamma: float, size: int) -> Field:
    del gamma
    sums = _sums_over_charges(points, charges, size)
    return _with_coulomb_scale(sums, points.shape[-1] - 1)


def _per_plate(points: Array, charges: Charges, gamma: float, size: int) -> Field:
    def unit(sign):
        of_plate = jnp.maximum(sign * charges.charge, 0.0)
        sums = _sums_over_charges(points, Charges(charges.positions, of_plate), size)
        mean = sums.vector / jnp.where(sums.weight > 0, sums.weight, 1)[:, None]
        direction, log_length = _direction_and_log_length(mean)
        length = jnp.exp(log_length)
        return sign * direction * _safe_ratio(length, length + gamma)[:, None]

    direction, log_length = _direction_and_log_length(unit(1.0) + unit(-1.0))
    return Field(direction, log_length + 0.5 * log(points.shape[-1]))


class _Sums(NamedTuple):
    """`sum_i q_i (r/r_i)^(D+1) d_i` and `sum_i |q_i| (r/r_i)^(D+1)`, and the r^2 they are relative to."""

    vector: Float[Array, "p dim1"]
    weight: Float[Array, " p"]
    reference: Float[Array, " p"]


def _sums_over_charges(points: Array, charges: Charges, size: int) -> _Sums:
    """Streams over blocks of charges; the nearest charge so far is the reference (as in flash attention)."""
    count, dim1 = charges.positions.shape
    size = min(size, count)

    def visit(sums, block):
        start = jnp.minimum(block * size, count - size)  # the last block overlaps the one before it
        positions, charge = (lax.dynamic_slice_in_dim(values, start, size) for values in charges)
        new = start + jnp.arange(size) >= block * size
        charge = jnp.where(new, charge, 0)
        return lax.cond(
            jnp.any(charge != 0), _add_block, lambda sums, *_: sums, sums, points, positions, charge
        ), None

    zeros = jnp.zeros_like(points)
    start = _Sums(zeros, zeros[:, 0], jnp.full_like(zeros[:, 0], jnp.inf))
    if size == count:
        return _add_block(start, points, *charges)
    return lax.scan(jax.checkpoint(visit), start, jnp.arange(-(-count // size)))[0]


def _add_block(sums: _Sums, points: Array, positions: Array, charge: Array) -> _Sums:
    dim1 = points.shape[-1]
    squared = squared_distances(points, positions)
    counts = (squared != 0) & (charge != 0)
    nearest = jnp.min(lax.stop_gradient(jnp.where(counts, squared, jnp.inf)), axis=1)
    reference = jnp.minimum(sums.reference, nearest)
    finite = jnp.where(jnp.isinf(reference), 1, reference)  # no charge yet: every weight is zero
    weights = jnp.abs(charge) * _relative_weight(jnp.where(counts, squared, jnp.inf), finite[:, None], dim1)
    rescale = _relative_weight(sums.reference, finite, dim1)
    vector = weighted_displacements(weights * jnp.sign(charge), points, positions)
    return _Sums(
        sums.vector * rescale[:, None] + vector, sums.weight * rescale + weights.sum(axis=1), reference
    )


def _relative_weight(squared: Array, reference: Array, dim1: int) -> Array:
    """`(reference / squared)^(dim1 / 2)`, keeping the digits of the difference of two near ones."""
    return jnp.exp(-0.5 * dim1 * jnp.log1p((squared - reference) / reference))


def _with_coulomb_scale(sums: _Sums, dim: int) -> Field:
    """`|E| = |vector| reference^(-(D+1)/2) / S_D`, in logs.

    The two large logs, of `r^D` and of `S_D`, are taken as one, `D log(r / rho)` with `rho = S_D^(-1/D)`: apart, each
    would carry its own rounding into a small difference.
    """
    direction, log_length = _direction_and_log_length(sums.vector)
    log_rho2 = -2 * log_sphere_area(dim) / dim
    rho2 = float(np.asarray(np.exp(log_rho2), sums.reference.dtype))
    rounding = 0.5 * dim * (log(rho2) - log_rho2)
    reference = jnp.where(jnp.isinf(sums.reference), 1, sums.reference)
    log_magnitude = log_length - 0.5 * jnp.log(reference) - 0.5 * dim * jnp.log(reference / rho2) - rounding
    return Field(direction, log_magnitude)


def log_sphere_area(dim: int) -> float:
    """`log S_D`, `S_D = 2 pi^((D+1)/2) / Gamma((D+1)/2)`: log-area of the unit sphere in D+1 dimensions.

    Args:
        dim: D, >= 1.

    Returns:
        The natural logarithm of the area.

    Example:
        >>> from math import exp, pi
        >>> round(exp(log_sphere_area(2)) / pi, 12)  # a ball's surface in three dimensions
        4.0
    """
    return log(2) + 0.5 * (dim + 1) * log(pi) - lgamma(0.5 * (dim + 1))


def _direction_and_log_length(vector: Array) -> Field:
    """`v / |v|` and `log |v|`; 0 and -inf where v = 0, with gradients 0 there."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(vector), axis=-1, keepdims=True))
    zero = largest == 0
    scaled = vector / jnp.where(zero, 1, largest)  # squares of small vectors would underflow
    length = jnp.sqrt(jnp.sum(jnp.where(zero, 1, scaled**2), axis=-1, keepdims=True))
    log_length = jnp.log(length) + jnp.log(jnp.where(zero, 1, largest))
    return Field(scaled / length, jnp.where(zero, -jnp.inf, log_length)[..., 0])


def _safe_ratio(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`, 0 where the denominator is 0."""
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


def _block_size(num_points: int, count: int) -> int:
    """Blocks of about 2^18 pairs, of equal size and even number: no block straddles two plates of one size."""
    largest = int(np.clip(2**18 // max(num_points, 1), 256, 8192))
    blocks = 2 * -(-count // (2 * largest))
    return count if count <= largest else -(-count // blocks)


def _checked(points: Array, charges: Charges) -> tuple[Array, Charges]:
    points = _checks.floating("points", points)
    positions = _checks.floating("charges.positions", charges.positions)
    charge = _checks.floating("charges.charge", charges.charge)
    if (
        positions.ndim != 2
        or positions.shape[0] < 1
        or positions.shape[1] < 2
        or charge.shape != positions.shape[:1]
    ):
        raise ValueError(
            "charges must be positions [n, D+1] and charge [n] with n >= 1, D >= 1, got shapes "
            f"{positions.shape} and {charge.shape}; build them with charges.plate or charges.capacitor."
        )
    if points.ndim < 1 or points.shape[-1] != positions.shape[1]:
        raise ValueError(
            f"points must have shape [..., {positions.shape[1]}], (x, z) with z last, as the charges' positions "
            f"have, got {points.shape}; append the height z to samples x."
        )
    dtype = jnp.result_type(points, positions, charge, jnp.float32)
    return points.astype(dtype), Charges(positions.astype(dtype), charge.astype(dtype))


def _checked_gamma(gamma: float | None, convention: str) -> float:
    if gamma is None:
        return 0.0
    if convention != "per_plate":
        raise ValueError(
            f'gamma shrinks the plates of convention="per_plate" only, got convention={convention!r}.'
        )
    gamma = _checks.finite("gamma", gamma)
    if gamma < 0:
        raise ValueError(f"gamma must be >= 0, got {gamma!r}.")
    return gamma
