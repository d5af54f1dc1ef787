"""A training run in a folder of its own: killed at any moment, it goes on as if nothing had happened.

    config.json     the caller's config, written first
    log.jsonl       one line every `log_every` steps: step, loss and grad_norm (means since the line before),
                    skipped, seconds, steps_per_second
    checkpoints/    see `efm_jax.checkpoint`; their meta holds config, position in the data, seconds spent
    tensorboard/    the log's numbers, if tensorboardX is installed
    run.lock        held while a process trains here

The batch of step t depends on (seed, t) alone, so the position in the data is the step: what a resumed run
computes is bit for bit what an uninterrupted one does on the same machine. On other devices, or more of them, it is the
same to rounding: a run may go on anywhere. Of several hosts the first keeps the folder.
"""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from efm_jax import __version__, checkpoint
from efm_jax._core import checks, files, logs
from efm_jax.datasets import Source
from efm_jax.matching import classes
from efm_jax.runs import _feed, _folder, _journal, _loop
from efm_jax.runs._folder import MAY_CHANGE as MAY_CHANGE
from efm_jax.runs._folder import read_config as read_config
from efm_jax.training import hosts
from efm_jax.training.devices import check_division, data_parallel_step
from efm_jax.training.state import TrainState, init_state
from efm_jax.training.step import make_train_step
from efm_jax.types import FieldMatching, Network, Params


def fit(
    folder: str | os.PathLike,
    recipe: FieldMatching,
    network: Network,
    optimizer: optax.GradientTransformation,
    source_pos: Source,
    source_neg: Source,
    *,
    steps: int,
    batch_pos: int,
    batch_neg: int,
    seed: int,
    config: dict,
    ema_decay: float = 0.9999,
    save_every: int = 1000,
    log_every: int = 50,
    keep: int = 3,
    max_seconds: float | None = None,
    max_skipped: int = 100,
    resume: bool = True,
    progress: bool = True,
    on_save: Callable[[TrainState], None] | None = None,
    mesh: Mesh | None = None,
    shard_state: bool = False,
    label_dropout: float | None = None,
    label_groups: int = 1,
    initial: Params | None = None,
    data_threads: int = 1,
    notes: dict | None = None,
) -> TrainState:
    """Train in a run folder, from its newest checkpoint if it has one, up to step `steps`.

    Ctrl-C or SIGTERM finishes the step, saves, says how to go on and exits; a second one quits at once. If
    the process is killed or the disk is full, the checkpoints written before remain.

    Several hosts (`parallel.hosts.join`) call it together, with the same arguments. Each reads its own rows of a batch;
    the first writes the folder, which the others need not see; a signal or the clock of one stops all at the same step.

    Args:
        folder: The run folder; made if it is not there.
        recipe: What to regress on; see `efm_jax.matching`.
        network: The network.
        optimizer: Any optax transformation, e.g. `training.adam()`.
        source_pos: Samples of P, the positive plate.
        source_neg: Samples of Q, the negative plate.
        steps: Steps in all, those before a resume included.
        batch_pos: Positive charges a step.
        batch_neg: Negative charges a step.
        seed: Seeds parameters, training and data.
        config: What the run is, in what JSON can hold. It goes to config.json and must be the same on
            resuming, but for fields named in `MAY_CHANGE`.
        ema_decay: Decay of the moving average of the parameters.
        save_every: Steps between checkpoints; the last step is always saved.
        log_every: Steps between lines of the log; the last step always has one.
        keep: Checkpoints to keep.
        max_seconds: End after this much wall clock, counted over all resumes (what came after the last
            checkpoint of a killed process is not known and not counted). The state then has `step < steps`.
        max_skipped: Non-finite steps in a row after which to give up.
        resume: Go on from what the folder holds; if False, a folder that holds a run is refused, never
            overwritten.
        progress: Show a progress bar.
        on_save: Called with the state after each checkpoint is on disk, e.g. to draw pictures. It must not
            keep the state: the next step reuses its buffers. Of several hosts the first calls it, with a state in
            its own memory.
        mesh: Devices to split each step over, e.g. `parallel.data_mesh()`; None for one device. `batch_pos`, `batch_neg`
            and the recipe's points are those of all devices together.
        shard_state: Split the state over the mesh too, see `parallel.data_parallel_step`.
        label_dropout: For a network with classes and data that have some: the share of minibatches that are of all classes
            and have no label, so that the field without a condition is learned too. None trains without labels.
        label_groups: Labels a step: its charges come in so many equal groups, each a minibatch of one class with points
            of its own, as many as the recipe's.
        initial: Parameters to begin with instead of new ones.
        data_threads: Threads that make batches ahead. With more than one, sources must be able to draw several batches at
            once, as all of `datasets` are. What is computed does not depend on it.
        notes: What else the meta of its checkpoints holds, e.g. facts of the data for readers who have none.

    Returns:
        The state after the last step, on the mesh if there is one; `training.ema_params` of it is what sampling should
        use.

    Raises:
        ValueError: If the folder holds another run or is in use, an argument is out of range, a batch does not divide
            by the devices, labels are asked for and data have none or the network ignores them, or hosts were given
            different runs.
        CheckpointError: If none of its checkpoints can be read.
        FloatingPointError: If `max_skipped` steps in a row were not finite; checkpoints are kept.
        OSError: If the disk is full.
        SystemExit: After a signal, with status 128 + its number.

    Examples:
        >>> import tempfile, jax, jax.numpy as jnp, numpy as np
        >>> from efm_jax.types import Batch, FieldMatching, Network
        >>> from efm_jax.datasets import Source
        >>> from efm_jax.training import adam
        >>> line = Network(lambda key: jnp.ones(2), lambda a, points, **_: a * points)
        >>> def draw(key, x_pos, x_neg):
        ...     points = jax.random.normal(key, (64, 2))
        ...     return Batch(points, 3.0 * points, jnp.ones(64))
        >>> recipe = FieldMatching(draw, lambda key, x, reverse: x, (0.0, 1.0))
        >>> normal = Source(lambda rng, n: rng.standard_normal((n, 1), np.float32), (1,), None)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     state = fit(folder, recipe, line, adam(0.1, warmup=0), normal, normal, steps=100, batch_pos=8,
        ...                 batch_neg=8, seed=0, config={"rate": 0.1}, progress=False)
        ...     read_log(folder)[-1]["step"], [round(float(a), 1) for a in state.params]
        (100, [3.0, 3.0])
    """
    pace = _loop.Pace(steps, save_every, log_every, max_skipped, max_seconds)
    counts = {"steps": steps, "batch_pos": batch_pos, "batch_neg": batch_neg, "save_every": save_every}
    counts |= {"log_every": log_every, "keep": keep, "max_skipped": max_skipped, "data_threads": data_threads}
    _check_seed_and_time(seed, max_seconds)
    counts = {name: checks.count(name, value) for name, value in counts.items()}
    _feed.check(source_pos, source_neg)
    labeling = None if label_dropout is None else _feed.Labeling(label_dropout, label_groups)
    if labeling is not None:
        _feed.check_labels(source_pos, source_neg, labeling, (batch_pos, batch_neg))
        classes.check_takes_labels(network)
    crew = hosts.crew(mesh)
    if mesh is None:
        step_fn, place = make_train_step(recipe, network, optimizer, ema_decay=ema_decay), None
    else:
        groups = 1 if labeling is None else label_groups
        check_division(recipe, mesh, batch_pos, batch_neg, math.prod(source_pos.shape), groups=groups)
        step_fn, place = data_parallel_step(
            recipe, network, optimizer, mesh, ema_decay=ema_decay, shard_state=shard_state
        )
    own = {
        "seed": int(seed),
        "batch_pos": int(batch_pos),
        "batch_neg": int(batch_neg),
        "ema_decay": float(ema_decay),
    }
    if labeling is not None:
        own |= {"label_dropout": label_dropout, "label_groups": label_groups}
    noted = files.to_json("notes", notes or {})
    identity = {"config": files.to_json("config", config), "fit": files.to_json("fit", own)}
    folder = Path(folder).expanduser()
    data = {"pos": [source_pos.size, *source_pos.shape], "neg": [source_neg.size, *source_neg.shape]}
    _check_hosts(crew, {**identity, "data": data, **counts, "max_seconds": max_seconds, "shard": shard_state})

    with contextlib.ExitStack() as stack:

        def open_folder() -> tuple[TrainState, dict]:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.exclusive(folder / "run.lock", f"the run folder {folder}"))
            return _folder.opened(folder, identity, fresh, resume)

        fresh = init_state(jax.random.key(seed), network, optimizer, params=initial)
        state, meta = crew.on_first(open_folder) or (fresh, {})
        state, meta = crew.given(state), json.loads(crew.everyones(json.dumps(meta))[0])
        state = state if place is None else place(state)
        done = int(state.step)
        ledger = _journal.Ledger(meta, skipped=int(state.skipped), in_row=int(state.skipped_in_row))
        if crew.agreed(int(done >= steps or pace.over(ledger))):
            return state
        journal = crew.on_first(lambda: _journal.Log(folder / "log.jsonl", folder / "tensorboard", done))
        log = stack.enter_context(contextlib.closing(journal or _journal.NoLog()))
        sizes = batch_pos, batch_neg
        rows = crew.rows(batch_pos), crew.rows(batch_neg)
        feed = _feed.batches(
            source_pos, source_neg, seed, sizes, range(done, steps), rows, labeling, data_threads
        )
        stack.enter_context(contextlib.closing(feed))
        bar = stack.enter_context(_loop.progress_bar(done, steps, progress and crew.first))
        signals = stack.enter_context(_loop.deferred())

        def save(state: TrainState) -> None:
            whole = crew.fetched(state)

            def write() -> None:
                log.sync()
                meta = {**noted, **identity, "data_position": int(whole.step), **ledger.meta()}
                checkpoint.save(folder / "checkpoints", whole, meta=meta, keep=keep)
                if on_save is not None:
                    on_save(whole)

            crew.on_first(write)

        state, step = _loop.take(
            state,
            step_fn,
            ((crew.spread(p, batch_pos), crew.spread(n, batch_neg), *labels) for p, n, *labels in feed),
            _loop.Books(ledger, log, bar, done),
            pace,
            save=save,
            wish_to_stop=lambda: crew.poll(signals.caught or int(pace.over(ledger))) != 0,
            folder=folder,
        )
    caught = crew.agreed(signals.caught or 0)  # one that came during the last save too
    if (step < steps or caught) and crew.first:
        why = "Stopped" if caught else f"{max_seconds:g} seconds are over"
        mend = "run the same command to go on" if caught else "raise max_seconds to go on"
        print(f"{why} at step {step} of {steps}; all is saved in {folder}: {mend}.", file=sys.stderr)
    if caught:
        raise SystemExit(128 + caught)
    return state


def read_log(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Read the log of the run in a folder, also while it goes on.

    Args:
        folder: The run folder.

    Returns:
        One dict a line, in order of steps; none if there is no log.

    Examples:
        >>> import tempfile
        >>> read_log(tempfile.mkdtemp())
        []
    """
    return logs.read(Path(folder).expanduser() / "log.jsonl")


def _check_seed_and_time(seed: int, max_seconds: float | None) -> None:
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be a whole number >= 0, got {seed!r}.")
    if max_seconds is not None:
        checks.positive("max_seconds", max_seconds)


def _check_hosts(crew: hosts.Crew, given: dict) -> None:
    """Hosts that were given different things would wait for each other for ever."""
    texts = crew.everyones(json.dumps({**given, "jax": jax.__version__, "efm_jax": __version__}))
    for number, text in enumerate(texts):
        apart = _folder.differences(
            json.loads(texts[0]), json.loads(text), "on process 0", f"on process {number}"
        )
        if apart:
            listed = "\n".join(apart)
            raise ValueError(
                f"processes 0 and {number} were given different runs:\n{listed}\nStart all with the same options."
            )
