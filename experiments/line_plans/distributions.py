"""Pairs of distributions in 2, 8 and 32 dimensions, some of which lines do not serve well."""

from collections.abc import Callable

import numpy as np

from efm_jax.datasets import toys

Draw = Callable[[np.random.Generator, int], np.ndarray]


def checkerboard(rng: np.random.Generator, n: int) -> np.ndarray:
    """The dark squares of a 4 x 4 board of side 8."""
    column, row = rng.integers(4, size=n), rng.integers(2, size=n)
    corner = np.stack([column, 2 * row + column % 2], axis=1)
    return 2.0 * (corner + rng.random((n, 2))) - 4.0


def rings(rng: np.random.Generator, n: int) -> np.ndarray:
    """Circles of radius 1, 2, 3, each a third, blurred by 0.1."""
    angle, radius = 2 * np.pi * rng.random(n), 1.0 + rng.integers(3, size=n)
    ring = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return ring + 0.1 * rng.standard_normal((n, 2))


def mixture(dim: int, modes: int, seed: int) -> Draw:
    """Normal distributions around centers three times as far apart as they are wide."""
    centers = 3.0 * np.random.default_rng(seed).standard_normal((modes, dim))

    def draw(rng, n):
        return centers[rng.integers(modes, size=n)] + rng.standard_normal((n, dim))

    return draw


def ellipse(long: int, ratio: float) -> Draw:
    """A normal distribution in the plane, stretched along one axis."""
    scale = np.where(np.arange(2) == long, ratio, 1.0)
    return lambda rng, n: scale * rng.standard_normal((n, 2))


def normal(dim: int) -> Draw:
    """N(0, I)."""
    return lambda rng, n: rng.standard_normal((n, dim))


def cube(dim: int) -> Draw:
    """Uniform in [-1, 1]^D."""
    return lambda rng, n: rng.uniform(-1, 1, (n, dim))


def shell(dim: int) -> Draw:
    """The unit sphere, blurred by 0.05."""

    def draw(rng, n):
        e = rng.standard_normal((n, dim))
        return e / np.linalg.norm(e, axis=1, keepdims=True) + 0.05 * rng.standard_normal((n, dim))

    return draw


def heavy(dim: int) -> Draw:
    """Student's distribution with 3 degrees of freedom in each coordinate."""
    return lambda rng, n: rng.standard_t(3, (n, dim))


PAIRS: dict[str, tuple[Draw, Draw]] = {
    "normal → 8 gaussians": (normal(2), toys.eight_gaussians().draw),
    "moons → 8 gaussians": (toys.moons().draw, toys.eight_gaussians().draw),
    "normal → moons": (normal(2), toys.moons().draw),
    "normal → S-curve": (normal(2), toys.s_curve().draw),
    "normal → Swiss roll": (normal(2), toys.swiss_roll().draw),
    "checkerboard → rings": (checkerboard, rings),
    "rings → checkerboard": (rings, checkerboard),
    "mixtures, D = 2": (mixture(2, 5, 1), mixture(2, 7, 2)),
    "ellipse 3:1 → across": (ellipse(0, 3.0), ellipse(1, 3.0)),
    "ellipse 10:1 → across": (ellipse(0, 10.0), ellipse(1, 10.0)),
    "mixtures, D = 8": (mixture(8, 5, 1), mixture(8, 7, 2)),
    "normal → cube, D = 8": (normal(8), cube(8)),
    "cube → sphere, D = 8": (cube(8), shell(8)),
    "mixtures, D = 32": (mixture(32, 5, 1), mixture(32, 7, 2)),
    "normal → heavy tails, D = 32": (normal(32), heavy(32)),
}
"""P and Q by name."""
