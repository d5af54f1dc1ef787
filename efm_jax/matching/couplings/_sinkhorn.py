"""The entropic transport plan, by Sinkhorn's iterations in log space."""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

_COOLING = 0.8
"""By how much the entropy falls from one round to the next, until it is what was asked for."""


@jax.jit
def log_plan(
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    epsilon: float | Float[Array, ""],
    iterations: int | Int[Array, ""],
    tolerance: float | Float[Array, ""],
    labels: tuple[Int[Array, " n"], Int[Array, " m"]] | None,
) -> tuple[Float[Array, "n m"], Bool[Array, " n"]]:
    """Log of the plan of `couplings.entropic_plan`, and which rows have mass: those whose label the columns have too."""
    dtype = jnp.promote_types(x_pos.dtype, jnp.float32)
    x, y = x_pos.astype(dtype), x_neg.astype(dtype)
    # about the means of their labels: that moves all costs of a label alike, and leaves the least to round
    if labels is None:
        x, y = x - x.mean(0), y - y.mean(0)
        allowed = jnp.ones((len(x), len(y)), bool)
    else:
        x, y = _within(x, labels[0]), _within(y, labels[1])
        allowed = labels[0][:, None] == labels[1]
    x2, y2 = (x * x).sum(1), (y * y).sum(1)
    scale = jnp.maximum(x2.mean() + y2.mean(), jnp.finfo(dtype).tiny)
    products = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    cost = jnp.where(allowed, (x2[:, None] + y2 - 2.0 * products) / scale, jnp.inf)

    paired = allowed.any(1)
    a = paired / jnp.maximum(paired.sum(), 1).astype(dtype)
    b = (a[:, None] * allowed / jnp.maximum(allowed.sum(1, keepdims=True), 1)).sum(0)

    def of_rows(g, eps):
        return (g - cost) / eps + jnp.log(b)

    def round_(state):
        t, g, _ = state
        eps = jnp.maximum(epsilon, _COOLING ** t.astype(dtype))
        f = jnp.where(paired, -eps * logsumexp(of_rows(g, eps), axis=1), 0.0)
        to_columns = (f[:, None] - cost) / eps + jnp.log(a)[:, None]
        new = jnp.where(b > 0, -eps * logsumexp(to_columns, axis=0), 0.0)
        # with this f and the g before, column j holds b_j exp((g_j - new_j) / eps)
        error = jnp.sum(b * jnp.abs(jnp.expm1((g - new) / eps)))
        return t + 1, new, jnp.where(eps > epsilon, jnp.inf, error)

    # a NaN ends the rounds as well
    start = jnp.zeros((), jnp.int32), jnp.zeros_like(b), jnp.full((), jnp.inf, dtype)
    _, g, _ = jax.lax.while_loop(lambda s: (s[0] < iterations) & (s[2] > tolerance), round_, start)
    log_mass = jax.nn.log_softmax(of_rows(g, epsilon), axis=1) + jnp.log(a)[:, None]
    return jnp.where(paired[:, None], log_mass, -jnp.inf), paired


def _within(x: Float[Array, "n dim"], labels: Int[Array, " n"]) -> Float[Array, "n dim"]:
    """Samples less the mean of their label."""
    same = (labels[:, None] == labels).astype(x.dtype)
    return x - jnp.matmul(same, x, precision=jax.lax.Precision.HIGHEST) / same.sum(1, keepdims=True)
