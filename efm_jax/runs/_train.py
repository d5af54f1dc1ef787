"""A run folder: trained from its configuration, opened, at work on samples.

    config.json  log.jsonl  checkpoints/     written by `runs.fit`
    space.npz    of a run in principal components: their space

What a finished folder holds besides is made by `assessment`.
"""

from pathlib import Path

import jax
import optax

from efm_jax import checkpoint, training
from efm_jax.models import build, configs
from efm_jax.models import space as _run_space
from efm_jax.models.loading import load
from efm_jax.runs import _folder, plans, second_run
from efm_jax.runs._fit import fit
from efm_jax.training import hosts
from efm_jax.types import Network


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
    recipe = build.recipe(build.labeled(config, pair), pair)
    first = load(str(config.reflow.run), step=config.reflow.step) if second_run.asked_for(config) else None
    if first is not None:
        second_run.check(config, first, pair)
    plans.check(config, pair)
    if not _finished(folder, config, network, optimizer, crew):
        if first is not None:
            pair, _ = second_run.training_pairs(config, first, pair)
        pair = plans.paired(config, pair, cache=Path(folder).expanduser() / "features")
    return fit(
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
        initial=None if first is None else second_run.initial(config, first),
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
        return _folder.finished(
            Path(folder).expanduser(), like, steps=config.steps, max_seconds=config.max_seconds
        )

    return bool(crew.agreed(int(crew.on_first(found) or False)))
