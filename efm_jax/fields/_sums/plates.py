"""Sums over the charges of one plate: the numerator of Coulomb's law, relative to the nearest charge.

A plate has charges `q_i >= 0`. With `d_i = x~ - x~_i`, `r_i = |d_i|` and a reference length r per point, its field
is `V r^-(D+1) / S_D`, `V = sum_i q_i (r / r_i)^(D+1) d_i`: V is of the order of the distances, the powers stay in r.
Sums over parts of a plate, or over two plates, merge under the smaller r, as the maxima of a streamed softmax do. Each
comes with a bound on its own rounding error, which says where a faster way of summing can be trusted.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from efm_jax._core import platforms
from efm_jax.fields._sums.differences import long_sum, squared_distances, weighted_displacements

Total = TypeVar("Total")

MANY_DIMENSIONS = 64
"""Dimensions D+1 from which sums by products beat those by differences."""


class PlateSums(NamedTuple):
    """Sums over charges, relative to a reference length r of each point."""

    vector: Float[Array, "p dim1"]  # `V = sum_i q_i (r / r_i)^(D+1) d_i`, [p, D+1]
    weight: Float[Array, " p"]  # `sum_i q_i (r / r_i)^(D+1)`, [p]
    # `r^2`, [p], a constant to differentiation; inf where there is no charge to sum
    reference: Float[Array, " p"]
    doubt: Float[Array, " p"]  # bound on the rounding error of V, as a length, [p]


Summation: TypeAlias = Callable[[Array, Array, Array], PlateSums]
"""`(points [p, D+1], positions [n, D+1], charge [n], all >= 0) -> PlateSums`."""


def by_differences(
    points: Float[Array, "p dim1"], positions: Float[Array, "n dim1"], charge: Float[Array, " n"]
) -> PlateSums:
    """Every distance and displacement from the difference of coordinates: exact near charges, slow in high D.

    Each term is good to a few units in the last place times D+1 (the exponent), so the error of V is that
    share of `sum_i q_i (r / r_i)^(D+1) r_i`. It is large compared with V only where the pulls of a plate cancel.
    """
    dim1 = points.shape[-1]
    squared = squared_distances(points, positions)
    felt = (squared != 0) & (charge != 0)
    squared = jnp.where(felt, squared, jnp.inf)
    reference = jnp.min(lax.stop_gradient(squared), axis=1)
    weights = charge * relative_weight(squared, reference[:, None], dim1)
    pulls = weights * jnp.sqrt(jnp.where(felt, lax.stop_gradient(squared), 0))
    doubt = roundoff(points) * (8 + dim1) * jnp.sum(lax.stop_gradient(pulls), axis=1)
    return PlateSums(weighted_displacements(weights, points, positions), long_sum(weights), reference, doubt)


def streamed(sum_block: Summation, block_size: int, unit: Array | float = 1.0) -> Summation:
    """`sum_block` over blocks of charges, their positions divided by the unit, memory O(points x block)."""

    def over_plate(points, positions, charge):
        def add_block(sums, position, part):
            return merge(sums, sum_block(points, position / unit, part))

        return fold_blocks(add_block, no_sums(points), positions, charge, block_size)

    return over_plate


def fold_blocks(
    add_block: Callable[[Total, Array, Array], Total],
    start: Total,
    positions: Float[Array, "n dim1"],
    charge: Float[Array, " n"],
    block_size: int,
) -> Total:
    """`add_block(total, positions, charge)` over all blocks of charges; blocks without charge are skipped."""
    count = len(charge)
    size = min(block_size, count)

    def visit(total, block):
        first = jnp.minimum(block * size, count - size)  # the last block overlaps the one before it,
        fresh = first + jnp.arange(size) >= block * size  # so that no padded copy of the charges is made
        part = jnp.where(fresh, lax.dynamic_slice_in_dim(charge, first, size), 0)

        def cut():
            return lax.dynamic_slice_in_dim(positions, first, size)

        # gradients keep what a choice is handed: not every block, where blocks are large; small ones are faster cut before
        position = cut() if positions.shape[1] < MANY_DIMENSIONS else None

        def add():
            return add_block(total, cut() if position is None else position, part)

        return lax.cond(jnp.all(part == 0), lambda: total, add), None

    return lax.scan(jax.checkpoint(visit), start, jnp.arange(-(-count // size)))[0]


def no_sums(points: Float[Array, "p dim1"]) -> PlateSums:
    """The sums over no charges."""
    zero = jnp.zeros_like(points[:, 0])
    return PlateSums(jnp.zeros_like(points), zero, jnp.full_like(zero, jnp.inf), zero)


def merge(one: PlateSums, other: PlateSums) -> PlateSums:
    """The sums over the charges of both."""
    reference = jnp.minimum(one.reference, other.reference)
    one, other = rescaled(one, reference), rescaled(other, reference)
    added = (a + b for a, b in zip(one, other, strict=True))
    return PlateSums(*added)._replace(reference=reference)


def rescaled(sums: PlateSums, reference: Float[Array, " p"]) -> PlateSums:
    """The same sums relative to another, smaller or equal reference `r^2`."""
    scale = relative_weight(sums.reference, reference, sums.vector.shape[-1])
    return PlateSums(sums.vector * scale[:, None], sums.weight * scale, reference, sums.doubt * scale)


def relative_weight(squared: Array, reference: Array, dim1: int) -> Array:
    """`(reference / squared)^((D+1)/2)`, 0 where squared is inf."""
    return jnp.exp(log_relative_weight(squared, reference, dim1))


def log_relative_weight(squared: Array, reference: Array, dim1: int) -> Array:
    """`(D+1)/2 log(reference / squared)`, keeping the digits of the difference of near ones."""
    reference = jnp.where(jnp.isinf(reference), 1, reference)
    return -0.5 * dim1 * jnp.log1p((squared - reference) / reference)


def roundoff(values: Array) -> float:
    """The relative error of one rounding."""
    return float(jnp.finfo(values.dtype).eps) / 2


def default_block_size(num_points: int, count: int, dim1: int) -> int:
    """Blocks of about 2^18 pairs, more where products dominate; even in number: none straddles two equal plates.

    In many dimensions a block's coordinates stay within 8 MiB. Several copies of them then fit the caches, and all
    temporaries the allocator's heap, whose pages are not mapped anew at each call. On a GPU, which has no such caches and
    starts each operation of a block for microseconds, they may have 64 MiB.
    """
    pairs = 2**18 if dim1 < MANY_DIMENSIONS else 2**19
    largest = int(np.clip(pairs // max(num_points, 1), 256, 8192))
    largest = min(largest, max((2**24 if platforms.on_gpu() else 2**21) // dim1, 16))
    pairs_of_blocks = -(-count // (2 * largest))
    return -(-count // (2 * pairs_of_blocks))
