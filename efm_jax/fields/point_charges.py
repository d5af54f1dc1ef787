"""Exact fields of point charges, in log space: Coulomb's law in D+1 dimensions.

A field is returned as a unit direction and a log-magnitude (`Field`), since `|E|` itself leaves floating
point beyond some thirty dimensions. Every sum over charges is streamed over blocks, so memory is O(points x
block); gradients visit the blocks anew and keep the sums after each.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from math import exp, lgamma, log, pi
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from efm_jax import _checks
from efm_jax._differences import squared_lengths
from efm_jax._plates import (
    MANY_DIMENSIONS,
    PlateSums,
    Summation,
    by_differences,
    default_block_size,
    rescaled,
    streamed,
)
from efm_jax._products import by_products
from efm_jax._twofold import in_twofold
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
    certified: bool = True,
) -> Field:
    """Electric field of point charges.

    With `d_i = x~ - x~_i` and `S_D = 2 pi^((D+1)/2) / Gamma((D+1)/2)`, the area of the unit sphere in D+1
    dimensions:

    * `superposed`: `E(x~) = sum_i q_i d_i / (S_D |d_i|^(D+1))`, the field of the theory: its lines run from
      P to Q, its flux through a closed surface is the enclosed charge.
    * `per_plate`: `sqrt(D+1) (u+ + u-)` with `u = ±g / (|g| + gamma)` and `g` the mean of `d_i` over the
      charges of one sign, weighted by `|q_i| |d_i|^-(D+1)`: every plate counts as one (shrunk) unit vector,
      however weak its field. It is what the authors' published code trains on; no field of charges, and
      lines of it do not map P to Q exactly.

    A charge exerts no force on itself: where a point sits on a charge (squared distance 0 in floating
    point, that is closer than about 1e-19), the field is that of the other charges, and zero if there are
    none.

    The distance to the nearest charge sets the one scale of all plates, `w_i = q_i (|d_nearest| /
    |d_i|)^(D+1)`, so nothing overflows and what underflows is beyond the precision. Gradients flow to
    points, positions and charges; they ask for a few copies of the charges, and the sums
    [..., D+1] after each block.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1], in the units of the data.
        charges: Positions [n, D+1] and signed charges [n]; charges of 0 are ignored.
        convention: "superposed" or "per_plate".
        gamma: Shrinkage length of `per_plate`, >= 0, in the units of the data; the authors use 5 for
            pictures and 1e-7 for toys. None means 0: unit vectors, the same for data of any scale.
        block_size: Charges visited at a time; memory grows with it. None chooses for the number of points.
        certified: Whether points at which the error bound of the fast sums is too large are summed again, by
            differences or in twice the digits. Without it each sum errs by about `1e-7 (D+1)` of the sum of
            the *lengths* of its terms: enough for lines through many plates that all but cancel, and much faster.

    Returns:
        `Field(direction [..., D+1], log_magnitude [...])`, in float32 or better; where the field vanishes
        the direction is 0 and the log-magnitude -inf. NaN in, NaN out.

    Raises:
        ValueError: If shapes or dtypes do not fit, the convention is unknown, gamma is given for
            `superposed` or is negative, or block_size is not a whole number >= 1.

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
    if block_size is None:
        block_size = default_block_size(len(flat), len(charges.charge), flat.shape[-1])
    field = _coulomb(flat, charges, gamma, convention, _checks.count("block_size", block_size), certified)
    return Field(field.direction.reshape(points.shape), field.log_magnitude.reshape(points.shape[:-1]))


def field_fn(
    charges: Charges,
    *,
    convention: str = "superposed",
    gamma: float | None = None,
    block_size: int | None = None,
    certified: bool = True,
) -> FieldFn:
    """The exact field as a function of points, as line tracing takes it: unit directions.

    `x~ -> E(x~) / |E(x~)|` for the chosen convention; zero where the field vanishes.

    Args:
        charges: Positions [n, D+1] and signed charges [n].
        convention: "superposed" or "per_plate", as in `coulomb`.
        gamma: Shrinkage length of `per_plate`, as in `coulomb`.
        block_size: Charges visited at a time, as in `coulomb`.
        certified: As in `coulomb`.

    Returns:
        A function from points [n, D+1] to unit vectors [n, D+1]: a pytree of the charges, so that fields of one
        policy and equal shapes share their compiled lines.

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
    return jax.tree_util.Partial(_directions(convention, gamma, block_size, certified), charges)


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


@lru_cache
def _directions(
    convention: str, gamma: float | None, block_size: int | None, certified: bool
) -> Callable[[Charges, Array], Array]:
    """One function object for each policy, by which compiled lines are kept."""

    def field(charges, points):
        policy = {"convention": convention, "gamma": gamma, "block_size": block_size, "certified": certified}
        return coulomb(points, charges, **policy).direction

    return field


Trusted: TypeAlias = Bool[Array, " p"]
"""Where a result is known to be as exact as promised."""


@partial(jax.jit, static_argnames=("convention", "block_size", "certified"))
def _coulomb(
    points: Array, charges: Charges, gamma: Array, convention: str, block_size: int, certified: bool
) -> Field:
    """The field of charges that are all here."""
    ways = [both_signs(way, charges) for way in ways_of_summing(points.shape[-1], block_size, certified)]
    return field_by(ways, points, combination(convention, gamma))


Plates: TypeAlias = tuple[PlateSums, PlateSums]
"""The sums over all charges > 0, and over all < 0."""


def ways_of_summing(dim1: int, block_size: int, certified: bool) -> list[Summation]:
    """The ways to sum one plate in D+1 dimensions, fastest first; only the first where none is to be redone."""
    ways = [streamed(by_differences, block_size), in_twofold(block_size)]
    if dim1 >= MANY_DIMENSIONS:
        ways = [streamed(by_products, block_size), *ways]
    return ways if certified else ways[:1]


def both_signs(sum_plate: Summation, charges: Charges) -> Callable[[Array], Plates]:
    """The sums over both plates as a function of points."""

    def sum_both(points):
        def one_sign(sign):
            return sum_plate(points, charges.positions, jnp.maximum(sign * charges.charge, 0))

        plates = lax.map(one_sign, jnp.array([1, -1], points.dtype))
        plus, minus = (PlateSums(*sums) for sums in zip(*plates, strict=True))
        return plus, minus

    return sum_both


def field_by(
    ways: list[Callable[[Array], Plates]],
    points: Array,
    combine: Callable[[PlateSums, PlateSums], tuple[Field, Trusted]],
    most: Callable[[Array], Array] = lambda count: count,
) -> Field:
    """Every point by the fastest way of summing whose own error bound lets it be trusted there.

    Ways that sum over several devices need all of these to redo points together: `most` is a count's greatest value on any.
    """

    def evaluate(way, points):
        return combine(*way(points))

    field, trusted = evaluate(ways[0], points)
    for way in ways[1:]:
        field, trusted = _redone(field, trusted, points, partial(evaluate, way), most)
    return field


def combination(
    convention: str, gamma: Array | float
) -> Callable[[PlateSums, PlateSums], tuple[Field, Trusted]]:
    """The field of both plates by a convention, and where it is to be trusted."""
    return {"superposed": _superposed, "per_plate": partial(_per_plate, gamma=gamma)}[convention]


def _redone(
    field: Field,
    trusted: Trusted,
    points: Array,
    evaluate: Callable[[Array], tuple[Field, Trusted]],
    most: Callable[[Array], Array],
) -> tuple[Field, Trusted]:
    """`evaluate` in place of the field where that is not trusted: those points first, in groups of sixteen."""
    if len(points) == 0:
        return field, trusted
    count = most(jnp.sum(~trusted))

    def redo(field, trusted, points):
        size = min(16, len(points))
        order = jnp.argsort(trusted)
        place = jnp.argsort(order)
        groups = jnp.pad(order, (0, -len(order) % size), mode="edge").reshape(-1, size)

        @jax.checkpoint  # around the choice: what one of its branches keeps would be kept for every group
        def group(first, members):
            old = jax.tree.map(lambda values: values[members], (field, trusted))
            keep = trusted[members]

            def mended():
                new = evaluate(points[members])
                return jax.tree.map(
                    lambda a, b: jnp.where(jnp.expand_dims(keep, range(1, a.ndim)), a, b), old, new
                )

            return lax.cond(first < count, mended, lambda: old)

        redone = lax.map(lambda each: group(*each), (size * jnp.arange(len(groups)), groups))
        return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:])[place], redone)

    @jax.checkpoint  # nor for the one choice: all charges are among what its branches keep
    def choose(*old):
        return lax.cond(count > 0, redo, lambda field, trusted, points: (field, trusted), *old)

    return choose(field, trusted, points)


def _superposed(plus: PlateSums, minus: PlateSums) -> tuple[Field, Trusted]:
    """`E = E+ + E-`, both under the scale of the charge nearest of all."""
    reference = jnp.minimum(plus.reference, minus.reference)
    plus, minus = rescaled(plus, reference), rescaled(minus, reference)
    total = plus.vector - minus.vector
    field = _with_coulomb_scale(total, reference)
    apart = _length(plus.vector) + _length(minus.vector)
    return field, _is_trusted(plus.doubt + minus.doubt, _length(total), apart, total)


def _per_plate(plus: PlateSums, minus: PlateSums, gamma: Array | float) -> tuple[Field, Trusted]:
    """`sqrt(D+1) (u+ + u-)`, every plate's mean displacement g shrunk to `±g / (|g| + gamma)` by itself."""

    def shrunk(sums):
        mean = sums.vector * _inverse(sums.weight)[:, None]
        direction, log_length = _direction_and_log_length(mean)
        length = jnp.exp(log_length)
        share = length * _inverse(length + gamma)
        return direction * share[:, None], share, sums.doubt * share * _inverse(_length(sums.vector))

    (u_plus, plus_length, plus_doubt), (u_minus, minus_length, minus_doubt) = shrunk(plus), shrunk(minus)
    total = u_plus - u_minus
    direction, log_length = _direction_and_log_length(total)
    field = Field(direction, log_length + 0.5 * log(total.shape[-1]))
    return field, _is_trusted(plus_doubt + minus_doubt, _length(total), plus_length + minus_length, total)


def _is_trusted(doubt: Array, length: Array, apart: Array, vector: Array) -> Trusted:
    """Whether the error bound keeps `1e-5 |E| + (1e-7 (D+1) + 1e-6) (|E+| + |E-|)` in float32; NaN needs no mending."""
    precision = float(jnp.finfo(vector.dtype).eps / jnp.finfo(jnp.float32).eps)
    allowed = precision * (1e-5 * length + (1e-7 * vector.shape[-1] + 1e-6) * apart)
    return (doubt <= allowed) | jnp.isnan(length)


def _with_coulomb_scale(vector: Array, reference: Array) -> Field:
    """`|E| = |vector| reference^(-(D+1)/2) / S_D`, in logs.

    The two large logs, of `r^D` and of `S_D`, are taken as one, `D log(r / rho)` with `rho = S_D^(-1/D)`:
    apart, each would carry its own rounding into a small difference.
    """
    dim = vector.shape[-1] - 1
    log_rho2 = -2 * log_sphere_area(dim) / dim
    rho2 = float(np.asarray(exp(log_rho2), vector.dtype))
    rounding = 0.5 * dim * (log(rho2) - log_rho2)
    reference = jnp.where(jnp.isinf(reference), 1, reference)
    direction, log_length = _direction_and_log_length(vector)
    powers = 0.5 * jnp.log(reference) + (0.5 * dim * jnp.log(reference / rho2) + rounding)
    return Field(direction, log_length - powers)


def _direction_and_log_length(vector: Array) -> Field:
    """`v / |v|` and `log |v|`; 0 and -inf where v = 0, with gradients 0 there."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(vector), axis=-1, keepdims=True))
    zero = largest == 0
    largest = jnp.where(zero, 1, largest)
    scaled = vector / largest  # squares of small vectors would underflow
    length = jnp.sqrt(jnp.where(zero, 1, squared_lengths(scaled)[..., None]))
    log_length = jnp.where(zero, -jnp.inf, jnp.log(length) + jnp.log(largest))
    return Field(scaled / length, log_length[..., 0])


def _length(vector: Array) -> Float[Array, " p"]:
    """`|v|`, a constant to differentiation."""
    return jnp.exp(_direction_and_log_length(lax.stop_gradient(vector)).log_magnitude)


def _inverse(value: Array) -> Array:
    """`1 / value`, 0 for 0."""
    return jnp.where(value == 0, 0, 1 / jnp.where(value == 0, 1, value))


def _checked(points: Array | np.ndarray, charges: Charges) -> tuple[Array, Charges]:
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
