"""Sums over the charges of one of two plates far apart, in the coordinates of `fields.far_plates`."""

from functools import partial
from math import lgamma, log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from scipy import stats

from efm_jax._core.distances import squared_by_products, unit_of_squares
from efm_jax.fields._sums.differences import long_sum, squared_distances, squared_lengths
from efm_jax.fields._sums.plates import MANY_DIMENSIONS, fold_blocks
from efm_jax.fields._sums.products import nearest_first


class _Sums(NamedTuple):
    """Sums over charges relative to the nearest one, at the squared distance `nearest`."""

    nearest: Array
    weight: Array
    vector: Array


@partial(jax.jit, static_argnames=("extra", "block_size", "charges_over"))
def by_angle(
    points, angle, charges, groups, extra, block_size, charges_over=None
) -> tuple[Array, Array, Array]:
    """Velocity, mean and log-density of `far_plate`; `groups` are those of the points and of the charges they feel."""
    dim = points.shape[1]
    # at pi/2 rounding may leave a cosine of either sign or none
    cos, sin = jnp.maximum(jnp.cos(angle), jnp.finfo(points.dtype).eps), jnp.sin(angle)
    x = points / cos[:, None]
    length = unit_of_squares(dim, x, charges)
    if charges_over is not None:
        length = lax.pmax(length, charges_over)
    x = x / length
    # in units of which |x - y|^2 is the exponent
    unit = jnp.maximum((sin / cos / length) ** 2, float(jnp.finfo(x.dtype).tiny))

    def log_ratio(squared, nearest):
        """The log weight of a charge over that of one at the distance `nearest`."""
        nearest = jnp.where(jnp.isinf(nearest), 0.0, nearest)
        felt = jnp.isfinite(squared)
        more = jnp.where(felt, squared, 0.0) - nearest
        # the two may have been rounded apart; derivatives are those of the difference
        more = more - lax.stop_gradient(jnp.minimum(more, 0.0))
        if extra is None:
            ratio = -more / (2 * unit[:, None])
        else:
            ratio = -0.5 * (dim + extra) * jnp.log1p(more / (extra * unit[:, None] + nearest))
        return jnp.where(felt, ratio, -jnp.inf)

    def add_block(sums, position, part):
        position = position / length
        squared = squared_to_charges(x, position)
        felt = part != 0 if groups is None else part == groups[0][:, None] + 1
        squared = jnp.where(felt, squared, jnp.inf)
        found = lax.stop_gradient(jnp.min(squared, axis=1))
        weights = jnp.exp(log_ratio(squared, found[:, None]))
        products = jnp.matmul(weights, position, precision=lax.Precision.HIGHEST)
        return merged(sums, _Sums(found, long_sum(weights), products))

    def merged(one, other):
        nearest = jnp.minimum(one.nearest, other.nearest)
        a, b = (jnp.exp(log_ratio(sums.nearest[:, None], nearest[:, None])) for sums in (one, other))
        vector = one.vector * a + other.vector * b
        return _Sums(nearest, one.weight * a[:, 0] + other.weight * b[:, 0], vector)

    zero = jnp.zeros_like(x[:, 0])
    none = _Sums(jnp.full_like(zero, jnp.inf), zero, jnp.zeros_like(x))
    marks = jnp.ones(len(charges), x.dtype) if groups is None else (groups[1] + 1).astype(x.dtype)
    sums = fold_blocks(add_block, none, charges, marks, block_size)
    if charges_over is not None:
        nearest = lax.pmin(lax.stop_gradient(sums.nearest), charges_over)
        here = merged(sums, none._replace(nearest=nearest))
        sums = _Sums(nearest, *lax.psum((here.weight, here.vector), charges_over))
    mean = length * sums.vector / jnp.maximum(sums.weight, jnp.finfo(x.dtype).tiny)[:, None]
    velocity = (cos[:, None] * points - mean) / sin[:, None]
    nearest = jnp.where(jnp.isinf(sums.nearest), 0.0, sums.nearest)
    if extra is None:
        alone = jnp.maximum(-nearest / (2 * unit), float(jnp.finfo(x.dtype).min))
    else:
        ratio = nearest / (extra * unit)
        logs = jnp.log(jnp.where(nearest > 0, nearest, 1.0)) - jnp.log(extra * unit)
        alone = -0.5 * (dim + extra) * jnp.where(jnp.isinf(ratio), logs, jnp.log1p(ratio))
    log_density = jnp.log(sums.weight / len(charges)) + alone - dim * jnp.log(sin) - _log_norm(dim, extra)
    return velocity, mean, log_density


def length_by_flux(dim: int, extra: int | None, share: float) -> float:
    """A quantile of |tau| of the flux."""
    if extra is None:
        return float(np.sqrt(stats.chi2.ppf(share, dim)))
    return float(np.sqrt(dim * stats.f.ppf(share, dim, extra)))


def squared_to_charges(x: Array, charges: Array) -> Array:
    """Squared distances: by differences, in many dimensions by products but for the two nearest charges."""
    if x.shape[1] < MANY_DIMENSIONS:
        return squared_distances(x, charges)
    squared = squared_by_products(x, charges)
    nearest, _, _ = nearest_first(lax.stop_gradient(squared), jnp.ones(len(charges), bool))
    exact = squared_lengths(x[:, None, :] - charges[nearest])
    index = jnp.arange(len(charges))
    for k in range(nearest.shape[1]):
        squared = jnp.where(index == nearest[:, k, None], exact[:, k, None], squared)
    return jnp.maximum(squared, 0.0)


def _log_norm(dim: int, extra: int | None) -> float:
    """Log of the integral of the weights over all directions."""
    if extra is None:
        return 0.5 * dim * log(2 * pi)
    return 0.5 * dim * log(extra * pi) + lgamma(0.5 * extra) - lgamma(0.5 * (dim + extra))
