"""One row per seed and way: fresh points of the sphere carried to the torus, judged by its geometry."""

from pathlib import Path
from typing import Any

import numpy as np

from efm_jax import metrics
from experiments._lib import domains as _domains
from experiments._lib.record import Record
from experiments.point_cloud import surfaces
from experiments.point_cloud.config import Config

PLAIN = ("no transport", "fresh points of Q")
"""What the methods are compared with: the sphere as it is, and the law of the torus itself, the floor."""


def table(config: Config, path: Path) -> dict[str, Any]:
    """Fill the table of ways at `path`."""
    identities = [{"seed": seed, "way": way} for seed in config.seeds for way in (*PLAIN, *config.methods)]
    record = Record(path, config, "rows")
    record.fill("rows", identities, lambda cell: row(config, cell["way"], cell["seed"]))
    return record.report


def row(config: Config, way: str, seed: int) -> dict[str, Any]:
    """Carry and score."""
    end, took = carried(config, way, seed)
    x, y = (clouds(config, seed, 1, config.held)[side] for side in (0, 1))
    off = surfaces.to_torus(end, config.ring, config.tube)
    return {
        "wasserstein2": metrics.wasserstein2(end, y),
        "off_surface": float(np.median(off)),
        "off_surface_95": float(np.quantile(off, 0.95)),
        "near_surface": float(np.mean(off < 0.1 * config.tube)),
        "unevenness": surfaces.unevenness(end, config.ring, config.tube),
        **({} if way == PLAIN[1] else _domains.effort(x, end)),
        **took,
    }


def carried(config: Config, way: str, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Return where the held-out points of the sphere end, and what it took."""
    x, y = clouds(config, seed, 0, config.cloud)
    start, _ = clouds(config, seed, 1, config.held)
    if way == "no transport":
        return start, {}
    if way == "fresh points of Q":
        return clouds(config, seed, 2, config.held)[1], {}
    return _domains.carried(config, way, seed, x, y, start)


def clouds(config: Config, seed: int, part: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the sphere and of the torus: part 0 to train on, 1 to score by, 2 for the floor."""
    p, q = (np.random.default_rng([seed, part, side]) for side in (0, 1))
    return surfaces.sphere(p, count, config.radius), surfaces.torus(q, count, config.ring, config.tube)
