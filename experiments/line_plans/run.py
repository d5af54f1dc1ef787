"""One way to pair samples: what it costs, whom it reaches, how long it takes."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from efm_jax.matching import couplings
from experiments.line_plans.config import TUBES, WIDTH, Config
from experiments.line_plans.distributions import PAIRS, mixture
from experiments.toy_table.config import LowNoise
from experiments.toy_table.run import drawn

HEIGHTS = np.linspace(0.05, 0.95, 10)
CROSSING = ("optimal", "lines", "lines, whitened", "lines, one to one", "minibatch OT")
"""Ways whose tubes are looked at."""
Way = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ways(config: Config) -> dict[str, Way]:
    """From samples of P and Q to the row of Q that each of P is paired with."""
    lines = functools.partial(functools.partial, couplings.lines_plan)
    return {
        "optimal": couplings.whole_plan,
        "lines": lines(),
        "lines, one to one": lines(one_to_one=True),
        "lines, not stretched": lines(stretch=False),
        "lines, by flux": lines(flux=1.0, stretch=False),
        "lines, K = 1": lines(extra=1),
        "lines, K = 1, by flux": lines(extra=1, flux=1.0, stretch=False),
        "lines, whitened": lines(frame="whitened", first=0.01, steps=40),
        "minibatch OT": functools.partial(couplings.whole_plan, block_size=config.block),
        "Sinkhorn": _sinkhorn,
        "independent": lambda x, y: np.arange(len(x)),
    }


def cell(config: Config, pair: str, seed: int, way: str) -> dict[str, Any]:
    """Cost over that of the optimal plan, distinct partners, and how near the partners are to Q."""
    x, y, fresh, best, floor = _samples(config, pair, seed)
    partner = y[j := ways(config)[way](x, y)]
    return {
        "cost": float(np.mean(np.sum((partner - x) ** 2, axis=1)) / best),
        "distinct": len(np.unique(j)) / len(x),
        "ends": float(np.sqrt(_squared_w2(partner, fresh) / floor)),
    }


def crossing(config: Config, source: str, target: str, seed: int, way: str) -> dict[str, Any]:
    """What no network can learn of straight tubes: how much their velocities differ at one point.

    The mean over heights of `E |v - E[v | x, z]|^2 / E |v|^2`, v the partner less the sample, over points in the tubes of
    the samples of the low-noise toy table.
    """
    rng = np.random.default_rng([seed, 2])
    x, y = (
        rng.permutation(drawn(LowNoise(), name, seed, side, "train"))[:TUBES].astype(np.float64)
        for side, name in enumerate((source, target))
    )
    v = y[ways(config)[way](np.float32(x), np.float32(y))] - x
    return {"crossing": unlearnable(x, v, rng)}


def unlearnable(x: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> float:
    """The share of the squared velocity `v` of tubes from `x` that is left about its mean at a point."""
    left = []
    for z in HEIGHTS:
        middle = x + z * v
        points = middle + WIDTH * rng.standard_normal(middle.shape)
        density = np.exp(-cdist(points, middle, "sqeuclidean") / (2 * WIDTH**2))
        density /= density.sum(1, keepdims=True)
        left.append(np.mean(density @ np.sum(v**2, axis=1) - np.sum((density @ v) ** 2, axis=1)))
    return float(np.mean(left) / np.mean(np.sum(v**2, axis=1)))


def timed(config: Config, dim: int, count: int, way: str) -> dict[str, Any]:
    """Seconds of a plan, compilation apart."""
    rng = np.random.default_rng(0)
    x, y = (mixture(dim, k, k)(rng, count).astype(np.float32) for k in (5, 7))
    plan = ways(config)[way]
    if way.startswith("lines") or way == "Sinkhorn":
        plan(x, y)
    began = time.perf_counter()
    plan(x, y)
    return {"seconds": round(time.perf_counter() - began, 3)}


@functools.lru_cache(maxsize=2)
def _samples(config: Config, pair: str, seed: int):
    rng = np.random.default_rng([seed, 1])
    draw_p, draw_q = PAIRS[pair]
    x = draw_p(rng, config.count).astype(np.float32)
    y, fresh = (draw_q(rng, config.count).astype(np.float32) for _ in range(2))
    return x, y, fresh, _squared_w2(x, y), _squared_w2(y, fresh)


def _squared_w2(a: np.ndarray, b: np.ndarray) -> float:
    cost = cdist(a.astype(np.float64), b.astype(np.float64), "sqeuclidean")
    return float(cost[linear_sum_assignment(cost)].mean())


def _sinkhorn(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    i, j = couplings.sinkhorn()(jax.random.key(0), x, y, len(x))
    partner = np.empty(len(x), int)
    partner[np.asarray(i)] = np.asarray(j)
    return partner
