"""Sums over pairs (point, charge) by direct differences: exact near a charge, and never points x charges x dims.

`|a|^2 + |b|^2 - 2 a.b` loses the digits of a small distance between large coordinates; `|a - b|^2` does
not. Both sums here walk over slabs of 16 dimensions or charges, unrolled, so that XLA fuses the differences
into the sum. Memory holds one slab, and rounding errors grow with the number of slabs, not of terms.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_SLAB = 16


def squared_distances(
    points: Float[Array, "p dim1"], positions: Float[Array, "n dim1"]
) -> Float[Array, "p n"]:
    """`|points_p - positions_i|^2`, each to a few units in the last place of itself."""

    def slab(total, coordinates):
        point, position = coordinates  # [16, p], [16, n]
        squares = [(x[:, None] - a[None, :]) ** 2 for x, a in zip(point, position, strict=True)]
        return _compensated(total, _tree_sum(squares)), None

    dims = points.shape[1]
    if dims <= _SLAB:
        return _tree_sum([(points[:, k, None] - positions[None, :, k]) ** 2 for k in range(dims)])
    zero = jnp.zeros((len(points), len(positions)), points.dtype)
    (total, lost), _ = lax.scan(jax.checkpoint(slab), (zero, zero), (_slabs(points.T), _slabs(positions.T)))
    return total + lost


def weighted_displacements(
    weights: Float[Array, "p n"], points: Float[Array, "p dim1"], positions: Float[Array, "n dim1"]
) -> Float[Array, "p dim1"]:
    """`sum_i weights_pi (points_p - positions_i)`, each term to a few units in its last place."""
    dims = points.shape[1]
    if dims <= _SLAB:
        coordinates = [points[:, k, None] - positions[None, :, k] for k in range(dims)]
        return jnp.stack([long_sum(weights * d) for d in coordinates], axis=1)
    return displacements_by_slabs(weights, points, positions)


def displacements_by_slabs(
    weights: Float[Array, "p n"], points: Float[Array, "p dim1"], positions: Float[Array, "n dim1"]
) -> Float[Array, "p dim1"]:
    """The same, in passes over the weights whose number does not grow with the dimensions."""

    def slab(total, charges):
        weight, position = charges  # [16, p], [16, dim1]
        terms = [w[None, :] * (point - a[:, None]) for w, a in zip(weight, position, strict=True)]
        return total + _tree_sum(terms), None

    point = points.T  # the points lie along the last axis, which XLA vectorizes
    total, _ = lax.scan(jax.checkpoint(slab), jnp.zeros_like(point), (_slabs(weights.T), _slabs(positions)))
    return total.T


def squared_lengths(vectors: Float[Array, "*batch dim1"]) -> Float[Array, "*batch"]:
    """`|v|^2`."""
    return long_sum(vectors**2)


def long_sum(terms: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """The sum over the last axis by halves of sixteen parts, whose error hardly grows with n.

    Sums of sums would not do: XLA would join them into one long, sequential sum.
    """
    rest = jnp.zeros(terms.shape[:-1], terms.dtype)
    while terms.shape[-1] > _SLAB:
        part = terms.shape[-1] // _SLAB
        rest = rest + jnp.sum(terms[..., _SLAB * part :], axis=-1)
        terms = _tree_sum([terms[..., k * part : (k + 1) * part] for k in range(_SLAB)])
    return rest + jnp.sum(terms, axis=-1)


def _slabs(rows: Float[Array, "n k"]) -> Float[Array, "slabs 16 k"]:
    """Rows in groups of 16, the last one filled with zeros, which add nothing to either sum."""
    filled = jnp.pad(rows, ((0, -len(rows) % _SLAB), (0, 0)))
    return filled.reshape(-1, _SLAB, rows.shape[1])


def _tree_sum(terms: list[Array]) -> Array:
    """Sum by halving: the error grows with the logarithm of the number of terms."""
    while len(terms) > 1:
        odd = terms[-1:] if len(terms) % 2 else []
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + odd
    return terms[0]


def _compensated(total: tuple[Array, Array], term: Array) -> tuple[Array, Array]:
    """`total + term` for `total = (sum, what rounding lost)` of terms >= 0 (Neumaier, 1974)."""
    high, lost = total
    new = high + term
    virtual = new - high
    return new, lost + ((high - (new - virtual)) + (term - virtual))
