"""The density that a field gives to samples, by the change of volume along its lines.

The lines of a field are a flow in the height, `dx/dz = v = E_x / E_z`, so a density known on one plate is known at the
other end of every line. How well it is the density of Q depends on the field: the capacitor chain transports exactly
(and has `fields.log_density_path` in closed form, the oracle of this module). A learned field has the density it has.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from efm_jax._core import checks, dtypes
from efm_jax._core.trees import as_pytree
from efm_jax.lines.stepping import Stepping, adaptive, chosen
from efm_jax.lines.tracing import trace
from efm_jax.types import FieldFn, Key

__all__ = ["LogProb", "log_prob"]


class LogProb(NamedTuple):
    """Log-densities and the lines they were found on.

    Attributes:
        log_prob: Natural log of the density at each sample, per unit of volume of the data, [n]; NaN where the line
            did not arrive.
        origin: Where each sample's line starts on the plate of known density, [n, D].
        arrived: Whether the line reached that plate, [n].
        num_evaluations: Field evaluations of each line, each with its divergence, [n].
    """

    log_prob: Float[Array, " n"]
    origin: Float[Array, "n dim"]
    arrived: Bool[Array, " n"]
    num_evaluations: Int[Array, " n"]


def log_prob(
    field: FieldFn,
    x: Float[Array | np.ndarray, "n dim"],
    prior: Callable[[Float[Array, "n dim"]], Float[Array, " n"]],
    *,
    span: tuple[float, float],
    key: Key | None = None,
    probes: int = 1,
    stepping: Stepping | None = None,
) -> LogProb:
    r"""Return the log-density that a field's lines give to samples at one height, from a density known at another.

    With $v = E_x / E_z$ and the line $x(z)$ that ends in the sample,

    $$\log p_{z_1}(x(z_1)) = \log p_{z_0}(x(z_0)) - \int_{z_0}^{z_1} \nabla_x \cdot v(x(z), z)\, dz.$$

    Without a key the divergence is exact, at D directional derivatives an evaluation; with one it is Hutchinson's
    unbiased estimate $\xi^T (\partial v / \partial x)\, \xi$ with random signs $\xi$, drawn once for each line.

    Args:
        field: The field, [n, D+1] to [n, D+1], any positive scale, differentiable: `sampling.learned_field(...)`, or
            the direction of an exact one.
        x: Samples at the height `span[1]`, [n, D].
        prior: Log-density at the height `span[0]`, [n, D] to [n].
        span: `(z_0, z_1)`: where the density is known, and where the samples are. `E_z` must stay positive and the
            lines smooth between them: lines of point charges are to stop short of the plates.
        key: Randomness of Hutchinson's estimate; None for the exact divergence.
        probes: Sign vectors a line, averaged; with a key only.
        stepping: As in `lines.trace`; None: `adaptive(rtol=1e-5)`. The log-density is one more component under the same
            error control.

    Returns:
        Log-densities, NaN for the lines that did not arrive.

    Raises:
        ValueError: If x is not [n, D] of finite numbers, the heights of the span are equal or not finite, the prior does
            not return [n], or probes are given without a key; and as `lines.trace` does.

    Examples:
        A field that spreads a normal distribution to twice its width: `v = x / (1 + z)` from z = 0 to z = 1.

        >>> import jax, jax.numpy as jnp
        >>> field = lambda p: jnp.concatenate([p[:, :1], 1 + p[:, 1:]], axis=1)
        >>> normal = lambda x: jax.scipy.stats.norm.logpdf(x).sum(axis=1)
        >>> found = log_prob(field, jnp.array([[2.0]]), normal, span=(0.0, 1.0))
        >>> round(float(found.log_prob[0]), 4), round(float(jax.scipy.stats.norm.logpdf(2.0, scale=2.0)), 4)
        (-2.1121, -2.1121)

    Source: Chen, Rubanova, Bettencourt, Duvenaud (2018), arXiv 1806.07366, theorem 1; Grathwohl et al. (2019), arXiv
    1810.01367, eq. 7 (the estimate).
    """
    x = checks.samples("x", x)
    x = dtypes.at_least_float32(x)  # half precision rounds heights
    known, there = (
        z if isinstance(z, Tracer) else checks.finite(f"span[{i}]", z) for i, z in enumerate(span)
    )
    if not isinstance(known - there, Tracer) and known == there:
        raise ValueError(f"span must name two heights, of the known density and of x, got {span!r}.")
    if key is None and probes != 1:
        raise ValueError(
            f"probes={probes!r} needs key=: without one the divergence is exact, with no probes."
        )
    signs = None
    if key is not None:
        signs = jax.random.rademacher(key, (checks.count("probes", probes), *x.shape), x.dtype)
    column = jnp.zeros((len(x), 1), x.dtype)
    lines = trace(
        jax.tree_util.Partial(_with_divergence, as_pytree(field), signs),
        jnp.concatenate([x, column, column + there], axis=1),
        known,
        stepping=chosen(stepping, adaptive(rtol=1e-5)),
    )
    origin, gained = lines.end[:, :-2], lines.end[:, -2]
    before = prior(origin)
    if jnp.shape(before) != gained.shape:
        raise ValueError(
            f"prior must return one log-density for each of [n, D] points, {gained.shape}, got {jnp.shape(before)}; "
            "sum it over the dimensions."
        )
    return LogProb(
        jnp.where(lines.arrived, before + gained, jnp.nan), origin, lines.arrived, lines.num_evaluations
    )


def _with_divergence(
    field: FieldFn, signs: Float[Array, "k n dim"] | None, points: Float[Array, "n dim2"]
) -> Float[Array, "n dim2"]:
    """The field of lines `(x, a, z)` on which `da/dz` is the divergence of `E_x / E_z` in x."""
    x, z = points[:, :-2], points[:, -1:]

    def slope(x):
        e = field(jnp.concatenate([x, z], axis=1))
        return e[:, :-1] / e[:, -1:], e

    _, along, e = jax.linearize(slope, x, has_aux=True)
    if signs is None:

        def add(total, k):
            return total + along(jnp.zeros_like(x).at[:, k].set(1))[:, k], None

        divergence, _ = lax.scan(add, jnp.zeros_like(z[:, 0]), jnp.arange(x.shape[1]))
    else:
        divergence = jnp.mean(jax.vmap(lambda s: jnp.sum(s * along(s), axis=1))(signs), axis=0)
    return jnp.concatenate([e[:, :-1], (divergence * e[:, -1])[:, None], e[:, -1:]], axis=1)
