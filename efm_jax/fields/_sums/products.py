"""Sums over one plate by two matrix products, as fast as the hardware multiplies.

`|x - a|^2 = |x|^2 + |a|^2 - 2 x.a` and `sum_i w_i (x - a_i) = x sum_i w_i - sum_i w_i a_i` cost little but
products, and lose what lies below the rounding of `S_i = |x|^2 + |a_i|^2`. There are three remedies: coordinates relative
to the middle of the charges make S small; the two nearest charges are summed by differences. A bound on what the
other charges lose, their share of the field times `S_i / r_i^2`, tells at which points this is not enough.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from efm_jax._core.distances import squared_by_products
from efm_jax.fields._sums.differences import long_sum, squared_lengths
from efm_jax.fields._sums.plates import PlateSums, log_relative_weight, roundoff

_NEAREST = 2  # two, since a sample may have been drawn twice
_PART = 4096
_MANY = 256


def by_products(
    points: Float[Array, "p dim1"], positions: Float[Array, "n dim1"], charge: Float[Array, " n"]
) -> PlateSums:
    """As `by_differences`, where the charges that count are the nearest or as far as the middle of all charges."""
    dim1 = points.shape[-1]
    x, a, size, squared = about_middle(points, positions, charge)
    size = lax.stop_gradient(size)

    nearest, found, others = nearest_first(lax.stop_gradient(squared), charge != 0)
    squared = jnp.maximum(squared, roundoff(points) * size)
    far = jnp.where(others, squared, jnp.inf)
    displacements = points[:, None, :] - positions[nearest]
    near = squared_lengths(displacements)
    near = jnp.where(found & (near != 0), near, jnp.inf)
    reference = lax.stop_gradient(jnp.minimum(jnp.min(near, axis=1), jnp.min(far, axis=1)))

    near_weights = charge[nearest] * jnp.exp(log_relative_weight(near, reference[:, None], dim1))
    log_weights = log_relative_weight(far, reference[:, None], dim1)
    weights = charge * jnp.exp(log_weights)
    weight = long_sum(weights)
    far_vector = weight[:, None] * x - jnp.matmul(weights, a, precision=lax.Precision.HIGHEST)
    near_vector = jnp.sum(near_weights[..., None] * displacements, axis=1)

    near_doubt = (8 + dim1) * jnp.sum(near_weights * jnp.sqrt(jnp.where(jnp.isinf(near), 0, near)), axis=1)
    far_doubt = _far_doubt(charge, others, log_weights, squared, size, dim1)
    doubt = lax.stop_gradient(roundoff(points) * (near_doubt + far_doubt))
    return PlateSums(near_vector + far_vector, weight + near_weights.sum(axis=1), reference, doubt)


def about_middle(
    points: Float[Array, "p dim1"], positions: Float[Array, "n dim1"], charge: Float[Array, " n"]
) -> tuple[Float[Array, "p dim1"], Float[Array, "n dim1"], Float[Array, "p n"], Float[Array, "p n"]]:
    """Points x and positions a from the middle of charges >= 0; of each pair `|x|^2 + |a|^2` and `|x - a|^2` by products."""
    middle = _middle(positions, charge)
    x, a = points - middle, positions - middle
    size = squared_lengths(x)[:, None] + _norms(a)[None, :]  # an error of |x|^2 is one of all distances
    return x, a, size, squared_by_products(x, a, size)


def _norms(vectors: Float[Array, "n dim1"]) -> Float[Array, " n"]:
    """`|v|^2` by products with ones, in parts short enough that the sum errs by no more than a few units."""
    squares, parts = vectors**2, -(-vectors.shape[1] // _PART)
    sums = [
        jnp.matmul(part, jnp.ones(part.shape[1], part.dtype), precision=lax.Precision.HIGHEST)
        for part in jnp.array_split(squares, parts, axis=1)
    ]
    return sum(sums[1:], sums[0])


def _middle(positions: Float[Array, "n dim1"], charge: Float[Array, " n"]) -> Float[Array, " dim1"]:
    """About the mean of the charges, of every sixteenth if there are many, cut to half its digits.

    The same number must be taken from points and charges. The compiler may carry a mean's last operation
    into one of the two differences, unrounded, but it must round here.
    """
    info = jnp.finfo(positions.dtype)
    if len(positions) >= _MANY:
        positions, charge = positions[::16], charge[::16]
    mean = jnp.matmul(charge, positions, precision=lax.Precision.HIGHEST) / jnp.maximum(
        jnp.sum(charge), info.tiny
    )
    return lax.reduce_precision(lax.stop_gradient(mean), info.nexp, info.nmant // 2)


def nearest_first(
    squared: Float[Array, "p n"], others: Bool[Array, " n"]
) -> tuple[Int[Array, "p k"], Bool[Array, "p k"], Bool[Array, "p n"]]:
    """Indices of the nearest charges, whether there are as many, and which charges are left."""
    count = squared.shape[1]
    index = jnp.arange(count)
    nearest, found = [], []
    for _ in range(min(_NEAREST, count)):
        candidates = jnp.where(others, squared, jnp.inf)
        smallest = jnp.min(candidates, axis=1, keepdims=True)
        # argmin, as two reductions that vectorize
        chosen = jnp.min(jnp.where(candidates == smallest, index, count - 1), axis=1)
        nearest.append(chosen)
        found.append(jnp.isfinite(smallest[:, 0]))
        others = others & (index != chosen[:, None])
    return jnp.stack(nearest, axis=1), jnp.stack(found, axis=1), others


def _far_doubt(
    charge: Array, others: Array, log_weights: Array, squared: Array, size: Array, dim1: int
) -> Float[Array, " p"]:
    """Bound on the error of the far charges' vector, in units of roundoff.

    The sum `S - 2 x.a` errs by about 2 S units, and the product in it by up to 4 |2 x.a| = 4 |S - r_i^2|
    more. That is a share of `r_i^2`, and changes its power by (D+1)/2 times as much; the displacement is
    changed by less. Where the share is large, the true distance may be so much smaller that the weight
    found is no guide: the weight at the smallest distance possible takes its place. NaN, which no one trusts, where a weight
    is too small for a float and the distance unknown.
    """
    loss = 2 * size + 4 * jnp.abs(size - squared)
    margin = 2 * roundoff(size) * loss
    nearer = 0.5 * dim1 * margin / jnp.maximum(squared - margin, 0)
    least = jnp.where(others, log_weights + nearer, -jnp.inf)
    return (8 + 0.5 * dim1) * jnp.sum(charge * jnp.exp(least) * loss * lax.rsqrt(squared), axis=1)
