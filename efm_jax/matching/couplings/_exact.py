"""Plans of least squared distance, exact: of a whole training set, and of each minibatch."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from efm_jax._core import blas, checks
from efm_jax._core.assignment import assignment
from efm_jax._core.distances import centered, float64_squared_distances
from efm_jax.matching.couplings._pairing import checked, in_turn
from efm_jax.types import LabeledCoupling


def whole_plan(
    x_pos: Float[np.ndarray, "n dim"], x_neg: Float[np.ndarray, "n dim"], *, block_size: int | None = None
) -> Int[np.ndarray, " n"]:
    """Pair a whole training set at once: `j` with `sum_i |x_pos_i - x_neg_j(i)|^2` least, solved on the host.

    With blocks, each run of `block_size` rows is paired within itself: shuffle the rows first if their order means
    something. The time grows like the cube of the rows, the memory like their square (the costs of 10,000 at once: 0.8 GB).

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [n, D].
        block_size: Rows that are paired at a time; None for all.

    Returns:
        `j` [n]: `x_neg[j]` is row by row the partner of `x_pos`; train on the two with `given()`.

    Raises:
        ValueError: The two differ in shape, are empty, or hold NaN or infinity; or `block_size` is not a whole number
            >= 1.

    Examples:
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
    size = len(a) if block_size is None else checks.count("block_size", block_size)
    return np.concatenate([i + assignment(a[i : i + size], b[i : i + size]) for i in range(0, len(a), size)])


def minibatch_ot() -> LabeledCoupling:
    """Pair samples by the plan of least total squared distance within the minibatch.

    The plan is exact: `argmin_s sum_i |x_pos_i - x_neg_s(i)|^2` over one-to-one assignments, solved on the host; with
    n != m the smaller side is matched completely. Pairs are drawn from the plan without replacement, all of it again for
    more pairs than it holds.

    With labels the plan is the union of those of the labels: of a label with n_c and m_c rows `min(n_c, m_c)` pairs.

    Returns:
        The coupling, usable under `jit` through a host callback.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[0.0], [10.0], [20.0]])
        >>> i, j = minibatch_ot()(jax.random.key(0), x, x[::-1] + 1.0, 3)
        >>> bool((i + j == 2).all())
        True

    Source: Tong et al., "Improving and generalizing flow-based generative models with minibatch optimal transport",
    arXiv 2302.00482, Algorithm 3; Pooladian et al., arXiv 2304.14772.
    """
    return _minibatch_ot


def _minibatch_ot(key, x_pos, x_neg, num_pairs, *, labels=None):
    size = min(x_pos.shape[0], x_neg.shape[0])
    known = () if labels is None else checked(labels, x_pos, x_neg)
    shape = jax.ShapeDtypeStruct((size,), jnp.int32)
    # a plan has no derivative, and a callback none that JAX would know
    sides = jax.lax.stop_gradient((x_pos, x_neg))
    i, j = jax.pure_callback(_plan, (shape, shape), *sides, *known, vmap_method="sequential")
    chosen = in_turn(key, i >= 0, num_pairs)
    return i[chosen], j[chosen]


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
        with blas.one_thread():
            i, j = _assigned(a[rows], b[columns])
        plan[:, done : done + len(i)] = rows[i], columns[j]
        done += len(i)
    return plan[0], plan[1]


def _assigned(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(a) == len(b):
        return np.arange(len(a)), assignment(a, b)
    return linear_sum_assignment(float64_squared_distances(*centered(a, b)))
