"""The chain in one lateral dimension, where the sum over all images is elementary.

With `u = pi |x - x_i| / gap`, `e = exp(-u)` and `phi = pi z / gap`, a charge of the plate z = 0 and its images make

    E_x = sign(x - x_i) / (4 gap) (1 + 2 e (cos phi - e) / d),    E_z = 2 e sin phi / (4 gap d),
    d = 1 - 2 e cos phi + e^2.

The ones are the lateral field of all plates. P and Q cancel it exactly where equal shares of both lie on each side. There
the field is exponentially small in both parts, and is computed without that cancellation.
"""

from math import gcd, log, pi

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def strip(
    x: Float[Array, " p"],
    z: Float[Array, " p"],
    x_pos: Float[Array, " n"],
    x_neg: Float[Array, " m"],
    gap: Array,
) -> tuple[Float[Array, " p"], Float[Array, " p"], Float[Array, " p"]]:
    """Sign of E_x, log |E_x| and `log(E_z / sin(pi z / gap))` of the chain at lateral places x and heights z."""
    side, rest, log_z, nearest = zip(_plate(x, z, x_pos, gap), _plate(x, gap - z, x_neg, gap), strict=True)
    closest = jnp.minimum(*nearest)
    rest = rest[0] * jnp.exp(closest - nearest[0]) - rest[1] * jnp.exp(closest - nearest[1])
    n, m = len(x_pos), len(x_neg)
    balanced = _same_share(side[0], n, side[1], m)
    lateral = jnp.where(balanced, rest, side[0] / n - side[1] / m + rest * jnp.exp(-closest))
    zero = lateral == 0
    log_lateral = jnp.where(zero, -jnp.inf, jnp.log(jnp.where(zero, 1, jnp.abs(lateral))) - jnp.log(4 * gap))
    return jnp.sign(lateral), log_lateral - jnp.where(balanced, closest, 0), jnp.logaddexp(*log_z)


def _plate(x: Array, z: Array, samples: Array, gap: Array) -> tuple[Array, Array, Array, Array]:
    """Of one plate: sum of signs, mean of what is not 1 times exp(u of the nearest), log of the z part, u of the nearest."""
    away = x[:, None] - samples
    u = pi / gap * jnp.abs(away)
    half = jnp.sin(0.5 * pi * z / gap)[:, None] ** 2
    felt = (u != 0) | (half != 0)
    u = jnp.where(felt, u, 1)
    nearest = jnp.min(jnp.where(felt, lax.stop_gradient(u), jnp.inf), axis=1)
    nearest = jnp.where(jnp.isposinf(nearest), 0, nearest)
    e, gone = jnp.exp(-u), -jnp.expm1(-u)
    relative = jnp.where(felt, jnp.exp(nearest[:, None] - u), 0) * 2 / (gone * gone + 4 * e * half)
    sign = jnp.sign(lax.stop_gradient(away))
    rest = jnp.mean(sign * relative * (gone - 2 * half), axis=1)
    log_z = jnp.log(jnp.mean(relative, axis=1)) - nearest - jnp.log(gap) - log(4)
    return jnp.sum(sign.astype(jnp.int32), axis=1), rest, log_z, nearest


def _same_share(a: Array, n: int, b: Array, m: int) -> Array:
    """Whether `a / n = b / m`, in whole numbers: rounded quotients of equal shares may differ, and the field with them."""
    n, m = n // gcd(n, m), m // gcd(n, m)
    return (a % n == 0) & (b % m == 0) & (a // n == b // m)
