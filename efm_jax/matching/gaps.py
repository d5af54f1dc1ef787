"""Choose the gap: how many charges share the field between the plates, and the gap at which enough of them do.

Below a certain gap every line between the plates feels one charge of each plate, and the field of a minibatch does not
depend on the others. Far above it all charges weigh the same and the plates look like points.
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.bisection import bisect_number
from efm_jax._core.distances import common_unit, squared_by_products
from efm_jax.matching._brownian import leave_slab
from efm_jax.types import Key, SamplesP, SamplesQ

__all__ = ["effective_charges", "suggest_gap"]

_FEW, _MANY = 8, 32


def effective_charges(
    key: Key,
    x_pos: SamplesP,
    x_neg: SamplesQ,
    gap: float | Float[Array, ""],
    *,
    height: float = 0.5,
    num_points: int = 256,
) -> Float[Array, " k"]:
    r"""Return the effective number of charges that share the field where lines of the capacitor chain run.

    Points are drawn from the chain's own density $p_z = 2 E_z$ at `z = height gap`. There every charge of either plate
    has its part in $E_z = \sum_i e_i$, $e_i > 0$, and their effective number is

    $$\frac{(\sum_i e_i)^2}{\sum_i e_i^2},$$

    1 where one charge makes the field, n + n where all of two plates of n weigh the same. In high D a charge at
    distance r from another begins to share with it when the gap is of the order of r. The lateral noise at mid-gap is
    about L/2 in each dimension, and $e_j / e_i \approx \exp(-r^2 / 2T \pm r / \sqrt T)$ for points at exit time T from i.

    Args:
        key: PRNG key of the points.
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, in the units of the data.
        height: Share of the gap at which to look, in (0, 1).
        num_points: Points drawn.

    Raises:
        ValueError: If the samples do not fit, the gap is not positive, or the height is not inside (0, 1).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[-1.0], [1.0]])
        >>> y = x + 0.5
        >>> [round(float(jnp.median(effective_charges(jax.random.key(0), x, y, gap))), 1) for gap in (0.01, 100.0)]
        [1.0, 4.0]
    """
    x_pos, x_neg = _samples(x_pos, x_neg)
    if not isinstance(gap, Tracer):
        checks.positive("gap", float(gap))
    unit = common_unit(1e15, x_pos, x_neg, jnp.asarray(gap, x_pos.dtype))
    sides = x_pos / unit, x_neg / unit
    scene = _scene(key, *sides, _inside(height), checks.count("num_points", num_points))
    return _effective(scene, gap / unit, _images(x_pos))


def suggest_gap(
    x_pos: SamplesP,
    x_neg: SamplesQ,
    *,
    share: float = 0.5,
    height: float = 0.5,
    num_points: int = 256,
    key: Key | None = None,
) -> float:
    """Return the gap at which the typical mid-gap point feels a given share of the charges.

    The gap L at which the median of `effective_charges` is `share` of `4 n m / (n + m)`, its greatest value at mid-gap
    with n and m charges, by bisection in log L on one set of random numbers. It says at which gap the field is that of two
    distributions rather than of two single samples. It does not say which gap trains best, and a gap above it costs
    longer lines.

    Args:
        x_pos: Samples of P, [n, D]; one or two thousand are enough.
        x_neg: Samples of Q, [m, D].
        share: Share of the charges that the point feels, in (0, 1).
        height: Share of the gap at which to look.
        num_points: Points drawn.
        key: PRNG key of the points; None for a fixed one.

    Returns:
        The gap, in the units of the data, to one per cent.

    Raises:
        ValueError: If the samples do not fit, there are fewer than two on a plate or all are the same, share or height
            is not inside (0, 1), or no gap has that share at that height.

    Examples:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).standard_normal((200, 2)).astype("float32")
        >>> 1 < suggest_gap(x, x + 1) < 5
        True
    """
    sides = [np.asarray(x, np.float64) for x in checks.both_plates(x_pos, x_neg)]
    share = _inside(share, "share")
    spreads = [float(np.sqrt(np.sum(np.var(x, axis=0)))) for x in sides]
    for name, x, spread in (("x_pos", x_pos, spreads[0]), ("x_neg", x_neg, spreads[1])):
        if len(x) < 2 or spread == 0:
            raise ValueError(
                f"{name} must hold at least two different samples to suggest a gap, got {len(x)} of "
                f"spread {spread:g}; give the gap yourself."
            )
    # in a unit of the size of the data, a power of two: squares neither overflow nor vanish, and no digit changes
    unit = 2.0 ** round(math.log2(max(spreads)))
    x_pos, x_neg = (jnp.asarray(x / unit, jnp.float32) for x in sides)
    spreads = [spread / unit for spread in spreads]
    scene = _scene(
        jax.random.key(0) if key is None else key,
        x_pos,
        x_neg,
        _inside(height),
        checks.count("num_points", num_points),
    )

    whole = 4 * len(x_pos) * len(x_neg) / (len(x_pos) + len(x_neg))

    def enough(gap: float) -> bool:
        return float(jnp.median(_effective(scene, gap, _images(x_pos)))) >= share * whole

    low, high = np.log(1e-3 * min(spreads)), np.log(1e3 * max(spreads))
    if enough(float(np.exp(low))) or not enough(float(np.exp(high))):
        raise ValueError(
            f"share {share!r} of {whole:.6g} charges is met at every gap or at none from {unit * np.exp(low):.3g} to "
            f"{unit * np.exp(high):.3g}; one charge is always felt, and all of both plates only at mid-gap: take a share "
            "between, or give the gap yourself."
        )
    halvings = math.ceil(math.log2((high - low) / 0.01))
    low, high = bisect_number(lambda log_gap: not enough(float(np.exp(log_gap))), low, high, halvings)
    return float(unit * np.exp(0.5 * (low + high)))


class _Scene(NamedTuple):
    """All that does not change with the gap, in which exit times scale by gap^2.

    A point is `x + sqrt(T) xi` with x of the plate it comes from; its squared distance from charge a is
    `apart + 2 sqrt(T) along + T length`, `apart = |x - a|^2`, `along = xi . (x - a)`, `length = |xi|^2`.
    """

    apart: tuple[Float[Array, "k n"], Float[Array, "k m"]]
    along: tuple[Float[Array, "k n"], Float[Array, "k m"]]
    length: Float[Array, " k"]
    unit_time: Float[Array, " k"]
    height: Float[Array, ""]
    dim: Float[Array, ""]


@partial(jax.jit, static_argnames="images")
def _effective(scene: _Scene, gap: float | Array, images: int) -> Float[Array, " k"]:
    time = jnp.asarray(gap, jnp.float32) ** 2 * scene.unit_time
    parts = []
    for apart, along, height in zip(scene.apart, scene.along, (scene.height, 1 - scene.height), strict=True):
        lateral = apart + 2 * jnp.sqrt(time)[:, None] * along + (time * scene.length)[:, None]
        vertical = _log_vertical(lateral, height * gap, gap, scene.dim, images)
        parts.append(vertical - jnp.log(vertical.shape[1]))
    log_share = jax.nn.log_softmax(jnp.concatenate(parts, axis=1), axis=1)
    return jnp.exp(-jax.nn.logsumexp(2 * log_share, axis=1))


def _log_vertical(squared: Array, z: Array, gap: float | Array, dim: Array, images: int) -> Array:
    """Log of `E_z` of charges at height 0 with images at 2kL, at lateral distance^2 and height z, up to a constant."""
    nearest = jnp.maximum(squared, 0) + z**2
    total = jnp.zeros_like(squared)
    for k in range(-images, images + 1):
        lift = z - 2 * k * gap
        weight = 0.5 if abs(k) == images else 1.0
        total += weight * lift * jnp.exp(-0.5 * (dim + 1) * jnp.log1p((lift**2 - z**2) / nearest))
    # half of the last images and all beyond, by the integral from 2 K gap - z to 2 K gap + z that does not cancel
    last = 2 * images * gap
    total -= z / gap * last * jnp.exp(-0.5 * (dim + 1) * jnp.log1p((last**2 - z**2) / nearest))
    # far out, E_z is small compared with its terms: only their rounding is known of it
    return jnp.log(jnp.maximum(total, 1e-6 * z)) - 0.5 * (dim + 1) * jnp.log(nearest)


def _images(x: Array) -> int:
    return _MANY if x.shape[1] < 8 else _FEW  # in high D lines stay where the nearest charge is much nearer


def _scene(key: Key, x_pos: Array, x_neg: Array, height: float, num_points: int) -> _Scene:
    key_exit, key_i, key_j, key_noise = jax.random.split(key, 4)
    below, unit_time = leave_slab(key_exit, jnp.full(num_points, height), 1.0)
    i = jax.random.randint(key_i, (num_points,), 0, len(x_pos))
    j = jax.random.randint(key_j, (num_points,), 0, len(x_neg))
    x = jnp.where(below[:, None], x_pos[i], x_neg[j])
    noise = jax.random.normal(key_noise, x.shape)
    middle = x_pos.mean(axis=0)

    apart, along = [], []
    for charges in (x_pos - middle, x_neg - middle):
        own = x - middle
        apart.append(jnp.maximum(squared_by_products(own, charges), 0))
        products = jnp.matmul(noise, charges.T, precision=jax.lax.Precision.HIGHEST)
        along.append(jnp.sum(noise * own, axis=1)[:, None] - products)
    return _Scene(
        (apart[0], apart[1]),
        (along[0], along[1]),
        jnp.sum(noise**2, axis=1),
        unit_time,
        jnp.asarray(height),
        jnp.asarray(float(x_pos.shape[1])),
    )


def _samples(x_pos, x_neg) -> tuple[Array, Array]:
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    return x_pos.astype(jnp.float32), x_neg.astype(jnp.float32)


def _inside(value: float, name: str = "height") -> float:
    value = checks.finite(name, value)
    if not 0 < value < 1:
        raise ValueError(f"{name} must be a share inside (0, 1), got {value!r}.")
    return value
