"""One row: the lines of one field at one gap, where they end and how far they go about."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from efm_jax import fields
from efm_jax.charges import far_plates
from efm_jax.charges.plates import capacitor
from efm_jax.matching import gaps
from experiments.exact_transport.config import Config as Lines
from experiments.exact_transport.run import follow, forward_only, plates
from experiments.gap_effect.config import Config
from experiments.toy_table.methods import AT, Method, chain, tubes
from experiments.toy_table.run import cell, detour, samples, w2

EXACT = ("two plates, forward only", "two plates, stochastic map", "capacitor chain")


def exact(config: Config, source: str, target: str, gap: float, seed: int, *, name: str) -> dict:
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


def far(config: Config, source: str, target: str, gap: None, seed: int, *, upright: bool) -> dict:
    """The same of plates far apart: lines of charges, launched by flux, or of new samples, launched upright."""
    lines = Lines(charges=config.charges, lines=config.lines)
    x, y = plates(lines, source, target, seed)
    start, towards = samples(source, seed, 0, config.lines, "test"), None
    if not upright:
        key_rows, key_tau = jax.random.split(jax.random.key(seed))
        start = x[jax.random.choice(key_rows, len(x), (config.lines,), replace=False)]
        towards = fields.directions(key_tau, start.shape)
    found = fields.far_lines(far_plates(x, y), start, towards=towards, first=0.003, steps=40)
    end = np.asarray(found.end)
    return {"w2": w2(end, samples(target, seed, 1, config.lines, "test")), "detour": None, "arrived": 1.0}


def learned(
    config: Config, source: str, target: str, gap: float | None, seed: int, *, method: Callable[..., Method]
) -> dict:
    """The same of a learned field."""
    row = cell(config.table, method(gap), source, target, seed)
    return {
        "w2": row["w2"],
        "detour": row["detour"],
        "arrived": row["adaptive"]["arrived"],
        "seconds": row["seconds"],
    }


FIELDS = {f"exact: {name}": partial(exact, name=name) for name in EXACT} | {
    f"learned: {name}": partial(learned, method=method)
    for name, method in {
        "EFM, superposed": AT["EFM, superposed"],
        "EFM, made safe": AT["EFM, made safe"],
        "EFM, per plate": AT["EFM, per plate"],
        "C2FM": lambda gap: chain(gap, reach=max(3 * gap, 18.0)),
        "IFM, one plan": AT["IFM, one plan"],
    }.items()
}
"""Fields at any gap: exact ones, and rows of the toy table; of the chain, accurate to three gaps or as far as there."""

FAR = {
    "exact: plates far apart, by flux": partial(far, upright=False),
    "exact: plates far apart, upright": partial(far, upright=True),
    "learned: EFM, straight tubes": partial(learned, method=lambda gap: tubes()),
}
"""Fields whose gap is infinite."""
