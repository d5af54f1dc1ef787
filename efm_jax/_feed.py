"""Batches made by another thread while the device works, so that data is not waited for.

A batch depends on the seed and its step alone (`datasets.batch`): how far ahead it is made changes nothing.
"""

import math
from collections import deque
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .datasets import Source, batch

_AHEAD = 2  # batches made before they are needed


def batches(
    source_pos: Source,
    source_neg: Source,
    seed: int,
    sizes: tuple[int, int],
    steps: range,
    rows: tuple[slice | None, slice | None] = (None, None),
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yield `(x_pos, x_neg)` for each of `steps`, in order: of each, the rows asked for."""

    def draw(step: int) -> tuple[np.ndarray, np.ndarray]:
        x_pos = batch(source_pos, seed, 0, step, sizes[0], rows=rows[0])
        return x_pos, batch(source_neg, seed, 1, step, sizes[1], rows=rows[1])

    with ThreadPoolExecutor(1, thread_name_prefix="efm-data") as pool:
        try:
            waiting = deque(pool.submit(draw, step) for step in steps[:_AHEAD])
            for step in steps:
                if step + _AHEAD in steps:
                    waiting.append(pool.submit(draw, step + _AHEAD))
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
