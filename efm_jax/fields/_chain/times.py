"""The times of the Brownian motion at which the integrand is evaluated, and how many are needed.

A charge at distance r gives the integrand `exp(-r^2 / 2T) T^-b` over `log T`. Its transform is that of Gamma(b), so equal
steps h in log T err by `2 |Gamma(b + 2 pi i / h)| / Gamma(b)` of the integral (Trefethen and Weideman, 2014, SIAM Review
56, 385). What is left out on both sides is small compared with the greatest term of the nearest charge.
"""

from collections.abc import Callable
from functools import lru_cache
from math import log, pi

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.special import loggamma

from efm_jax._core.bisection import bisect, bisect_number

Profile = Callable[[Float[Array, " p"]], Float[Array, " p"]]
"""Log of the nearest charge's integrand at the log-times of all points, up to a constant of each; it has one peak."""


def window(
    profile: Profile, low: Float[Array, " p"], high: Float[Array, " p"], depth: float
) -> tuple[Array, ...]:
    """Log-times (first, peak, last) of each point between which the profile is within `depth` of its peak."""
    ratio = 0.5 * (5**0.5 - 1)

    def golden(_, bounds):
        low, high = bounds
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        rises = profile(a) < profile(b)
        return jnp.where(rises, a, low), jnp.where(rises, high, b)

    # 36 sections and 22 halvings: a bracket of 100 down to 1e-5, far below the width of any peak
    left, right = lax.fori_loop(0, 36, golden, (low, high))
    peak = 0.5 * (left + right)
    floor = profile(peak) - depth

    def outside(s):
        return profile(s) < floor

    return bisect(outside, low, peak, 22)[0], peak, bisect(outside, high, peak, 22)[0]


@lru_cache(maxsize=256)
def count(power: float, depth: float) -> int:
    """Number of steps over the window of `exp(-r^2 / 2T) T^-power` for an error of `exp(-depth)` of its greatest term."""
    frequency = _solve(lambda w: float(np.real(loggamma(power) - loggamma(power + 1j * w))), depth + log(2))
    left = _solve(lambda s: power * (np.expm1(s) - s), depth)
    right = _solve(lambda s: power * (s + np.expm1(-s)), depth)
    return int(np.ceil(1.1 * (left + right) * frequency / (2 * pi))) + 1


def _solve(rising: Callable[[float], float], value: float) -> float:
    """Where a function that rises from 0 at 0 reaches the value."""
    high = 1e-3
    while rising(high) < value:
        high *= 2
    return bisect_number(lambda s: rising(s) < value, 0.0, high, 50)[1]
