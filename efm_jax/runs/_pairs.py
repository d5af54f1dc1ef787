"""Batches of a person's own: pairs of arrays from an iterable, or from a function of the first step."""

import warnings
from collections.abc import Generator
from typing import Any

import numpy as np

from efm_jax.models.build import Pairs


def of_pairs(
    pairs: Pairs, steps: range, sizes: tuple[int, int]
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yield `(x_pos, x_neg)` for each of `steps` from an iterable of pairs of arrays, or a function of the first step."""
    if callable(pairs):
        pairs = pairs(steps.start)
    elif steps.start:
        warnings.warn(
            f"the data are an iterable: the run resumes at step {steps.start} with the first pair that it gives now. That "
            "repeats an uninterrupted run only if it was put at that step; a function of the step always does.",
            stacklevel=3,
        )
    step = None
    for step, pair in zip(steps, pairs, strict=False):  # no pair is taken that no step needs
        x_pos, x_neg = pair
        yield _samples("x_pos", x_pos, sizes[0], step), _samples("x_neg", x_neg, sizes[1], step)
    if step is None and not steps.start:
        raise ValueError(
            "the data hold no pair of arrays, and a run takes one each step.\nGive at least one; a generator gives each "
            "of its pairs once."
        )


def _samples(name: str, x: Any, n: int, step: int) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim < 2 or len(x) != n or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"pair {step} of the data must have {name} as {n} samples [{n}, ...] of floating-point numbers, got {x.dtype} "
            f"{x.shape}; scale pictures to [-1, 1]."
        )
    return np.ascontiguousarray(x.reshape(n, -1), np.float32)
