"""A run folder trained from its configuration.

config.json  log.jsonl  checkpoints/     written by `runs.fit`
space.npz    of a run in principal components: their space
"""

from pathlib import Path

import jax

from efm_jax import checkpoint, training
from efm_jax.datasets import Source
from efm_jax.models import build, configs, space
from efm_jax.runs import _folder, plans, reflow_run
from efm_jax.runs._fit import fit
from efm_jax.runs._plan import Plan
from efm_jax.training import hosts


def train(
    folder: str | Path, config: configs.Run, *, resume: bool = True, progress: bool = True
) -> training.TrainState:
    """Train what `config` says in a run folder, or resume the run it holds.

    Args:
        folder: The run folder.
        config: The whole run; on resuming it must be that of the folder, but for its length.
        resume: Resume from the folder's newest checkpoint; False refuses a folder that holds a run.
        progress: Show a progress bar.

    Raises:
        ValueError: See `build.run`, `runs.fit`, `parallel.hosts`, `reflow_run`.
    """
    folder, where = Path(folder).expanduser(), config.parallel
    hosts.join(where.coordinator, where.processes, where.process_index)
    mesh = hosts.meeting(where.devices)
    crew = hosts.crew(mesh)

    def fitted(pair: tuple[Source, Source]) -> space.Space | None:
        crew.on_first(lambda: _check_sizes(folder, config, pair))
        return space.of_run(folder, config.data, pair, crew)

    built = build.run(config, space=fitted)
    first = reflow_run.opened(config, built.sources)
    plans.check(config, built.sources)
    if first is not None:
        built = built._replace(initial=reflow_run.initial(config, first))
    if not _finished(folder, config, built, crew):
        pair = built.sources if first is None else reflow_run.training_pairs(config, first, built.sources)[0]
        built = built._replace(sources=plans.paired(config, pair, cache=folder / "features"))
    return fit(folder, built, Plan.of_run(config), resume=resume, progress=progress, mesh=mesh)


def _check_sizes(folder: Path, config: configs.Run, pair: tuple[Source, Source]) -> None:
    """Refuse to resume a run with more or fewer samples of either side than it began with."""
    meta = checkpoint.read_meta(folder / "checkpoints") or {}
    data, sizes = configs.to_dict(config)["data"], [source.size for source in pair]
    if configs.canonical(meta.get("config", {})).get("data") != data:
        return  # a new run, or another configuration, which `runs.fit` refuses
    for side, old, new in zip(("source", "target"), meta.get("sizes", sizes), sizes, strict=True):
        if old != new:
            raise ValueError(
                f"the run in {folder} was trained on {old} samples of data.{side} {data[side]}, which holds {new} now; put "
                "them back as they were, or choose another folder for a new run."
            )


def _finished(folder: Path, config: configs.Run, built: build.Built, crew: hosts.Crew) -> bool:
    """Whether a run trained on pairs needs none any more, as the host that keeps its folder tells all.

    Every run asks, so that hosts with different configurations do not wait for each other here.
    """

    def found() -> bool:
        if getattr(config.recipe, "coupling", None) not in ("one_plan", "given"):
            return False
        like = jax.eval_shape(
            lambda key: training.init_state(key, built.network, built.optimizer), jax.random.key(0)
        )
        return _folder.finished(folder, like, steps=config.steps, max_seconds=config.max_seconds)

    return bool(crew.agreed(int(crew.on_first(found) or False)))
