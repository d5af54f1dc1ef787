"""The potential of point charges, in log space: `E = -grad phi`."""

from functools import partial
from math import exp, log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.distances import unit_of_squares
from efm_jax.charges.plates import Charges, as_points_and_charges
from efm_jax.fields._sums.differences import long_sum, squared_distances
from efm_jax.fields._sums.log_lengths import log_sphere_area
from efm_jax.fields._sums.plates import default_block_size, fold_blocks, relative_weight

__all__ = ["Potential", "potential"]


class Potential(NamedTuple):
    """A potential in log space: `phi = sign * exp(log_magnitude)`.

    Attributes:
        sign: -1, 0 or 1, [...].
        log_magnitude: Natural log of |phi|, [...]; -inf where it vanishes.
    """

    sign: Float[Array, "*batch"]
    log_magnitude: Float[Array, "*batch"]


def potential(
    points: Float[Array, "*batch dim1"], charges: Charges, *, block_size: int | None = None
) -> Potential:
    """Return the potential of point charges, zero at infinity for D >= 2.

    `phi(x~) = sum_i q_i / ((D - 1) S_D r_i^(D-1))`, S_D the area of the unit sphere in D+1 dimensions; for D = 1
    `phi = -sum_i q_i log(r_i) / 2 pi`, zero at distance 1 from a charge. Where charges of both signs cancel, its error
    is a few float32 roundings, times D, of the sum of |terms|. A point that sits on a charge has the potential of the
    others.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1], in the units of the data.
        charges: Positions [n, D+1] and signed charges [n].
        block_size: Charges summed at a time; None chooses by the number of points.

    Returns:
        `Potential(sign [...], log_magnitude [...])`.

    Raises:
        ValueError: If shapes or dtypes do not fit or block_size is not a whole number >= 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import plate
        >>> phi = potential(jnp.array([0.0, 3.0, 4.0]), plate(jnp.zeros((1, 2)), 0.0, -1.0))
        >>> float(phi.sign), round(float(jnp.exp(phi.log_magnitude)), 5)  # 1 / (4 pi 5)
        (-1.0, 0.01592)

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2: the field whose potential this is.
    """
    points, charges = as_points_and_charges(points, charges)
    flat = points.reshape(-1, points.shape[-1])
    if block_size is None:
        block_size = default_block_size(len(flat), len(charges.charge), flat.shape[-1])
    found = _potential(flat, charges, checks.count("block_size", block_size))
    return Potential(*(part.reshape(points.shape[:-1]) for part in found))


@partial(jax.jit, static_argnames="block_size")
def _potential(points: Array, charges: Charges, block_size: int) -> Potential:
    dim = points.shape[1] - 1
    length = unit_of_squares(dim + 1, points, charges.positions)
    points = points / length

    def add_block(state, position, part):
        total, reference = state
        squared = squared_distances(points, position / length)
        felt = (squared != 0) & (part != 0)
        squared = jnp.where(felt, squared, 1)
        part = jnp.where(felt, part, 0)
        if dim == 1:
            return total - long_sum(part * (jnp.log(squared) + 2 * jnp.log(length))), reference
        nearest = jnp.min(jnp.where(felt, lax.stop_gradient(squared), jnp.inf), axis=1)
        new = jnp.minimum(reference, nearest)
        weight = relative_weight(jnp.where(felt, squared, jnp.inf), new[:, None], dim - 1)
        return total * relative_weight(reference, new, dim - 1) + long_sum(part * weight), new

    zero = jnp.zeros_like(points[:, 0])
    start = zero, jnp.full_like(zero, jnp.inf)
    total, reference = fold_blocks(add_block, start, charges.positions, charges.charge, block_size)
    vanishes = total == 0
    log_total = jnp.where(vanishes, -jnp.inf, jnp.log(jnp.where(vanishes, 1, jnp.abs(total))))
    if dim == 1:
        return Potential(jnp.sign(total), log_total - log(4 * pi))
    # ((D-1) S_D)^(-2 / (D-1)) under one logarithm with r^2: separate ones would each carry their own rounding
    log_unit = -2 * (log(dim - 1) + log_sphere_area(dim)) / (dim - 1)
    unit = float(np.asarray(exp(log_unit), points.dtype))
    reference = jnp.where(jnp.isinf(reference), 1, reference)
    powers = 0.5 * (dim - 1) * (jnp.log(reference / unit) + (log(unit) - log_unit))
    return Potential(jnp.sign(total), log_total - powers - (dim - 1) * jnp.log(length))
