"""A small run to be taken on one device, on many, and by several processes: quick to compile, dependent on every charge."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from _fit import fit as train

from efm_jax import training
from efm_jax._core import trees
from efm_jax.datasets import Source
from efm_jax.datasets.source import Choice, indices
from efm_jax.types import Batch, FieldMatching, Network

DIM, STEPS, CHARGES, POINTS = 2, 6, 16, 32
OPTIMIZER = training.adam(1e-2, warmup=2)

COMMAND = [
    "toy-swiss-roll",
    "--steps",
    "4",
    "--save-every",
    "2",
    "--no-progress",
    "--no-report",
    "--recipe.method",
    "cfm",
]
COMMAND += ["--network.output", "flow", "--network.width", "16", "--network.depth", "1"]
COMMAND += ["--recipe.charges", "16", "--recipe.num-points", "16", "--optimizer.warmup", "1"]


def parallel_options(index: int, port: str) -> list[str]:
    """Options of `efm train` for one of two processes on this machine."""
    options = ["--parallel.coordinator", f"localhost:{port}", "--parallel.processes", "2"]
    return [*options, "--parallel.process-index", str(index)]


def folder_options(pictures: Path, cache: str) -> list[str]:
    """Options of `efm train` for a folder of pictures as Q, which takes 16 of them a step."""
    return [
        "--data.source",
        "noise",
        "--data.target",
        f"folder:{pictures}",
        "--data.gray",
        "--data.cache",
        cache,
    ]


def draw(key, x_pos, x_neg, *, part=None):
    """Random points, and at each the difference of two sums over all charges."""
    points = jax.random.normal(key, (POINTS, DIM + 1))
    points = points if part is None else part(points)

    def pull(charges):
        apart = points[:, None, :DIM] - charges[None]
        return jnp.mean(apart / (1.0 + jnp.sum(apart**2, axis=2, keepdims=True)), axis=1)

    field = pull(x_pos) - pull(x_neg)
    target = jnp.concatenate([field, jnp.ones_like(field[:, :1])], axis=1)
    return Batch(points, target, 1.0 + jnp.abs(points[:, 0]))


RECIPE = FieldMatching(draw, lambda key, x, reverse: x, (0.0, 1.0))


def init(key):
    first, last = jax.random.split(key)
    return {
        "first": 0.3 * jax.random.normal(first, (3, 4096)),
        "last": 0.02 * jax.random.normal(last, (4096, 3)),
    }


def plain(params, points, *, key=None, cond=None):
    return jnp.tanh(points @ params["first"]) @ params["last"]


def dropping(params, points, *, key=None, cond=None):
    hidden = jnp.tanh(points @ params["first"])
    return (hidden * jax.random.bernoulli(key, 0.7, hidden.shape)) @ params["last"]


PLAIN, DROPPING = Network(init, plain), Network(init, dropping)


def start(network: Network = PLAIN) -> training.TrainState:
    return training.init_state(jax.random.key(0), network, OPTIMIZER)


def numbers(state: Any) -> np.ndarray:
    """All floating-point numbers of a state."""
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(state) if not trees.is_key(leaf)]
    return np.concatenate([leaf for leaf in leaves if leaf.dtype == np.float32])


def finite_source(shift: float, *, read: list[int] | None = None, hook=lambda count: None) -> Source:
    """A set of 100 samples, drawn like those of files; `read` notes how many rows are read, `hook` how often."""
    samples = np.random.default_rng(7).standard_normal((100, DIM), np.float32) + np.float32(shift)
    read = [] if read is None else read

    def look_up(index):
        read.append(len(index))
        hook(len(read))
        return samples[index]

    return Source(Choice(lambda rng, n: (indices(rng, 100, n),), look_up), (DIM,), 100)


def law(shift: float) -> Source:
    return Source(lambda rng, n: rng.standard_normal((n, DIM), np.float32) + np.float32(shift), (DIM,), None)


def fit(folder: Path, steps: int = STEPS, *, pos: Source | None = None, **more) -> training.TrainState:
    """The run, up to a step."""
    options: dict[str, Any] = {"batch_pos": CHARGES, "batch_neg": CHARGES, "seed": 1, "config": {"a": 1}}
    options |= {"progress": False, "save_every": 2, "log_every": 2, **more}
    sources = pos or finite_source(0.0), law(3.0)
    return train(folder, RECIPE, PLAIN, OPTIMIZER, *sources, steps=steps, **options)
