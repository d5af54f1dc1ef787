"""A run folder: trained from its configuration, opened, at work on samples.

    config.json  log.jsonl  checkpoints/     written by `runs.fit`
    space.npz    of a run in principal components: their space

What a finished folder holds besides is made by `assessment`.
"""

import dataclasses
import platform
import zlib
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax

from efm_jax import (
    __version__,
    _run_folder,
    _run_space,
    build,
    checkpoint,
    configs,
    plans,
    runs,
    sampling,
    second,
    training,
)
from efm_jax._types import FieldMatching, Network
from efm_jax.lines import FieldLines
from efm_jax.parallel import hosts
from efm_jax.spaces import Space


class Trained(NamedTuple):
    """A run folder opened.

    Attributes:
        config: Its configuration.
        recipe: Its recipe, for lines: where they start and end. Its field is that of minibatches, whatever was trained on.
        network: Its network.
        state: The checkpoint opened.
        shape: Shape of one sample.
        seconds: Training time, over all resumes.
        space: The space its network sees, see `spaces`; None for that of the samples. `transport` enters and leaves it.
    """

    config: configs.Run
    recipe: FieldMatching
    network: Network
    state: training.TrainState
    shape: tuple[int, ...]
    seconds: float
    space: Space | None = None


def train(
    folder: str | Path, config: configs.Run, *, resume: bool = True, progress: bool = True
) -> training.TrainState:
    """Train what `config` says in `folder`, or go on with it.

    Args:
        folder: The run folder.
        config: The whole run; on resuming it must be that of the folder, but for its length.
        resume: Go on from the folder's newest checkpoint; False refuses a folder that holds a run.
        progress: Show a progress bar.

    Returns:
        The state at the end.

    Raises:
        ValueError: See `build.sources`, `runs.fit`, `parallel.hosts`, `second`.
    """
    where = config.parallel
    hosts.join(where.coordinator, where.processes, where.process_index)
    mesh = hosts.meeting(where.devices)
    optimizer = build.optimizer(config.optimizer, config.steps)
    build.check_sampling(config.sampling)
    pair = build.sources(config.data)
    # of the data as they are: what `load` needs and config.json does not say
    notes = {"shape": list(pair[0].shape), "sizes": [source.size for source in pair]}
    network = build.network(config.network, build.sample_shape(config, pair[0].shape), config.recipe.gap)
    crew = hosts.crew(mesh)
    crew.on_first(lambda: _check_sizes(Path(folder).expanduser(), config, notes["sizes"]))
    space = _run_space.of_run(folder, config.data, pair, crew)
    pair = build.encoded(config.data, pair, space)
    recipe = build.recipe(build.labelled(config, pair), pair)
    first = load(str(config.reflow.run), step=config.reflow.step) if second.asked_for(config) else None
    if first is not None:
        second.check(config, first, pair)
    plans.check(config, pair)
    if not _finished(folder, config, network, optimizer, crew):
        if first is not None:
            pair, _ = second.training_pairs(config, first, pair)
        pair = plans.paired(config, pair, cache=Path(folder).expanduser() / "features")
    return runs.fit(
        folder,
        recipe,
        network,
        optimizer,
        *pair,
        steps=config.steps,
        batch_pos=config.recipe.charges,
        batch_neg=config.recipe.charges,
        seed=config.seed,
        config=configs.to_dict(config),
        ema_decay=config.optimizer.ema_decay,
        save_every=config.save_every,
        log_every=config.log_every,
        max_seconds=config.max_seconds,
        resume=resume,
        progress=progress,
        mesh=mesh,
        shard_state=where.shard_state,
        label_dropout=None if config.network.classes is None else config.recipe.label_dropout,
        label_groups=config.recipe.label_groups,
        initial=None if first is None else second.initial(config, first),
        data_threads=where.data_threads,
        notes=notes,
    )


def _check_sizes(folder: Path, config: configs.Run, sizes: list[int | None]) -> None:
    """See that a run goes on with as many samples of either side as it began with."""
    meta = checkpoint.read_meta(folder / "checkpoints") or {}
    data = configs.to_dict(config)["data"]
    if meta.get("config", {}).get("data") != data:
        return  # a new run, or another configuration, which `runs.fit` refuses
    for side, old, new in zip(("source", "target"), meta.get("sizes", sizes), sizes, strict=True):
        if old != new:
            raise ValueError(
                f"the run in {folder} was trained on {old} samples of data.{side} {data[side]}, which holds {new} now; put "
                "them back as they were, or choose another folder for a new run."
            )


def load(folder: str | Path, *, step: int | None = None) -> Trained:
    """Open a run folder at its newest checkpoint, or at another one it keeps; its data need not be there.

    Args:
        folder: The run folder.
        step: Step of the checkpoint; None for the newest.

    Raises:
        ValueError: The folder holds no run, no checkpoint of that step, or one that this version cannot read; or its
            checkpoints are of a version that did not keep the shape of a sample, and its data are gone.
    """
    folder = Path(folder).expanduser()
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} is not a run folder: it holds no config.json; train one with `efm train`."
        )
    config = configs.load(folder / "config.json")
    shape = _shape(folder, config.data)
    network = build.network(config.network, build.sample_shape(config, shape), config.recipe.gap)
    space = _run_space.opened(folder, config.data, shape)
    optimizer = build.optimizer(config.optimizer, config.steps)
    like = jax.eval_shape(lambda key: training.init_state(key, network, optimizer), jax.random.key(0))
    state, meta = checkpoint.restore(folder / "checkpoints", like, step)
    lines_only = build.recipe(dataclasses.replace(config.recipe, field="minibatch"))
    return Trained(config, lines_only, network, state, shape, float(meta.get("seconds", 0.0)), space)


def transport(
    trained: Trained,
    x: np.ndarray,
    *,
    reverse: bool = False,
    save: int | None = None,
    batch_size: int = 250,
    cond: np.ndarray | None = None,
    guidance: float = 1.0,
) -> FieldLines:
    """Carry samples along the trained field's lines with the run's own sampling settings.

    Samples of a run in components are given and come back as pictures (or what else its data are): they are encoded, follow
    lines in its space, and are decoded, as are the points of their paths. What the components cannot hold is lost.

    A recipe whose lines start at random (pfgm) draws them by the samples given: the same again for the same samples. Class
    labels `cond` [n] and guidance: see `sampling.transport`.
    """
    adaptive = trained.config.sampling.solver in ("tsit5", "dopri5")
    sides = None if trained.space is None else build.sides(trained.config.data, trained.space)
    lines = sampling.transport(
        trained.state,
        trained.recipe,
        trained.network,
        x if sides is None else sides[int(reverse)].encode(x),
        reverse=reverse,
        key=jax.random.key(zlib.crc32(np.asarray(x, np.float32).tobytes())),
        solver=trained.config.sampling.solver,
        steps=None if adaptive else trained.config.sampling.steps,
        clock=trained.config.sampling.clock,
        batch_size=min(batch_size, len(x)),
        save=save,
        cond=cond,
        guidance=guidance,
    )
    return lines if sides is None else _run_space.pictured(lines, sides, trained.recipe.span)


def labels_of(trained: Trained, label: int | None, count: int, *, guidance: float = 1.0) -> np.ndarray | None:
    """The labels of `count` samples that are all asked for as one class, or as none.

    Raises:
        ValueError: The run knows no such class, or it was not trained without labels and none is given, or there is guidance
            and no class to go to, or none to come from.
    """
    classes, dropout = trained.config.network.classes, trained.config.recipe.label_dropout
    if classes is None:
        if label is not None or guidance != 1.0:
            raise ValueError(
                "this run was trained without classes, so there is no label to ask for and nothing to guide to; train one "
                "with --network.classes."
            )
        return None
    if label is None and guidance != 1.0:
        raise ValueError(
            f"guidance {guidance} goes towards a class: give a label from 0 to {classes - 1} as well."
        )
    if label is not None and not 0 <= label < classes:
        raise ValueError(f"label must be from 0 to {classes - 1}, the classes of this run, got {label}.")
    if dropout == 0.0 and (label is None or guidance != 1.0):
        raise ValueError(
            "this run was trained with recipe.label_dropout 0 and knows no field without a label: give a label from 0 to "
            f"{classes - 1}, and no guidance."
        )
    return np.full(count, -1 if label is None else label, np.int32)


def _finished(
    folder: str | Path,
    config: configs.Run,
    network: Network,
    optimizer: optax.GradientTransformation,
    crew: hosts.Crew,
) -> bool:
    """Whether a run trained on pairs needs none any more, as the host that keeps its folder tells all.

    Every run asks, so that hosts that were given different ones do not wait for each other here.
    """

    def found() -> bool:
        if config.recipe.coupling not in ("one_plan", "given"):
            return False
        like = jax.eval_shape(lambda key: training.init_state(key, network, optimizer), jax.random.key(0))
        return _run_folder.finished(
            Path(folder).expanduser(), like, steps=config.steps, max_seconds=config.max_seconds
        )

    return bool(crew.agreed(int(crew.on_first(found) or False)))


def _shape(folder: Path, data: configs.Data) -> tuple[int, ...]:
    """Shape of a sample: what a checkpoint says, or else, of runs of older versions, what the data are."""
    kept = (checkpoint.read_meta(folder / "checkpoints") or {}).get("shape")
    if kept is not None:
        return tuple(kept)
    try:
        return build.sources(data)[0].shape
    except FileNotFoundError as error:
        raise ValueError(
            f"the checkpoints in {folder} are of a version that did not keep the shape of a sample, and its data are not "
            f"where config.json says ({error}); put them there, once, to open or export the run."
        ) from error


def versions() -> dict[str, str]:
    """Return what the numbers depend on: versions, platform, device."""
    from importlib.metadata import version

    names = ("jax", "jaxlib", "flax", "optax", "diffrax", "orbax-checkpoint", "numpy")
    return {
        "efm_jax": __version__,
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "device": f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
    }
