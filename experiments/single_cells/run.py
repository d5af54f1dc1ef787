"""One row per pair of types, seed and way: held-out cells of P carried to Q and scored beside held-out cells of Q."""

import functools
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

from efm_jax import metrics
from efm_jax.matching import gaps
from experiments._lib import domains as _domains
from experiments._lib import linear_reader as reader
from experiments._lib.record import Record
from experiments.single_cells.cells import Cells, held_out
from experiments.single_cells.config import Config

PLAIN = ("no transport", "mean shift", "a training cell of Q")
"""What the methods are compared with: cells as they are, moved by the difference of means, drawn from the training set."""


class Split(NamedTuple):
    """Cells of a pair of types in one split, the reader of that split, and what all its rows share."""

    x: np.ndarray
    x_held: np.ndarray
    y: np.ndarray
    y_held: np.ndarray
    reader: reader.Reader
    target: int
    bandwidth: float
    facts: dict[str, Any]


def table(config: Config, cells: Cells, path) -> dict[str, Any]:
    """Fill the table of ways at `path`."""
    identities = [
        {"source": source, "target": target, "seed": seed, "way": way}
        for seed in config.seeds
        for source, target in config.pairs
        for way in (*PLAIN, *config.methods)
    ]
    prepared = functools.lru_cache(maxsize=1)(functools.partial(split, config, cells))

    def make(cell: dict) -> dict[str, Any]:
        return row(config, prepared(cell["source"], cell["target"], cell["seed"]), cell["way"], cell["seed"])

    record = Record(path, config, "rows")
    record.fill("rows", identities, make)
    return record.report


def split(config: Config, cells: Cells, source: str, target: str, seed: int) -> Split:
    """Part the cells, train the reader on the training cells of all types, find the kernel's width."""
    p, q = cells.index(source), cells.index(target)
    held = held_out(cells.kind, seed, config.held_out)
    x, x_held, y, y_held = (
        cells.x[(cells.kind == kind) & (held == part)] for kind in (p, q) for part in (False, True)
    )
    trained = reader.train(cells.x[~held], cells.kind[~held], len(cells.names), decay=config.classifier_decay)
    both = np.concatenate([x, y])
    apart = cdist(both, both)
    bandwidth = float(np.median(apart[np.triu_indices(len(both), 1)]))
    facts = {
        "mmd_floor": metrics.mmd(y, y_held, bandwidth=bandwidth),
        "reader_accuracy": float(np.mean(trained.read(cells.x[held]) == cells.kind[held])),
        "real_read_as_target": float(np.mean(trained.read(y_held) == q)),
        "suggested_gap": gaps.suggest_gap(x, y),
        "cells": [len(part) for part in (x, x_held, y, y_held)],
    }
    return Split(x, x_held, y, y_held, trained, q, bandwidth, facts)


def row(config: Config, cells: Split, way: str, seed: int) -> dict[str, Any]:
    """Carry the held-out cells of P by one way and score where they end."""
    took: dict[str, Any] = {}
    if way == "no transport":
        end = cells.x_held
    elif way == "mean shift":
        end = cells.x_held + cells.y.mean(0) - cells.x.mean(0)
    elif way == "a training cell of Q":
        end = cells.y[np.random.default_rng([seed, 1]).integers(0, len(cells.y), len(cells.x_held))]
    else:
        end, took = _domains.carried(config, way, seed, cells.x, cells.y, cells.x_held, noise=config.noise)
    return {
        "mmd": metrics.mmd(end, cells.y_held, bandwidth=cells.bandwidth),
        "read_as_target": float(np.mean(cells.reader.read(end) == cells.target)),
        "to_nearest": _to_nearest(end, cells.y) / _to_nearest(cells.y_held, cells.y),
        **_domains.effort(cells.x_held, end),
        **cells.facts,
        **took,
    }


def _to_nearest(a: np.ndarray, b: np.ndarray) -> float:
    """The median distance of a cell of one set to the nearest of the other."""
    return float(np.median(cdist(a, b).min(1)))
