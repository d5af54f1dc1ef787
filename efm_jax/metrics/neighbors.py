"""Distances to nearest neighbors: how much of one set lies among the other (fidelity, diversity), and what is a copy.

The ball of a sample is closed and extends to its k-th nearest neighbor in its own set, itself left out. Distances that are
equal up to rounding count as equal, so duplicates are inside. Balls shrink as sets grow: compare at equal n only,
and with the same numbers for two sets of real samples.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from efm_jax._core import checks
from efm_jax._core.distances import centered, float64_squared_distances
from efm_jax.metrics._pairs import two_sets

__all__ = ["Copies", "Neighborhood", "copies", "nearest", "neighborhood"]

_BLOCK = 1024
_EQUAL = 1.0 + 1e-9


class Neighborhood(NamedTuple):
    """How two sets lie among each other; standard errors are `std / sqrt(n)` of what is averaged, with fixed balls.

    Attributes:
        precision: Share of samples inside some real one's ball.
        recall: Share of real ones inside some sample's ball.
        density: Real balls around a sample, over k, on average; 1 for two sets from one distribution.
        coverage: Share of real balls that hold a sample.
        standard_errors: Of the four, by name.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    standard_errors: dict[str, float]


class Copies(NamedTuple):
    """Distances to the nearest training sample.

    Attributes:
        samples: Distance of each sample, [n].
        held_out: Distance of each real one that was not trained on, [h].
        share_nearer: Share of samples nearer to a training sample than `quantile` of the held-out ones are.
        standard_error: Of that share, binomial, the threshold held fixed.
    """

    samples: Float[np.ndarray, " n"]
    held_out: Float[np.ndarray, " h"]
    share_nearer: float
    standard_error: float


def neighborhood(
    samples: Float[np.ndarray, "n dim"], real: Float[np.ndarray, "m dim"], *, k: int = 5, k_precision: int = 3
) -> Neighborhood:
    """Return the precision, recall, density and coverage of samples relative to real ones.

    B_k(x) is the closed ball around x that extends to its k-th nearest neighbor in its own set. For n samples y and m real
    ones x:

        precision = mean_j [y_j in U_i B(x_i)],             recall   = mean_i [x_i in U_j B(y_j)]
        density   = mean_j sum_i [y_j in B_k(x_i)] / k,     coverage = mean_i [some y_j in B_k(x_i)]

    Two sets from one distribution have density 1 and coverage `1 - prod_(i=1..k) (m - i) / (n + m - i)` on average. One
    outlier among the real ones inflates precision, not density.

    Args:
        samples: Features of the samples judged [n, D], n > k.
        real: Features of real ones [m, D], m > k.
        k: Which neighbor ends a ball, for density and coverage.
        k_precision: Which neighbor ends a ball, for precision and recall.

    Raises:
        ValueError: If the sets differ in dimension, are too small for k, or hold NaN or infinity.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(50, 4))
        >>> same, apart = neighborhood(x, x), neighborhood(x + 100.0, x)
        >>> same.precision, same.recall, same.coverage, apart.precision, apart.density
        (1.0, 1.0, 1.0, 0.0, 0.0)

    Source: Kynkäänniemi et al. (2019), arXiv 1904.06991, eqs. 1-2, k = 3; Naeem et al. (2020), arXiv 2002.09797, eqs.
    2-3 and Lemma 2, k = 5.
    """
    k, k_precision = checks.count("k", k), checks.count("k_precision", k_precision)
    y, x = centered(*two_sets(samples, real, least=max(k, k_precision) + 1, names=("samples", "real")))
    wide, narrow = _squared_radii(x, (k_precision, k))
    (own,) = _squared_radii(y, (k_precision,))
    inside, around = np.zeros(len(y), bool), np.zeros(len(y), np.int64)
    recalled, covered = np.zeros(len(x), bool), np.zeros(len(x), bool)
    for start in range(0, len(y), _BLOCK):
        rows = slice(start, start + _BLOCK)
        squares = float64_squared_distances(y[rows], x)
        inside[rows] = (squares <= wide).any(axis=1)
        recalled |= (squares <= own[rows, None]).any(axis=0)
        within = squares <= narrow
        around[rows] = within.sum(axis=1)
        covered |= within.any(axis=0)
    parts = {"precision": inside, "recall": recalled, "density": around / k, "coverage": covered}
    means = {name: float(np.mean(part)) for name, part in parts.items()}
    errors = {name: float(np.std(part) / np.sqrt(len(part))) for name, part in parts.items()}
    return Neighborhood(**means, standard_errors=errors)


def copies(
    samples: Float[np.ndarray, "n dim"],
    training: Float[np.ndarray, "m dim"],
    held_out: Float[np.ndarray, "h dim"],
    *,
    quantile: float = 0.01,
) -> Copies:
    """Return how near samples come to the training set, compared with real ones that were not trained on.

    Of samples from the true distribution a share `quantile` is nearer than that quantile of the held-out distances; of a
    model that returns its training set, all are.

    Args:
        samples: Features of the samples judged [n, D].
        training: Features of the training set [m, D].
        held_out: Features of real ones outside the training set [h, D].
        quantile: In (0, 1).

    Raises:
        ValueError: If the sets differ in dimension, are empty, hold NaN or infinity, or the quantile is out of range.

    Examples:
        >>> train, held = np.random.default_rng(0).normal(size=(2, 50, 4))
        >>> copies(train, train, held).share_nearer
        1.0
    """
    if not 0.0 < quantile < 1.0:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile!r}.")
    made = nearest(samples, training, names=("samples", "training"))
    held = nearest(held_out, training, names=("held_out", "training"))
    near = made < np.quantile(held, quantile)
    return Copies(made, held, float(near.mean()), float(near.std() / np.sqrt(len(near))))


def nearest(
    points: Float[np.ndarray, "n dim"],
    others: Float[np.ndarray, "m dim"],
    *,
    names: tuple[str, str] = ("points", "others"),
) -> Float[np.ndarray, " n"]:
    """Return the Euclidean distance of each point to the nearest of the others.

    Inner products find the nearest, then differences give its distance: a copy is at distance 0 exactly.

    Examples:
        >>> nearest(np.array([[0.0], [5.0]]), np.array([[1.0], [5.0]])).tolist()
        [1.0, 0.0]
    """
    first, second = two_sets(points, others, names=names)
    a, b = centered(first, second)
    which = [
        np.argmin(float64_squared_distances(a[start : start + _BLOCK], b), axis=1)
        for start in range(0, len(a), _BLOCK)
    ]
    return np.linalg.norm(first - second[np.concatenate(which)], axis=1)


def _squared_radii(x: np.ndarray, ks: tuple[int, ...]) -> list[np.ndarray]:
    """Squared distance of each sample to its k-th nearest other, a rounding wider, for each k."""
    found = np.empty((len(ks), len(x)))
    for start in range(0, len(x), _BLOCK):
        squares = float64_squared_distances(x[start : start + _BLOCK], x)
        rows = np.arange(len(squares))
        squares[rows, start + rows] = np.inf
        nearest_first = np.partition(squares, [k - 1 for k in ks], axis=1)
        for i, k in enumerate(ks):
            found[i, start : start + len(rows)] = nearest_first[:, k - 1]
    return [_EQUAL * row for row in found]
