"""Clocks say how the height of a field line advances with the parameter it is integrated in.

A clock is a smooth, strictly monotone map `z = clock(u, start, stop)` of `u` in [0, 1] with `clock(0) = start` and
`clock(1) = stop`; `dx/du = (E_x / E_z) dz/du`. A solver that takes equal steps in `u` takes small steps in height
wherever `dz/du` is small. So a clock that is slow near the plates refines there, at no cost elsewhere but longer
steps in the middle of the gap. Any function of that form serves; those with a name can be given by it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efm_jax._core.bisection import bisect
from efm_jax._core.trees import as_pytree

__all__ = ["Clock", "Grid", "grid", "linear", "log", "logit", "named", "parameter", "sine"]

Clock: TypeAlias = Callable[..., Float[Array, "..."]]
"""`clock(u, start, stop) -> z`, elementwise over arrays that broadcast together."""


def linear(
    u: Float[Array, "..."], start: Float[Array, "..."], stop: Float[Array, "..."]
) -> Float[Array, "..."]:
    r"""Advance the height evenly: $z = z_0 + (z_1 - z_0) u$, the clock of the paper's Algorithm 2.

    Args:
        u: Parameter in [0, 1].
        start: Height at `u = 0`, in the units of the points.
        stop: Height at `u = 1`.

    Examples:
        >>> import jax.numpy as jnp
        >>> linear(jnp.asarray([0.0, 0.5, 1.0]), jnp.asarray(0.0), jnp.asarray(6.0)).tolist()
        [0.0, 3.0, 6.0]

    Source: Kolesov et al. 2025 (arXiv 2502.02367), Algorithm 2.
    """
    return start + (stop - start) * u


def sine(
    u: Float[Array, "..."], start: Float[Array, "..."], stop: Float[Array, "..."]
) -> Float[Array, "..."]:
    r"""Slow down at both ends, quadratically: $z = z_0 + (z_1 - z_0) \sin^2(\pi u / 2)$.

    The speed `dz/du` vanishes at both ends, so a slope `E_x / E_z` that grows like the inverse square root of the
    distance to a plate, or slower, becomes bounded.

    Args:
        u: Parameter in [0, 1].
        start: Height at `u = 0`.
        stop: Height at `u = 1`.

    Examples:
        >>> import jax.numpy as jnp
        >>> [round(float(z), 3) for z in sine(jnp.linspace(0, 1, 5), jnp.asarray(0.0), jnp.asarray(6.0))]
        [0.0, 0.879, 3.0, 5.121, 6.0]
    """
    return start + (stop - start) * jnp.sin(0.5 * jnp.pi * u) ** 2


def logit(eps: float = 1e-2) -> Clock:
    r"""Return a clock that is slow at both ends, exponentially.

    Its steps are equal in $s = \operatorname{logit}(\epsilon + (1 - 2 \epsilon) v)$.

    Here $v = (z - z_0) / (z_1 - z_0)$ is the share of the way. Launched at `eps L` and stopped at `(1 - eps) L`
    this is `s = logit(z / L)` exactly, in which $dx/ds = (E_x / E_z) z (L - z) / L$ stays bounded where the slope
    grows like the inverse of the distance to a plate. Launched and stopped on the plates themselves it still
    reaches both, with least speed about `2 eps log(1/eps)` times that of the linear clock.

    Args:
        eps: Share of the way at either end below which the clock no longer slows down, in (0, 1/2).

    Returns:
        The clock; equal `eps` give clocks that share one compilation.

    Raises:
        ValueError: If `eps` is not in (0, 1/2).

    Examples:
        >>> import jax.numpy as jnp
        >>> [round(float(z), 3) for z in logit(1e-2)(jnp.linspace(0, 1, 5), jnp.asarray(0.0), jnp.asarray(6.0))]
        [0.0, 0.498, 3.0, 5.502, 6.0]
    """
    if not 0.0 < float(eps) < 0.5:
        raise ValueError(f"eps of the logit clock must lie in (0, 1/2), got {eps!r}; 1e-2 is a good start.")
    return jax.tree_util.Partial(_logit, float(eps))


def log(u: Float[Array, "..."], start: Float[Array, "..."], stop: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Slow down near z = 0 only, exponentially: $z = z_0^{1-u} z_1^u$, both heights positive.

    The clock of a single plate at `z = 0`, whose lines are straight far away (Xu et al. 2022, arXiv 2209.11178).

    Args:
        u: Parameter in [0, 1].
        start: Height at `u = 0`, > 0.
        stop: Height at `u = 1`, > 0.

    Returns:
        The height z; NaN where either height is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> [round(float(z), 4) for z in log(jnp.linspace(0, 1, 3), jnp.asarray(40.0), jnp.asarray(1e-3))]
        [40.0, 0.2, 0.001]
    """
    return jnp.exp((1.0 - u) * jnp.log(start) + u * jnp.log(stop))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Grid:
    """Steps laid out beforehand, at given values of another clock's parameter.

    `lines.trace` takes exactly these steps, each in the parameter of `along`, so that a solver keeps its order and, where
    lines are straight in that parameter, one step of Euler is exact. As a function it is a clock, linear in the parameter
    of `along` between its nodes. Make one by `grid` or, from the curvature of a field's lines, by `grids`.

    Attributes:
        shares: The nodes, from 0 to 1, rising, [k+1] for k steps.
        along: The clock in whose parameter they are.
    """

    shares: Float[Array, " k1"]
    along: Clock

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.shares.shape[0] - 1

    def __call__(
        self, u: Float[Array, "..."], start: Float[Array, "..."], stop: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Height at the share u of the steps."""
        even = jnp.linspace(0.0, 1.0, self.steps + 1)
        return self.along(jnp.interp(u, even, self.shares), start, stop)


def grid(shares: Float[Array | np.ndarray, " k1"] | list[float], along: str | Clock = "linear") -> Grid:
    """Return the grid of the steps between these nodes.

    Args:
        shares: Values of the parameter of `along` at which steps begin and end: from 0 to 1, rising, [k+1] for k steps.
        along: The clock they belong to.

    Raises:
        ValueError: The nodes do not rise from 0 to 1.

    Examples:
        >>> import jax.numpy as jnp
        >>> steps, start, stop = grid([0.0, 0.1, 1.0]), jnp.asarray(0.0), jnp.asarray(6.0)
        >>> steps.steps, [round(float(z), 2) for z in steps(jnp.asarray([0.0, 0.5, 1.0]), start, stop)]
        (2, [0.0, 0.6, 6.0])
    """
    nodes = jnp.asarray(shares, jnp.float32)
    if (
        nodes.ndim != 1
        or len(nodes) < 2
        or nodes[0] != 0.0
        or nodes[-1] != 1.0
        or not bool((jnp.diff(nodes) > 0).all())
    ):
        raise ValueError(
            f"a grid needs nodes [k+1] that rise from 0 to 1, got {nodes.tolist()}.\n"
            "Begin with 0, end with 1, and leave out nodes that come twice."
        )
    return Grid(nodes, as_pytree(named(along)))


def named(clock: str | Clock) -> Clock:
    """Return the clock of that name, or `clock` itself if it is a function.

    Args:
        clock: "linear", "sine", "logit", "log", or a function `clock(u, start, stop) -> z`.

    Raises:
        ValueError: If the name is unknown or `clock` cannot be called.

    Examples:
        >>> named("sine") is sine
        True
    """
    if callable(clock):
        return clock
    clocks = {"linear": linear, "sine": sine, "logit": logit(), "log": log}
    if clock not in clocks:
        raise ValueError(
            f"clock must be one of {', '.join(map(repr, clocks))} or a function clock(u, start, stop) -> z, "
            f"got {clock!r}."
        )
    return clocks[clock]


def parameter(clock: Clock, z: Array, start: Array, stop: Array) -> Array:
    """Return the parameter u in [0, 1] at which a monotone clock shows the height z, by bisection."""
    up = stop >= start

    def before(u):
        shown = clock(u, start, stop)
        return jnp.where(up, shown < z, shown > z)

    low, high = bisect(before, jnp.zeros_like(z), jnp.ones_like(z), 30)
    return 0.5 * (low + high)


def _logit(eps, u, start, stop):
    # with s in [-S, S], S = logit(1 - eps), the share is (sigmoid(s) - eps) / (1 - 2 eps); by tanh it is 0 and 1
    # exactly at the ends
    half = 0.5 * (jnp.log1p(-eps) - jnp.log(eps))
    share = 0.5 * (1.0 + jnp.tanh(half * (2.0 * u - 1.0)) / jnp.tanh(half))
    return start + (stop - start) * share
