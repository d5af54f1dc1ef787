r"""Brownian motion between two plates: where and when it first meets one of them.

The slab is $0 < z < L$. A standard Brownian motion started at height z leaves it through the plate $z = 0$ with
probability $1 - z / L$, else through $z = L$. Side and time together make a point's lateral Gaussian, since $2 E_z(x, z)$
of the capacitor chain is the density of $x_i + \sqrt{T} \xi$ (see `points.flux`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efm_jax._core import checks, dtypes
from efm_jax.types import Key

MOST_JUMPS = 100
"""Jumps after which a walk is ended where it is; a walk is that long once in 2^100."""


class Exit(NamedTuple):
    """How walks left the slab."""

    below: Bool[Array, "..."]  # whether through the plate z = 0, else through z = L
    time: Float[Array, "..."]  # when, in units of length squared


def leave_slab(key: Key, z: Float[Array, "*batch"], gap: float) -> Exit:
    r"""Draw side and time of the exit of a Brownian motion from (0, L), started at height z in [0, L].

    Walk on intervals: with r the distance to the nearer plate, the motion leaves $(z - r, z + r)$ after a time $r^2 \tau$,
    $\tau$ the exit time of (-1, 1) from 0. It goes either way with probability 1/2: onto the nearer plate, or to twice the
    distance from it. A walk takes two jumps on average and more than j with probability $2^{-j}$. Nothing is cut off or
    tabulated, and every jump works at its own scale, so a start at $z = 10^{-4} L$ is as exact as one at L/2.

    Source: M. E. Muller (1956), "Some continuous Monte Carlo methods for the Dirichlet problem", in one dimension.
    """
    gap = checks.positive("gap", gap)
    z = checks.floating("z", z)
    below, time = _walk(key, dtypes.at_least_float32(z) / gap)
    return Exit(below, gap**2 * time)


@jax.jit
def _walk(key: Key, z: Array) -> Exit:
    """Leave (0, 1)."""
    near = jnp.minimum(z, 1.0 - z)

    def jump(state):
        count, near, below, time, inside = state
        key_time, key_side = jax.random.split(jax.random.fold_in(key, count))
        time = time + jnp.where(inside, near**2 * unit_exit_time(key_time, near.shape, near.dtype), 0.0)
        inside = inside & jax.random.bernoulli(key_side, shape=near.shape)
        # doubling, and the difference from 1, are exact in binary arithmetic
        doubled = 2.0 * near
        across = inside & (doubled > 0.5)
        near = jnp.where(across, 1.0 - doubled, jnp.where(inside, doubled, near))
        return count + 1, near, below ^ across, time, inside & (near > 0.0)

    state = (0, near, z <= 0.5, jnp.zeros_like(near), near > 0.0)
    _, _, below, time, _ = jax.lax.while_loop(lambda s: (s[0] < MOST_JUMPS) & jnp.any(s[4]), jump, state)
    return Exit(below, time)


def reach_plane(key: Key, distance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""Draw the time at which a Brownian motion first meets a plane at the distance r: $T = r^2 / \chi^2_1$.

    Its density is $r (2 \pi T^3)^{-1/2} e^{-r^2 / 2T}$; the lateral offset $\sqrt{T} \xi$ at that time follows the Cauchy
    distribution of scale r in D dimensions, the Poisson kernel of the half space.
    """
    distance = dtypes.at_least_float32(checks.floating("distance", distance))
    normal = jax.random.normal(key, distance.shape, distance.dtype)
    # a normal number of exactly 0 comes up once in 10^7
    return (distance / jnp.maximum(jnp.abs(normal), 1e-7)) ** 2


def unit_exit_time(key: Key, shape: tuple[int, ...], dtype=jnp.float32) -> Float[Array, "..."]:
    r"""Draw the time at which a Brownian motion from 0 first leaves (-1, 1): mean 1, variance 2/3.

    By inversion of its distribution function, which two theta series give below and above the median,

    $$P(\tau \le t) = 2 \sum_{n \ge 0} (-1)^n \operatorname{erfc}\frac{2n+1}{\sqrt{2t}}, \qquad
    P(\tau > t) = \frac{4}{\pi} \sum_{n \ge 0} \frac{(-1)^n}{2n+1} e^{-(2n+1)^2 \pi^2 t / 8}.$$

    Each is solved for its first term; the others correct it, and every round of correction leaves a
    fiftieth of what was missing.
    """
    return unit_exit_quantile(jax.random.uniform(key, shape, dtype, minval=2.0**-24, maxval=1.0 - 2.0**-24))


def unit_exit_quantile(u: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Invert `P(tau <= t) = u`, u in (0, 1), for the exit time tau of (-1, 1) from 0."""
    early, late = jnp.minimum(u, 0.5), jnp.minimum(1.0 - u, 0.5)
    # a = erfc(s), s = 1 / sqrt(2 t): u / 2 = a - erfc(3 s) + ...; at the median erfc(5 s) is below 1e-8
    a = first = 0.5 * early
    for _ in range(4):
        a = first + jax.scipy.special.erfc(3.0 * _inverse_erfc(a))
    early = 0.5 / _inverse_erfc(a) ** 2
    # y = exp(-pi^2 t / 8): pi (1 - u) / 4 = y - y^9 / 3 + y^25 / 5 - ...
    y = first = 0.25 * jnp.pi * late
    for _ in range(4):
        y = first + y**9 / 3.0 - y**25 / 5.0
    return jnp.where(u <= 0.5, early, -8.0 / jnp.pi**2 * jnp.log(y))


def _inverse_erfc(a: Array) -> Array:
    """`s` with `erfc(s) = a`, 0 < a < 1, to the last digits also for small a."""
    return -jax.scipy.special.ndtri(0.5 * a) * 0.5**0.5
