"""One plate of the chain and its images: sums over charges and over the times of a Brownian motion.

For charges x_i of total 1 at height 0, with the kernels of `_slab`,

    E_x = 1/2 int dT mean_i N(x; x_i, T I) (x - x_i) / T stay(z, T),    E_z = 1/2 int dT mean_i N(x; x_i, T I) leave(z, T).

All charges share the times, at equal steps of log T, where the nearest charge's integrand counts. Each pair costs an
exponential a time, relative to the nearest charge's; nothing overflows, and what underflows is beyond the precision.
"""

from math import log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from efm_jax.fields._chain.slab import log_leave, log_stay
from efm_jax.fields._chain.times import count, window
from efm_jax.fields._sums.differences import squared_distances, weighted_displacements
from efm_jax.fields._sums.log_lengths import direction_and_log_length

_LONGER = log(1e3)  # farthest over nearest distance that the number of times allows for
_TOGETHER = 8  # times whose exponentials the compiler joins into one pass over the pairs


class PlateField(NamedTuple):
    """The field of one plate and its images: `E_x = direction exp(log_lateral)`, `E_z = sin(pi z / gap) exp(log_z)`."""

    direction: Float[Array, "p dim"]
    log_lateral: Float[Array, " p"]
    log_z: Float[Array, " p"]


def plate_field(x: Array, z: Array, samples: Array, gap: Array, tolerance: float) -> PlateField:
    """The field of equal charges of total 1 at height 0 and of their images."""
    number, dim = samples.shape
    depth = log(number / tolerance)
    squared = squared_distances(x, samples)
    felt = squared + (z * z)[:, None] != 0
    squared = jnp.where(felt, squared, 1)
    nearest = jnp.min(jnp.where(felt, lax.stop_gradient(squared), jnp.inf), axis=1)
    nearest = jnp.where(jnp.isposinf(nearest), 1, nearest)
    beyond = jnp.where(felt, squared - nearest[:, None], jnp.inf)
    own = nearest + z * z
    farthest = jnp.max(jnp.where(felt, lax.stop_gradient(squared), 0), axis=1)
    still = lax.stop_gradient((z, own))
    low = jnp.log(still[1]) - jnp.log(5.4 * (depth + dim + 1 + 5 * jnp.sqrt(nearest) / gap))

    def sums(kernel, power, high, arm, steps):
        """Nodes `1/2T` of `1/2 int dT (2 pi T)^-D/2 T^(D/2-power) exp(-r^2/2T) kernel`, terms, log of the greatest."""

        def profile(s):
            z, own = still
            return -0.5 * own * jnp.exp(-s) - (power - 1) * s + kernel(z / gap, jnp.exp(s) / gap**2) + arm(s)

        first, peak, last = window(profile, low, high, depth)
        nodes = first + (jnp.arange(steps)[:, None] + 0.5) * (last - first) / steps
        away, time = nodes - peak, jnp.exp(peak)
        at_peak = kernel(z / gap, time / gap**2)
        terms = -0.5 * own / time * jnp.expm1(-away) - (power - 1) * away
        terms = terms + jax.vmap(lambda s: kernel(z / gap, jnp.exp(s) / gap**2))(nodes) - at_peak
        greatest = at_peak + (1 - power + 0.5 * dim) * peak - log(2)
        greatest = greatest - 0.5 * dim * (jnp.log(2 * pi * time) + own / time / dim)
        return 0.5 * jnp.exp(-nodes), jnp.exp(terms) * (last - first) / steps, greatest

    steepest, slowest = 0.5 * (dim + 1), 0.5 * dim
    high = jnp.log(still[1] / (2 * steepest)) + depth / steepest + 2
    rates, terms, greatest = sums(log_leave, slowest, high, jnp.zeros_like, count(steepest, depth))
    share = _mix(beyond, rates, terms) @ jnp.full(number, 1 / number, x.dtype)
    log_z = jnp.log(share) + greatest - 2 * jnp.log(gap)

    # charges farther off than the nearest pull by a longer arm, of the order of sqrt(T), late times longer therefore
    def arm(s):
        return 0.5 * jnp.log(jnp.minimum(jnp.exp(s), farthest) + still[1])

    longer = 0.5 * jnp.log1p(farthest / still[1])
    high = jnp.log((still[1] + gap**2) / (2 * slowest)) + (depth + longer) / slowest + 2
    rates, terms, greatest = sums(log_stay, slowest + 1, high, arm, count(slowest, depth + _LONGER))
    pulls = weighted_displacements(_mix(beyond, rates, terms) / number, x, samples)
    direction, log_length = direction_and_log_length(pulls)
    return PlateField(direction, log_length + greatest - jnp.log(gap), log_z)


def _mix(
    beyond: Float[Array, "p n"], inverse: Float[Array, "t p"], terms: Float[Array, "t p"]
) -> Float[Array, "p n"]:
    """`sum_t terms_tp exp(-beyond_pn inverse_tp)`, some of the times in each pass over the pairs."""
    more = ((0, -len(inverse) % _TOGETHER), (0, 0))
    inverse, terms = jnp.pad(inverse, more, mode="edge"), jnp.pad(terms, more)

    def visit(total, some):
        for rate, term in zip(*some, strict=True):
            total = total + term[:, None] * jnp.exp(-beyond * rate[:, None])
        return total, None

    some = tuple(array.reshape(-1, _TOGETHER, array.shape[1]) for array in (inverse, terms))
    return lax.scan(jax.checkpoint(visit), jnp.zeros_like(beyond), some)[0]
