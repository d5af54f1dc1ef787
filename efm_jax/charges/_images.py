"""Heights and weights of the image plates of a capacitor chain, so that few plates replace infinitely many.

Heights are in units of the gap and weights in units of one plate. Plates of P belong on every even height, plates of
Q on every odd one. Those with |height| <= K are kept. Seen from inside, those beyond are a smooth background,

    sum_k (x, z - k) / |(x, z - k)|^(D+1) = sum_n H_n(x, z) mu_n,    mu_n = sum_k |k|^-(D+1) (1/k^2)^n,

the H_n being polynomials of degree 2n + 1. M far plates a side reproduce this background up to n = 2M - 1, if their
heights and weights are a Gauss rule of the measure that puts |k|^-(D+1) on 1/k^2. A smooth window at the end of the
row would leave an error: the lateral field of all that lies beyond, a relative (spread / K gap)^D.
"""

from bisect import bisect_left
from functools import lru_cache
from typing import NamedTuple

import numpy as np

MOST_FAR = 6
MOST_IMAGES = 512
_SUMMED = 400  # plates summed one by one; the rest, as smooth as 1/height, by an integral


class Row(NamedTuple):
    """The plates of one sign: heights [m] in gaps, and how many plates each stands for, [m]."""

    height: np.ndarray
    weight: np.ndarray


class Chain(NamedTuple):
    """Plates of P and of Q, the greatest relative error of one charge's field within the reach, and the counter height."""

    even: Row  # the plates of P
    odd: Row  # the plates of Q
    error: float  # greatest error of the field of one charge and its images, relative to that field
    # height at which two charges that make the whole neutral change the field by a tenth of the error at most, or of
    # 1e-6 if that is more
    counter: float


@lru_cache(maxsize=256)
def chain(dim: int, reach: float, tolerance: float, images: int | None = None) -> Chain:
    """Return the fewest plates within the tolerance; for a given K (`images`) the fewest far plates, or the best.

    `reach` is the greatest lateral distance between point and charge, in gaps; `tolerance` bounds `Chain.error`.
    """
    if images is not None:
        found = [_measured(dim, reach, images, far) for far in range(MOST_FAR + 1)]
        good = [plates for plates in found if plates.error <= tolerance]
        return good[0] if good else min(found, key=lambda plates: plates.error)
    best = None
    for far in range(MOST_FAR + 1):
        count = _least(dim, reach, tolerance, far)
        if count is not None and (best is None or 2 * count + 4 * far < best[0]):
            best = 2 * count + 4 * far, _measured(dim, reach, count, far)
    if best is None:
        raise ValueError(
            f"no chain of up to {MOST_IMAGES} images reaches a tolerance of {tolerance!r} at a lateral distance of "
            f"{reach:.3g} gaps; widen the gap, loosen the tolerance, or take fields.chain, which sums all images."
        )
    return best[1]


def _least(dim: int, reach: float, tolerance: float, far: int) -> int | None:
    """The least number of images, by doubling and bisection: the error falls with it."""
    high = 2
    while _measured(dim, reach, high, far).error > tolerance:
        high *= 2
        if high > MOST_IMAGES:
            return None
    choices = range(high // 2 + 1, high)
    return (
        high // 2
        + 1
        + bisect_left(choices, True, key=lambda k: _measured(dim, reach, k, far).error <= tolerance)
    )


@lru_cache(maxsize=1024)
def _measured(dim: int, reach: float, images: int, far: int) -> Chain:
    """The plates, and their error at the widest distances and all heights between the plates, in float64."""
    rows, worst, weakest = [], 0.0, np.inf
    distance, height = np.meshgrid(reach * np.array([0.25, 0.5, 1.0]), np.linspace(0.0, 1.0, 17))
    for parity in (0, 1):
        near = np.arange(-images, images + 1.0)
        near = near[near % 2 == parity]
        first = near[-1] + 2
        missing, share = _rest(first)
        lifted, weight = _gauss((first / missing) ** 2, share * (first / missing) ** (dim + 1), far)
        lifted = first / np.sqrt(lifted)
        weight = weight * (lifted / first) ** (dim + 1)
        rows.append(Row(np.r_[near, lifted, -lifted], np.r_[np.ones_like(near), weight, weight]))
        whole = Row(np.r_[near, missing, -missing], np.r_[np.ones_like(near), share, share])
        apart = Row(np.r_[lifted, -lifted, missing, -missing], np.r_[weight, weight, -share, -share])
        full = _field(distance, height, whole, dim, parity)
        worst = max(worst, float((_field(distance, height, apart, dim, parity) / full).max()))
        own = reach**2 + (height[:, -1] - parity) ** 2
        weakest = min(weakest, float((np.log(full[:, -1]) - 0.5 * (dim + 1) * np.log(own)).min()))
    # at (reach, 1) the counter's field is at most net (reach + D) / counter^(D+1), times S_D
    net = abs(rows[0].weight.sum() - rows[1].weight.sum())
    allowed = np.log(0.1 * max(worst, 1e-6)) + weakest
    counter = np.exp((np.log(net * (reach + dim)) - allowed) / (dim + 1))
    highest = max(row.height.max() for row in rows)
    return Chain(rows[0], rows[1], worst, float(max(counter, 4 * (reach + highest))))


def _rest(first: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights and weights that stand for all plates at `first`, `first + 2`, ...: an integral at the end."""
    summed = first + 2.0 * np.arange(_SUMMED)
    end = summed[-1] + 1
    node, weight = np.polynomial.legendre.leggauss(24)
    inverse = 0.5 * (node + 1) / end
    return np.r_[summed, 1 / inverse], np.r_[np.ones_like(summed), 0.25 * weight / (end * inverse**2)]


def _gauss(place: np.ndarray, mass: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss's rule of a discrete measure: polynomials up to degree `2 count - 1` exactly (Stieltjes; Golub, Welsch 1969)."""
    if count == 0:
        return np.zeros(0), np.zeros(0)
    before, now = np.zeros_like(place), np.ones_like(place) / np.sqrt(mass.sum())
    diagonal, beside = [], []
    for _ in range(count):
        diagonal.append((mass * place * now**2).sum())
        new = (place - diagonal[-1]) * now - (beside[-1] if beside else 0.0) * before
        beside.append(np.sqrt((mass * new**2).sum()))
        if beside[-1] < 1e-12:  # in high D one plate is all there is
            break
        before, now = now, new / beside[-1]
    size = len(diagonal)
    matrix = np.diag(diagonal) + np.diag(beside[: size - 1], 1) + np.diag(beside[: size - 1], -1)
    node, vector = np.linalg.eigh(matrix)
    return node, mass.sum() * vector[0] ** 2


def _field(distance: np.ndarray, height: np.ndarray, row: Row, dim: int, nearest: int) -> np.ndarray:
    """Size of the field of a row of unit charges, times S_D (distance^2 + (height - nearest)^2)^((D+1)/2)."""
    lift = height[..., None] - row.height
    own = distance**2 + (height - nearest) ** 2
    power = row.weight * ((distance[..., None] ** 2 + lift**2) / own[..., None]) ** (-0.5 * (dim + 1))
    return np.hypot(distance * power.sum(-1), (lift * power).sum(-1))
