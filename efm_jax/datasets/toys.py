"""Toy distributions in the plane, each a `Source` with a written density and scale.

The scales are those of the published generators, since a Wasserstein distance means nothing without its
scale: print the floor `wasserstein2(Q, Q')` between two draws next to every figure.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from efm_jax.datasets.arrays import white_noise
from efm_jax.datasets.source import Source

__all__ = [
    "checkerboard",
    "eight_gaussians",
    "gaussian",
    "moons",
    "rings",
    "s_curve",
    "swiss_roll",
    "two_gaussians",
]


def gaussian(dim: int = 2, *, std: float = 1.0) -> Source:
    """A normal distribution, N(0, std^2 I) in `dim` dimensions.

    Examples:
        >>> gaussian(3).draw(np.random.default_rng(0), 2).shape
        (2, 3)
    """
    return white_noise((_count("dim", dim),), std=std)


def swiss_roll(*, noise: float = 0.8, scale: float = 2.0 / 7.5) -> Source:
    """The planar Swiss roll `scale * ((t cos t, t sin t) + noise e)`, t ~ U[3 pi/2, 9 pi/2], e ~ N(0, I).

    The roll of Field Matching's toys (Kolesov et al. 2025, arXiv 2502.02367, whose noise and aspect these
    are), about 3.8 in radius. Two sets of 1,024 points are W2 = 0.2 to 0.3 apart.

    Args:
        noise: Standard deviation of the noise before scaling, >= 0.
        scale: Factor on all coordinates, > 0.

    Examples:
        >>> swiss_roll().draw(np.random.default_rng(0), 4).shape
        (4, 2)
    """
    _spread("noise", noise, least=0.0)
    _spread("scale", scale)

    return _source(partial(_swiss_roll, noise, scale))


def _swiss_roll(noise, scale, rng: np.random.Generator, n: int) -> np.ndarray:
    t = 1.5 * np.pi * (1.0 + 2.0 * rng.random(n))
    return scale * (_plane(t * np.cos(t), t * np.sin(t)) + noise * rng.standard_normal((n, 2)))


def two_gaussians(distance: float = 8.0, *, std: float = 1.0) -> Source:
    """Two equal normal distributions, `1/2 N(-d e1, std^2 I) + 1/2 N(d e1, std^2 I)`, d = distance, e1 = (1, 0).

    They are its classes, 0 the left one.

    Args:
        distance: Distance of each center from the origin, >= 0.
        std: Standard deviation of each, > 0.

    Examples:
        >>> bool((abs(two_gaussians(8.0, std=0.1).draw(np.random.default_rng(0), 9)[:, 0]) > 7).all())
        True
    """
    _spread("distance", distance, least=0.0)
    return _mixture(np.array([[-distance, 0.0], [distance, 0.0]]), _spread("std", std))


def eight_gaussians(*, radius: float = 5.0, variance: float = 0.1**0.5) -> Source:
    """Eight equal normal distributions N(c_k, variance I) with centers `c_k = radius (cos(k pi/4), sin(k pi/4))`.

    They are its classes, k = 0 .. 7. Radius 5 and variance sqrt(0.1) (not 0.1) are those of the toy table of Tong et
    al. 2023, arXiv 2307.03672.

    Args:
        radius: Radius of the circle of centers, >= 0.
        variance: Variance of each coordinate around its center, > 0.

    Examples:
        >>> eight_gaussians().draw(np.random.default_rng(0), 4).shape
        (4, 2)
    """
    angle = np.arange(8) * (np.pi / 4.0)
    _spread("radius", radius, least=0.0)
    return _mixture(radius * _plane(np.cos(angle), np.sin(angle)), _spread("variance", variance) ** 0.5)


def moons(*, noise: float = 0.2, scale: float = 3.0, shift: float = -1.0) -> Source:
    """Two half circles, `scale * (half circle + noise e) + shift`, e ~ N(0, I).

    Upper moon (cos t, sin t), lower moon (1 - cos t, 1/2 - sin t), t ~ U[0, pi], each with probability 1/2.
    The defaults `3 moons(0.2) - 1` are those of Tong et al. 2023, arXiv 2307.03672.

    Args:
        noise: Standard deviation of the noise before scaling, >= 0.
        scale: Factor on all coordinates, > 0.
        shift: Added to both coordinates after scaling.

    Examples:
        >>> moons().draw(np.random.default_rng(0), 4).shape
        (4, 2)
    """
    _spread("noise", noise, least=0.0)
    _spread("scale", scale)

    return _source(partial(_moons, noise, scale, shift))


def _moons(noise, scale, shift, rng: np.random.Generator, n: int) -> np.ndarray:
    t, lower = np.pi * rng.random(n), rng.random(n) < 0.5
    curve = _plane(np.where(lower, 1.0 - np.cos(t), np.cos(t)), np.where(lower, 0.5 - np.sin(t), np.sin(t)))
    return scale * (curve + noise * rng.standard_normal((n, 2))) + shift


def s_curve(*, noise: float = 0.1, scale: float = 2.0) -> Source:
    """An S of two arcs, `scale * ((sin t, sign(t) (cos t - 1)) + noise e)`, |t| < 3 pi/2, e ~ N(0, I).

    The published tables do not print their scale; with 2 the S spans [-2, 2] x [-4, 4].

    Args:
        noise: Standard deviation of the noise before scaling, >= 0.
        scale: Factor on all coordinates, > 0.

    Examples:
        >>> s_curve().draw(np.random.default_rng(0), 4).shape
        (4, 2)
    """
    _spread("noise", noise, least=0.0)
    _spread("scale", scale)

    return _source(partial(_s_curve, noise, scale))


def _s_curve(noise, scale, rng: np.random.Generator, n: int) -> np.ndarray:
    t = 3.0 * np.pi * (rng.random(n) - 0.5)
    return scale * (_plane(np.sin(t), np.sign(t) * (np.cos(t) - 1.0)) + noise * rng.standard_normal((n, 2)))


def checkerboard(*, half_width: float = 4.0) -> Source:
    """Uniform on the 8 dark squares of a 4 x 4 board over [-h, h]^2: density `1 / (2 h^2)`, h = half_width.

    A square of column i and row j (0 to 3 from the lower left) is dark when i + j is even.

    Args:
        half_width: Half the side of the board, > 0.

    Examples:
        >>> checkerboard().draw(np.random.default_rng(0), 4).shape
        (4, 2)
    """
    side = _spread("half_width", half_width) / 2.0

    return _source(partial(_checkerboard, side))


def _checkerboard(side, rng: np.random.Generator, n: int) -> np.ndarray:
    column = rng.integers(0, 4, n)
    row = 2 * rng.integers(0, 2, n) + column % 2
    return side * (_plane(column, row) + rng.random((n, 2))) - 2.0 * side


def rings(*, radii: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0), noise: float = 0.08) -> Source:
    """Circles at the origin, `(r + noise e) (cos a, sin a)`, a ~ U[0, 2 pi), e ~ N(0, 1), r any of `radii`.

    Args:
        radii: Radii of the circles, each > 0.
        noise: Standard deviation of the radius, >= 0.

    Examples:
        >>> rings().draw(np.random.default_rng(0), 4).shape
        (4, 2)
    """
    _spread("noise", noise, least=0.0)
    if not radii:
        raise ValueError("radii must hold at least one radius, got none.")
    chosen = np.array([_spread("radii", radius) for radius in radii])

    return _source(partial(_rings, chosen, noise))


def _rings(chosen, noise, rng: np.random.Generator, n: int) -> np.ndarray:
    angle = 2.0 * np.pi * rng.random(n)
    r = chosen[rng.integers(0, len(chosen), n)] + noise * rng.standard_normal(n)
    return _plane(r * np.cos(angle), r * np.sin(angle))


def _source(sample: Callable[[np.random.Generator, int], np.ndarray]) -> Source:
    return Source(partial(_float32, sample), (2,), None)


def _float32(sample: Callable, rng: np.random.Generator, n: int) -> np.ndarray:
    return sample(rng, n).astype(np.float32)


def _mixture(centers: np.ndarray, std: float) -> Source:
    source = _source(partial(_around, centers, std))
    if len(centers) == 1:
        return source
    return source._replace(classes=tuple(_mixture(center[None], std) for center in centers))


def _around(centers: np.ndarray, std: float, rng: np.random.Generator, n: int) -> np.ndarray:
    return centers[rng.integers(0, len(centers), n)] + std * rng.standard_normal((n, centers.shape[1]))


def _plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=-1)


def _spread(name: str, value: float, *, least: float | None = None) -> float:
    if not np.isfinite(value) or (value <= 0.0 if least is None else value < least):
        raise ValueError(
            f"{name} must be a finite number {'> 0' if least is None else f'>= {least:g}'}, got {value!r}."
        )
    return float(value)


def _count(name: str, value: int) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")
    return int(value)
