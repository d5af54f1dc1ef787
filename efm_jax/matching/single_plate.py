r"""Poisson flow, the recipe of a single plate: lines run from noise with heavy tails to the data.

Q's samples y_i are the only charges, on a plate of their own, and they obey Coulomb's law in K extra dimensions. In
stereographic coordinates (`fields.far_plate`) a line of this plate runs from infinity, where its place is its direction
$\tau$, to a charge: $\tilde x = \cos\theta\, y + \sin\theta\, \tau$. By the time $t = z / L$ in place of the angle, both
ends lie in reach, and lines go up from noise to the data as they do in every other recipe:

$$x = t\, y + b\, \tau, \qquad b^2 = (1 - t)^2 + w^2 t, \qquad
\frac{dx}{dt} = m + \frac{b'}{b} (x - t\, m), \qquad m = \sum_i P(i \mid x, t)\, y_i.$$

$\tau$ is Student's with K degrees of freedom, in the limit normal. K = 1 is Coulomb's law in D+1 dimensions. Nothing is
divided by a component of the field, and m stays among the charges.

The mean over the charges is exact, so a target has no noise but that of which charges there are. In the limit the path is
that of `cfm` from normal noise (independent pairs, width w), whose target is the velocity of one pair: m takes its mean.
Points are drawn from the same charges, so the gradient is that of the whole field, without bias, for any number of charges.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks, dtypes
from efm_jax._core.heights import at_heights, on_plates
from efm_jax.charges.plates import Charges, as_charges
from efm_jax.fields.far_plates import directions, far_plate
from efm_jax.matching.points import HEIGHTS, heights
from efm_jax.matching.velocities import growth
from efm_jax.types import Batch, FieldMatching, Key, Part

__all__ = ["pfgm"]


def pfgm(
    gap: float = 1.0,
    *,
    num_extra: int | None = 8,
    width: float = 0.01,
    scale: float = 1.0,
    cut: float = 0.995,
    height: str = "linear",
    charges: Charges | None = None,
    num_points: int | None = None,
    block_size: int | None = None,
) -> FieldMatching:
    r"""Poisson flow: regress on the velocity of lines that run from noise to the data, the only charges.

    `x_neg` are the data. The target is `(dx/dz, 1)`, the mean over all charges, at points of the flux. With finite K lines
    start at random directions, whatever the values of `x`, one for each of its rows; the weight `1 / r^2`, r as in
    `tail_network`, keeps the loss finite under their tails. With K = None lines start at `x` itself, which must be standard
    normal noise.

    Args:
        gap: Height at which lines end, a unit of time. Lines do not depend on it.
        num_extra: Extra dimensions K: 1 is PFGM, more are PFGM++, None is the limit of infinitely many: flow matching from
            normal noise with targets that have no noise.
        width: Scale w of the noise that is left at the end, in units of the data, > 0.
        scale: Standard deviation of the data in each dimension, > 0: that of `tail_network`. Not used with K = None.
        cut: Share of lines that start at their own direction; the longest of the others are shortened to that quantile.
        height: How z is distributed, see `points.heights`.
        charges: Equal charges of every step, for instance `charges.plate(x_neg, gap, -1.0)` of the whole training set; None
            makes them of each minibatch.
        num_points: Supervised points per step; as many as rows of x_pos when None. The charges are another number: more
            charges, less noise.
        block_size: Charges summed at a time, see `fields.far_plate`.

    Returns:
        The recipe. Wrap the network by `tail_network`, or with K = None by `flow_network`.

    Raises:
        ValueError: A number is out of its range, `height` is unknown, or the charges are not [n, D+1] and [n], or not equal.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> recipe = pfgm(num_points=16)
        >>> batch = recipe.draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> x, z = batch.points[:, :2], batch.points[:, 2:]
        >>> end = x + (1 - z) * batch.target[:, :2]  # of one charge lines are straight, but for the width
        >>> bool((jnp.abs(end - 1) < 0.03).all()), recipe.span
        (True, (0.0, 1.0))

    Source: Xu et al. (2022), "Poisson flow generative models", arXiv 2209.11178; Xu et al. (2023), "PFGM++", arXiv
    2302.04265, sec. 3-4 (num_extra); the mean over many charges: Xu et al. (2023), "Stable target field", arXiv 2302.00670.
    """
    gap = checks.positive("gap", gap)
    num_extra = None if num_extra is None else checks.count("num_extra", num_extra)
    width, scale = checks.positive("width", width), checks.positive("scale", scale)
    if not 0.0 < checks.finite("cut", cut) < 1.0:
        raise ValueError(f"cut must be a share between 0 and 1, got {cut!r}; 0.995 is common.")
    checks.choice("height", height, HEIGHTS)
    if num_points is not None:
        checks.count("num_points", num_points)
    if block_size is not None:
        checks.count("block_size", block_size)
    given = None if charges is None else _equal(as_charges(charges))

    draw = partial(_draw, gap, num_extra, width, scale, height, num_points, block_size)
    start = on_plates(gap) if num_extra is None else partial(_start, gap, num_extra, cut)
    return FieldMatching(jax.tree_util.Partial(draw, given), start, (0.0, gap))


def _equal(charges: Charges) -> Charges:
    """Return charges of which all are the same, as far as that is known, or raise ValueError."""
    if not isinstance(charges.charge, Tracer):
        charge = np.asarray(charges.charge)
        if not charge[0] or not np.allclose(charge, charge[0], rtol=1e-5, atol=0.0):
            raise ValueError(
                f"charges must be equal, e.g. charges.plate(x_neg, gap, -1.0), got {charge.min():g} to {charge.max():g};\n"
                "all are taken for samples of Q."
            )
    return charges


def _start(gap, extra, cut, key: Key, x: Float[Array, "n dim"], reverse: bool = False) -> Array:
    if not reverse:
        x = directions(key, x.shape, extra=extra, cut=cut).astype(x.dtype)
    return on_plates(gap)(key, x, reverse)


def _draw(
    gap,
    extra,
    width,
    scale,
    height,
    num_points,
    block_size,
    given: Charges | None,
    key: Key,
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    *,
    part: Part = None,
) -> Batch:
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    y = dtypes.at_least_float32(x_neg) if given is None else given.positions[:, :-1]
    key_i, key_z, key_tau = jax.random.split(key, 3)
    count = num_points or x_pos.shape[0]
    i = jax.random.randint(key_i, (count,), 0, y.shape[0])
    z = heights(key_z, gap, count, height=height).astype(y.dtype)
    b, _ = _noise(z / gap, width)
    tau = directions(key_tau, (count, y.shape[1]), extra=extra).astype(y.dtype)
    where = at_heights((z / gap)[:, None] * y[i] + b[:, None] * tau, z)
    where = where if part is None else part(where)
    x, t = where[:, :-1], where[:, -1] / gap
    b, slope = _noise(t, width)
    mean = far_plate(
        x / jnp.hypot(t, b)[:, None], jnp.arctan2(b, t), y, extra=extra, block_size=block_size
    ).mean
    velocity = (mean + slope[:, None] * (x - t[:, None] * mean)) / gap
    weight = jnp.ones_like(t) if extra is None else growth(x, scale)[:, 0] ** -2
    return Batch(where, at_heights(velocity, jnp.ones_like(t)), weight)


def _noise(t: Float[Array, " k"], width: float) -> tuple[Array, Array]:
    """The scale b of the noise, and `b' / b`: from 1 at t = 0 to the width at t = 1."""
    b2 = (1.0 - t) ** 2 + width**2 * t
    return jnp.sqrt(b2), (0.5 * width**2 - (1.0 - t)) / b2
