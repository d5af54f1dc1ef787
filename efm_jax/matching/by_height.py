r"""Poisson flow by the height above the plate, for runs of earlier versions; new ones take `pfgm`.

With $r_i^2 = |x - x_i|^2 + z^2$ the field of the data in K extra dimensions is $E \propto \operatorname{mean}_i (x - x_i, z)
/ r_i^{D + K}$. Lines run downwards, from a height z_max at which the data are hardly more than one charge.

Source: Xu et al. (2022), "Poisson flow generative models", arXiv 2209.11178, Algorithm 1; Xu et al. (2023), "PFGM++", arXiv
2302.04265.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.heights import at_heights
from efm_jax.fields.point_charges import mean_displacement
from efm_jax.types import Batch, FieldMatching, Key, Network, Part

__all__ = ["denoising_network", "pfgm_by_height"]


def pfgm_by_height(
    z_max: float,
    *,
    gamma: float = 5.0,
    target: str = "direction",
    num_extra: int = 1,
    num_points: int | None = None,
    eps: float = 1e-3,
) -> FieldMatching:
    """Poisson flow by the height above the plate, from z_max down to eps.

    A `direction` is `sqrt(D+1) g / (|g| + gamma)`, g the mean of `(x - x_i, z)` with weights
    `r_i^-(D + K)`; a `velocity` is `(g_x / z, 1)`.

    Examples:
        >>> pfgm_by_height(100.0, target="velocity", num_extra=8).span
        (100.0, 0.001)
    """
    draw = partial(_draw_by_height, z_max, gamma, target, num_extra, eps, num_points)
    return FieldMatching(draw, partial(_start_by_height, z_max, eps, num_extra), (z_max, eps))


def _start_by_height(z_max, eps, num_extra, key: Key, x: Array, reverse: bool = False) -> Array:
    z = jnp.full(x.shape[0], eps if reverse else z_max, x.dtype)
    return at_heights(x if reverse else _spread(key, z, x.shape[1], num_extra), z)


def _draw_by_height(
    z_max, gamma, target, num_extra, eps, num_points, key, x_pos, x_neg, *, part: Part = None
) -> Batch:
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    key_i, key_point = jax.random.split(key)
    x = x_neg[jax.random.randint(key_i, (num_points or x_pos.shape[0],), 0, x_neg.shape[0])]
    if target == "direction" and num_extra == 1:
        # perturbed at scales 0.01 (1 + 0.03)^m, m ~ U(0, 291), as the first paper does
        key_m, key_z, key_x = jax.random.split(key_point, 3)
        scale = 0.01 * 1.03 ** (291.0 * jax.random.uniform(key_m, x.shape[:1], x.dtype))
        z = scale * jnp.maximum(jnp.abs(jax.random.normal(key_z, scale.shape, x.dtype)), 1e-4)
        where = at_heights(x + scale[:, None] * jax.random.normal(key_x, x.shape, x.dtype), z)
    else:
        key_z, key_x = jax.random.split(key_point)
        z = eps * (z_max / eps) ** jax.random.uniform(key_z, x.shape[:1], x.dtype)
        where = at_heights(x + _spread(key_x, z, x.shape[1], num_extra), z)
    where = where if part is None else part(where)
    g, length = mean_displacement(where, x_neg, num_extra)
    z = where[:, -1:]
    if target == "direction":
        value = math.sqrt(g.shape[1]) * g / (length + gamma)
    else:
        value = jnp.concatenate([g[:, :-1] / z, jnp.ones_like(z)], axis=1)
    return Batch(where, value, jnp.ones_like(z[:, 0]))


def _spread(key: Key, z: Float[Array, " k"], dim: int, num_extra: int) -> Float[Array, "k dim"]:
    """`z xi / chi_K`: x of the lines of a charge at 0, at heights z."""
    key_x, key_chi = jax.random.split(key)
    chi2 = 2.0 * jax.random.gamma(key_chi, 0.5 * num_extra, z.shape, z.dtype)
    return (z / jnp.sqrt(chi2))[:, None] * jax.random.normal(key_x, (z.shape[0], dim), z.dtype)


def denoising_network(network: Network, *, num_extra: int, scale: float = 0.5) -> Network:
    r"""Return a network that learns what the data add to the lines of one Gaussian of deviation s: `f -> (v, 1)`.

    $$v = \frac{z\, x}{z^2 + K s^2} + \frac{s\, f_x}{\sqrt{z^2 + K s^2}}.$$

    Examples:
        >>> zeros = Network(lambda key: jnp.zeros(()), lambda params, points, **_: params * points)
        >>> untrained = denoising_network(zeros, num_extra=4, scale=1.5)
        >>> untrained.apply(jnp.zeros(()), jnp.asarray([[25.0, 4.0]])).tolist()
        [[4.0, 1.0]]

    Source: the preconditioning of Karras et al. (2022), arXiv 2206.00364, table 1, for a velocity.
    """
    return network._replace(apply=partial(_denoised, network, math.sqrt(num_extra) * scale, scale))


def _denoised(network, spread, scale, params, points, *, key=None, cond=None):
    field = network.apply(params, points, key=key, cond=cond)
    x, z = points[:, :-1].astype(field.dtype), points[:, -1:].astype(field.dtype)
    far = jnp.sqrt(z**2 + spread**2)
    return jnp.concatenate([x * (z / far) / far + scale * field[:, :-1] / far, jnp.ones_like(z)], axis=1)
