"""Widths: how far the lines between a pair of charges bulge at each height.

A width is a pure function `sigma = width(z, gap)`, elementwise over heights, positive strictly between the plates.
`fields.interaction` spreads the lines of a pair by it, and `matching.cfm` the conditional path. If a width vanishes at both
plates, lines start and end at the samples themselves; otherwise it blurs P and Q by its value there.
"""

from functools import partial
from math import pi
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks

__all__ = ["Width", "bridge", "constant", "ramped", "with_slope"]


@runtime_checkable
class Width(Protocol):
    """`width(z, gap) -> sigma`: the standard deviation of a pair's lines at heights z, in units of the data."""

    def __call__(self, z: Float[Array, "*n"], gap: float, /) -> Float[Array, "*n"]:
        """Return sigma at heights z between plates at 0 and `gap`."""
        ...


def checked_width(width: Width) -> Width:
    """Return a width, or raise ValueError for what is no function."""
    return checks.made("width", width, "widths.constant(0.1)")


def constant(scale: float = 0.1) -> Width:
    """Return a width that is the same at every height, plates included: `sigma = scale`, the path of flow matching.

    Args:
        scale: The width, in units of the data.

    Raises:
        ValueError: `scale` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> constant(0.5)(jnp.asarray([0.0, 3.0]), 6.0).tolist()
        [0.5, 0.5]

    Source: Tong et al. (2023), arXiv 2302.00482, eq. 14.
    """
    scale = checks.positive("scale", scale)

    return partial(_constant, scale)


def _constant(scale, z, gap):
    return jnp.full(jnp.shape(z), scale, jnp.result_type(z, float))


def ramped(scale: float = 1.0, *, rate: float | None = None) -> Width:
    r"""Return a width that rises within `d = pi / (2 rate)` of either plate and is constant between.

        sigma = scale sin(rate min(z, d, gap - z))

    Args:
        scale: The width in the middle, in units of the data.
        rate: How fast it rises, in 1 / units of z, at least `pi / gap`; None takes `pi / gap`, one arch without a
            constant part.

    Raises:
        ValueError: `scale` or `rate` is not positive; or, when the width is called, `rate` is below `pi / gap`.

    Examples:
        >>> import jax.numpy as jnp
        >>> [round(float(s), 3) for s in ramped(1.0, rate=10.0)(jnp.asarray([0.0, 0.05, 1.0, 5.95]), 6.0)]
        [0.0, 0.479, 1.0, 0.479]

    Source: Manukhov et al. (2025), arXiv 2506.02950: rate 10 and scale 1 at gap 6 for toys, rate pi / gap and scale 1 at gap
    20 for pictures.
    """
    scale = checks.positive("scale", scale)
    if rate is not None:
        rate = checks.positive("rate", rate)

    return partial(_ramped, scale, rate)


def _ramped(scale, rate, z, gap):
    k = pi / gap if rate is None else rate
    if not isinstance(gap, Tracer) and k < pi / gap * (1.0 - 1e-6):
        raise ValueError(
            f"rate must be at least pi / gap = {pi / gap:.6g} for the width to rise by mid-gap, got {rate!r};\n"
            "take rate=None for one arch."
        )
    h = jnp.minimum(z, gap - z)
    return scale * jnp.sin(jnp.minimum(k * h, 0.5 * pi))


def bridge(scale: float = 1.0) -> Width:
    r"""Return the width of a Brownian bridge: `sigma = scale sqrt(z (gap - z)) / gap`, `scale / 2` at mid-gap.

    Args:
        scale: Standard deviation of the bridge's noise per unit of the way, in units of the data.

    Raises:
        ValueError: `scale` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> bridge(1.0)(jnp.asarray([0.0, 3.0]), 6.0).tolist()
        [0.0, 0.5]

    Source: Tong et al. (2023), arXiv 2307.03672, eq. 8.
    """
    scale = checks.positive("scale", scale)

    return partial(_bridge, scale)


def _bridge(scale, z, gap):
    t = jnp.asarray(z) / gap
    return scale * jnp.sqrt(t * (1.0 - t))


def with_slope(
    width: Width, z: Float[Array, "*n"], gap: float
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Return `sigma` and `d sigma / dz` at heights z.

    Examples:
        >>> import jax.numpy as jnp
        >>> sigma, slope = with_slope(ramped(1.0), jnp.asarray([1.0]), 2.0)
        >>> round(float(sigma[0]), 3), abs(round(float(slope[0]), 3))
        (1.0, 0.0)
    """
    return jax.jvp(lambda h: width(h, gap), (z,), (jnp.ones_like(z),))
