"""A run folder trained from its configuration.

config.json  log.jsonl  checkpoints/     written by `runs.fit`
space.npz    of a run in principal components: their space
progress.png held-out samples so far, drawn every minute
"""

import json
import shlex
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import jax

from efm_jax import checkpoint, training
from efm_jax._core import files, logs
from efm_jax.datasets import Source
from efm_jax.models import build, configs, pictures, plans, space
from efm_jax.runs import _begin, _data, _folder, _pictures, reflow_run
from efm_jax.runs._fit import fit
from efm_jax.runs._plan import Plan
from efm_jax.training import hosts

_PRECISION = "network.dtype", "network.precision"
"""A resumed run may change these, and the log says so: its state is float32 in any case."""


def train(
    folder: str | Path,
    config: configs.Run,
    *,
    resume: bool = True,
    progress: bool = True,
    allow_changes: bool = False,
    check: Callable[[tuple[Source, Source]], tuple[Source, Source] | None] | None = None,
) -> training.TrainState:
    """Train what `config` says in a run folder, or resume the run it holds.

    Paths are kept absolute, and data may move: they are the same if a digest of their files is (`datasets.identity.digest`).

    Args:
        folder: The run folder.
        config: The whole run; on resuming it must be that of the folder, but for its length, its network's
            precision and where its data are.
        resume: Resume from the folder's newest checkpoint; False refuses a folder that holds a run.
        progress: Show a progress bar.
        allow_changes: Let a resumed run have another optimizer (`config.optimizer`), which the log records; take data of
            another name for the same where the run is too old to have kept a digest.
        check: Called with the training sets of P and Q before any work, to raise an error, e.g. where no report could be
            made at the end; of several hosts by the first. It may return the held-out samples of P and Q, which are then not
            opened once more for `progress.png`.

    Raises:
        ImportError: `config.log` is wandb, which is not installed.
        ValueError: See `build.run`, `runs.fit`, `training.hosts`, `reflow_run`; or the data are others than before.
    """
    folder, where = files.expanded(folder), config.parallel
    logs.check_board(config.log)
    config = _data.located(configs.named(config))
    hosts.join(where.coordinator, where.processes, where.process_index)
    _keep_compiled(where.compiled)
    with hosts.watch(folder):
        mesh = hosts.meeting(where.devices)
        crew = hosts.crew(mesh)
        config = replace(config, data=replace(config.data, noise=_begin.noise(folder, config, crew)))
        moved: list[str] = []
        raw: list[tuple[Source, Source]] = []  # training samples, and held-out ones where they are open
        inside: list[space.Space | None] = []

        def fitted(pair: tuple[Source, Source]) -> space.Space | None:
            test = crew.on_first(lambda: check and check(pair))
            raw.extend((pair,) if test is None else (pair, test))
            sizes = [source.size for source in pair]
            same = crew.on_first(
                lambda: _data.unchanged(folder, config, digests, sizes, trusted=allow_changes)
            )
            moved.extend(same or ())
            crew.on_first(lambda: _check_classes(folder, config, pair))
            inside.append(space.of_run(folder, config.data, pair, crew))
            return inside[0]

        def samples() -> list[pictures.Watched]:
            if len(raw) == 1:
                raw.append(build.sources(config.data, split="test"))
            found = pictures.watched(config, *raw)
            raw.clear()  # a folder of pictures is an array in memory
            return found

        try:
            digests = _data.digests(config)
            built = build.run(plans.ahead(config) or config, space=fitted)
        except FileNotFoundError as error:
            if not (folder / "config.json").is_file():
                raise
            raise FileNotFoundError(
                f"{error}\nIf the data of this run have moved, say where they are: efm resume {folder} --data.source SPEC "
                "--data.target SPEC"
            ) from error
        built = built._replace(notes={**built.notes, "digests": digests})
        built = built._replace(initial=crew.on_first(lambda: _begin.initial(folder, config, built)))
        crew.on_first(lambda: _begin.announce(folder, config))
        pair = cast(tuple[Source, Source], built.sources)
        first = reflow_run.opened(config, pair)
        plans.check(config, pair)
        if first is not None:
            built = built._replace(initial=reflow_run.initial(config, first))
        if not _finished(folder, config, built, crew):
            if first is not None:
                pair = reflow_run.training_pairs(config, first, pair)[0]
            tell = partial(print, flush=True) if progress and hosts.first() else None
            built = built._replace(sources=plans.paired(config, pair, cache=folder / "features", tell=tell))
        free = (*_may_change(allow_changes), *moved)
        named, command = _named_by_first(config, digests, crew), f"efm resume {shlex.quote(str(folder))}"
        plan = replace(Plan.of_run(named), may_change=free, command=command)
        sheets = _pictures.sheets_of(config, built, inside[0], samples)
        watch = _pictures.Watch(folder, sheets, config.picture_every, config.steps, told=progress)
        state = fit(
            folder, built, plan, resume=resume, progress=progress, on_step=watch, mesh=mesh, board=config.log
        )
        if hosts.first():
            _begin.conclude(folder, config, int(state.step))
        return state


def as_begun(
    folder: str | Path,
    config: configs.Run,
    *,
    undecided: Collection[str] = (),
    allow_changes: bool = False,
) -> configs.Run:
    """See, before any work on the data, that a run folder holds no run with other settings.

    Whether data of another name are the same is known without opening them; whether those of the same name are is left to
    `train`.

    Args:
        folder: The run folder.
        config: The run to train in it.
        undecided: Settings by place, `SECTION.NAME`, that are taken from the run of the folder.
        allow_changes: As of `train`.

    Returns:
        The run to train, with what was undecided as in the folder; as it is where that holds no run.

    Raises:
        ValueError: The folder holds a run with other settings, which are named.

    Examples:
        >>> import tempfile
        >>> as_begun(tempfile.mkdtemp(), configs.Run()) == configs.Run()
        True
    """
    folder = files.expanded(folder)
    if not (folder / "config.json").is_file():
        return config
    old = configs.canonical(_folder.read_config(folder))
    settings = _folder.flat(old)
    for place in settings.keys() & {*undecided}:
        section, _, name = place.partition(".")
        part = replace(getattr(config, section), **{name: settings[place]})
        config = replace(config, **{section: part})
    new = _data.located(configs.named(config))
    free = [*_may_change(allow_changes), "optimizer.weight_decay"]  # of which `_begin.announce` tells more
    if new.data.noise is None:
        free.append("data.noise")
    if _data.names(old) != _data.names(configs.to_dict(new)):
        try:
            free += _data.unchanged(folder, new, _data.digests(new), None, trusted=allow_changes)
        except FileNotFoundError:
            free += _data.PLACES  # `train` says where data may be that have moved
    _folder.check_same(folder, "config", old, configs.to_dict(new), tuple(free))
    return config


def _may_change(allow_changes: bool) -> tuple[str, ...]:
    """What a resumed run may change, wherever its data are."""
    return (*_folder.MAY_CHANGE, *_PRECISION, *(("optimizer", "ema_decay") if allow_changes else ()))


def _keep_compiled(folder: str | None) -> None:
    """Keep compiled programs of a GPU or TPU in a folder, unless jax was told of one.

    Those of a CPU compile in less time, and a note of XLA comes with each that is read.
    """
    if folder is not None and jax.default_backend() != "cpu":
        told = getattr(jax.config, "jax_compilation_cache_dir", None)
        jax.config.update("jax_compilation_cache_dir", told or str(files.expanded(folder)))


def _named_by_first(config: configs.Run, digests: dict[str, str], crew: hosts.Crew) -> configs.Run:
    """The configuration with the names of the first host for data that are the same there, wherever each keeps them."""
    names = _data.names(configs.to_dict(config))
    theirs, told = json.loads(crew.everyones(json.dumps([names, digests]))[0])
    same = {place: theirs[place] for place in digests if told.get(place) == digests[place]}
    return _data.located(config, {**names, **same})


def _check_classes(folder: Path, config: configs.Run, pair: tuple[Source, Source]) -> None:
    """Refuse to resume a run whose classes are no longer those it began with, in their order."""
    meta = checkpoint.read_meta(folder / "checkpoints")
    if meta and config.network.classes is not None:
        build.check_classes(config.data, pair, meta.get("classes"), f"the run in {folder}")


def _finished(folder: Path, config: configs.Run, built: build.Built, crew: hosts.Crew) -> bool:
    """Whether a run trained on pairs needs none any more, as the host that keeps its folder tells all.

    Every run asks, so that hosts with different configurations do not wait for each other here.
    """

    def found() -> bool:
        if getattr(config.recipe, "coupling", None) not in ("one_plan", "lines_plan", "given"):
            return False
        like = jax.eval_shape(
            lambda key: training.init_state(key, built.network, built.optimizer), jax.random.key(0)
        )
        return _folder.finished(folder, like, steps=config.steps, max_seconds=config.max_seconds)

    return bool(crew.agreed(int(crew.on_first(found) or False)))
