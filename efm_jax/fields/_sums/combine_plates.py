"""The field of both plates from the sums over each: the two conventions, and how far each result can be trusted.

The plates' sums (`plates`) come with a bound on their rounding error. Where terms cancel between the plates, or within one,
that error is large compared with the field: such points are summed again in a slower and more exact way.
"""

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from efm_jax._core import checks
from efm_jax.charges.plates import Charges
from efm_jax.fields._sums.double_float import in_double_floats
from efm_jax.fields._sums.log_lengths import direction_and_log_length, log_sphere_area
from efm_jax.fields._sums.plates import (
    MANY_DIMENSIONS,
    PlateSums,
    Summation,
    by_differences,
    rescaled,
    streamed,
)
from efm_jax.fields._sums.products import by_products
from efm_jax.types import Field

CONVENTIONS = ("superposed", "per_plate")

Plates: TypeAlias = tuple[PlateSums, PlateSums]
"""The sums over all charges > 0, and over all < 0."""

Trusted: TypeAlias = Bool[Array, " p"]
"""Where a result is known to be as exact as promised."""


def checked_gamma(gamma: float | None, convention: str) -> float:
    """Return the shrinkage of a convention, 0 for None; raise ValueError for an unknown convention or one without it."""
    checks.choice("convention", convention, CONVENTIONS)
    if gamma is None:
        return 0.0
    if convention != "per_plate":
        raise ValueError(
            f'gamma shrinks the plates of convention="per_plate" only, got convention={convention!r}.'
        )
    gamma = checks.finite("gamma", gamma)
    if gamma < 0:
        raise ValueError(f"gamma must be >= 0, got {gamma!r}.")
    return gamma


def ways_of_summing(
    dim1: int, block_size: int, certified: bool, unit: Array | float = 1.0
) -> list[Summation]:
    """The ways to sum one plate in D+1 dimensions, fastest first; only the fastest if not certified.

    Points are in the unit; positions, which may fill the memory, come to it block by block.
    """
    ways = [streamed(by_differences, block_size, unit), in_double_floats(block_size, unit)]
    if dim1 >= MANY_DIMENSIONS:
        ways = [streamed(by_products, block_size, unit), *ways]
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


def in_unit_one(field: Field, unit: Array | float, convention: str) -> Field:
    """The field of lengths that were divided by the unit, in the units of the data."""
    if convention == "per_plate":
        return field
    dim = field.direction.shape[-1] - 1
    return field._replace(log_magnitude=field.log_magnitude - dim * jnp.log(unit))


def field_by(
    ways: list[Callable[[Array], Plates]],
    points: Array,
    combine: Callable[[PlateSums, PlateSums], tuple[Field, Trusted]],
    most: Callable[[Array], Array] = lambda count: count,
) -> Field:
    """Every point by the fastest way of summing whose own error bound lets it be trusted there.

    Ways that sum over several devices need all devices to redo points together: `most` is a count's greatest value on any.
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
    """Replace the field by `evaluate` where it is not trusted: those points first, in groups of sixteen."""
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

            def corrected():
                new = evaluate(points[members])
                return jax.tree.map(
                    lambda a, b: jnp.where(jnp.expand_dims(keep, range(1, a.ndim)), a, b), old, new
                )

            return lax.cond(first < count, corrected, lambda: old)

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
        direction, log_length = direction_and_log_length(mean)
        length = jnp.exp(log_length)
        share = length * _inverse(length + gamma)
        return direction * share[:, None], share, sums.doubt * share * _inverse(_length(sums.vector))

    (u_plus, plus_length, plus_doubt), (u_minus, minus_length, minus_doubt) = shrunk(plus), shrunk(minus)
    total = u_plus - u_minus
    direction, log_length = direction_and_log_length(total)
    field = Field(direction, log_length + 0.5 * log(total.shape[-1]))
    return field, _is_trusted(plus_doubt + minus_doubt, _length(total), plus_length + minus_length, total)


def _is_trusted(doubt: Array, length: Array, apart: Array, vector: Array) -> Trusted:
    """Whether the error bound keeps `1e-5 |E| + (1e-7 (D+1) + 1e-6) (|E+| + |E-|)` in float32; NaN needs no second sum."""
    precision = float(jnp.finfo(vector.dtype).eps / jnp.finfo(jnp.float32).eps)
    allowed = precision * (1e-5 * length + (1e-7 * vector.shape[-1] + 1e-6) * apart)
    return (doubt <= allowed) | jnp.isnan(length)


def _with_coulomb_scale(vector: Array, reference: Array) -> Field:
    """`|E| = |vector| reference^(-(D+1)/2) / S_D`, in logs.

    `D log(r / rho)`, `rho = S_D^(-1/D)`, is one number: the two large logs apart would round apart.
    """
    dim = vector.shape[-1] - 1
    log_rho2 = -2 * log_sphere_area(dim) / dim
    rho2 = float(np.asarray(exp(log_rho2), vector.dtype))
    rounding = 0.5 * dim * (log(rho2) - log_rho2)
    reference = jnp.where(jnp.isinf(reference), 1, reference)
    direction, log_length = direction_and_log_length(vector)
    powers = 0.5 * jnp.log(reference) + (0.5 * dim * jnp.log(reference / rho2) + rounding)
    return Field(direction, log_length - powers)


def _length(vector: Array) -> Float[Array, " p"]:
    """`|v|`, a constant to differentiation."""
    return jnp.exp(direction_and_log_length(lax.stop_gradient(vector)).log_magnitude)


def _inverse(value: Array) -> Array:
    """`1 / value`, 0 for 0."""
    return jnp.where(value == 0, 0, 1 / jnp.where(value == 0, 1, value))
