"""Charges and points on which the float32 field is measured: every way known to lose digits."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

DIMS = (1, 2, 3, 32, 784, 3072, 12288)
GAPS = (1e-2, 1.0, 30.0, 1e3)


class Case(NamedTuple):
    """One measurement: points [p, D+1], positions [n, D+1], charge [n], all float32."""

    name: str
    points: np.ndarray
    positions: np.ndarray
    charge: np.ndarray


def cases(dim: int, count: int, num_points: int, seed: int = 0) -> Iterator[Case]:
    """All cases of one dimension, with up to `count` charges a plate and about `num_points` points each."""
    rng = np.random.default_rng([seed, dim, count])
    normal = rng.standard_normal
    for gap in GAPS:
        x, y = normal((count, dim)), normal((count, dim)) + 1
        yield case(f"between, gap {gap:g}", segment(rng, x, y, gap, num_points), x, y, gap)
        yield case(f"near the plates, gap {gap:g}", by_plates(rng, x, y, gap, num_points), x, y, gap)
    for gap in GAPS:
        x, y = 50 + normal((count, dim)), 50 * normal((count, dim))
        yield case(
            f"1e-3 from a charge, size 50, gap {gap:g}", beside(rng, x, y, gap, 1e-3, num_points), x, y, gap
        )
    x, y = normal((count, dim)), normal((count, dim))
    for gap in GAPS:
        away = directions(rng, num_points, dim + 1) * 1e4
        yield case(f"far away, gap {gap:g}", away, x, y, gap)
        yield case(f"far away, same samples, gap {gap:g}", away, x, x, gap)
    images = rng.uniform(-1, 1, (count, dim)), rng.uniform(-1, 1, (count, dim))
    yield case("pictures", segment(rng, *images, 30.0, num_points), *images, 30.0)
    binary = np.sign(normal((count, dim))), np.sign(normal((count, dim)))
    yield case("binary pictures", segment(rng, *binary, 5.0, num_points), *binary, 5.0)
    yield from ties(rng, dim, count, num_points)
    yield from clusters(rng, dim, count, num_points)


def ties(rng, dim: int, count: int, num_points: int) -> Iterator[Case]:
    """Near ties between charges and between plates, duplicates, and points on charges."""
    x, y = rng.standard_normal((count, dim)), rng.standard_normal((count, dim))
    side = directions(rng, num_points, dim)
    two = np.stack([side[0], -side[0]])
    for height in (0.5, 1e-2, 1e-4):
        middle = np.concatenate([side * 1e-3, np.full((num_points, 1), height)], axis=1)
        yield case(f"between two charges, height {height:g}", middle, two, 3 * two, 6.0)
        yield case(f"between two charges, height {height:g}, far plate", middle, two, two, 1e3)
    mirror = np.concatenate([x[: count // 2], -x[: count // 2]]) if count > 1 else x
    low = np.concatenate([1e-3 * side, np.full((num_points, 1), 1e-3)], axis=1)
    yield case("center of a symmetric plate", low, mirror, y, 10.0)
    for gap in (1e-2, 1.0):  # plates cancel: in line with a pair, and aside of it
        line = np.zeros((num_points, dim + 1))
        line[:, -1] = np.geomspace(2 * gap, 1e3 * gap, num_points)
        yield case(f"behind one pair, gap {gap:g}", line, np.zeros((1, dim)), np.zeros((1, dim)), gap)
        line = np.concatenate(
            [side * np.geomspace(gap, 1e3 * gap, num_points)[:, None], line[:, -1:] * 0], axis=1
        )
        yield case(f"aside one pair, gap {gap:g}", line, np.zeros((1, dim)), np.zeros((1, dim)), gap)
    yield case(
        "twice the samples", segment(rng, x, x, 1.0, num_points), np.tile(x, (2, 1)), np.tile(x, (3, 1)), 1.0
    )
    same = np.tile(x[:1], (count, 1))
    yield case("one sample over and over", segment(rng, same, same, 1.0, num_points), same, same, 1.0)
    yield case("on a charge", beside(rng, x, y, 6.0, 0.0, num_points), x, y, 6.0)
    yield case("on two charges", beside(rng, x, x, 6.0, 0.0, num_points), np.tile(x, (2, 1)), x, 6.0)


def clusters(rng, dim: int, count: int, num_points: int) -> Iterator[Case]:
    """Tight clusters far from each other and from the origin."""
    for spread in (1e-3, 1.0):
        center = 50 * np.sign(rng.standard_normal((2, dim)))
        x = center[np.arange(count) % 2] + spread * rng.standard_normal((count, dim))
        y = center[(np.arange(count) + 1) % 2] + spread * rng.standard_normal((count, dim))
        for gap in (1e-2, 30.0):
            name = f"two clusters of spread {spread:g}, gap {gap:g}"
            yield case(name, segment(rng, x, x, gap, num_points), x, y, gap)
            around = beside(rng, x, y, gap, spread, num_points)
            yield case(name + ", inside", around, x, y, gap)
        yield case(
            f"one cluster of spread {spread:g}",
            segment(rng, x[::2], x[::2], 1.0, num_points),
            x[::2],
            x[::2],
            1.0,
        )


def case(name: str, points, x, y, gap: float) -> Case:
    positions = np.concatenate([lift(x, 0.0), lift(y, gap)])
    charge = np.concatenate([np.full(len(x), 1 / len(x)), np.full(len(y), -1 / len(y))])
    return Case(name, *(np.asarray(values, np.float32) for values in (points, positions, charge)))


def lift(x, height) -> np.ndarray:
    return np.concatenate([x, np.broadcast_to(height, (len(x), 1))], axis=1)


def directions(rng, count: int, dim: int) -> np.ndarray:
    vectors = rng.standard_normal((count, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def segment(rng, x, y, gap: float, num_points: int) -> np.ndarray:
    i, j = rng.integers(len(x), size=num_points), rng.integers(len(y), size=num_points)
    share = rng.uniform(size=(num_points, 1))
    return lift((1 - share) * x[i] + share * y[j], share * gap)


def by_plates(rng, x, y, gap: float, num_points: int) -> np.ndarray:
    """Points 1e-3 above charges of P, and as far below charges of Q, with as little noise."""
    half = num_points // 2
    lower = lift(x[rng.integers(len(x), size=half)], 1e-3)
    upper = lift(y[rng.integers(len(y), size=num_points - half)], gap - 1e-3)
    points = np.concatenate([lower, upper])
    return points + 1e-3 * directions(rng, num_points, points.shape[1])


def beside(rng, x, y, gap: float, distance: float, num_points: int) -> np.ndarray:
    """Points at a distance from charges: float32 numbers, so that 0 is exactly on the charge."""
    charges = np.concatenate([lift(x, 0.0), lift(y, gap)]).astype(np.float32)
    return charges[rng.integers(len(charges), size=num_points)] + distance * directions(
        rng, num_points, x.shape[1] + 1
    )
