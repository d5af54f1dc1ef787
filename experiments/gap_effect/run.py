"""One row: the lines of one field at one gap, from held-out samples of P to where they end."""

import jax.numpy as jnp
import numpy as np

from efm_jax import clocks, fields, lines, matching, metrics
from efm_jax.charges import capacitor, capacitor_chain
from experiments.gap_effect.config import Config
from experiments.toy_table.methods import STEEP, Method
from experiments.toy_table.run import cell, samples, w2

EXACT = ("two plates, forward only", "capacitor chain")
LEARNED = {
    "EFM, superposed": lambda gap: Method(lambda k: matching.efm(gap, num_points=k), clock="sine"),
    "EFM, per plate": lambda gap: Method(
        lambda k: matching.efm(gap, convention="per_plate", gamma=1e-7, num_points=k), clock="sine"
    ),
    "C2FM": lambda gap: Method(
        lambda k: matching.c2fm(gap, target="robust", reach=max(3 * gap, 18.0), num_points=k),
        matching.velocity_network,
        STEEP,
        charges=256,
    ),
}


def exact(config: Config, source: str, target: str, gap: float, seed: int, name: str) -> dict:
    """W2 and curvature of the exact field's lines."""
    p, q = (
        jnp.asarray(samples(law, seed, side, config.charges, "train"))
        for side, law in enumerate((source, target))
    )
    start, goal = (
        samples(law, seed, side, config.table.test, "test") for side, law in enumerate((source, target))
    )
    if name == EXACT[0]:
        charges = capacitor(p, q, gap)
    else:
        farthest = float(jnp.linalg.norm(jnp.concatenate([p, q]), axis=1).max())
        charges = capacitor_chain(p, q, gap, tolerance=1e-3, reach=2 * farthest + 2 * gap)
    found = lines.trace(
        fields.field_fn(charges, certified=False),
        jnp.c_[jnp.asarray(start), jnp.full(len(start), config.launch * gap)],
        gap * (1 - config.launch),
        solver="midpoint",
        steps=config.steps,
        clock=clocks.logit(config.launch),
        save=config.steps + 1,
    )
    path = np.asarray(found.path)[..., :-1]
    sound = np.isfinite(path).all((0, 2))
    end = np.where(np.isfinite(path[-1]), path[-1], start)
    return {
        "w2": w2(end, goal),
        "curvature": metrics.path_curvature(path[:, sound]),
        "arrived": float(np.mean(found.arrived)),
    }


def learned(config: Config, source: str, target: str, gap: float, seed: int, name: str) -> dict:
    """The same of a learned field."""
    row = cell(config.table, LEARNED[name](gap), source, target, seed)
    return {
        "w2": row["w2"],
        "curvature": row["curvature"],
        "arrived": row["adaptive"]["arrived"],
        "seconds": row["seconds"],
    }
