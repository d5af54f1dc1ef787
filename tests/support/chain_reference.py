"""The chain in float64 NumPy and SciPy: image sums with their tail, Bessel series, the elementary sum at D = 1."""

from math import exp, lgamma, pi

import numpy as np
from scipy.special import kv


def sphere_area(dim):
    return 2 * pi ** ((dim + 1) / 2) / exp(lgamma((dim + 1) / 2))


def by_elementary(rho, z, gap):
    """(E_rho, E_z) of a unit charge at the origin of R^2 and its images at 2 k gap."""
    below = np.cosh(pi * rho / gap) - np.cos(pi * z / gap)
    return np.sinh(pi * rho / gap) / below / (4 * gap), np.sin(pi * z / gap) / below / (4 * gap)


def by_images(rho, z, gap, dim, images=1000):
    """(E_rho, E_z) of a unit charge and 2 x 1,000 images one by one, the rest by an integral (Euler and Maclaurin)."""
    rho, z = (np.asarray(a, np.float64)[..., None] for a in np.broadcast_arrays(rho, z))
    lift = z - 2 * gap * np.arange(-images, images + 1)
    power = (rho**2 + lift**2) ** (-0.5 * (dim + 1))
    e_rho, e_z = (rho * power).sum(-1), (lift * power).sum(-1)
    end = (2 * images + 1) * gap
    node, weight = np.polynomial.legendre.leggauss(40)
    u = 2 * end / (node + 1)
    weight = 0.5 * weight / end * u**2
    for lift in (z - u, z + u):
        power = weight * (rho**2 + lift**2) ** (-0.5 * (dim + 1)) / (2 * gap)
        e_rho, e_z = e_rho + (rho * power).sum(-1), e_z + (lift * power).sum(-1)
    return e_rho / sphere_area(dim), e_z / sphere_area(dim)


def by_bessel(rho, z, gap, dim, waves=400):
    """(E_rho, E_z) by the cosine series: each wave a Yukawa potential across, for rho not much below the gap."""
    rho, z = np.broadcast_arrays(np.asarray(rho, np.float64), z)
    order = dim / 2 - 1
    e_rho, e_z = rho ** (1 - dim) * exp(lgamma(dim / 2)) / (2 * pi ** (dim / 2)), np.zeros_like(rho)
    for m in range(1, waves):
        k = m * pi / gap
        scale = (2 * pi) ** (-dim / 2) * (k / rho) ** order
        e_rho = e_rho + 2 * np.cos(k * z) * scale * k * kv(order + 1, k * rho)
        e_z = e_z + 2 * k * np.sin(k * z) * scale * kv(order, k * rho)
    return e_rho / (2 * gap), e_z / (2 * gap)


def pair(rho, z, gap, dim):
    """(E_rho, E_z) of a unit charge at the origin and its images, every way where it is best."""
    rho, z = np.broadcast_arrays(np.asarray(rho, np.float64), z)
    if dim == 1:
        return by_elementary(rho, z, gap)
    near = rho < 1.5 * gap
    images, bessel = by_images(rho, z, gap, dim), by_bessel(np.where(near, gap, rho), z, gap, dim)
    return tuple(np.where(near, a, b) for a, b in zip(images, bessel, strict=True))


def chain(points, x_pos, x_neg, gap):
    """E [p, D+1] of the chain, and the sum of the sizes of all its terms, [p]."""
    points, x_pos, x_neg = (np.asarray(a, np.float64) for a in (points, x_pos, x_neg))
    dim = x_pos.shape[1]
    total, size = np.zeros_like(points), np.zeros(len(points))
    for samples, height, side in ((x_pos, points[:, -1], 1), (x_neg, gap - points[:, -1], -1)):
        away = points[:, None, :-1] - samples
        rho = np.linalg.norm(away, axis=2)
        e_rho, e_z = pair(rho, height[:, None], gap, dim)
        total[:, :-1] += (
            side * np.einsum("pn,pnd->pd", e_rho / np.where(rho > 0, rho, 1), away) / len(samples)
        )
        total[:, -1] += e_z.mean(1)
        size += np.hypot(e_rho, e_z).mean(1)
    return total, size
