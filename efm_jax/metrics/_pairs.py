"""What the metrics share: checked sets of samples and squared distances between them."""

import numpy as np
from scipy.spatial.distance import cdist

_FEW_DIMS = 16
_SAME = 1e-13


def two_sets(a, b, *, least: int = 1, names: tuple[str, str] = ("a", "b")) -> tuple[np.ndarray, np.ndarray]:
    """Return both sets as finite float64 [n, D] and [m, D] of one D, or raise ValueError."""
    first, second = one_set(names[0], a, least), one_set(names[1], b, least)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same number of dimensions, got {first.shape} and "
            f"{second.shape}; compare samples of one space."
        )
    return first, second


def one_set(name: str, x, least: int) -> np.ndarray:
    """Return samples as finite float64 [n >= least, D >= 1], or raise ValueError."""
    x = np.asarray(x)
    if x.dtype == object or x.dtype.kind in "USc":
        raise ValueError(f"{name} must hold real numbers, got dtype {x.dtype}.")
    x = x.astype(np.float64)
    if x.ndim != 2 or x.shape[0] < least or x.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [n, D] with n >= {least} samples of D >= 1 dimensions, got {x.shape}; "
            f"flatten pictures with {name}.reshape(len({name}), -1), and give numbers as {name}.reshape(-1, "
            "1)."
        )
    bad = np.logical_not(np.isfinite(x).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{name} holds NaN or infinite numbers in {int(bad.sum())} of {len(x)} samples, the first at "
            f"index {int(bad.argmax())}; leave those samples out, and say how many."
        )
    return x


def squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [n, m]: direct differences in few dimensions, inner products in many.

    Inner products lose `1e-16 (|a|^2 + |b|^2)`, so give centred sets; what is below 1e-13 of that sum is set
    to 0.
    """
    if a.shape[1] <= _FEW_DIMS:
        return cdist(a, b, "sqeuclidean")
    norms_a, norms_b = np.einsum("nd,nd->n", a, a), np.einsum("nd,nd->n", b, b)
    squares = a @ b.T
    squares *= -2.0
    squares += norms_b
    squares += norms_a[:, None]
    for start in range(
        0, len(a), 256
    ):  # in blocks: a mask of a whole large matrix would be one more such matrix
        block = squares[start : start + 256]
        block[block < _SAME * (norms_a[start : start + 256, None] + norms_b)] = 0.0
    return squares


def centred(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sets moved by one vector, so that their common mean is 0: distances stay, rounding shrinks."""
    middle = 0.5 * (a.mean(axis=0) + b.mean(axis=0))
    return a - middle, b - middle
