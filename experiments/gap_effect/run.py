"""One row: the lines of one field at one gap, where they end and how far they go about."""

import numpy as np

from efm_jax.charges.plates import capacitor
from efm_jax.matching import gaps
from efm_jax.matching.by_height import pfgm_by_height
from experiments._lib.domains import flow
from experiments.exact_transport.config import Config as Lines
from experiments.exact_transport.run import follow, forward_only, plates
from experiments.gap_effect.config import Config
from experiments.toy_table.methods import AT, Method, chain
from experiments.toy_table.run import cell, detour, samples, w2

EXACT = ("two plates, forward only", "two plates, stochastic map", "capacitor chain")
LEARNED = {
    "EFM, superposed": AT["EFM, superposed"],
    "EFM, per plate": AT["EFM, per plate"],
    "C2FM": lambda gap: chain(gap, reach=max(3 * gap, 18.0)),
    "IFM, one plan": AT["IFM, one plan"],
    "PFGM++, K = 8, prior at L": lambda gap: Method(
        lambda k: pfgm_by_height(gap, target="velocity", num_extra=8, eps=1e-2, num_points=k),
        flow,
        "log",
        generates=True,
    ),
}
"""The rows of the toy table at any gap; of the chain, accurate to three gaps or as far as there."""


def exact(config: Config, source: str, target: str, gap: float, seed: int, name: str) -> dict:
    """W2 of the ends of the exact field's lines, and their detour."""
    lines = Lines(charges=config.charges, lines=config.lines)
    x, y = plates(lines, source, target, seed)
    goal = samples(target, seed, 1, config.lines, "test")
    if name == EXACT[0]:
        start = samples(source, seed, 0, config.lines, "test")
        found = forward_only(lines, capacitor(x, y, gap), start, gap, save=config.points)
    else:
        found = follow(lines, x, y, gap, seed, name.rpartition(", ")[2], config.lines, save=config.points)
    path = np.asarray(found.path)[..., :-1]
    return {
        "w2": w2(np.asarray(found.end)[:, :-1], goal),
        "detour": detour(path[:, np.isfinite(path).all((0, 2))]),
        "arrived": float(np.mean(found.arrived)),
    }


def suggested(config: Config, source: str, target: str, seed: int) -> float:
    """What `gaps.suggest_gap` says of as many samples as the exact field has charges."""
    x, y = (samples(name, seed, side, config.charges, "train") for side, name in enumerate((source, target)))
    return round(gaps.suggest_gap(x, y), 2)


def learned(config: Config, source: str, target: str, gap: float, seed: int, name: str) -> dict:
    """The same of a learned field; lines of a prior of its own have no detour."""
    row = cell(config.table, LEARNED[name](gap), source, target, seed)
    return {
        "w2": row["w2"],
        "detour": row.get("detour"),
        "arrived": row["adaptive"]["arrived"],
        "seconds": row["seconds"],
    }
