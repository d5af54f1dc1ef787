"""The picture: digits that released models make with few evaluations a line."""

import dataclasses
from pathlib import Path

import numpy as np

from efm_jax import models
from efm_jax.datasets import batch, open_source
from experiments._lib.rows import save_rows

EVALUATIONS = (1, 2, 4, 24)
COUNT = 10


def draw(path: Path) -> None:
    """Rows of the same ten samples, by 1, 2, 4 and 24 steps of Euler: digits by class from noise, then 2s from 3s."""
    generator, digits = models.load("digit_generator"), models.load("digits")
    noise = np.random.default_rng(0).standard_normal((COUNT, 3072)).astype(np.float32)
    threes = batch(open_source("digits:3", split="test"), 1, 0, 0, COUNT)
    labels = np.arange(COUNT, dtype=np.int32)
    rows = {f"from noise: {n}": _ends(generator, noise, n, labels) for n in EVALUATIONS}
    rows |= {"3s": threes} | {f"from 3s: {n}": _ends(digits, threes, n) for n in EVALUATIONS}
    save_rows(path, rows, digits.shape)


def _ends(trained: models.Trained, x: np.ndarray, steps: int, labels: np.ndarray | None = None) -> np.ndarray:
    sampling = dataclasses.replace(trained.config.sampling, solver="euler", steps=steps, clock="linear")
    config = dataclasses.replace(trained.config, sampling=sampling)
    lines = models.transport(trained._replace(config=config), x, cond=labels)
    return np.asarray(lines.end)[:, :-1]
