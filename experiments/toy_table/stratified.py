"""Even samples of the toys: a Sobol sequence in place of random numbers, and as many samples of each mode."""

from collections.abc import Callable

import numpy as np
from scipy.stats import norm, qmc


def stratified(name: str, seed: list[int], count: int) -> np.ndarray:
    """Draw `count` samples of the toy of `efm_jax.datasets.toys` with this name, in random order."""
    rng = np.random.default_rng(seed)
    u = qmc.Sobol(4, rng=rng).random_base2((count - 1).bit_length())[:count]
    u = np.clip(u, 1e-9, 1 - 1e-9)
    x = TOYS[name](u[:, 0], u[:, 1], norm.ppf(u[:, 2:]), np.arange(count))
    return rng.permutation(x).astype(np.float32)


def _plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=1)


def _gaussian(u, v, e, k):
    return e


def _eight_gaussians(u, v, e, k):
    angle = np.pi / 4 * (k % 8)
    return 5.0 * _plane(np.cos(angle), np.sin(angle)) + 0.1**0.25 * e


def _moons(u, v, e, k):
    t, lower = np.pi * u, v < 0.5
    half = _plane(np.where(lower, 1 - np.cos(t), np.cos(t)), np.where(lower, 0.5 - np.sin(t), np.sin(t)))
    return 3.0 * (half + 0.2 * e) - 1.0


def _s_curve(u, v, e, k):
    t = 3 * np.pi * (u - 0.5)
    return 2.0 * (_plane(np.sin(t), np.sign(t) * (np.cos(t) - 1)) + 0.1 * e)


def _swiss_roll(u, v, e, k):
    t = 1.5 * np.pi * (1 + 2 * u)
    return 2 / 7.5 * (_plane(t * np.cos(t), t * np.sin(t)) + 0.8 * e)


TOYS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian:2": _gaussian,
    "eight_gaussians": _eight_gaussians,
    "moons": _moons,
    "s_curve": _s_curve,
    "swiss_roll": _swiss_roll,
}
"""By name: from two uniform numbers, two normal ones and the number of the sample."""
