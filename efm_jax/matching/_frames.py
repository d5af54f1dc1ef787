"""The chain in a frame of each plate, and the part of its velocity that grows without bound.

A frame takes the mean from a plate's samples and divides by their spread, whole or in each direction. The chain runs between
the plates in their frames. The map of the height `z = t L`,

    x = (1 - t) (m_0 + S_0 y) + t (m_1 + S_1 y),

leads from P's frame to Q's, and takes lines y to lines x, so that P is still carried to Q.
"""

from math import log, pi

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax.charges.far_plates import FarPlates, far_plates
from efm_jax.fields.point_charges import log_sphere_area
from efm_jax.types import SamplesP, SamplesQ


def in_frames(x_pos: Array, x_neg: Array, frame: str) -> FarPlates:
    """The plates in their frames, with the geometric mean of both spreads as unit: heights stay in units of the data."""
    unit = jnp.prod(jnp.stack([jnp.mean(jnp.var(x, axis=0)) for x in (x_pos, x_neg)])) ** 0.25
    plates = far_plates(x_pos, x_neg, frame=frame)
    return FarPlates(
        *(plate._replace(charges=unit * plate.charges, scale=plate.scale / unit) for plate in plates)
    )


def out_of_frames(
    plates: FarPlates, gap: float, where: Float[Array, "k dim1"], velocity: Float[Array, "k dim"]
) -> tuple[Float[Array, "k dim1"], Float[Array, "k dim"]]:
    """Points (y, z) and velocities dy/dz between the frames as (x, z) and dx/dz."""
    t = where[:, -1:] / gap

    def place(y, t):
        return (1 - t) * plates.pos.outside(y) + t * plates.neg.outside(y)

    x, velocity = jax.jvp(place, (where[:, :-1], t), (velocity, jnp.full_like(t, 1 / gap)))
    return jnp.concatenate([x, where[:, -1:]], axis=1), velocity


def slow_velocity(
    x: Float[Array, "k dim"], x_pos: SamplesP, x_neg: SamplesQ, gap: float, log_e_z: Float[Array, " k"]
) -> Float[Array, "k dim"]:
    r"""The part `e / (2 L E_z)` of the chain's velocity, e the Coulomb field in D dimensions of P less Q, blurred.

    Each charge is a Gaussian of variance `tau = 2 (L / pi)^2`, the time in which differences between heights decay:

    $$e(x) = \sum_i \pm\frac{x - x_i}{n S_{D-1} r_i^D}\, P\left(\frac{D}{2}, \frac{r_i^2}{2 \tau}\right),$$

    P the regularized incomplete gamma function. That is the part of Brownian motions longer than tau, for which the density
    at all heights is `1 / L`. What is left of the velocity is bounded by a multiple of the distance to the charges over the
    height. Without the blur both parts are infinite over every charge. Memory is O(points x charges x D).
    """
    dim, twice_tau = x.shape[1], 4 * (gap / pi) ** 2
    total = jnp.zeros_like(x)
    for side, sign in ((x_pos, 1.0), (x_neg, -1.0)):
        away = x[:, None] - side
        squared = jnp.maximum(jnp.sum(away**2, axis=-1), 1e-12 * twice_tau)
        inside = jax.scipy.special.gammainc(0.5 * dim, squared / twice_tau)
        log_weight = jnp.log(inside) - 0.5 * dim * jnp.log(squared) - log_e_z[:, None]
        weight = jnp.exp(log_weight - log(2 * gap * len(side)) - log_sphere_area(dim - 1))
        total += sign * jnp.sum(weight[..., None] * away, axis=1)
    return total
