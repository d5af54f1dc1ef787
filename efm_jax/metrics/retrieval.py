"""How near each output lies to its true partner: the distance, and the partner's rank among all targets."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from efm_jax._core.distances import centered, float64_squared_distances
from efm_jax.metrics._pairs import two_sets

__all__ = ["Retrieval", "retrieval"]

_BLOCK = 1024


class Retrieval(NamedTuple):
    """Distances of outputs to their partners, and the partners' ranks.

    Attributes:
        distance: Euclidean distance of each output to its partner, [n].
        distance_to_others: The mean distance of each output to all other targets, [n]: the value of a random target.
        rank: Rank of the partner among all targets by distance, 1 the nearest, ties at their middle, [n]; (m + 1)/2 by
            chance.
    """

    distance: Float[np.ndarray, " n"]
    distance_to_others: Float[np.ndarray, " n"]
    rank: Float[np.ndarray, " n"]


def retrieval(
    outputs: Float[np.ndarray, "n dim"],
    targets: Float[np.ndarray, "m dim"],
    partner: Int[np.ndarray, " n"] | None = None,
) -> Retrieval:
    """Return the distances of outputs to their true partners, and the partners' ranks among all targets.

    `rank_i = 1 + |{j: d_ij < d_ip}| + |{j != p: d_ij = d_ip}| / 2` with `d_ij = |y_i - t_j|` and p the partner of i.

    Args:
        outputs: Outputs y, or features of them, [n, D].
        targets: Targets t [m, D], m >= 2.
        partner: Index of each output's partner among the targets [n]; None where the i-th belongs to the i-th.

    Raises:
        ValueError: If the sets differ in dimension or hold NaN or infinity, or an output has no partner among the targets.

    Examples:
        >>> targets = np.array([[0.0], [1.0], [5.0]])
        >>> found = retrieval(np.array([[0.1], [0.2], [4.0]]), targets)
        >>> found.rank.tolist(), found.distance.round(1).tolist()
        ([1.0, 2.0, 1.0], [0.1, 0.8, 1.0])
    """
    y, t = two_sets(outputs, targets, names=("outputs", "targets"))
    index = np.arange(len(y)) if partner is None else np.asarray(partner)
    if len(t) < 2 or index.shape != (len(y),) or index.dtype.kind not in "iu" or not _within(index, len(t)):
        raise ValueError(
            f"each of the {len(y)} outputs needs the index of its partner among the {len(t)} (at least 2) targets, got "
            f"{'none given' if partner is None else f'{index.dtype} {index.shape}'}; pass partner=, whole numbers from 0."
        )
    a, b = centered(y, t)
    ranks, others = np.empty(len(y)), np.empty(len(y))
    for start in range(0, len(y), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squares = float64_squared_distances(a[rows], b)
        own = squares[np.arange(len(squares)), index[rows]]
        near = 1e-9 * own[:, None]  # equal up to rounding
        nearer = (squares < own[:, None] - near).sum(axis=1)
        equal = (squares <= own[:, None] + near).sum(axis=1) - nearer - 1
        ranks[rows] = 1.0 + nearer + 0.5 * equal
        others[rows] = (np.sqrt(squares).sum(axis=1) - np.sqrt(own)) / (len(t) - 1)
    return Retrieval(np.linalg.norm(y - t[index], axis=1), others, ranks)


def _within(index: np.ndarray, count: int) -> bool:
    return bool(len(index) == 0 or (index.min() >= 0 and index.max() < count))
