"""Squared distances between two sets of points, each with its own accuracy.

Three functions compute them, on purpose. Fields near a charge need every digit of a small distance: `_sums.differences`
in efm_jax.fields takes differences of coordinates. Where a rounding error relative to `|a|^2 + |b|^2` is small enough,
`squared_by_products` here costs one matrix product. Metrics and assignments run in float64 on the host:
`float64_squared_distances`.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.spatial.distance import cdist

_FEW_DIMS = 16
_SAME = 1e-13


def common_unit(most: float, *lengths: Array) -> Array:
    """The least power of two >= 1 in which all finite lengths are below `most`; a constant to differentiation."""
    rows = (jnp.atleast_1d(lax.stop_gradient(each)) for each in lengths)
    # by rows, of which some may not be finite, and without a copy of them all
    sizes = [jnp.maximum(jnp.max(each, axis=-1), -jnp.min(each, axis=-1)) for each in rows]
    largest = [jnp.max(jnp.where(jnp.isfinite(size), size, 0), initial=0) for size in sizes]
    exponent = jnp.frexp(jnp.max(jnp.stack(largest)) / most)[1]
    return jnp.ldexp(jnp.ones_like(largest[0]), jnp.maximum(exponent, 0))


def unit_of_squares(dim1: int, *lengths: Array) -> Array:
    """The common unit in which squared distances and the bounds of their errors are below 2^127; a power of two >= 1."""
    return common_unit(2.0**58 / dim1**0.5, *lengths)


def squared_by_products(
    a: Float[Array, "n dim"], b: Float[Array, "m dim"], size: Float[Array, "n m"] | None = None
) -> Float[Array, "n m"]:
    """Squared distances of centered points as `|a|^2 + |b|^2 - 2 a.b`; small ones are lost in the rounding, even below 0.

    `size` is `|a|^2 + |b|^2`, if the caller has it or needs it to more digits than `jnp.sum` gives.
    """
    if size is None:
        size = jnp.sum(a * a, axis=1)[:, None] + jnp.sum(b * b, axis=1)[None, :]
    return size - 2 * jnp.matmul(a, b.T, precision=lax.Precision.HIGHEST)


def float64_squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [n, m]: direct differences in few dimensions, inner products in many.

    Inner products lose `1e-16 (|a|^2 + |b|^2)`, so give centered sets; what is below 1e-13 of that sum is set to 0.
    """
    if a.shape[1] <= _FEW_DIMS:
        return cdist(a, b, "sqeuclidean")
    norms_a, norms_b = np.einsum("nd,nd->n", a, a), np.einsum("nd,nd->n", b, b)
    squares = a @ b.T
    squares *= -2.0
    squares += norms_b
    squares += norms_a[:, None]
    for start in range(0, len(a), 256):  # in blocks: a mask of a large matrix would be one more such matrix
        block = squares[start : start + 256]
        block[block < _SAME * (norms_a[start : start + 256, None] + norms_b)] = 0.0
    return squares


def centered(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets moved by one vector, so that their common mean is 0: distances stay, rounding shrinks."""
    middle = 0.5 * (a.mean(axis=0) + b.mean(axis=0))
    return a - middle, b - middle
