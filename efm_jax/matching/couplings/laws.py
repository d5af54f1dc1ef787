"""Couplings: who of P is paired with whom of Q.

A coupling is a pure function `(key, x_pos [n, D], x_neg [m, D], num_pairs) -> (i [k], j [k])` of row indices. Each pair
by itself follows the plan; `independent` draws them independently of each other, the others go through all samples they
can pair, in random order, before they take one again.

With labels, `couple(key, x_pos, x_neg, num_pairs, labels=(labels_pos [n], labels_neg [m]))`, pairs join equal labels
only. A sample whose label does not occur on the other side is left out. If no label occurs on both sides there are no
pairs: a ValueError where that can be seen, and under `jit` all indices are -1.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax.matching.couplings._exact import minibatch_ot as minibatch_ot
from efm_jax.matching.couplings._exact import whole_plan as whole_plan
from efm_jax.matching.couplings._pairing import Coupling as Coupling
from efm_jax.matching.couplings._pairing import LabeledCoupling as LabeledCoupling
from efm_jax.matching.couplings._pairing import Labels as Labels
from efm_jax.matching.couplings._pairing import Pairs as Pairs
from efm_jax.matching.couplings._pairing import checked, in_turn, none_without
from efm_jax.matching.couplings._sinkhorn import log_plan
from efm_jax.types import Key


def independent() -> LabeledCoupling:
    """Pair samples at random: `i ~ U{0..n-1}`, `j ~ U{0..m-1}`, independent of each other.

    With labels: i uniform among the rows that have a partner, j uniform among the rows of i's label.

    Returns:
        A coupling `(key, x_pos, x_neg, num_pairs, *, labels=None) -> (i, j)`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, labels = jnp.zeros((4, 2)), jnp.array([0, 1, 1, 2])
        >>> i, j = independent()(jax.random.key(0), x, x, 50, labels=(labels, labels))
        >>> i.shape, bool((labels[i] == labels[j]).all())
        ((50,), True)
    """

    def couple(
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        num_pairs: int,
        *,
        labels: Labels | None = None,
    ) -> Pairs:
        key_i, key_j = jax.random.split(key)
        if labels is None:
            return (
                jax.random.randint(key_i, (num_pairs,), 0, x_pos.shape[0]),
                jax.random.randint(key_j, (num_pairs,), 0, x_neg.shape[0]),
            )
        labels_pos, labels_neg = checked(labels, x_pos, x_neg)
        by_label = jnp.argsort(labels_neg)
        first, past = (
            jnp.searchsorted(labels_neg[by_label], labels_pos, side=side) for side in ("left", "right")
        )
        paired = past > first
        rows = jnp.argsort(~paired)
        i = rows[jax.random.randint(key_i, (num_pairs,), 0, paired.sum())]
        j = by_label[jax.random.randint(key_j, (num_pairs,), first[i], past[i])]
        return none_without(paired.any(), i, j)

    return couple


def given() -> LabeledCoupling:
    """Keep the pairs that the data brings: row k of P belongs to row k of Q.

    For data that is paired, and for a plan solved once for a whole training set (`whole_plan`). Pairs are drawn without
    replacement, all of them again when more are asked for than there are. Labels change nothing.

    Returns:
        A coupling `(key, x_pos [n, D], x_neg [n, D], num_pairs, *, labels=None) -> (i, i)`.

    Raises:
        ValueError: When called with different numbers of rows.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> i, j = given()(jax.random.key(0), jnp.zeros((4, 2)), jnp.zeros((4, 2)), 3)
        >>> i.shape, bool((i == j).all())
        ((3,), True)
    """

    def couple(
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        num_pairs: int,
        *,
        labels: Labels | None = None,
    ) -> Pairs:
        del labels
        size = x_pos.shape[0]
        if size != x_neg.shape[0]:
            raise ValueError(
                f"given pairs are row by row, so both plates must have as many rows, got {size} and {x_neg.shape[0]}."
            )
        i = in_turn(key, jnp.ones(size, bool), num_pairs)
        return i, i

    return couple


def sinkhorn(epsilon: float = 0.02, *, iterations: int = 1000, tolerance: float = 1e-2) -> LabeledCoupling:
    """Pair samples by the entropic plan of the minibatch: `entropic_plan`, which see, in JAX, without a host callback.

    i goes through the rows in random order, `j ~ plan[i, :]`. Small epsilon: near the exact plan, at the price of many
    iterations; large epsilon: near `independent`.

    Args:
        epsilon: Strength of the entropy, in units of the spread of the samples.
        iterations: Most rounds.
        tolerance: Share of the mass that may lie in wrong columns.

    Returns:
        A coupling `(key, x_pos, x_neg, num_pairs, *, labels=None) -> (i, j)`.

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

    def couple(
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        num_pairs: int,
        *,
        labels: Labels | None = None,
    ) -> Pairs:
        key_i, key_j = jax.random.split(key)
        labels = None if labels is None else checked(labels, x_pos, x_neg)
        log_mass, paired = log_plan(x_pos, x_neg, *policy, labels)
        i = in_turn(key_i, paired, num_pairs)
        return none_without(paired.any(), i, jax.random.categorical(key_j, log_mass[i]))

    return couple


def entropic_plan(
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    epsilon: float = 0.02,
    *,
    iterations: int = 1000,
    tolerance: float = 1e-2,
    labels: Labels | None = None,
) -> Float[Array, "n m"]:
    r"""The plan of least cost plus entropy, by Sinkhorn's iterations in log space.

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
    log_mass, _ = log_plan(x_pos, x_neg, *_policy(epsilon, iterations, tolerance), labels)
    return jnp.exp(log_mass)


def _policy(epsilon, iterations, tolerance) -> tuple[float, int, float]:
    return (
        checks.positive("epsilon", epsilon),
        checks.count("iterations", iterations),
        checks.positive("tolerance", tolerance),
    )
