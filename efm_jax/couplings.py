"""Couplings: who of P is paired with whom of Q.

A coupling is a pure function `(key, x_pos [n, D], x_neg [m, D], num_pairs) -> (i [k], j [k])` of row indices. Each pair
by itself follows the plan; `independent` draws them independently of each other, the others go through all samples they
can pair, in random order, before they take one again.

With labels, `couple(key, x_pos, x_neg, num_pairs, labels=(labels_pos [n], labels_neg [m]))`, pairs join equal labels
only. A sample whose label does not occur on the other side is left out. If no label occurs on both sides there are no
pairs: a ValueError where that can be seen, and under `jit` all indices are -1.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from efm_jax import _checks
from efm_jax._assignment import assignment, centred, squared_distances
from efm_jax._entropic import log_plan
from efm_jax._types import Key

Pairs: TypeAlias = tuple[Int[Array, " k"], Int[Array, " k"]]
Labels: TypeAlias = tuple[Int[Array, " n"], Int[Array, " m"]]
"""One whole number for each row of x_pos and each of x_neg."""
Coupling: TypeAlias = Callable[[Key, Float[Array, "n dim"], Float[Array, "m dim"], int], Pairs]


@runtime_checkable
class LabelledCoupling(Protocol):
    """A `Coupling` that can keep to equal labels; every coupling of this room is one."""

    def __call__(
        self,
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        num_pairs: int,
        *,
        labels: Labels | None = None,
    ) -> Pairs:
        """Return the rows `(i, j)` of `num_pairs` pairs."""
        ...


def independent() -> LabelledCoupling:
    """Pair samples at random: `i ~ U{0..n-1}`, `j ~ U{0..m-1}`, independent of each other.

    With labels: i uniform among the rows that have a partner, j uniform among the rows of i's label.

    Returns:
        A coupling `(key, x_pos, x_neg, num_pairs, *, labels=None) -> (i, j)`.

    Example:
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
        labels_pos, labels_neg = _checked(labels, x_pos, x_neg)
        by_label = jnp.argsort(labels_neg)
        first, past = (
            jnp.searchsorted(labels_neg[by_label], labels_pos, side=side) for side in ("left", "right")
        )
        paired = past > first
        rows = jnp.argsort(~paired)
        i = rows[jax.random.randint(key_i, (num_pairs,), 0, paired.sum())]
        j = by_label[jax.random.randint(key_j, (num_pairs,), first[i], past[i])]
        return _none_without(paired.any(), i, j)

    return couple


def given() -> LabelledCoupling:
    """Keep the pairs that the data brings: row k of P belongs to row k of Q.

    For data that is paired, and for a plan solved once for a whole training set (`whole_plan`). Pairs are drawn without
    replacement, all of them again when more are asked for than there are. Labels change nothing.

    Returns:
        A coupling `(key, x_pos [n, D], x_neg [n, D], num_pairs, *, labels=None) -> (i, i)`.

    Raises:
        ValueError: When called with different numbers of rows.

    Example:
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
        i = _in_turn(key, jnp.ones(size, bool), num_pairs)
        return i, i

    return couple


def whole_plan(
    x_pos: Float[np.ndarray, "n dim"], x_neg: Float[np.ndarray, "n dim"], *, block_size: int | None = None
) -> Int[np.ndarray, " n"]:
    """Pair a whole training set at once: `j` with `sum_i |x_pos_i - x_neg_j(i)|^2` least, solved on the host.

    With blocks, each run of `block_size` rows is paired within itself: shuffle the rows first if their order means
    something. The time grows like the cube of the rows, the memory like their square (0.9 GB for 10,000 at once).

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [n, D].
        block_size: Rows that are paired at a time; None for all.

    Returns:
        `j` [n]: `x_neg[j]` is row by row the partner of `x_pos`; train on the two with `given()`.

    Raises:
        ValueError: The two differ in shape, are empty, or hold NaN or infinity; or `block_size` is not a whole number
            >= 1.

    Example:
        >>> x = np.array([[0.0], [10.0], [20.0]])
        >>> whole_plan(x, x[::-1]).tolist()
        [2, 1, 0]
    """
    a, b = (np.asarray(x, np.float64) for x in (x_pos, x_neg))
    if a.ndim != 2 or a.shape != b.shape or 0 in a.shape:
        raise ValueError(
            f"a plan pairs row with row, so x_pos and x_neg must both be [n, D], got {a.shape} and {b.shape}; draw "
            "equally many."
        )
    for name, x in (("x_pos", a), ("x_neg", b)):
        bad = int((~np.isfinite(x).all(1)).sum())
        if bad:
            raise ValueError(f"{name} holds NaN or infinity in {bad} of {len(x)} rows; leave those out.")
    size = len(a) if block_size is None else _checks.count("block_size", block_size)
    return np.concatenate([i + assignment(a[i : i + size], b[i : i + size]) for i in range(0, len(a), size)])


def minibatch_ot() -> LabelledCoupling:
    """Pair samples by the plan of least total squared distance within the minibatch.

    The plan is exact: `argmin_s sum_i |x_pos_i - x_neg_s(i)|^2` over one-to-one assignments, solved on the host (512
    samples a side in about 25 ms); with n != m the smaller side is matched completely. Pairs are drawn from the plan
    without replacement, all of it again when more are asked for than it holds.

    With labels the plan is the union of those of the labels: of a label with n_c and m_c rows `min(n_c, m_c)` pairs.

    Returns:
        A coupling `(key, x_pos, x_neg, num_pairs, *, labels=None) -> (i, j)`, usable under `jit` through a host
        callback.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[0.0], [10.0], [20.0]])
        >>> i, j = minibatch_ot()(jax.random.key(0), x, x[::-1] + 1.0, 3)
        >>> bool((i + j == 2).all())
        True

    Source: Tong et al., "Improving and generalizing flow-based generative models with minibatch optimal transport",
    arXiv 2302.00482, Algorithm 3; Pooladian et al., arXiv 2304.14772.
    """

    def couple(
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        num_pairs: int,
        *,
        labels: Labels | None = None,
    ) -> Pairs:
        size = min(x_pos.shape[0], x_neg.shape[0])
        known = () if labels is None else _checked(labels, x_pos, x_neg)
        shape = jax.ShapeDtypeStruct((size,), jnp.int32)
        i, j = jax.pure_callback(_plan, (shape, shape), x_pos, x_neg, *known, vmap_method="sequential")
        chosen = _in_turn(key, i >= 0, num_pairs)
        return i[chosen], j[chosen]

    return couple


def sinkhorn(epsilon: float = 0.02, *, iterations: int = 1000, tolerance: float = 1e-2) -> LabelledCoupling:
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

    Example:
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
        labels = None if labels is None else _checked(labels, x_pos, x_neg)
        log_mass, paired = log_plan(x_pos, x_neg, *policy, labels)
        i = _in_turn(key_i, paired, num_pairs)
        return _none_without(paired.any(), i, jax.random.categorical(key_j, log_mass[i]))

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

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0], [1.0]])
        >>> [[round(float(p), 2) for p in row] for row in entropic_plan(x, x + 5.0, 0.5)]
        [[0.49, 0.01], [0.01, 0.49]]

    Source: Cuturi (2013), arXiv 1306.0895; Peyre and Cuturi (2019), arXiv 1803.00567, sec. 4.4.
    """
    x_pos, x_neg = _checks.both_plates(x_pos, x_neg)
    labels = None if labels is None else _checked(labels, x_pos, x_neg)
    log_mass, _ = log_plan(x_pos, x_neg, *_policy(epsilon, iterations, tolerance), labels)
    return jnp.exp(log_mass)


def _policy(epsilon, iterations, tolerance) -> tuple[float, int, float]:
    return (
        _checks.positive("epsilon", epsilon),
        _checks.count("iterations", iterations),
        _checks.positive("tolerance", tolerance),
    )


def _in_turn(key: Key, there: Bool[Array, " n"], num: int) -> Int[Array, " k"]:
    """`num` of the indices that are there, in random order, all of them before one comes again."""
    order = jax.random.permutation(key, there.shape[0])
    order = order[jnp.argsort(~there[order])]
    return order[jnp.arange(num) % jnp.maximum(there.sum(), 1)]


def _none_without(any_pair: Bool[Array, ""], i: Int[Array, " k"], j: Int[Array, " k"]) -> Pairs:
    return jnp.where(any_pair, i, -1), jnp.where(any_pair, j, -1)


def _checked(labels: Labels, x_pos: Array, x_neg: Array) -> Labels:
    """Labels that fit the samples, with one at least on both sides where that can be seen, or ValueError."""
    sizes = x_pos.shape[0], x_neg.shape[0]
    shapes = [np.shape(part) for part in labels] if isinstance(labels, tuple | list) else [np.shape(labels)]
    if shapes != [(n,) for n in sizes]:
        raise ValueError(
            f"labels must be a pair (labels_pos [{sizes[0]}], labels_neg [{sizes[1]}]), one whole number for each "
            f"sample, got shapes {shapes}."
        )
    pos, neg = (part if isinstance(part, jax.Array) else np.asarray(part) for part in labels)
    if not (jnp.issubdtype(pos.dtype, jnp.integer) and jnp.issubdtype(neg.dtype, jnp.integer)):
        raise ValueError(
            f"labels must be whole numbers, got dtypes {pos.dtype} and {neg.dtype}; number the classes, e.g. by "
            "np.unique(classes, return_inverse=True)[1] over both sides."
        )
    if not isinstance(pos, Tracer) and not isinstance(neg, Tracer) and not np.isin(pos, neg).any():
        raise ValueError(
            f"labels must have a value in common for a pair to join, got {np.unique(pos)[:5]}... and "
            f"{np.unique(neg)[:5]}...; number the classes of both sides alike, or draw larger minibatches."
        )
    return jnp.asarray(pos), jnp.asarray(neg)


def _plan(x_pos, x_neg, *labels) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the best plan, [min(n, m)]; -1 beyond its last pair."""
    # an exception in a host callback would end the run: NaN counts as 0 here, and the step's own check finds it
    a, b = (np.asarray(x, np.float64) for x in (x_pos, x_neg))
    a, b = (np.where(np.abs(x) < 1e100, x, 0.0) for x in (a, b))
    plan = np.full((2, min(len(a), len(b))), -1, np.int32)
    done = 0
    pos, neg = (np.asarray(part) for part in labels) if labels else (np.zeros(len(x), int) for x in (a, b))
    for label in np.intersect1d(pos, neg):
        rows, columns = np.flatnonzero(pos == label), np.flatnonzero(neg == label)
        i, j = _assigned(a[rows], b[columns])
        plan[:, done : done + len(i)] = rows[i], columns[j]
        done += len(i)
    return plan[0], plan[1]


def _assigned(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(a) == len(b):
        return np.arange(len(a)), assignment(a, b)
    return linear_sum_assignment(squared_distances(*centred(a, b)))
