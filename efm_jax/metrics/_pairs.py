"""Checks of the sets of samples that metrics take."""

import numpy as np


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
            f"flatten pictures with {name}.reshape(len({name}), -1), and numbers with {name}.reshape(-1, 1)."
        )
    bad = np.logical_not(np.isfinite(x).all(axis=1))
    if bad.any():
        raise ValueError(
            f"{name} holds NaN or infinite numbers in {int(bad.sum())} of {len(x)} samples, the first at "
            f"index {int(bad.argmax())}; leave those samples out, and say how many."
        )
    return x
