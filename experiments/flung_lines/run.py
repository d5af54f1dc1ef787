"""One cell: train two plates at a gap, follow held-out samples, see how far from the data they end."""

from functools import partial

import jax
import numpy as np

from efm_jax import sampling
from efm_jax.lines import adaptive, fixed
from experiments.flung_lines.config import Config
from experiments.toy_table.methods import AT
from experiments.toy_table.run import drawn, train, w2


def cell(config: Config, place: dict) -> dict:
    """Of the place `{source, target, method, gap, seed}`: the farthest end, shares of lines that arrive, W2."""
    jax.clear_caches()  # compiled code of the cells before would fill gigabytes
    table, seed, names = config.table, place["seed"], (place["source"], place["target"])
    method = AT[place["method"]](place["gap"])
    p, q = (drawn(table, name, seed, side, "train") for side, name in enumerate(names))
    start, goal = (drawn(table, name, seed, side, "test") for side, name in enumerate(names))
    recipe, network, state, row = train(table, method, p, q, seed)
    follow, few = partial(sampling.transport, state, recipe, network, key=jax.random.key(seed)), config.scored
    lines = follow(start, stepping=fixed("euler", table.euler, clock=method.clock))
    adapted = adaptive("dopri5", rtol=table.tolerance, clock=method.clock)
    controlled = follow(start[:few], stepping=adapted)
    ends = [np.asarray(found.end)[:, :-1] for found in (lines, controlled)]
    return row | {
        "farthest": farthest(ends[0], q),
        "arrived": float(np.mean(lines.arrived)),
        "w2": w2(ends[0][:few], goal[:few]) if np.isfinite(ends[0]).all() else None,
        "adaptive": {"farthest": farthest(ends[1], q), "arrived": float(np.mean(controlled.arrived))},
    }


def farthest(ends: np.ndarray, data: np.ndarray) -> float:
    """Greatest distance of an end from the mean of the data, in units of their radius, that of the farthest sample."""
    away = [np.linalg.norm(x - data.mean(0), axis=1).max() for x in (ends, data)]
    return float(away[0] / away[1])
