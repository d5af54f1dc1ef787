"""Distances that are averages over pairs: MMD, KID and the energy distance."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from efm_jax._core import checks
from efm_jax._core.distances import centered, float64_squared_distances
from efm_jax.metrics._pairs import two_sets

__all__ = ["KernelDistance", "energy_distance", "kid", "mmd"]

_BLOCK = 1024


class KernelDistance(NamedTuple):
    """An estimate with its error.

    Attributes:
        mean: The estimate.
        standard_error: Its standard error.
    """

    mean: float
    standard_error: float


def mmd(
    a: Float[np.ndarray, "n dim"],
    b: Float[np.ndarray, "m dim"],
    *,
    bandwidth: float | Sequence[float] | None = None,
) -> float:
    """Return the squared maximum mean discrepancy with Gaussian kernels, unbiased.

    `E k(x, x') + E k(y, y') - 2 E k(x, y)` over pairs of different samples, `k = mean_s exp(-|x - y|^2 / (2 s^2))`;
    zero on average for two sets from one distribution, so it can be negative (Gretton et al. 2012, JMLR 13, eq. 3).

    Args:
        a: Samples [n, D], n >= 2.
        b: Samples [m, D], m >= 2.
        bandwidth: s > 0 in units of the samples, or several, whose kernels are averaged. None takes the median
            distance between pairs of the joint set (at most 1,000 evenly spaced samples of each). Fix it when
            values are compared.

    Raises:
        ValueError: If the sets differ in dimension, have fewer than two samples or hold NaN or infinity, a
            bandwidth is not > 0, or the median distance is 0.

    Examples:
        >>> a = np.array([[0.0], [2.0]])
        >>> round(mmd(a, a + 100.0, bandwidth=1.0), 6)  # 2 exp(-2^2 / 2)
        0.270671
    """
    a, b = centered(*two_sets(a, b, least=2))
    bandwidths = np.atleast_1d(
        _median_distance(a, b) if bandwidth is None else np.asarray(bandwidth, np.float64)
    )
    if bandwidths.ndim != 1 or bandwidths.size == 0 or not (np.isfinite(bandwidths) & (bandwidths > 0)).all():
        raise ValueError(f"bandwidth must be a finite number > 0, or several, got {bandwidth!r}.")

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squares = float64_squared_distances(x, y)
        return np.mean([np.exp(squares / (-2.0 * s**2)) for s in bandwidths], axis=0)

    return _unbiased(kernel, a, b)


def kid(
    a: Float[np.ndarray, "n dim"],
    b: Float[np.ndarray, "m dim"],
    *,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
) -> KernelDistance:
    """Return the kernel distance (KID) between two sets of features: unbiased squared MMD, kernel `(x.y / D + 1)^3`.

    The mean over random subsets of both sets, with the standard error of the delete-d jackknife, `sqrt(k / (n
    - k))` times the spread over subsets of size k (n: the smaller set). It holds where the sets differ and is
    up to sqrt(3) times too large where they do not. Binkowski et al. 2018, arXiv 1801.01401; Shao and Wu
    1989, doi 10.1214/aos/1176347263.

    Args:
        a: Features [n, D], n >= 4.
        b: Features [m, D], m >= 4.
        subsets: Number of subsets, >= 2.
        subset_size: Samples of each set in a subset, >= 2; taken as half the smaller set where that is less,
            since subsets nearly as large as the set are all alike.
        seed: Draws the subsets.

    Returns:
        KernelDistance(mean, standard_error); published tables often multiply by 1,000.

    Raises:
        ValueError: If the sets differ in dimension, have fewer than four samples or hold NaN or infinity, or
            a number is too small.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> near = kid(rng.normal(size=(200, 8)), rng.normal(size=(200, 8)))
        >>> abs(near.mean) < 4 * near.standard_error
        True
    """
    a, b = two_sets(a, b, least=4)
    subsets, subset_size = (
        checks.count(name, value, 2) for name, value in (("subsets", subsets), ("subset_size", subset_size))
    )
    smaller = min(len(a), len(b))
    k = min(subset_size, smaller // 2)
    rng = np.random.default_rng(seed)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    draws = [
        _unbiased(kernel, a[rng.choice(len(a), k, replace=False)], b[rng.choice(len(b), k, replace=False)])
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(draws)), float(np.std(draws, ddof=1) * np.sqrt(k / (smaller - k))))


def energy_distance(a: Float[np.ndarray, "n dim"], b: Float[np.ndarray, "m dim"]) -> float:
    """Return the energy distance, `sqrt(2 E|x - y| - E|x - x'| - E|y - y'|)` over all pairs of the two sets.

    As `scipy.stats.energy_distance`, in any dimension; 0 only for equal sets (Szekely and Rizzo 2013,
    doi 10.1016/j.jspi.2013.03.018).

    Args:
        a: Samples [n, D].
        b: Samples [m, D].

    Returns:
        The distance, in units of the square root of the samples'.

    Raises:
        ValueError: If the sets differ in dimension, are empty, or hold NaN or infinity.

    Examples:
        >>> energy_distance(np.array([[0.0]]), np.array([[2.0]]))
        2.0
    """
    a, b = centered(*two_sets(a, b))

    def mean_distance(x: np.ndarray, y: np.ndarray) -> float:
        return _total(lambda u, v: np.sqrt(float64_squared_distances(u, v)), x, y) / (len(x) * len(y))

    return float(np.sqrt(max(2.0 * mean_distance(a, b) - mean_distance(a, a) - mean_distance(b, b), 0.0)))


def _unbiased(kernel: Callable[[np.ndarray, np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD: means of the kernel over pairs of different samples."""
    n, m = len(a), len(b)
    within_a = _total(kernel, a, a, diagonal=False) / (n * (n - 1))
    within_b = _total(kernel, b, b, diagonal=False) / (m * (m - 1))
    return float(within_a + within_b - 2.0 * _total(kernel, a, b) / (n * m))


def _total(
    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    *,
    diagonal: bool = True,
) -> float:
    """Sum of a kernel over all pairs, a block of rows at a time; without those (i, i) unless `diagonal`."""
    total = 0.0
    for start in range(0, len(x), _BLOCK):
        values = kernel(x[start : start + _BLOCK], y)
        if not diagonal:
            values[np.arange(len(values)), start + np.arange(len(values))] = 0.0
        total += float(values.sum())
    return total


def _median_distance(a: np.ndarray, b: np.ndarray) -> float:
    joint = np.concatenate([x[:: -(-len(x) // 1000)] for x in (a, b)])
    squares = float64_squared_distances(joint, joint)
    median = float(np.sqrt(np.median(squares[np.triu_indices(len(joint), 1)])))
    if median == 0.0:
        raise ValueError("the median distance between samples is 0 (most are equal); pass a bandwidth > 0.")
    return median
