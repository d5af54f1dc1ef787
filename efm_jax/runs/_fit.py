"""A training run in a folder of its own: killed at any moment, it resumes as if nothing had happened.

    config.json     the caller's config, written first
    log.jsonl       one line every `log_every` steps: step, loss and grad_norm (means since the line before),
                    skipped, seconds; since the line before steps_per_second, points_per_second, data_wait (seconds
                    a step that the loop waited for data), and peak_device_bytes where the device tells
    profile/        a trace of the steps `Plan.profile`, for xprof or TensorBoard
    checkpoints/    see `efm_jax.checkpoint`; their meta holds config, position in the data, seconds spent
    tensorboard/    the log's numbers and pictures, if tensorboardX is installed; or wandb/, as asked for
    run.lock        held while a process trains here

The batch of step t depends on (seed, t) alone, so the position in the data is the step: what a resumed run
computes is bit for bit what an uninterrupted one does on the same machine. On other devices, or more of them, it is the
same to rounding. Of several hosts the first keeps the folder.
"""

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from tqdm import tqdm

from efm_jax import __version__
from efm_jax._core import blas, files, logs
from efm_jax.datasets import Source
from efm_jax.matching import classes
from efm_jax.models.build import Built, Pairs
from efm_jax.runs import _folder, _journal, _loop, _pairs, _saving
from efm_jax.runs._plan import Plan
from efm_jax.training import feeding, hosts
from efm_jax.training.devices import check_division, data_parallel_step
from efm_jax.training.packing import packing
from efm_jax.training.state import TrainState, init_state
from efm_jax.training.step import make_train_step


def fit(
    folder: str | os.PathLike,
    built: Built,
    plan: Plan,
    *,
    resume: bool = True,
    progress: bool = True,
    on_save: Callable[[TrainState], None] | None = None,
    on_step: Callable[[int, TrainState], np.ndarray | None] | None = None,
    mesh: Mesh | None = None,
    board: Literal["tensorboard", "wandb"] = "tensorboard",
) -> TrainState:
    """Train in a run folder, from its newest checkpoint if it has one, up to step `plan.steps`.

    Ctrl-C or SIGTERM finishes the step, saves, says how to resume and exits; a second one quits at once. If
    the process is killed or the disk is full, the checkpoints written before remain.

    Several hosts (`training.hosts.join`) call it together, with the same arguments. Each reads its own rows of a batch;
    the first writes the folder, which the others need not see; a signal or the clock of one stops all at the same step.

    A run on one host that `plan.max_seconds` would end before its last step gets the schedule `built.ending` of a step that
    fits, once the first steps have been timed. Checkpoints keep that step, so that a resumed run repeats one run through.

    Data need not be `Source`s. `built.sources` may be any iterable (grain, tf.data, a generator) of pairs of floating-point
    arrays `(x_pos [n, ...], x_neg [m, ...])`, or a function from the number of the next step to one. With the function a
    resumed run repeats an uninterrupted one bit for bit. An iterable goes on with the first pair that it gives then.

    Args:
        folder: The run folder; made if it does not exist.
        built: Training sets, recipe, network and optimizer.
        plan: Steps, charges, seed, and how often to save and log.
        resume: Resume what the folder holds; if False, a folder that holds a run is refused, never overwritten.
        progress: Show a progress bar.
        on_save: Called with the state after each checkpoint is on disk, for which training then waits. It must not
            keep the state: the next step reuses its buffers. Of several hosts the first calls it, with a state in
            its own memory.
        on_step: Called with the number and the state after each step, under the same terms; of several hosts only with
            states that are saved. A picture that it returns, uint8 [height, width, 3], goes to the board.
        mesh: Devices to split each step over, e.g. `parallel.data_mesh()`; None for one device.
        board: What the log's numbers and pictures go to, beside log.jsonl.

    Returns:
        The state after the last step, on the mesh if there is one; `training.ema_params` of it is what sampling should
        use.

    Raises:
        ImportError: wandb is asked for and not installed.
        ValueError: If wandb cannot start, the folder holds another run or is in use, a batch does not divide by the devices,
            labels are asked for and data have none or the network ignores them, or hosts have different runs.
        CheckpointError: If none of its checkpoints can be read.
        FloatingPointError: If `plan.max_skipped` steps in a row were not finite; checkpoints are kept.
        OSError: If the disk is full.
        SystemExit: After a signal, with status 128 + its number.

    Examples:
        >>> import tempfile, jax, jax.numpy as jnp, numpy as np
        >>> from efm_jax.types import Batch, FieldMatching, Network
        >>> from efm_jax.datasets import Source
        >>> from efm_jax.models.build import Built, Pairs
        >>> from efm_jax.training import adam
        >>> line = Network(lambda key: jnp.ones(2), lambda a, points, **_: a * points)
        >>> def draw(key, x_pos, x_neg):
        ...     points = jax.random.normal(key, (64, 2))
        ...     return Batch(points, 3.0 * points, jnp.ones(64))
        >>> recipe = FieldMatching(draw, lambda key, x, reverse: x, (0.0, 1.0))
        >>> normal = Source(lambda rng, n: rng.standard_normal((n, 1), np.float32), (1,), None)
        >>> built = Built((normal, normal), recipe, line, adam(0.1, warmup=0))
        >>> plan = Plan(steps=100, batch_pos=8, batch_neg=8, seed=0, config={"rate": 0.1})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     state = fit(folder, built, plan, progress=False)
        ...     read_log(folder)[-1]["step"], [round(float(a), 1) for a in state.params]
        (100, [3.0, 3.0])
    """
    folder = files.expanded(folder)
    _check_data(built, plan)
    crew = hosts.crew(mesh)
    pack = packing(built.network, built.optimizer, split=plan.shard_state)
    step_fn, place = _step(built, plan, mesh)
    notes, identity = files.to_json("notes", dict(built.notes)), plan.identity()
    _check_hosts(crew, built, plan)

    with contextlib.ExitStack() as stack:

        def open_folder() -> tuple[TrainState, dict]:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(files.exclusive(folder / "run.lock", f"the run folder {folder}"))
            return _folder.opened(folder, identity, fresh, resume, plan.may_change)

        fresh = init_state(jax.random.key(plan.seed), built.network, built.optimizer, params=built.initial)
        state, meta = crew.on_first(open_folder) or (fresh, {})
        state, meta = crew.given(state), json.loads(crew.everyones(json.dumps(meta))[0])
        state = place(pack.packed(state))
        del fresh  # the arrays that were packed or read over
        done = int(state.step)
        limits = {"steps": plan.steps, "max_seconds": plan.max_seconds}
        schedule = meta.get("schedule")
        if built.ending is not None and schedule is not None and schedule["limits"] == limits:
            # a resumed run takes the end that was set, whatever the clock says now
            step_fn = _step(built._replace(optimizer=built.ending(schedule["ends"])), plan, mesh)[0]
            plan, notes = replace(plan, steps=schedule["ends"]), {**notes, "schedule": schedule}
        counts = {"skipped": int(state.skipped), "in_row": int(state.skipped_in_row)}
        ledger = _journal.Ledger(meta, **counts, points=_points(built, plan))
        if crew.agreed(int(done >= plan.steps or ledger.over(plan.max_seconds))):
            return pack.unpacked(state)
        journal = crew.on_first(lambda: _journal.opened(folder, done, board, plan.config))
        log = stack.enter_context(contextlib.closing(journal or _journal.NoLog()))
        saver = stack.enter_context(_saving.Saver())
        steps = range(done, plan.steps)
        pair = _sources(built)
        if pair is None:
            sizes = plan.batch_pos, plan.batch_neg
            feed = _pairs.of_pairs(cast(Pairs, built.sources), steps, sizes)
        else:
            rows = crew.rows(plan.batch_pos), crew.rows(plan.batch_neg)
            feed = plan.feed.batches(pair, steps, mesh=mesh, rows=rows, put=crew.spread)
        stack.enter_context(blas.one_thread())
        stack.enter_context(contextlib.closing(feed))
        bar = stack.enter_context(_loop.progress_bar(done, plan.steps, progress and crew.first))
        signals = stack.enter_context(_loop.deferred())

        def watch(step: int, state: TrainState) -> None:
            due = on_step is not None and getattr(on_step, "due", lambda step: True)(step)
            picture = on_step(step, pack.unpacked(state)) if on_step is not None and due else None
            if picture is not None:
                log.picture(step, picture)

        def save(state: TrainState) -> None:
            whole = crew.fetched(state)

            def write() -> None:
                meta = {**notes, **identity, "data_position": int(whole.step), **ledger.meta()}
                how = {"keep": plan.keep, "first": log.sync, "form": pack.fetched}
                saver.save(folder / "checkpoints", whole, meta=meta, **how)
                if on_save is not None:
                    saver.wait()
                    on_save(pack.unpacked(whole))
                if not alone:
                    watch(int(whole.step), whole)

            crew.on_first(write)

        books = _loop.Books(ledger, log, bar, done)

        def relaid(step: int) -> tuple[Callable, Plan] | None:
            """The step and plan of a schedule that ends with the time, if the clock would end the run before."""
            nonlocal plan, notes
            if plan.max_seconds is None or "schedule" in notes or jax.process_count() > 1:
                return None
            ends = _last(step, plan.max_seconds - ledger.seconds(), *cast(tuple, books.rate))
            update = _ending(built, ends) if step < ends < plan.steps else None
            if update is None:
                return None
            plan, notes = replace(plan, steps=ends), {**notes, "schedule": {"ends": ends, "limits": limits}}
            bar.total = ends
            tqdm.write(
                f"The learning rate falls to 0 at step {ends}, as max_seconds will be over.", file=sys.stderr
            )
            return _step(built._replace(optimizer=update), plan, mesh)[0], plan

        alone, wished = jax.process_count() == 1, False

        def wish_to_stop() -> bool:
            nonlocal wished
            wished = crew.poll(signals.caught or int(ledger.over(plan.max_seconds))) != 0
            return wished

        state, step = _loop.take(
            state,
            step_fn,
            feed,
            books,
            plan,
            save=save,
            settle=saver.wait,
            watch=watch if alone else None,
            wish_to_stop=wish_to_stop,
            folder=folder,
            relaid=relaid,
        )
        crew.on_first(saver.wait)
    caught = crew.agreed(signals.caught or 0)  # one that came during the last save too
    if (step < plan.steps or caught) and crew.first:
        why, fix = _end(plan, stopped=bool(caught), wished=wished)
        print(f"{why} at step {step} of {plan.steps}; all is saved in {folder}.\n{fix}", file=sys.stderr)
    if caught:
        raise SystemExit(128 + caught)
    return pack.unpacked(state)


def read_log(folder: str | os.PathLike) -> list[dict[str, Any]]:
    """Read the log of the run in a folder, also during training: one dict a line, none if there is no log.

    Args:
        folder: The run folder.

    Returns:
        One dict a line, in order of steps; none if there is no log. Where a run was resumed with other settings, a line has
        `step` and `changed`, the old and the new value of each, alone.

    Examples:
        >>> import tempfile
        >>> read_log(tempfile.mkdtemp())
        []
    """
    return logs.read(files.expanded(folder) / "log.jsonl")


def _end(plan: Plan, *, stopped: bool, wished: bool) -> tuple[str, str]:
    """Why a run ended before its last step, and what resumes it."""
    command = plan.command if jax.process_count() == 1 else "run the same command on every host"
    resume = f"To resume: {command or 'call fit with the same arguments'}"
    if stopped:
        return "Stopped", resume
    if not wished:
        return "The data have ended", "Give more to resume."
    seconds = cast(float, plan.max_seconds)
    longer = ", with a larger max_seconds"
    if command is not None and command == plan.command:
        longer = f" --max-seconds {2 * seconds:g}"
    return f"{seconds:g} seconds are over", resume + longer


def _last(step: int, left: float, compiling: float, seconds: float) -> int:
    """The last step that fits the time left; 3 % of it is kept back for checkpoints and slower steps."""
    return step + int(0.97 * (left - compiling) / seconds)


def _ending(built: Built, step: int) -> optax.GradientTransformation | None:
    """The optimizer whose schedule ends at a step; None where it has none, or not so early."""
    try:
        return None if built.ending is None else built.ending(step)
    except ValueError:
        return None


def _points(built: Built, plan: Plan) -> int | None:
    """Points of a step; None where the data are pairs of arrays, whose size nobody has seen."""
    pair, groups = _sources(built), plan.label_groups if plan.labeling is not None else 1
    if pair is None:
        return None
    dim = math.prod(pair[0].shape)
    sizes = (plan.batch_pos // groups, dim), (plan.batch_neg // groups, dim)
    plates = (jax.ShapeDtypeStruct(size, np.float32) for size in sizes)
    return groups * len(jax.eval_shape(built.recipe.draw, jax.random.key(0), *plates).weight)


def _sources(built: Built) -> tuple[Source, Source] | None:
    """The training sets of P and Q; None where the data are pairs of arrays."""
    pair = built.sources
    if isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(one, Source) for one in pair):
        return cast(tuple[Source, Source], pair)
    return None


def _check_data(built: Built, plan: Plan) -> None:
    pair = _sources(built)
    if pair is None:
        if plan.labeling is not None or jax.process_count() > 1:
            raise ValueError(
                "labels and several hosts need two sources as data, got pairs of arrays; make them `Source`s."
            )
        return
    feeding.check(*pair)
    if plan.labeling is not None:
        feeding.check_labels(*pair, plan.labeling, (plan.batch_pos, plan.batch_neg))
        classes.check_takes_labels(built.network)


def _step(built: Built, plan: Plan, mesh: Mesh | None) -> tuple[Callable, Callable[[TrainState], TrainState]]:
    """The training step of a state as it is packed, and what places one for it."""
    pack = packing(built.network, built.optimizer, split=plan.shard_state)
    parts = built.recipe, pack.network, built.optimizer
    if mesh is None:
        return make_train_step(*parts, ema_decay=plan.ema_decay), lambda state: state
    groups = 1 if plan.labeling is None else plan.label_groups
    pair = _sources(built)
    if pair is not None:
        dim = math.prod(pair[0].shape)
        check_division(built.recipe, mesh, plan.batch_pos, plan.batch_neg, dim, groups=groups)
    return data_parallel_step(*parts, mesh, ema_decay=plan.ema_decay, shard_state=plan.shard_state)


def _check_hosts(crew: hosts.Crew, built: Built, plan: Plan) -> None:
    """Hosts with different runs would wait for each other for ever."""
    own = {**plan.numbers(), **plan.identity()}
    own |= {"data": [[source.size, *source.shape] for source in _sources(built) or ()]}
    own |= {"jax": jax.__version__, "efm_jax": __version__}
    texts = crew.everyones(json.dumps(own))
    for number, text in enumerate(texts):
        apart = _folder.differences(
            json.loads(texts[0]), json.loads(text), "on process 0", f"on process {number}"
        )
        if apart:
            listed = "\n".join(apart)
            raise ValueError(
                f"processes 0 and {number} were given different runs:\n{listed}\nStart all with the same options."
            )
