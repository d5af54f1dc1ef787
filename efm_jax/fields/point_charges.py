"""Exact fields of point charges, in log space: Coulomb's law in D+1 dimensions.

A field is a unit direction and a log-magnitude (`Field`), since `|E|` itself leaves the range of floating point beyond
some thirty dimensions. Every sum over charges runs over blocks, so memory is O(points x block); gradients compute the
blocks again and keep the sums after each.
"""

from dataclasses import asdict, dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.distances import unit_of_squares
from efm_jax._core.heights import at_heights
from efm_jax.charges.plates import Charges, as_charges, as_points_and_charges
from efm_jax.fields._sums.combine_plates import (
    both_signs,
    checked_gamma,
    combination,
    field_by,
    in_unit_one,
    ways_of_summing,
)
from efm_jax.fields._sums.differences import squared_distances, weighted_displacements
from efm_jax.fields._sums.log_lengths import log_sphere_area
from efm_jax.fields._sums.plates import default_block_size, log_relative_weight
from efm_jax.types import Field, FieldFn

__all__ = ["coulomb", "field_fn", "log_sphere_area", "mean_displacement"]


def coulomb(
    points: Float[Array, "*batch dim1"],
    charges: Charges,
    *,
    convention: str = "superposed",
    gamma: float | None = None,
    block_size: int | None = None,
    certified: bool = True,
) -> Field:
    """Return the electric field of point charges.

    With `d_i = x~ - x~_i` and `S_D = 2 pi^((D+1)/2) / Gamma((D+1)/2)`, the area of the unit sphere in D+1 dimensions:

    * `superposed`: `E(x~) = sum_i q_i d_i / (S_D |d_i|^(D+1))`, the field of the theory. Its lines run from
      P to Q; its flux through a closed surface is the enclosed charge.
    * `per_plate`: `sqrt(D+1) (u+ + u-)` with `u = ±g / (|g| + gamma)` and `g` the mean of `d_i` over the
      charges of one sign, weighted by `|q_i| |d_i|^-(D+1)`. Every plate counts as one (shrunk) unit vector,
      however weak its field. The authors' published code trains on it. It is not the field of any charges, and
      its lines do not map P to Q exactly.

    A charge exerts no force on itself. Where a point sits on a charge (squared distance 0 in floating point, closer
    than about 1e-19), the field is that of the others, and zero if there are none.

    All plates share one scale, the distance to the nearest charge: `w_i = q_i (|d_nearest| / |d_i|)^(D+1)`. So nothing
    overflows, and what underflows is below the precision. Gradients flow to points, positions and charges; they need
    memory for a few copies of the charges, and for the sums [..., D+1] after each block.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1], in the units of the data.
        charges: Positions [n, D+1] and signed charges [n]; charges of 0 are ignored.
        convention: "superposed" or "per_plate".
        gamma: Shrinkage length of `per_plate`, >= 0, in the units of the data; the authors use 5 for
            pictures and 1e-7 for toys. None means 0: unit vectors, the same for data of any scale.
        block_size: Charges summed at a time; memory grows with it. None chooses by the number of points.
        certified: Whether to sum again, by differences or in double-float arithmetic, where the error bound of the fast
            sums is too large. False is much faster. Then each sum errs by about `1e-7 (D+1)` of the sum of the
            *lengths* of its terms, which is enough for lines even where many plates nearly cancel.

    Returns:
        `Field(direction [..., D+1], log_magnitude [...])`, in float32 or better; where the field vanishes
        the direction is 0 and the log-magnitude -inf. NaN in, NaN out.

    Raises:
        ValueError: If shapes or dtypes do not fit, the convention is unknown, gamma is given for
            `superposed` or is negative, or block_size is not a whole number >= 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> between = coulomb(jnp.array([0.0, 0.0, 3.0]), capacitor(jnp.zeros((1, 2)), jnp.zeros((1, 2)), gap=6.0))
        >>> [round(float(e), 6) for e in between.direction * jnp.exp(between.log_magnitude)]  # 2 / (4 pi 3^2)
        [0.0, 0.0, 0.017684]

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2 (`superposed`); the shrinkage of
    `per_plate` is that of Xu, Liu, Tegmark, Jaakkola (2022), arXiv 2209.11178, applied to each plate.
    """
    points, charges = as_points_and_charges(points, charges)
    gamma = checked_gamma(gamma, convention)
    flat = points.reshape(-1, points.shape[-1])
    if block_size is None:
        block_size = default_block_size(len(flat), len(charges.charge), flat.shape[-1])
    field = _coulomb(flat, charges, gamma, convention, checks.count("block_size", block_size), certified)
    return Field(field.direction.reshape(points.shape), field.log_magnitude.reshape(points.shape[:-1]))


def field_fn(
    charges: Charges,
    *,
    convention: str = "superposed",
    gamma: float | None = None,
    block_size: int | None = None,
    certified: bool = True,
) -> FieldFn:
    """Return the exact field as a function from points to unit directions, for line tracing.

    `x~ -> E(x~) / |E(x~)|` for the chosen convention; zero where the field vanishes.

    Args:
        charges: Positions [n, D+1] and signed charges [n].
        convention: "superposed" or "per_plate", as in `coulomb`.
        gamma: Shrinkage length of `per_plate`, as in `coulomb`.
        block_size: Charges visited at a time, as in `coulomb`.
        certified: As in `coulomb`.

    Returns:
        A function from points [n, D+1] to unit vectors [n, D+1]. It is a pytree of the charges: fields with the same
        options and shapes share their compiled lines.

    Raises:
        ValueError: As `coulomb` does, for the charges and options at once, for points when the function is called.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> field = field_fn(capacitor(jnp.zeros((1, 1)), jnp.zeros((1, 1)), gap=2.0))
        >>> field(jnp.array([[0.0, 1.0], [0.0, 3.0]])).tolist()
        [[0.0, 1.0], [0.0, -1.0]]

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2 and Algorithm 2.
    """
    gamma = checked_gamma(gamma, convention) or None
    if block_size is not None:
        block_size = checks.count("block_size", block_size)
    return jax.tree_util.Partial(_Directions(convention, gamma, block_size, certified), as_charges(charges))


@dataclass(frozen=True)
class _Directions:
    """The directions of `coulomb`; those of the same options are equal, by which compiled lines are kept."""

    convention: str
    gamma: float | None
    block_size: int | None
    certified: bool

    def __call__(self, charges: Charges, points: Array) -> Array:
        return coulomb(points, charges, **asdict(self)).direction


@partial(jax.jit, static_argnames=("convention", "block_size", "certified"))
def _coulomb(
    points: Array, charges: Charges, gamma: Array, convention: str, block_size: int, certified: bool
) -> Field:
    """The field of charges on one device."""
    dim1 = points.shape[-1]
    unit = unit_of_squares(dim1, points, charges.positions)
    ways = [both_signs(way, charges) for way in ways_of_summing(dim1, block_size, certified, unit)]
    field = field_by(ways, points / unit, combination(convention, gamma / unit))
    return in_unit_one(field, unit, convention)


def mean_displacement(
    points: Float[Array, "k dim1"], x: Float[Array, "m dim"], num_extra: int
) -> tuple[Float[Array, "k dim1"], Float[Array, "k 1"]]:
    """Mean of `points - (x_i, 0)` with weights `r_i^-(D + K)`, and its length.

    It has the direction of one plate's field in K extra dimensions. Where a point sits on a sample, it is that of the
    others, and zero if there are none, as in `coulomb`. Memory is O(points x samples).
    """
    unit = unit_of_squares(points.shape[1], points, x)
    points, x = points / unit, x / unit
    charges = at_heights(x, jnp.zeros_like(x[:, 0]))
    squared = squared_distances(points, charges)
    squared = jnp.where(squared != 0, squared, jnp.inf)
    nearest = lax.stop_gradient(jnp.min(squared, axis=1, keepdims=True))
    weights = jnp.exp(log_relative_weight(squared, nearest, x.shape[1] + num_extra))
    total = jnp.sum(weights, axis=1, keepdims=True)
    mean = weighted_displacements(weights / jnp.where(total == 0, 1, total), points, charges)
    square = jnp.sum(mean * mean, axis=1, keepdims=True)
    length = jnp.where(square == 0, 0, jnp.sqrt(jnp.where(square == 0, 1, square)))
    return mean * unit, length * unit
