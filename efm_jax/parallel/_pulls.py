"""The sums of `_twofold` before they are rounded: parts of a plate that all but cancel must be added with all digits."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from efm_jax import _twofold
from efm_jax._plates import PlateSums, fold_blocks
from efm_jax._twofold import Twofold

TERMS = 2**19
"""Points x charges x (D+1) held at a time."""


def pulls(
    points: Float[Array, "p dim1"],
    positions: Float[Array, "n dim1"],
    charge: Float[Array, " n"],
    reference: Float[Array, " p"],
    terms: int = TERMS,
) -> Twofold:
    """`V = sum_i q_i (r / r_i)^(D+1) d_i` for references r^2 shared by all parts, [dim1, p]; a constant to derivatives."""
    points, positions, charge, reference = map(lax.stop_gradient, (points, positions, charge, reference))
    reference = jnp.where(jnp.isinf(reference), 1, reference)[:, None]

    def add_block(total, position, part):
        away = _twofold.difference(points.T[:, :, None], position.T[:, None, :])  # [dim1, p, block]
        squared = _twofold.sum_over_first(_twofold.multiply(away, away))
        felt = (squared.high != 0) & (part != 0)
        squared = Twofold(jnp.where(felt, squared.high, reference), jnp.where(felt, squared.low, 0))
        ratio = _twofold.divide(reference, squared)
        weight = _twofold.half_power(ratio, points.shape[1])
        weight = _twofold.multiply(weight, _twofold.twofold(jnp.where(felt, part, 0)))
        pull = _twofold.multiply(away, weight)
        by_charge = Twofold(jnp.moveaxis(pull.high, -1, 0), jnp.moveaxis(pull.low, -1, 0))
        return _twofold.add(total, _twofold.sum_over_first(by_charge))

    block_size = max(1, terms // max(points.size, 1))
    return fold_blocks(add_block, no_pulls(points), positions, charge, block_size)


def no_pulls(points: Float[Array, "p dim1"]) -> Twofold:
    """The sum over no charges."""
    return _twofold.twofold(jnp.zeros_like(points.T))


def settled(sums: PlateSums, exact: Twofold) -> PlateSums:
    """The sums with their vector replaced by its exact value, with the derivatives that it has."""
    value = (exact.high + exact.low).T
    slope = sums.vector - lax.stop_gradient(sums.vector)  # 0
    return sums._replace(vector=value + slope, doubt=jnp.zeros_like(sums.doubt))
