"""The exact assignment of least total squared distance, in float64 on the host."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from efm_jax._core.distances import centered, float64_squared_distances

_COARSEST = 60
_RATIO = 4


def assignment(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The permutation s [n] of least `sum_i |a_i - b_s(i)|^2` between finite float64 sets [n, D]; by sorting if D = 1."""
    if a.shape[1] == 1:
        s = np.empty(len(a), np.int64)
        s[np.argsort(a[:, 0])] = np.argsort(b[:, 0])
        return s
    return solved(*centered(a, b))[0]


def solved(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best assignment s [n] of squared distances c, the reduced costs `c - v_j - u_i` [n, n], and u [n].

    Any prices v of the columns leave the best assignment of `c - v_j - u_i` what it was; near-optimal ones
    leave the solver short paths to search. Those of a strided quarter of the rows, found in the same way, are
    carried to all columns by `v_j = min_i c_ij - u_i`.
    """
    n = len(a)
    prices = np.zeros(n)
    if n > 2 * _COARSEST:
        few = a[::_RATIO]
        known = row_prices(*solved(few, b[::_RATIO]))
        prices[:] = np.inf
        for start in range(0, len(few), 256):
            block = float64_squared_distances(few[start : start + 256], b) - known[start : start + 256, None]
            prices = np.minimum(prices, block.min(axis=0))
    cost = float64_squared_distances(a, b)
    cost -= prices
    rows = cost.min(axis=1)
    cost -= rows[:, None]
    return linear_sum_assignment(cost)[1], cost, rows


def row_prices(assigned: np.ndarray, cost: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Dual prices of the rows of a solved assignment: shortest paths (Bellman-Ford) over its alternating edges.

    `v_j <= v_s(i) + c_ij - c_is(i)` for all i, j, and `u_i = c_is(i) - v_s(i)`, plus what was subtracted before.
    """
    n = len(cost)
    matched = cost[np.arange(n), assigned]
    owner = np.argsort(assigned)
    prices, active = np.zeros(n), np.arange(n)
    slack = 1e-12 * max(float(cost.max()), 1e-300)
    for _ in range(n):
        offers = (cost[active] + (prices[assigned[active]] - matched[active])[:, None]).min(axis=0)
        better = offers < prices - slack
        if not better.any():
            break
        prices[better] = offers[better]
        active = owner[better]
    return rows + matched - prices[assigned]
