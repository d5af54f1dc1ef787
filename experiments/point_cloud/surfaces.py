"""Two surfaces in space: uniform points on them, and how far other points are from the law of those."""

import numpy as np
from jaxtyping import Float


def sphere(rng: np.random.Generator, count: int, radius: float) -> Float[np.ndarray, "n 3"]:
    """Points uniform on a sphere about the origin."""
    x = rng.standard_normal((count, 3))
    return (radius * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def torus(rng: np.random.Generator, count: int, ring: float, tube: float) -> Float[np.ndarray, "n 3"]:
    """Points uniform on a torus about the third axis: the area at tube angle a goes with `ring + tube cos a`."""
    around, kept = rng.uniform(-np.pi, np.pi, count), np.empty(0)
    while len(kept) < count:
        angle = rng.uniform(-np.pi, np.pi, count)
        fits = rng.uniform(0, ring + tube, count) < ring + tube * np.cos(angle)
        kept = np.concatenate([kept, angle[fits]])
    angle = kept[:count]
    out = ring + tube * np.cos(angle)
    return np.stack([out * np.cos(around), out * np.sin(around), tube * np.sin(angle)], 1).astype(np.float32)


def to_torus(x: Float[np.ndarray, "n 3"], ring: float, tube: float) -> Float[np.ndarray, " n"]:
    """Distance of points to the surface: `| |(|(x_1, x_2)| - ring, x_3)| - tube |`."""
    return np.abs(np.hypot(np.hypot(x[:, 0], x[:, 1]) - ring, x[:, 2]) - tube)


def unevenness(x: Float[np.ndarray, "n 3"], ring: float, tube: float) -> float:
    """The larger of the Kolmogorov distances of two angles from their laws on the torus.

    The angle around the axis is uniform; that around the tube has the distribution function
    `1/2 + a / 2 pi + tube sin a / (2 pi ring)`.
    """
    around = np.arctan2(x[:, 1], x[:, 0])
    angle = np.arctan2(x[:, 2], np.hypot(x[:, 0], x[:, 1]) - ring)
    laws = (
        0.5 + around / (2 * np.pi),
        0.5 + angle / (2 * np.pi) + tube * np.sin(angle) / (2 * np.pi * ring),
    )
    return max(_kolmogorov(np.sort(law)) for law in laws)


def _kolmogorov(uniform: np.ndarray) -> float:
    steps = np.arange(len(uniform) + 1) / len(uniform)
    return float(max(np.max(steps[1:] - uniform), np.max(uniform - steps[:-1])))
