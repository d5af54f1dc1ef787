"""The field of plates infinitely far apart, in stereographic coordinates; `far_lines` follows its lines.

With the gap L going to infinity and the data fixed, the field near each plate is that of its own charges. A line of P's
plate tends to a direction `tau = lim x / z`. Between the plates the field is a dipole's, whose lines leave P under the
direction in which they reach Q. Half of the flux of every charge goes up, so that tau has one distribution, whatever the
charges are. So the map "follow the line up to its tau, then down from tau to the charges of Q" carries P to Q with forward
lines only.

The height is an angle, `theta = arctan z` in (0, pi/2), and the place is `x~ = cos(theta) x`: both plates and the infinite
space between them lie in reach. `extra = K` is the number of extra dimensions in which charges repel each other: 1 is
Coulomb's law in D+1 dimensions; None, infinitely many of them, is the Gaussian limit.
"""

from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax.fields._sums.differences import squared_lengths
from efm_jax.fields._sums.far_plate import by_angle, length_by_flux
from efm_jax.fields._sums.plates import default_block_size
from efm_jax.types import Key

__all__ = ["FarField", "directions", "far_plate"]


class FarField(NamedTuple):
    """The field of one plate at points `(x~, theta)`.

    Attributes:
        velocity: `d x~ / d theta` of the line, [p, D].
        mean: Where the flux comes from: the mean of the charges, each by its share of the flux, [p, D].
        log_density: Log of the density of the flux that leaves the plate upwards, in x~; its integral is 1, [p].
    """

    velocity: Float[Array, "p dim"]
    mean: Float[Array, "p dim"]
    log_density: Float[Array, " p"]


def far_plate(
    points: Float[Array, "p dim"],
    angle: Float[Array, "*p"] | float,
    charges: Float[Array, "n dim"],
    *,
    extra: int | None = 1,
    block_size: int | None = None,
) -> FarField:
    r"""Return the field of one plate of equal charges at stereographic coordinates.

    $$\frac{d\tilde x}{d\theta} = \frac{\cos\theta\, \tilde x - m}{\sin\theta}, \qquad m = \frac{\sum_i w_i y_i}{\sum_i w_i},
    \qquad w_i = \Big(1 + \frac{|\tilde x - \cos\theta\, y_i|^2}{K \sin^2\theta}\Big)^{-(D+K)/2},$$

    `exp(-|x~ - cos(theta) y_i|^2 / (2 sin(theta)^2))` in the limit. No component of the field is divided by, and the mean m
    stays among the charges. Sums run over blocks of charges, in memory O(points x block).

    Args:
        points: `x~`, [p, D].
        angle: `theta`, in (0, pi/2], of all points or of each.
        charges: Places y of the charges in the frame of their plate, [n, D].
        extra: K >= 1; None for the limit of many.
        block_size: Charges summed at a time; None chooses by the number of points.

    Returns:
        The field; NaN where a traced angle is outside (0, pi/2].

    Raises:
        ValueError: Shapes do not fit, a known angle is outside (0, pi/2], or extra or block_size is not a whole number >= 1.

    Examples:
        One charge: lines are straight, and the velocity is that of `x~ = cos(theta) y + sin(theta) tau`.

        >>> import jax.numpy as jnp
        >>> field = far_plate(jnp.array([[1.0]]), jnp.pi / 2, jnp.array([[3.0]]))
        >>> round(float(field.velocity[0, 0]), 5), float(field.mean[0, 0])
        (-3.0, 3.0)

    Source: docs/concepts/far_plates.md; one plate with K extra dimensions: Xu et al. (2023), arXiv 2302.04265, eq. 4.
    """
    points, charges = checks.both_plates(points, charges, ("points", "charges"))
    dtype = jnp.result_type(points, charges, jnp.float32)
    points, charges = points.astype(dtype), charges.astype(dtype)
    extra = None if extra is None else checks.count("extra", extra)
    if block_size is None:
        block_size = default_block_size(len(points), len(charges), points.shape[1])
    block_size = checks.count("block_size", block_size)
    if not isinstance(angle, Tracer):
        known = np.asarray(angle)
        outside = known[~_is_angle(known)]
        if len(outside):
            raise ValueError(
                f"angle must lie in (0, pi/2].\n{len(outside)} of {known.size} do not, e.g. {outside[0]}; a height "
                "z > 0 has the angle arctan(z)."
            )
    angle = jnp.broadcast_to(jnp.asarray(angle, points.dtype), points.shape[:1])
    field = by_angle(points, angle, charges, None, extra, block_size)
    inside = _is_angle(angle)
    return FarField(*(jnp.where(inside.reshape(-1, *[1] * (part.ndim - 1)), part, jnp.nan) for part in field))


def directions(
    key: Key, shape: tuple[int, ...], *, extra: int | None = None, cut: float | None = None
) -> Float[Array, "n dim"]:
    """Draw directions tau of lines by their flux: Student's with K degrees of freedom, in the limit normal.

    Args:
        key: PRNG key.
        shape: (n, D).
        extra: K >= 1; None for the limit of many.
        cut: Quantile of the lengths to which longer ones are shortened; None keeps all.

    Raises:
        ValueError: The shape is not (n, D), `extra` is not a whole number >= 1, or `cut` is no share.

    Examples:
        >>> import jax
        >>> directions(jax.random.key(0), (4, 2)).shape
        (4, 2)
    """
    if len(shape) != 2:
        raise ValueError(f"shape must be (n, D), got {shape!r}.")
    extra = None if extra is None else checks.count("extra", extra)
    if cut is not None and not 0.0 < checks.finite("cut", cut) <= 1.0:
        raise ValueError(f"cut must be a share between 0 and 1, got {cut!r}; 0.995 is common.")
    key_normal, key_length = jax.random.split(key)
    tau = jax.random.normal(key_normal, shape)
    if extra is not None:
        tau = tau / jnp.sqrt(2 * jax.random.gamma(key_length, 0.5 * extra, shape[:1]) / extra)[:, None]
    if cut is None:
        return tau
    length = jnp.sqrt(squared_lengths(tau))
    return tau * jnp.minimum(1.0, length_by_flux(shape[1], extra, cut) / length)[:, None]


def _is_angle(angle):
    """Whether angles lie in (0, pi/2], up to a rounding of pi/2 in float32."""
    return (angle > 0) & (angle <= (1 + 1e-6) * pi / 2)
