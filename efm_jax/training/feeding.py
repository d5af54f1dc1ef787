"""Batches made ahead by other threads, so that the device does not wait for data.

A batch depends on the seed and its step alone (`datasets.batch`): how far ahead it is made changes nothing.
"""

import math
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from efm_jax.datasets import Source, batch, class_shares, draw_labels
from efm_jax.datasets.classes import check_labeling, check_pairs, common_names
from efm_jax.training.on_devices import Make

__all__ = ["AHEAD", "Labeling", "Partners", "batches", "check", "check_labels"]

AHEAD = 2
"""Batches made before they are needed, by one thread; each more makes one more."""


Partners = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From as many samples of P as of Q to the row of Q that belongs to each of P."""


class Labeling(NamedTuple):
    """How steps are labeled: each has so many groups of rows, of one class each, or of all with probability `dropout`."""

    dropout: float
    groups: int


def batches(
    source_pos: Source,
    source_neg: Source,
    seed: int,
    sizes: tuple[int, int],
    steps: range,
    rows: tuple[slice | None, ...] = (None, None),
    labeling: Labeling | None = None,
    threads: int = 1,
    put: Callable[[np.ndarray, int], Any] = lambda rows, n: rows,
    makers: tuple[Make | None, ...] = (None, None),
    partners: Partners | None = None,
) -> Generator[tuple, None, None]:
    """Yield `(x_pos, x_neg)` for each of `steps`, in order: of each, the rows asked for; with a labeling, their labels too.

    Labels are drawn by the shares of Q's classes; by those of P's where Q has none. Several threads draw from the sources
    at once. They also call `put(rows, n)`, which puts the rows of a batch of n on the devices. A side with a maker has its
    batches made there by `maker(seed, side, step, labels)`.

    With `partners(x_pos, x_neg) -> j` row i of Q is the partner of row i of P, within each group of labels: the pairs of a
    plan are made here, ahead of the step.
    """
    ahead = AHEAD - 1 + threads
    labeled = source_pos if source_neg.classes is None else source_neg

    def draw(step: int) -> tuple[Any, ...]:
        labels = None
        with jax.profiler.TraceAnnotation("data"):
            if labeling is not None:
                labels = draw_labels(labeled, seed, step, labeling.groups, dropout=labeling.dropout)
            plates = tuple(plate(side, step, labels) for side in (0, 1))
            if partners is not None:
                plates = paired(partners, plates)
        return plates if labels is None else (*plates, labels)

    def plate(side: int, step: int, labels: np.ndarray | None) -> Any:
        source, n, make = (source_pos, source_neg)[side], sizes[side], makers[side]
        if make is not None:
            return make(seed, side, step, labels)
        x = batch(source, seed, side, step, n, rows=rows[side], labels=labels)
        return x if partners is not None else put(x, n)

    def paired(partners: Partners, plates: tuple[Any, ...]) -> tuple[Any, ...]:
        x, y = (np.asarray(plate) for plate in plates)
        groups = np.split(np.arange(len(x)), 1 if labeling is None else labeling.groups)
        y = np.concatenate([y[rows][partners(x[rows], y[rows])] for rows in groups])
        return put(x, sizes[0]), put(y, sizes[1])

    with ThreadPoolExecutor(threads, thread_name_prefix="efm-data") as pool:
        try:
            waiting = deque(pool.submit(draw, step) for step in steps[:ahead])
            for step in steps:
                if step + ahead in steps:
                    waiting.append(pool.submit(draw, step + ahead))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def check(source_pos: Source, source_neg: Source) -> None:
    """Raise ValueError unless samples of both plates have as many dimensions."""
    if math.prod(source_pos.shape) != math.prod(source_neg.shape):
        raise ValueError(
            f"both plates must hold samples of one size, got shape {source_pos.shape} from source_pos and "
            f"{source_neg.shape} from source_neg; bring the data to one shape."
        )


def check_labels(source_pos: Source, source_neg: Source, labeling: Labeling, sizes: tuple[int, int]) -> None:
    """Raise ValueError unless steps can be labeled so: by classes that both plates have, where both have some."""
    check_labeling(labeling.dropout, labeling.groups)
    common_names(source_pos, source_neg)
    check_pairs(source_pos, source_neg)
    pair = (source_pos, source_neg)
    shares = [class_shares(source) for source in pair if source.classes is not None]
    if not shares:
        raise ValueError(
            "labels need classes, and neither plate's data have any; open labeled data (digits, mnist:PATH, cifar10:PATH, "
            "a folder of folders, an npz with `labels`), or give them some by datasets.with_classes."
        )
    known = [np.flatnonzero(share).tolist() for share in shares]
    if known[0] != known[-1]:
        raise ValueError(
            f"the two plates must have samples of the same classes, got {known[0]} and {known[1]}; number them alike and "
            "leave out those that one side lacks."
        )
    if any(size % labeling.groups for size in sizes):
        raise ValueError(
            f"the charges of a step, {sizes[0]} and {sizes[1]}, must be multiples of its {labeling.groups} label groups."
        )
