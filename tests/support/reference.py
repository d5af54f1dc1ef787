"""Coulomb's law in float64 NumPy by direct differences, and the error the float32 field may make beside it."""

from math import lgamma, log, pi
from typing import NamedTuple

import numpy as np


class Reference(NamedTuple):
    """Direction [p, D+1], log-magnitude [p], and kappa [p] = (|E+| + |E-|) / |E|, the cancellation of the plates."""

    direction: np.ndarray
    log_magnitude: np.ndarray
    kappa: np.ndarray


def coulomb(points, positions, charge, convention="superposed", gamma=0.0) -> Reference:
    """The field at every point, one point at a time; charges a point sits on are skipped."""
    points, positions = np.asarray(points, np.float64), np.asarray(positions)
    charge = np.asarray(charge, np.float64)
    each = [_plates(point, positions, charge) for point in points]
    combine = {"superposed": _superposed, "per_plate": _per_plate}[convention]
    return Reference(*map(np.stack, zip(*(combine(*plates, gamma) for plates in each), strict=True)))


def _plates(point, positions, charge):
    """Per sign: `sum |q_i| w_i d_i`, `sum |q_i| w_i`, and the log of the scale of w, `w_i = exp(scale) / r_i^(D+1)`."""
    blocks = [
        slice(start, start + 512) for start in range(0, len(charge), 512)
    ]  # 12,288 dimensions fit in memory
    squared = np.concatenate(
        [np.sum((point - positions[block].astype(np.float64)) ** 2, axis=1) for block in blocks]
    )
    sides = []
    for sign in (1.0, -1.0):
        keep = (np.sign(charge) == sign) & (squared > 0)
        if not keep.any():
            sides.append((np.zeros_like(point), 0.0, np.inf))
            continue
        safe = np.where(keep, squared, 1.0)
        log_weight = np.where(
            keep, np.log(np.where(keep, np.abs(charge), 1.0)) - 0.5 * len(point) * np.log(safe), -np.inf
        )
        scale = log_weight.max()
        weight = np.exp(log_weight - scale)
        vector = sum(weight[block] @ (point - positions[block].astype(np.float64)) for block in blocks)
        sides.append((vector, weight.sum(), -scale))
    return sides


def _superposed(plus, minus, gamma):
    dim1 = len(plus[0])
    scale = min(plus[2], minus[2])
    if np.isinf(scale):
        return np.zeros(dim1), -np.inf, 1.0
    e_plus, e_minus = plus[0] * np.exp(scale - plus[2]), -minus[0] * np.exp(scale - minus[2])
    total = e_plus + e_minus
    length = np.linalg.norm(total)
    log_area = log(2) + 0.5 * dim1 * log(pi) - lgamma(0.5 * dim1)
    if length == 0:
        return total, -np.inf, np.inf
    kappa = (np.linalg.norm(e_plus) + np.linalg.norm(e_minus)) / length
    return total / length, np.log(length) - scale - log_area, kappa


def _per_plate(plus, minus, gamma):
    sides = []
    for sign, (vector, weight, _) in ((1.0, plus), (-1.0, minus)):
        mean = vector / weight if weight else vector
        length = np.linalg.norm(mean)
        sides.append(sign * mean / (length + gamma) if length else mean)
    total = np.sqrt(len(plus[0])) * (sides[0] + sides[1])
    length = np.linalg.norm(total)
    if length == 0:
        return total, -np.inf, np.inf
    kappa = np.sqrt(len(total)) * (np.linalg.norm(sides[0]) + np.linalg.norm(sides[1])) / length
    return total / length, np.log(length), kappa


def error_over_tolerance(field, reference: Reference) -> np.ndarray:
    """The worse of both errors over what is allowed, per point, [p]; NaN counts as infinite.

    Allowed: direction (Euclidean) `1e-5 + (1e-7 (D+1) + 1e-6) kappa`; log-magnitude
    `1e-4 + (1e-7 (D+1) + 1e-6) kappa + 1e-6 |value|`: what float32 leaves of r^(D+1) when r is good to its
        last
    digits. Where the plates cancel exactly, kappa is infinite and anything but NaN is allowed.
    """
    direction = np.asarray(field.direction, np.float64)
    magnitude = np.asarray(field.log_magnitude, np.float64)
    slack = (1e-7 * direction.shape[-1] + 1e-6) * reference.kappa
    zero = np.isinf(reference.log_magnitude)
    value = np.where(zero, 0.0, reference.log_magnitude)
    off = np.linalg.norm(direction - reference.direction, axis=-1) / (1e-5 + slack)
    with np.errstate(invalid="ignore"):
        log_off = np.abs(magnitude - value) / (1e-4 + slack + 1e-6 * np.abs(value))
    told_zero = np.isneginf(magnitude) & ~direction.any(axis=-1)
    ratio = np.where(zero, np.where(told_zero | np.isinf(slack), 0.0, np.inf), np.maximum(off, log_off))
    lost = np.isnan(ratio) | np.isnan(magnitude) | np.isnan(direction).any(axis=-1)
    return np.where(lost, np.inf, ratio)
