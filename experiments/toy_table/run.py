"""One cell of the table: train one method on one pair of laws with one seed, follow its lines, score their ends."""

import dataclasses
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from efm_jax import matching, metrics, networks, sampling, training
from efm_jax.datasets import batch, open_source
from efm_jax.lines import adaptive, fixed
from efm_jax.matching import couplings
from efm_jax.types import FieldMatching, Network
from experiments._lib.domains import CHUNK, ends
from experiments.toy_table.config import Config
from experiments.toy_table.methods import LEVERS, METHODS, Method
from experiments.toy_table.stratified import stratified

SPLITS = {"train": 0, "test": 1, "floor": 2}


def cell(config: Config, method: Method, source: str, target: str, seed: int) -> dict:
    """Train, transport, score."""
    config = dataclasses.replace(config, **method.budget)
    p, q = (drawn(config, name, seed, side, "train") for side, name in enumerate((source, target)))
    start, goal = (drawn(config, name, seed, side, "test") for side, name in enumerate((source, target)))
    recipe, network, state, row = train(config, method, p, q, seed)
    follow = functools.partial(sampling.transport, state, recipe, network, start, key=jax.random.key(seed))
    lines = follow(stepping=fixed("euler", config.euler, clock=method.clock), save=config.euler + 1)
    end, path = ends(lines, start), np.asarray(lines.path)[..., :-1]
    row["w2"] = w2(end, goal)
    row["sliced_w2"] = float(metrics.sliced_wasserstein2(jax.random.key(0), end, goal))
    sound = np.isfinite(path).all((0, 2))
    if not method.generates:  # lines of a prior far away have another length to go
        row["npe"] = metrics.normalized_path_energy(path[:, sound], distance(config, source, target, seed))
        row["curvature"] = metrics.path_curvature(path[:, sound])
        row["detour"] = detour(path[:, sound])
    controlled = follow(stepping=adaptive("dopri5", rtol=config.tolerance, clock=method.clock))
    exact = ends(controlled, start)
    row["adaptive"] = {
        "sliced_w2": float(metrics.sliced_wasserstein2(jax.random.key(0), exact, goal)),
        "from_euler": float(np.sqrt(np.mean(np.sum((exact - end) ** 2, axis=1)))),
        "arrived": float(np.mean(controlled.arrived)),
        "evaluations": float(np.mean(controlled.num_evaluations)),
    }
    return row


def train(
    config: Config, method: Method, p: np.ndarray, q: np.ndarray, seed: int, *, paired: bool = False
) -> tuple[FieldMatching, Network, training.TrainState, dict]:
    """Train a method on samples of P and Q: its recipe, network, state, and what it took; pairs stay row by row."""
    recipe = method.recipe(config.batch)
    network = _network(config, method, recipe.span, p, q)
    if method.safe:
        network = matching.capacitor_network(network, max(recipe.span), p, q)
    else:
        network = method.form(network, max(recipe.span))
    state, row = _train(config, method, recipe, network, p, q, seed, paired)
    return recipe, network, state, row


def named_cell(config: Config, seed: int, place: dict[str, str]) -> dict:
    """The cell of a place `{source, target, method}`, the method by its name."""
    method = {**METHODS, **LEVERS}[place["method"]]
    jax.clear_caches()  # of the cell before: a whole table would hold gigabytes of compiled code
    return cell(config, method, place["source"], place["target"], seed)


def named_floor(config: Config, seed: int, place: dict[str, str]) -> dict:
    """The floor of a place `{target}`."""
    return {"w2": floor(config, place["target"], seed)}


def drawn(config: Config, name: str, seed: int, side: int, split: str) -> np.ndarray:
    """Samples of a distribution as the table's protocol draws them."""
    count = config.train if split == "train" else config.test
    if config.stratified:
        return stratified(name, [seed, side, SPLITS[split]], count)
    return samples(name, seed, side, count, split)


def samples(name: str, seed: int, side: int, count: int, split: str) -> np.ndarray:
    """Samples of a law, the same for every method; splits and sides are drawn apart."""
    source = open_source(name, size=None, split="train")
    return batch(source, seed, side, SPLITS[split], count)


def floor(config: Config, target: str, seed: int) -> float:
    """W2 between two sets of samples of Q, as large as the one lines are scored on."""
    return w2(drawn(config, target, seed, 1, "floor"), drawn(config, target, seed, 1, "test"))


@functools.cache
def distance(config: Config, source: str, target: str, seed: int) -> float:
    """W2 between P and Q, from a quarter of the held-out samples."""
    few = config.test // 4
    start, goal = (
        drawn(config, name, seed, side, "test")[:few] for side, name in enumerate((source, target))
    )
    return w2(start, goal)


def detour(path: np.ndarray) -> float:
    """Length of the lines of a path [t, n, D], all together, over the distance of their ends; 1 for straight lines."""
    steps = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum()
    return float(steps / np.linalg.norm(path[-1] - path[0], axis=-1).sum())


def w2(a: np.ndarray, b: np.ndarray) -> float:
    """The exact Wasserstein-2 distance: that of `metrics.wasserstein2`, by POT's network simplex, which is faster here."""
    import ot

    cost = ot.dist(np.asarray(a, np.float64), np.asarray(b, np.float64))
    return float(np.sqrt(ot.emd2([], [], cost, numItermax=10**9)))


def _plan(method: Method, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    if method.lines is None:
        return couplings.whole_plan(p, q, block_size=method.plan)
    return couplings.lines_plan(p, q, block_size=method.plan, **method.lines)


def _network(config: Config, method: Method, span, p, q):
    both = np.concatenate([p, q])
    return networks.mlp(
        p.shape[1],
        gap=max(span),
        loc=both.mean(0),
        scale=float(both.std()),
        width=config.width,
        depth=config.depth,
        octaves=config.octaves,
        height=min(span) if span[0] > span[1] else "linear",
    )


def _train(config: Config, method: Method, recipe, network, p, q, seed, paired):
    optimizer = training.adam(
        config.learning_rate, warmup=100, weight_decay=config.weight_decay, cosine_steps=config.steps
    )
    step = training.make_train_step(recipe, network, optimizer, ema_decay=config.ema_decay)
    state = training.init_state(jax.random.key(seed), network, optimizer)
    charges = method.charges or config.batch
    began = time.perf_counter()
    if method.plan:
        q = q[_plan(method, p, q)]
    pairing = time.perf_counter() - began
    p, q = jnp.asarray(p), jnp.asarray(q)

    @functools.partial(jax.jit, donate_argnums=0)
    def chunk(state, key):
        def one(state, key):
            key_p, key_q = jax.random.split(key)
            i = jax.random.randint(key_p, (charges,), 0, len(p))
            j = i if method.plan or paired else jax.random.randint(key_q, (charges,), 0, len(q))
            state, info = step(state, p[i], q[j])
            return state, info.loss

        return jax.lax.scan(one, state, jax.random.split(key, CHUNK))

    key = jax.random.fold_in(jax.random.key(seed), 1)
    compiled = chunk.lower(state, key).compile()
    began = time.perf_counter()
    loss = jnp.zeros(1)
    for k in range(config.steps // CHUNK):
        state, loss = compiled(state, jax.random.fold_in(key, k))
    row = {"loss": float(loss.mean()), "seconds": round(pairing + time.perf_counter() - began, 1)}
    return state, row | {"skipped": int(state.skipped)}
