"""Flux of a field through surfaces: Gauss's law as a tool, in any dimension.

A surface is points with normals and weights: nodes of a quadrature in low D, random points in any D. Weights are logarithms,
since areas in high D leave the range of floating point where the flux does not.
"""

from collections.abc import Callable
from math import log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float
from scipy.special import roots_gegenbauer

from efm_jax._core import checks, dtypes
from efm_jax.fields._sums.log_lengths import log_sphere_area
from efm_jax.types import Field, Key

__all__ = ["Flux", "Surface", "box", "flux", "patch", "random_sphere", "sphere"]

_MOST_NODES = 2_000_000


class Surface(NamedTuple):
    """A surface in the space of points (x, z), given by places on it.

    Attributes:
        points: Places on it, [k, D+1].
        normals: Unit normals, outward where it is closed, [k, D+1].
        log_weight: Natural log of the area each place stands for, [k].
        random: Whether the places are independent and random, so that the flux has a standard error.
    """

    points: Float[Array, "k dim1"]
    normals: Float[Array, "k dim1"]
    log_weight: Float[Array, " k"]
    random: bool | Bool[Array, ""] = False


class Flux(NamedTuple):
    """A flux and its standard error.

    Attributes:
        value: The flux, in units of charge.
        standard_error: Standard error on a random surface; 0 for a quadrature, whose error shows with more nodes.
    """

    value: Float[Array, ""]
    standard_error: Float[Array, ""]


def flux(field: Callable[[Float[Array, "k dim1"]], Field], surface: Surface) -> Flux:
    """Return the flux of a field through a surface, `int E . n dA`: the enclosed charge if the surface is closed.

    Args:
        field: An exact field as a function of points [k, D+1], e.g. `lambda p: fields.coulomb(p, charges)`.
        surface: The surface, from `sphere`, `random_sphere`, `patch`, `box`, or your own.

    Raises:
        ValueError: If the surface's shapes do not fit together, or the field does not return a `Field`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import plate
        >>> from efm_jax.fields import coulomb
        >>> charges = plate(jnp.zeros((1, 2)), 0.0, -0.5)
        >>> through = flux(lambda p: coulomb(p, charges), sphere(jnp.array([0.1, 0.0, 0.0]), 1.0))
        >>> round(float(through.value), 4)
        -0.5

    Source: Gauss (1813); units as in Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2.
    """
    points, normals = checks.floating("surface.points", surface.points), jnp.asarray(surface.normals)
    log_weight = jnp.asarray(surface.log_weight)
    if points.ndim != 2 or normals.shape != points.shape or log_weight.shape != points.shape[:1]:
        raise ValueError(
            "a surface has points [k, D+1], normals [k, D+1] and log_weight [k], got shapes "
            f"{points.shape}, {normals.shape} and {log_weight.shape}."
        )
    found = field(points)
    if not isinstance(found, Field):
        raise ValueError(
            f"field must return a Field(direction, log_magnitude), got {type(found).__name__}; a function of unit "
            "directions has lost the magnitude: use fields.coulomb or fields.chain."
        )
    outward = jnp.sum(found.direction * normals, axis=1)
    vanishes = jnp.isneginf(found.log_magnitude)
    terms = outward * jnp.exp(jnp.where(vanishes, 0, found.log_magnitude) + log_weight)
    terms = jnp.where(vanishes, 0, terms)
    number = len(terms)
    error = jnp.sqrt(number * jnp.var(terms, ddof=1)) if number > 1 else jnp.full((), jnp.inf)
    return Flux(jnp.sum(terms), jnp.where(surface.random, error, 0))


def sphere(center: Float[Array, " dim1"], radius: float, *, nodes: int = 32) -> Surface:
    """Return a sphere as a product quadrature: Gauss-Gegenbauer in every polar angle, equal steps around the circle.

    Normals point outward. Exact for polynomials of degree below `2 nodes`. The field of a charge at distance s from the
    surface, seen from a sphere of this radius, needs `nodes` of several times radius / s.

    Args:
        center: Its center, [D+1].
        radius: Its radius, > 0.
        nodes: Nodes per polar angle, and half of those around the circle: `2 nodes^D` points.

    Raises:
        ValueError: If center is not [D+1] with D >= 1, the radius not > 0, or there would be more than two million points.

    Examples:
        >>> import jax.numpy as jnp
        >>> surface = sphere(jnp.zeros(3), 2.0, nodes=8)
        >>> surface.points.shape, round(float(jnp.exp(surface.log_weight).sum() / jnp.pi), 4)  # 4 pi r^2
        ((128, 3), 16.0)

    Source: Stroud (1971), Approximate Calculation of Multiple Integrals, section 2.6.
    """
    center, radius = _center(center), checks.length("radius", radius)
    nodes, dim = checks.count("nodes", nodes), len(center) - 1
    _limit(2 * nodes**dim, "random_sphere")
    angle = (np.arange(2 * nodes) + 0.5) * pi / nodes
    normals, weight = np.stack([np.cos(angle), np.sin(angle)], axis=1), np.full(2 * nodes, pi / nodes)
    for lower in range(1, dim):
        # the sphere of `lower` angles, swept by one more: dA = sin^lower dt, cos t = u
        u, w = roots_gegenbauer(nodes, 0.5 * lower)
        ring = np.sqrt(1 - u * u)[:, None, None] * normals
        last = np.broadcast_to(u[:, None, None], (nodes, len(normals), 1))
        normals, weight = (
            np.concatenate([ring, last], axis=2).reshape(-1, lower + 2),
            np.outer(w, weight).ravel(),
        )
    dtype = center.dtype
    log_weight = jnp.asarray(np.log(weight) + dim * _log(radius), dtype)
    normals = jnp.asarray(normals, dtype)
    return Surface(center + radius * normals, normals, log_weight)


def random_sphere(key: Key, center: Float[Array, " dim1"], radius: float, num_points: int) -> Surface:
    """Return a sphere as independent points uniform on it, for any D; normals point outward.

    Args:
        key: PRNG key.
        center: Its center, [D+1].
        radius: Its radius, > 0.
        num_points: How many points; the standard error of a flux falls with their square root.

    Raises:
        ValueError: If center is not [D+1] with D >= 1, the radius not > 0 or num_points not a whole number >= 1.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> surface = random_sphere(jax.random.key(0), jnp.zeros(785), 3.0, 10)
        >>> bool(jnp.allclose(jnp.linalg.norm(surface.points, axis=1), 3.0))
        True

    Source: Muller (1959), Comm. ACM 2, 19: normal numbers, normalized.
    """
    center, radius = _center(center), checks.length("radius", radius)
    number, dim = checks.count("num_points", num_points), len(center) - 1
    normals = jax.random.normal(key, (number, dim + 1), center.dtype)
    normals = normals / jnp.linalg.norm(normals, axis=1, keepdims=True)
    share = log_sphere_area(dim) + dim * _log(radius) - log(number)
    return Surface(center + radius * normals, normals, jnp.full(number, share, center.dtype), True)


def patch(
    lower: Float[Array, " dim"], upper: Float[Array, " dim"], at: float, *, axis: int = -1, nodes: int = 16
) -> Surface:
    """Return a rectangle in the plane where one coordinate is `at`, as a Gauss-Legendre quadrature.

    Its normal points up that axis.

    Args:
        lower: Lower bounds of the other D coordinates, in their order, [D].
        upper: Upper bounds, [D].
        at: The coordinate of the plane: the height z for the default axis.
        axis: Index of that coordinate among the D+1.
        nodes: Nodes per coordinate: `nodes^D` points.

    Raises:
        ValueError: If the bounds are not [D] with lower < upper, the axis is not one of D+1, or there would be more than
            two million points.

    Examples:
        >>> import jax.numpy as jnp
        >>> surface = patch(jnp.zeros(2), jnp.array([2.0, 3.0]), 1.0, nodes=4)
        >>> surface.points.shape, round(float(jnp.exp(surface.log_weight).sum()), 5), surface.normals[0].tolist()
        ((16, 3), 6.0, [0.0, 0.0, 1.0])

    Source: Gauss (1814): quadrature; a product of it.
    """
    low, high = _bounds(lower, upper)
    at, nodes, dim = checks.finite("at", at), checks.count("nodes", nodes), len(low)
    if not -dim - 1 <= axis <= dim:
        raise ValueError(f"axis must be one of the {dim + 1} coordinates, -{dim + 1} to {dim}, got {axis!r}.")
    _limit(nodes**dim, "more patches, or random_sphere,")
    axis %= dim + 1
    u, w = np.polynomial.legendre.leggauss(nodes)
    sides = [0.5 * (a + b) + 0.5 * (b - a) * u for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, dim)
    weights = [0.5 * (b - a) * w for a, b in zip(low, high, strict=True)]
    log_weight = np.sum(np.meshgrid(*map(np.log, weights), indexing="ij"), axis=0).ravel()
    points = np.insert(grid, axis, at, axis=1)
    normals = np.zeros_like(points)
    normals[:, axis] = 1
    return Surface(*(jnp.asarray(part, jnp.result_type(float)) for part in (points, normals, log_weight)))


def box(lower: Float[Array, " dim1"], upper: Float[Array, " dim1"], *, nodes: int = 16) -> Surface:
    """Return the closed surface of a box: its 2 (D+1) faces, as patches with normals outward.

    Args:
        lower: Its lower corner, [D+1], z last.
        upper: Its upper corner, [D+1].
        nodes: Nodes per edge: `2 (D+1) nodes^D` points.

    Raises:
        ValueError: If the corners are not [D+1] with D >= 1 and lower < upper, or there would be too many points.

    Examples:
        >>> import jax.numpy as jnp
        >>> surface = box(jnp.zeros(2), jnp.array([1.0, 3.0]), nodes=4)
        >>> surface.points.shape, round(float(jnp.exp(surface.log_weight).sum()), 5)
        ((16, 2), 8.0)

    Source: Gauss (1814): quadrature; a product of it on every face.
    """
    low, high = _bounds(lower, upper)
    if len(low) < 2:
        raise ValueError(f"a box has corners [D+1] with D >= 1, got shape {low.shape}; append the height z.")
    faces = []
    for axis in range(len(low)):
        rest = jnp.asarray(np.delete(low, axis)), jnp.asarray(np.delete(high, axis))
        for at, side in ((low[axis], -1), (high[axis], 1)):
            face = patch(*rest, float(at), axis=axis, nodes=nodes)
            faces.append((face.points, side * face.normals, face.log_weight))
    return Surface(*(jnp.concatenate(part) for part in zip(*faces, strict=True)))


def _center(center: Array) -> Array:
    center = checks.floating("center", center)
    if center.ndim != 1 or len(center) < 2:
        raise ValueError(f"center must have shape [D+1] with D >= 1, (x, z) with z last, got {center.shape}.")
    return dtypes.at_least_float32(center)


def _log(radius: float | Array) -> float | Array:
    return jnp.log(radius) if isinstance(radius, Tracer) else log(radius)


def _bounds(lower: Array, upper: Array) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(lower, np.float64), np.asarray(upper, np.float64)
    fit = low.ndim == 1 and low.shape == high.shape and len(low) > 0
    if not fit or not (np.isfinite(high - low) & (low < high)).all():
        raise ValueError(
            "lower and upper must be finite, of one shape [k], and lower < upper everywhere, got shapes "
            f"{low.shape} and {high.shape}: {low.tolist()} and {high.tolist()}."
        )
    return low, high


def _limit(number: int, instead: str) -> None:
    if number > _MOST_NODES:
        raise ValueError(
            f"a product quadrature of {number:.1e} points is too large (at most {_MOST_NODES});\ntake fewer nodes, or "
            f"{instead} in high dimensions."
        )
