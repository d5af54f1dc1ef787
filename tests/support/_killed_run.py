"""A small training run, as a program to be killed at any moment: `python _killed_run.py FOLDER STEPS`."""

import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _fit import fit

from efm_jax.datasets import Source
from efm_jax.training import adam
from efm_jax.types import Batch, FieldMatching, Network

CONFIG = {"network": {"width": 16, "scales": (1, 2)}, "rate": 0.01, "steps": 60}


def init(key):
    first, last = jax.random.split(key)
    return {"first": jax.random.normal(first, (3, 16)), "last": jax.random.normal(last, (16, 3))}


def apply(params, points, *, key=None, cond=None):
    hidden = jnp.tanh(points @ params["first"])
    if key is not None:
        hidden = hidden * jax.random.bernoulli(key, 0.9, hidden.shape)
    return hidden @ params["last"]


def draw(key, x_pos, x_neg):
    """Points on segments between charges, regressed on the segments' directions."""
    height = jax.random.uniform(key, (x_pos.shape[0], 1))
    points = jnp.concatenate([x_pos + height * (x_neg - x_pos), height], axis=1)
    return Batch(
        points, jnp.concatenate([x_neg - x_pos, jnp.ones_like(height)], axis=1), jnp.ones(len(points))
    )


RECIPE = FieldMatching(draw, lambda key, x, reverse: x, (0.0, 1.0))
NETWORK = Network(init, apply)
OPTIMIZER = adam(0.01, warmup=5)


def source(shift: float, seconds: float = 0.0):
    """Samples of N((shift, shift), I), each batch taking some time to make."""

    def sample(rng: np.random.Generator, n: int) -> np.ndarray:
        time.sleep(seconds)
        return (rng.standard_normal((n, 2)) + shift).astype(np.float32)

    return Source(sample, (2,), None)


def run(folder, *, pos=None, neg=None, optimizer=OPTIMIZER, **options):
    """Train the small run in a folder; options go to `fit`."""
    usual: dict[str, Any] = {"steps": 20, "batch_pos": 8, "batch_neg": 8, "seed": 3, "config": CONFIG}
    usual |= {"ema_decay": 0.9, "save_every": 7, "log_every": 4, "keep": 2, "progress": False} | options
    return fit(folder, RECIPE, NETWORK, optimizer, pos or source(0.0), neg or source(3.0), **usual)


if __name__ == "__main__":
    run(sys.argv[1], pos=source(0.0, 0.01), steps=int(sys.argv[2]))
