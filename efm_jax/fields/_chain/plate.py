"""One plate of the chain and its images: sums over charges and over the times of a Brownian motion.

For charges x_i of total 1 at height 0, with the kernels of `slab`,

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
from efm_jax.fields._sums.differences import long_sum, squared_distances, weighted_displacements
from efm_jax.fields._sums.log_lengths import direction_and_log_length

_LONGER = log(1e3)  # farthest over nearest distance that the number of times allows for
_FAR = 1e4  # gaps to the nearest charge from where only the slowest cosine is left, in a narrow peak
_FELT = 1e8  # farthest over nearest distance up to which charges may count
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
    height, still_gap = lax.stop_gradient((z, gap))

    def earliest(own):
        return jnp.log(own) - jnp.log(5.4 * (depth + dim + 1 + 5 * jnp.sqrt(nearest) / still_gap))

    def sums(kernel, power, own, high, arm, steps):
        """Nodes of `1/2 int dT (2 pi T)^-D/2 T^(D/2 - power) exp(-r^2 / 2T) kernel`.

        Their rates `1/2T` and relative terms, and the log of the greatest term.
        """
        still = lax.stop_gradient(own)

        def profile(s):
            at = kernel(height / still_gap, jnp.exp(s) / still_gap**2)
            return -0.5 * still * jnp.exp(-s) - (power - 1) * s + at + arm(s)

        first, peak, last = window(profile, earliest(still), high, depth)
        nodes = first + (jnp.arange(steps, dtype=x.dtype)[:, None] + 0.5) * (last - first) / steps
        away, time = nodes - peak, jnp.exp(peak)
        at_peak = kernel(z / gap, time / gap**2)
        terms = -0.5 * own / time * jnp.expm1(-away) - (power - 1) * away
        terms = terms + jax.vmap(lambda s: kernel(z / gap, jnp.exp(s) / gap**2))(nodes) - at_peak
        greatest = at_peak + (1 - power + 0.5 * dim) * peak - log(2)
        greatest = greatest - 0.5 * dim * (jnp.log(2 * pi * time) + own / time / dim)
        return 0.5 * jnp.exp(-nodes), jnp.exp(terms) * (last - first) / steps, greatest

    def one_wave(steps):
        """As `sums` of `leave` far out, where one cosine is left and `exp(-2 h sinh(s/2)^2)` about the peak."""
        lower = slowest - 1
        h = jnp.hypot(lower, pi * jnp.sqrt(nearest) / gap)
        time, half = nearest / (lower + h), jnp.sqrt(2 * depth / h)
        away = half * ((jnp.arange(steps, dtype=x.dtype)[:, None] + 0.5) * 2 / steps - 1)
        terms = jnp.exp(-2 * h * jnp.sinh(0.5 * away) ** 2) * 2 * half / steps
        greatest = log(pi / 2) + jnp.log(time) - 0.5 * dim * jnp.log(2 * pi * time) - h
        return 0.5 / time * jnp.exp(-away), terms, greatest

    steepest, slowest = 0.5 * (dim + 1), 0.5 * dim
    is_far = nearest > (_FAR * still_gap) ** 2
    close = jnp.where(is_far, gap * gap, own)
    high = jnp.log(lax.stop_gradient(close) / (2 * steepest)) + depth / steepest + 2
    steps = count(steepest, depth)
    near = sums(log_leave, slowest, close, high, jnp.zeros_like, steps)
    rates, terms, greatest = (jnp.where(is_far, *parts) for parts in zip(one_wave(steps), near, strict=True))
    log_z = jnp.log(long_sum(_mix(beyond, rates, terms)) / number) + greatest - 2 * jnp.log(gap)

    # charges farther off than the nearest pull by a longer arm, of the order of sqrt(T), late times longer therefore
    still = lax.stop_gradient(own)
    farthest = jnp.minimum(farthest, _FELT**2 * still)

    def arm(s):
        return 0.5 * jnp.log(jnp.minimum(jnp.exp(s), farthest) + still)

    longer = 0.5 * jnp.log1p(farthest / still)
    high = jnp.log((still + still_gap**2) / (2 * slowest)) + (depth + longer) / slowest + 2
    rates, terms, greatest = sums(log_stay, slowest + 1, own, high, arm, count(slowest, depth + _LONGER))
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
