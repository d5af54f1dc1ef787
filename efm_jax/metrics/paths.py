"""The energy of paths, compared with the least energy between their ends."""

import numpy as np
from jaxtyping import Float

__all__ = ["normalized_path_energy", "path_curvature", "path_energy"]


def path_energy(path: Float[np.ndarray, "t n dim"], *, times: Float[np.ndarray, " t"] | None = None) -> float:
    """Return the mean kinetic energy of paths in one unit of time: `E integral_0^1 |dx/ds|^2 ds`, s = scaled time.

    For the polygon through the given points this is exactly `T mean_n sum_k |x_k+1 - x_k|^2 / (t_k+1 - t_k)`, T = total
    time; straight lines at constant speed give the least, the mean squared distance of their ends. In squared
    units of the samples.

    Args:
        path: Positions [t, n, D], t >= 2 times, without z (give `lines.path[..., :-1]`).
        times: Times [t] (heights z will do), strictly rising or falling; None for equal steps.

    Raises:
        ValueError: If shapes do not fit together, the times do not rise or fall, or a number is NaN or infinite.

    Examples:
        >>> straight = np.linspace(0.0, 2.0, 5).reshape(5, 1, 1)
        >>> path_energy(straight)
        4.0
    """
    path, times = _path_and_times(path, times)
    steps = np.sum(np.diff(path, axis=0) ** 2, axis=-1) / np.diff(times)[:, None]
    return float((times[-1] - times[0]) * steps.sum(axis=0).mean())


def normalized_path_energy(
    path: Float[np.ndarray, "t n dim"], distance: float, *, times: Float[np.ndarray, " t"] | None = None
) -> float:
    """Return the normalized path energy, `NPE = |path_energy - W2^2| / W2^2`: 0 for the paths of optimal transport.

    Tong et al. 2023, arXiv 2307.03672, sec. 5.

    Args:
        path: Positions [t, n, D], as in `path_energy`.
        distance: W2 > 0 between the two distributions (not squared), as `wasserstein2` returns it for samples of both.
        times: Times [t], as in `path_energy`.

    Raises:
        ValueError: As `path_energy`, or if `distance` is not a finite number > 0.

    Examples:
        >>> normalized_path_energy(np.array([[[0.0]], [[2.0]]]), 2.0)
        0.0
    """
    if not (np.isfinite(distance) and distance > 0):
        raise ValueError(
            f"distance must be W2 between the two distributions, a finite number > 0, got {distance!r}."
        )
    squared = float(distance) ** 2
    return abs(path_energy(path, times=times) - squared) / squared


def path_curvature(
    path: Float[np.ndarray, "t n dim"], *, times: Float[np.ndarray, " t"] | None = None
) -> float:
    """Return how far paths are from straight lines at constant speed: `E integral_0^1 |dx/ds - (x(1) - x(0))|^2 ds`.

    Equals `path_energy - E|x(1) - x(0)|^2` (the straightness of Liu et al. 2022, arXiv 2209.03003, eq. 7).

    Args:
        path: Positions [t, n, D], as in `path_energy`.
        times: Times [t], as in `path_energy`.

    Raises:
        ValueError: As `path_energy`.

    Examples:
        >>> path_curvature(np.linspace(0.0, 2.0, 5).reshape(5, 1, 1))
        0.0
    """
    path, times = _path_and_times(path, times)
    share = np.diff(times) / (times[-1] - times[0])
    excess = np.diff(path, axis=0) / share[:, None, None] - (path[-1] - path[0])
    return float(np.tensordot(share, np.sum(excess**2, axis=-1), 1).mean())


def _path_and_times(path, times) -> tuple[np.ndarray, np.ndarray]:
    path = np.asarray(path, np.float64)
    if path.ndim != 3 or path.shape[0] < 2 or 0 in path.shape:
        raise ValueError(
            f"path must have shape [t, n, D] with at least two times and one sample, got {path.shape}."
        )
    times = np.linspace(0.0, 1.0, len(path)) if times is None else np.asarray(times, np.float64)
    if times.shape != (len(path),):
        raise ValueError(
            f"times must have shape ({len(path)},), one for each position of the path, got {times.shape}."
        )
    steps = np.diff(times)
    if not np.isfinite(times).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError("times must be finite and strictly rising or strictly falling.")
    bad = np.logical_not(np.isfinite(path).all(axis=(0, 2)))
    if bad.any():
        raise ValueError(
            f"path holds NaN or infinite numbers in {int(bad.sum())} of {len(bad)} paths; leave those out "
            "(as lines that did not arrive), and say how many."
        )
    return path, times
