"""The steps of a run by the minutes there are, from a step timed on this device as training takes it."""

import bisect
import contextlib
import math
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple, cast

import jax

from efm_jax import checkpoint, training
from efm_jax._core import blas, checks
from efm_jax.datasets import Source
from efm_jax.models import build, configs, plans, space
from efm_jax.models.feed import Feed
from efm_jax.models.pictures import SHARE
from efm_jax.training import feeding
from efm_jax.training.packing import packing

MOST_STEPS = {"unet": 100_000, "mlp": 8000}
"""More steps bring little."""
FEWEST_STEPS = 200
"""Of less nothing comes."""
ENOUGH = 6000
"""Where so many steps of a U-Net fit, one of twice the width is tried."""
WIDEST = 128
_MOST_TIMED = 200
"""Steps that are timed, where a second holds more."""


class Timing(NamedTuple):
    """Seconds of the parts of a run.

    Attributes:
        compilation: The first step, which compiles.
        step: One after it, with its batches: that of the slower of the device and what feeds it.
        setup: Opening the data, their space and their plan.
        saving: One checkpoint.
    """

    compilation: float
    step: float
    setup: float = 0.0
    saving: float = 0.0


def measured(run: configs.Run) -> Timing:
    """Time the training step of a run as training takes it: on its data, with the threads that make its batches.

    Raises:
        ValueError: The run cannot be trained so.

    Examples:
        >>> from efm_jax.models.suggestions import suggest
        >>> found = suggest("moons", "rings")
        >>> timing = measured(found.run)
        >>> 0 < timing.step < timing.compilation
        True
    """
    return _timed(run, partial(_opened, run))


def _opened(run: configs.Run) -> tuple[build.Built, float]:
    """What a run is made of, with as much of its plan as a block holds, and the seconds that all of it takes."""
    run, began = _startable(run), time.perf_counter()
    built = build.run(
        plans.ahead(run) or run,
        space=lambda pair: space.fitted(run.data, pair) if run.data.in_space else None,
    )
    seconds = time.perf_counter() - began
    pair = cast(tuple[Source, Source], built.sources)
    plans.check(run, pair)
    if count := plans.samples(run, pair):
        few, began = min(count, plans.BLOCK), time.perf_counter()
        pair = plans.paired(replace(run, recipe=replace(run.recipe, plan_samples=few)), pair)
        seconds += (time.perf_counter() - began) * count / few
    return built._replace(sources=pair), seconds


def _startable(run: configs.Run) -> configs.Run:
    """The run, complete, with more steps than it warms up."""
    return replace(configs.complete(run), steps=max(run.steps, run.optimizer.warmup + 1))


def _timed(run: configs.Run, opened: Callable[[], tuple[build.Built, float]]) -> Timing:
    built, setup = opened()
    run = _startable(run)
    pair = cast(tuple[Source, Source], built.sources)
    network = build.network(run, tuple(built.notes["shape"]), pair)
    network = packing(network, built.optimizer, split=run.parallel.shard_state).network
    parts = built.recipe, network, built.optimizer
    step = training.make_train_step(*parts, ema_decay=run.optimizer.ema_decay)
    state = training.init_state(jax.random.key(0), network, built.optimizer)
    how = Feed.of_run(run)
    if run.data.noise is None:
        how = how._replace(device_noise=jax.default_backend() != "cpu")
    feed = how.batches(pair, range(_MOST_TIMED))
    seconds, fed = [], [0.0]
    with blas.one_thread(), contextlib.closing(feed):
        began = time.perf_counter()
        for batch in feed:
            state, info = step(state, *batch)
            jax.block_until_ready(info)
            seconds.append(time.perf_counter() - began - sum(seconds))
            # batches of the first were made while the step was compiled
            fed = seconds[feeding.AHEAD + how.data_threads :]
            if len(fed) >= 3 and sum(fed) >= 1.0:
                break
    with tempfile.TemporaryDirectory(prefix="efm_timed_") as folder:
        began = time.perf_counter()
        checkpoint.save(folder, state, meta={})
        saving = time.perf_counter() - began
    return Timing(seconds[0], sum(fed) / len(fed), setup, saving)


def paced(run: configs.Run, minutes: float, *, given: Collection[str] = ()) -> tuple[configs.Run, Timing]:
    """Fit a run into so many minutes on this device: its steps and, where many fit, the width of its U-Net.

    The time is that of measuring here, opening the data, compiling, training, saving, drawing and scoring.

    Args:
        run: The run.
        minutes: Time for all of it.
        given: Options, such as "steps" or "network.width", that stay as they are.

    Returns:
        The run, and the time of its steps.

    Raises:
        ValueError: `minutes` is not positive, or the run cannot be trained so.
    """
    ends = time.monotonic() + 60 * checks.positive("minutes", minutes)
    opened = cache(partial(_opened, run))
    timing = _timed(run, opened)
    while (
        run.network.kind == "unet"
        and "network.width" not in given
        and "steps" not in given
        and run.network.width < WIDEST
        and _fitting(run, timing, ends - time.monotonic(), given) > ENOUGH
    ):
        run = replace(run, network=replace(run.network, width=2 * run.network.width))
        timing = _timed(run, opened)
    steps = run.steps
    if "steps" not in given:
        steps = max(_fitting(run, timing, ends - time.monotonic(), given), FEWEST_STEPS)
    return of_steps(run, steps, given), timing


def _fitting(run: configs.Run, timing: Timing, seconds: float, given: Collection[str]) -> int:
    """Steps that fit, to two digits."""
    counts = range(1, MOST_STEPS.get(run.network.kind, max(MOST_STEPS.values())) + 1)
    after = bisect.bisect(counts, seconds, key=lambda steps: seconds_of(of_steps(run, steps, given), timing))
    steps = counts[max(after - 1, 0)]
    unit = 10 ** max(len(str(steps)) - 2, 0)
    return steps // unit * unit


def seconds_of(run: configs.Run, timing: Timing) -> float:
    """Seconds of a run and its report: a gradient costs three evaluations of the network."""
    evaluations = 2 * run.sampling.steps * (1 if run.sampling.solver in ("euler", "ab2") else 2)
    scored = evaluations * run.sampling.samples / (3 * run.recipe.num_points) * timing.step
    trained = run.steps * timing.step + math.ceil(run.steps / run.save_every) * timing.saving
    drawn = trained * SHARE if run.picture_every > 0 else 0.0
    return timing.setup + 2 * timing.compilation + trained + drawn + scored + 15.0


def of_steps(run: configs.Run, steps: int, given: Collection[str] = ()) -> configs.Run:
    """Return the run with so many steps, saved ten times and logged a hundred times on the way; what is given stays.

    Examples:
        >>> of_steps(configs.Run(), 500).save_every
        50
    """
    if "optimizer.warmup" not in given:
        run = replace(run, optimizer=replace(run.optimizer, warmup=min(run.optimizer.warmup, steps // 10)))
    often = {"save_every": max(steps // 10, 1), "log_every": max(steps // 100, 1)}
    return replace(run, steps=steps, **{name: value for name, value in often.items() if name not in given})
