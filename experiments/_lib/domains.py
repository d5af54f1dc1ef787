"""Methods side by side on two sets of samples: one network, one budget, lines of as many evaluations."""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from efm_jax import matching, metrics, networks, sampling, training
from efm_jax._core.assignment import assignment
from efm_jax.fields import widths
from efm_jax.lines import clocks, fixed
from efm_jax.matching import couplings, points
from efm_jax.types import FieldLines, FieldMatching, Network

PAIRED = 2048
"""Draws of either set that a plan pairs."""
CHUNK = 100
"""Training steps per call."""


class Budget(Protocol):
    """What is the same for every method; a configuration has these fields."""

    gap: float
    scale: float
    batch: int
    steps: int
    learning_rate: float
    weight_decay: float
    ema_decay: float
    width: int
    depth: int
    evaluations: int


class Method(NamedTuple):
    """One way from P to Q.

    Attributes:
        recipe: `recipe(gap, scale)`, scale being a deviation of the samples per dimension.
        form: From the plain network to the one the recipe is made for.
        clock: How its lines are followed.
        plan: `plan(x, y, block_size=...)`, by which draws of the training sets are paired once; None: they are not.
    """

    recipe: Callable[[float, float], FieldMatching]
    form: Callable[[Network, float], Network] = lambda network, gap: network
    clock: str | clocks.Clock = "sine"
    plan: Callable[..., np.ndarray] | None = None


def flow(network: Network, gap: float) -> Network:
    """f_z = 1."""
    return matching.flow_network(network)


_OT = couplings.minibatch_ot()
METHODS = {
    "efm": Method(lambda gap, scale: matching.efm(gap)),
    "c2fm": Method(
        lambda gap, scale: matching.c2fm(gap, target="robust", reach=4 * gap),
        matching.velocity_network,
        clocks.logit(1e-3),
    ),
    "c2fm_segment": Method(lambda gap, scale: matching.c2fm(gap, points=points.segment(), reach=4 * gap)),
    "ifm": Method(lambda gap, scale: matching.ifm(gap, width=widths.ramped(scale)), flow, "linear"),
    "ifm_ot": Method(
        lambda gap, scale: matching.ifm(gap, width=widths.ramped(scale), coupling=_OT), flow, "linear"
    ),
    "cfm": Method(lambda gap, scale: matching.cfm(gap), flow, "linear"),
    "cfm_ot": Method(lambda gap, scale: matching.cfm(gap, coupling=_OT), flow, "linear"),
    "cfm_plan": Method(
        lambda gap, scale: matching.cfm(gap, coupling=couplings.given()),
        flow,
        "linear",
        couplings.whole_plan,
    ),
    "tubes": Method(
        lambda gap, scale: matching.tubes(gap, coupling=couplings.given()),
        flow,
        "linear",
        couplings.lines_plan,
    ),
}
"""By name. `efm` is taught the superposed field on segments, `c2fm` velocities at points of the flux density,
`c2fm_segment` the direction of the chain on segments; `tubes` and `cfm_plan` pair draws of either set once. Interaction
fields are as wide as the scale, the paths of flow matching and tubes stay at their usual 0.1.
"""


def carried(
    budget: Budget,
    name: str,
    seed: int,
    x: np.ndarray,
    y: np.ndarray,
    held: np.ndarray,
    *,
    noise: float = 0.0,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Train a method on samples of P and Q and return where held-out samples of P end, and what it took.

    A line that does not arrive counts where it was left. `noise` is added to the training samples of P at every step.
    """
    built = _built(budget, name, x.shape[1])
    began = time.perf_counter()
    state = training.init_state(jax.random.key(seed), built.network, built.optimizer)
    loss = jnp.zeros(1)
    plan = METHODS[name].plan
    if plan is not None:
        rng = np.random.default_rng([seed, 1 << 20])
        x, y = (sample[rng.integers(0, len(sample), PAIRED)].astype(np.float32) for sample in (x, y))
        y = y[plan(x, y, block_size=PAIRED)]
    for k in range(budget.steps // built.chunk):
        rng, shape = np.random.default_rng([seed, k]), (built.chunk, budget.batch)
        rows_p, rows_q = rng.integers(0, len(x), shape), rng.integers(0, len(y), shape)
        rows_q = rows_q if plan is None else rows_p
        smeared = x[rows_p] + noise * rng.standard_normal((*shape, x.shape[1]), np.float32)
        state, loss = built.several(state, jnp.asarray(smeared, jnp.float32), jnp.asarray(y[rows_q]))
    loss = float(loss.mean())
    seconds = time.perf_counter() - began
    lines = sampling.transport(
        state,
        built.recipe,
        built.network,
        held,
        stepping=fixed("midpoint", budget.evaluations // 2, clock=METHODS[name].clock),
    )
    return ends(lines, held), {
        "loss": loss,
        "skipped": int(state.skipped),
        "arrived": float(np.mean(lines.arrived)),
        "evaluations": float(np.mean(lines.num_evaluations)),
        "seconds": round(seconds, 1),
    }


def effort(start: np.ndarray, end: np.ndarray) -> dict[str, float]:
    """Median distance moved, and how much longer (in squares) than the best assignment of these very ends."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    squares = np.sum((end - start) ** 2, axis=1)
    best = np.mean(np.sum((end[assignment(start, end)] - start) ** 2, axis=1))
    return {
        "moved": float(np.median(np.sqrt(squares))),
        "excess": float(squares.mean() / best - 1) if best > 0 else 0.0,
    }


def wasserstein2(seed: int, a: np.ndarray, b: np.ndarray) -> float:
    """W2 of two sets, the larger cut at random to the size of the smaller."""
    a, b = (np.random.default_rng(seed).permutation(s)[: min(len(a), len(b))] for s in (a, b))
    return metrics.wasserstein2(a, b)


class _Built(NamedTuple):
    recipe: FieldMatching
    network: Network
    optimizer: optax.GradientTransformation
    several: Callable[..., tuple[training.TrainState, jax.Array]]
    chunk: int


@functools.lru_cache(maxsize=32)
def _built(budget: Any, name: str, dim: int) -> _Built:
    """Recipe, network and compiled steps: the same for all seeds, so that they are compiled once."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}.")
    method = METHODS[name]
    recipe = method.recipe(budget.gap, budget.scale)
    plain = networks.mlp(dim, gap=budget.gap, scale=budget.scale, width=budget.width, depth=budget.depth)
    network = method.form(plain, budget.gap)
    optimizer = training.adam(
        budget.learning_rate,
        warmup=min(100, budget.steps // 10),
        weight_decay=budget.weight_decay,
        cosine_steps=budget.steps,
    )
    step = training.make_train_step(recipe, network, optimizer, ema_decay=budget.ema_decay)
    chunk = min(CHUNK, budget.steps)

    @functools.partial(jax.jit, donate_argnums=0)
    def several(state, batches_p, batches_q):
        def one(state, batches):
            state, info = step(state, *batches)
            return state, info.loss

        return jax.lax.scan(one, state, (batches_p, batches_q))

    return _Built(recipe, network, optimizer, several, chunk)


def ends(lines: FieldLines, start: np.ndarray) -> np.ndarray:
    """Where lines ended; a line that was lost at once counts where it started."""
    end = np.asarray(lines.end)[:, :-1]
    return np.where(np.isfinite(end).all(1)[:, None], end, start)
