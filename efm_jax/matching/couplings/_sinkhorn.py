"""The entropic plan, by Sinkhorn's iterations in log space, and the coupling of each minibatch by it."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int

from efm_jax._core import checks
from efm_jax._core.distances import squared_by_products
from efm_jax.matching.couplings._pairing import checked, in_turn, none_without
from efm_jax.types import LabeledCoupling, Labels

_COOLING = 0.8
"""Factor of the entropy from one round to the next, down to `epsilon`."""


def sinkhorn(epsilon: float = 0.02, *, iterations: int = 1000, tolerance: float = 1e-2) -> LabeledCoupling:
    """Pair samples by the entropic plan of the minibatch, see `entropic_plan`; in JAX, without a host callback.

    i goes through the rows in random order, `j ~ plan[i, :]`. Small epsilon: near the exact plan, at the price of many
    iterations; large epsilon: near `independent`.

    Args:
        epsilon: Strength of the entropy, in units of the spread of the samples.
        iterations: Most rounds.
        tolerance: Share of the mass that may lie in wrong columns.

    Raises:
        ValueError: An option is not positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[0.0], [10.0], [20.0]])
        >>> i, j = sinkhorn(1e-2)(jax.random.key(0), x, x[::-1] + 1.0, 3)
        >>> bool((i + j == 2).all())
        True

    Source: Cuturi (2013), arXiv 1306.0895; as a coupling: Pooladian et al. (2023), arXiv 2304.14772.
    """
    policy = _policy(epsilon, iterations, tolerance)

    return partial(_sinkhorn, policy)


def _sinkhorn(policy, key, x_pos, x_neg, num_pairs, *, labels=None):
    key_i, key_j = jax.random.split(key)
    labels = None if labels is None else checked(labels, x_pos, x_neg)
    log_mass, paired = _log_plan(x_pos, x_neg, *policy, labels)
    i = in_turn(key_i, paired, num_pairs)
    return none_without(paired.any(), i, jax.random.categorical(key_j, log_mass[i]))


def entropic_plan(
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    epsilon: float = 0.02,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-2,
    labels: Labels | None = None,
) -> Float[Array, "n m"]:
    r"""Return the plan of least cost plus entropy, by Sinkhorn's iterations in log space.

    $$\min_\pi \sum_{ij} \pi_{ij} |x_i - y_j|^2 + \epsilon\, s \sum_{ij} \pi_{ij} \log \frac{\pi_{ij}}{a_i b_j},
    \qquad \pi 1 = a,\ \pi^T 1 = b,$$

    with uniform a and b, and s the sum of the variances of all dimensions of both sets, so that epsilon has no units and
    the plan does not change when a set is moved or both are scaled. The rounds begin with a large epsilon, lowered by
    a fifth each, and end when the columns are within the tolerance; rows are right always.

    With labels there is no mass between unequal ones, and variances are within labels. Rows of labels that both sides
    have share the mass equally, and columns share that of their own label: the plans of the labels, each for itself.

    Args:
        x_pos: Samples [n, D].
        x_neg: Samples [m, D].
        epsilon: Strength of the entropy, in units of s.
        iterations: Most rounds, each over all n m entries.
        tolerance: `sum_j |sum_i pi_ij - b_j|` at which the rounds end.
        labels: Labels of both sides, or None.

    Returns:
        The plan, [n, m], its sum 1; all 0 where nothing can be paired.

    Raises:
        ValueError: An option is not positive, labels do not fit the samples, or no label is on both sides.

    Examples:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0]])
        >>> [[round(float(p), 2) for p in row] for row in entropic_plan(x, x + 5.0, 0.5)]
        [[0.49, 0.01], [0.01, 0.49]]

    Source: Cuturi (2013), arXiv 1306.0895; Peyre and Cuturi (2019), arXiv 1803.00567, sec. 4.4.
    """
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    labels = None if labels is None else checked(labels, x_pos, x_neg)
    log_mass, _ = _log_plan(x_pos, x_neg, *_policy(epsilon, iterations, tolerance), labels)
    return jnp.exp(log_mass)


def _policy(epsilon, iterations, tolerance) -> tuple[float, int, float]:
    return (
        checks.positive("epsilon", epsilon),
        checks.count("iterations", iterations),
        checks.positive("tolerance", tolerance),
    )


@jax.jit
def _log_plan(
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    epsilon: float | Float[Array, ""],
    iterations: int | Int[Array, ""],
    tolerance: float | Float[Array, ""],
    labels: Labels | None,
) -> tuple[Float[Array, "n m"], Bool[Array, " n"]]:
    """Log of the plan of `entropic_plan`, and which rows have mass: those whose label the columns have too."""
    dtype = jnp.result_type(x_pos, x_neg, jnp.float32)
    x, y = x_pos.astype(dtype), x_neg.astype(dtype)
    # about the means of their labels: that moves all costs of a label alike, and leaves the least to round
    if labels is None:
        x, y = x - x.mean(0), y - y.mean(0)
        allowed = jnp.ones((len(x), len(y)), bool)
    else:
        x, y = _within(x, labels[0]), _within(y, labels[1])
        allowed = labels[0][:, None] == labels[1]
    scale = jnp.maximum((x * x).sum(1).mean() + (y * y).sum(1).mean(), jnp.finfo(dtype).tiny)
    cost = jnp.where(allowed, squared_by_products(x, y) / scale, jnp.inf)

    paired = allowed.any(1)
    a = paired.astype(dtype) / jnp.maximum(paired.sum(), 1).astype(dtype)
    partners = jnp.maximum(allowed.sum(1, keepdims=True), 1).astype(dtype)
    b = (a[:, None] * allowed.astype(dtype) / partners).sum(0)

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
