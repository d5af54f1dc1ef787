"""Brownian motion in a slab: the kernels of the chain's field.

A charge on the plate z = 0 and its images at the even heights (in gaps) are one charge spread along z. What spreads it is
a Brownian motion run for the time T and reflected at both plates. Its density at height z is

    stay(z, T) = sum_k N(z - 2k; 0, T) = 1/2 + sum_m cos(m pi z) exp(-(m pi)^2 T / 2),

and the density of the time at which a motion from z leaves (0, 1) through the plate 0 is

    leave(z, T) = sum_k (z - 2k) / T N(z - 2k; 0, T) = -d/dz stay = sum_m m pi sin(m pi z) exp(-(m pi)^2 T / 2).

Images converge for short times, cosines for long ones; at `T = 2 / pi` three terms of either give all digits of float32.
The factor exp(-z^2 / 2T), which the lateral distance joins, and the zeros of `leave` at both plates are taken out, so that
what is left is positive and smooth. Heights and times are in units of gap and gap^2.
"""

from math import pi

import jax.numpy as jnp
from jaxtyping import Array, Float

TURN = 2 / pi


def log_stay(z: Float[Array, "*p"], time: Float[Array, "*p"]) -> Float[Array, "*p"]:
    """`log(stay(z, T) exp(z^2 / 2T))`, 0 <= z <= 1."""
    short, long, is_short = _times(time)
    images = 1.0
    for k in (1, 2, 3):
        images = images + jnp.exp(-2 * k * (k - z) / short) + jnp.exp(-2 * k * (k + z) / short)
    by_images = jnp.log(images) - 0.5 * jnp.log(2 * pi * short)
    fade = jnp.exp(-0.5 * pi**2 * long)
    waves = sum(2 * jnp.cos(m * pi * z) * fade ** (m * m) for m in (1, 2, 3))
    by_waves = jnp.log1p(waves) - jnp.log(2.0) + 0.5 * z * z / long
    return jnp.where(is_short, by_images, by_waves)


def log_leave(z: Float[Array, "*p"], time: Float[Array, "*p"]) -> Float[Array, "*p"]:
    """`log(leave(z, T) exp(z^2 / 2T) / sin(pi z))`, 0 <= z <= 1."""
    short, long, is_short = _times(time)
    lower = z < 0.5
    # near either plate in images paired about it, which cancel there
    z_low, h = jnp.where(lower, z, 0.5), jnp.where(lower, 0.5, 1 - z)
    about_zero = 1.0
    for k in (1, 2):
        near, far = jnp.exp(-2 * k * (k - z_low) / short), jnp.exp(-2 * k * (k + z_low) / short)
        about_zero = about_zero + near + far - 8 * k * k / short * near * _mean_decay(4 * k * z_low / short)
    about_one = 0.0
    for a in (1, 3, 5):
        u = 2 * a * h / short
        pair = 2 * a * a / short * _mean_decay(u) - 1 - jnp.exp(-u)
        about_one = about_one + pair * jnp.exp(-0.5 * ((a * a - 1) - 2 * (a - 1) * h) / short)
    images = jnp.where(lower, about_zero, about_one) / (pi * jnp.sinc(jnp.where(lower, z, h)))
    by_images = jnp.log(images) - 0.5 * jnp.log(2 * pi * short) - jnp.log(short)
    fade, c = jnp.exp(-0.5 * pi**2 * long), jnp.cos(pi * z)
    waves = 4 * c * fade**3 + 3 * (4 * c * c - 1) * fade**8
    by_waves = jnp.log1p(waves) + 0.5 * z * z / long - 0.5 * pi**2 * long + jnp.log(pi)
    return jnp.where(is_short, by_images, by_waves)


def _times(time: Array) -> tuple[Array, Array, Array]:
    """The time for images, for cosines, and which of them applies."""
    return jnp.minimum(time, TURN), jnp.maximum(time, TURN), time < TURN


def _mean_decay(u: Array) -> Array:
    """`(1 - exp(-u)) / u`, the mean of exp(-v) over 0 < v < u; its value and slope at 0 are 1 and -1/2."""
    small = u < 1e-3
    safe = jnp.where(small, 1.0, u)
    return jnp.where(small, 1 - 0.5 * u, -jnp.expm1(-safe) / safe)
