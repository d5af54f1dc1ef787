"""A run folder from end to end: train, transport, score, picture.

    config.json  log.jsonl  checkpoints/     written by `runs.fit`
    space.npz    of a run in principal components: their space
    pictures/    samples of both maps and the path between the plates
    report.json  the scores of the held-out samples, with how each was made
    step_N/      report and pictures of the checkpoint of step N, where that was asked for

Whatever a finished folder holds can be made again from its config and checkpoint by `evaluate`.
"""

import dataclasses
import platform
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from efm_jax import (
    __version__,
    _files,
    _run_scores,
    _run_space,
    _scores,
    build,
    checkpoint,
    configs,
    pictures,
    runs,
    sampling,
    second,
    training,
)
from efm_jax._types import FieldMatching, Network
from efm_jax.datasets import Source
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
    pair = build.sources(config.data)
    # of the data as they are: what `load` needs and config.json does not say
    notes = {"shape": list(pair[0].shape)}
    network = build.network(config.network, build.sample_shape(config, pair[0].shape), config.recipe.gap)
    space = _run_space.of_run(folder, config.data, pair, hosts.crew(mesh))
    source_pos, source_neg = build.encoded(config.data, pair, space)
    recipe = build.recipe(build.labelled(config, (source_pos, source_neg)), (source_pos, source_neg))
    initial = None
    if second.asked_for(config):
        first = load(str(config.reflow.run), step=config.reflow.step)
        (source_pos, source_neg), initial = second.training_pairs(config, first, (source_pos, source_neg))
    source_pos, source_neg = build.planned(config, (source_pos, source_neg))
    return runs.fit(
        folder,
        recipe,
        network,
        build.optimizer(config.optimizer, config.steps),
        source_pos,
        source_neg,
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
        initial=initial,
        data_threads=where.data_threads,
        notes=notes,
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
    folder = Path(folder)
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


def evaluate(
    folder: str | Path,
    *,
    samples: int | None = None,
    features: str | None = None,
    step: int | None = None,
    source: str | None = None,
    target: str | None = None,
    output: str | Path | None = None,
    round_trip: int = 100,
) -> dict[str, Any]:
    """Score a run on held-out samples, draw its pictures, and write report.json: see `assess`.

    Args:
        folder: The run folder.
        samples: See `assess`.
        features: See `assess`; the features of real pictures are kept in the folder.
        step: Score another checkpoint than the newest; its report goes to `step_N` in the folder.
        source: P, where it is not what the run was trained on, or not where that was.
        target: Q, likewise.
        output: Folder for report and pictures; None for the run's own. A report on other data is only returned then.
        round_trip: See `assess`.

    Returns:
        The report, as written.
    """
    folder = Path(folder)
    _run_scores.check_features(features)
    trained = load(folder, step=step)
    if output is None and source is None and target is None:
        output = report_folder(folder, step)
    return assess(
        trained,
        samples=samples,
        features=features,
        source=source,
        target=target,
        output=output,
        cache=folder / "features",
        round_trip=round_trip,
    )


def report_folder(folder: str | Path, step: int | None = None) -> Path:
    """Where the report of a run goes: its folder; that of a checkpoint asked for by its step, to one inside.

    Example:
        >>> report_folder("run", 500).name
        'step_000000500'
    """
    return Path(folder) if step is None else Path(folder) / f"step_{step:09d}"


def assess(
    trained: Trained,
    *,
    samples: int | None = None,
    features: str | None = None,
    source: str | None = None,
    target: str | None = None,
    output: str | Path | None = None,
    cache: str | Path | None = None,
    round_trip: int = 100,
) -> dict[str, Any]:
    """Score a run or a model on held-out samples.

    P -> Q always; Q -> P too where P is data. Digits are read by the digit classifier, anything else is compared in
    sample space, and pictures on features of EfficientNet-Lite0 besides. `samples_per_second` counts the compilation.

    Args:
        trained: The run or model, opened.
        samples: Samples to transport; None for the run's own number.
        features: Of pictures: "efficientnet", "inception:FILE" (see `features.inception`) or "none"; None for the first
            where it is installed, and for none of digits.
        source: P; None for what the configuration says.
        target: Q, likewise.
        output: Folder for `report.json` and `pictures/`; None writes neither.
        cache: Folder that keeps the features of real pictures; None for none.
        round_trip: Samples at most that are carried there and back, where lines start at the samples; 0 for none.

    Returns:
        The report.

    Raises:
        ValueError: The data are not there, or are not of the shape or the classes of the model.
    """
    _run_scores.check_features(features)
    config = trained.config
    data = dataclasses.replace(
        config.data, source=source or config.data.source, target=target or config.data.target
    )
    config = dataclasses.replace(config, data=data)
    count = samples or config.sampling.samples
    train_pair, test_pair = _run_scores.opened(config, trained.shape)
    names = (data.source, data.target)
    report: dict[str, Any] = {
        "config": configs.to_dict(config),
        "step": int(trained.state.step),
        "training_seconds": round(trained.seconds, 1),
        "skipped_steps": int(trained.state.skipped),
        "versions": versions(),
        "maps": {},
    }
    returns = round_trip > 0 and _run_scores.starts_at_samples(trained.recipe, trained.shape)
    if trained.space is not None:
        report["space"] = _run_scores.in_space(trained.space, names, test_pair)
    for reverse in (False, True):
        start, end = (1, 0) if reverse else (0, 1)
        if train_pair[end].size is None and len(train_pair[end].shape) == 3:
            continue  # pictures back to white noise: nothing to score
        x = _run_scores.held_out(test_pair[start], count, side=start)
        cond = None
        if trained.config.network.classes is not None:
            x, cond = _run_scores.of_each_class(test_pair[start], train_pair, len(x), side=start)
        began = time.perf_counter()
        lines = transport(trained, x, reverse=reverse, cond=cond)
        y = np.asarray(lines.end)[:, :-1]
        seconds = time.perf_counter() - began
        scores = _run_scores.score(x, y, lines, names, start, end, train_pair, test_pair)
        if cond is not None and _run_scores.is_digits(names[end]) and train_pair[end].classes is not None:
            as_asked = _scores.Read(y).labels == cond
            scores["read_as_label"] = _scores.share(
                as_asked, "outputs whose most probable digit is the label"
            )
        scores["seconds"] = round(seconds, 2)
        scores["samples_per_second"] = round(len(y) / seconds, 2)
        if returns:
            first = slice(round_trip)
            labels = None if cond is None else cond[first]
            back = transport(trained, y[first], reverse=not reverse, cond=labels)
            scores["round_trip"] = _run_scores.round_trip(x[first], lines, back)
        wanted = features is not None or "wasserstein2" in scores
        if len(trained.shape) == 3 and features != "none" and wanted:
            scores["features"] = _run_scores.on_features(
                x, y, (start, end), train_pair, test_pair, cache, features
            )
        if trained.space is not None:
            scores["reconstruction"] = _run_scores.reconstructed(
                trained.space, count, names, start, end, train_pair, test_pair
            )
        label = f"{names[start]} -> {names[end]}"
        report["maps"][label] = scores
        if output is not None:
            _draw(Path(output) / "pictures", trained, x, y, test_pair, reverse, cond)
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
        _files.write_json(Path(output) / "report.json", report)
    return report


def summary(report: dict[str, Any]) -> str:
    """Say a report in a few lines: each score beside what real samples get."""
    told = [f"step {report['step']:,}, {report['training_seconds']:.0f} s of training"]
    if "space" in report:
        kept = ", ".join(f"{share:.1%} of {name}" for name, share in report["space"]["explained"].items())
        told.append(f"{report['space']['components']} components keep {kept}")
    for name, scores in report["maps"].items():
        parts = []
        if "read_as_target" in scores:
            parts.append(f"read as {scores['target_digit']}: {scores['read_as_target']['value']:.1%}")
            parts.append(f"median hue change: {_number(scores['hue_change_degrees']['median'], 1)} degrees")
        if "read_as_label" in scores:
            parts.append(f"read as the label: {scores['read_as_label']['value']:.1%}")
        if "read_with_confidence" in scores:
            parts.append(f"read with confidence: {scores['read_with_confidence']['value']:.1%}")
        for key, label, digits in (("kid", "KID", 4), ("wasserstein2", "W2", 3)):
            if key in scores:
                value, floor = (_number(scores[key][part], digits) for part in ("value", "floor"))
                parts.append(f"{label}: {value} (floor {floor})")
        seen = scores.get("features", {}).get("scores", {})
        for key in ("kid", "precision", "recall", "near_copies"):
            if key in seen:
                parts.append(
                    f"{seen[key]['label']}: {seen[key]['value']:.3f} (floor {seen[key]['floor']:.3f})"
                )
        if "round_trip" in scores:
            there, other = (_number(scores["round_trip"][part], 4) for part in ("value", "of_others"))
            parts.append(f"there and back: {there} a dimension (another sample: {other})")
        if "reconstruction" in scores:
            parts.append(f"reconstructions alone: {_alone(scores['reconstruction'])}")
        parts.append(f"arrived: {scores['arrived']['value']:.1%}")
        parts.append(f"evaluations: {scores['evaluations']['mean']:.0f}")
        told.append(f"{name}: " + ", ".join(parts))
    return "\n".join(told)


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


def _alone(scores: dict[str, Any]) -> str:
    told = [("read_as_target", "read as it"), ("read_with_confidence", "read with confidence")]
    parts = [f"{label} {scores[key]['value']:.1%}" for key, label in told if key in scores]
    told = [("kid", "KID"), ("wasserstein2", "W2")]
    return ", ".join(
        parts + [f"{label} {_number(scores[key]['value'], 3)}" for key, label in told if key in scores]
    )


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


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


def _draw(
    folder: Path, trained: Trained, x, y, pair: tuple[Source, Source], reverse: bool, cond: np.ndarray | None
) -> None:
    def first(n: int, save: int) -> FieldLines:
        labels = None if cond is None else cond[:n]
        return transport(trained, x[:n], reverse=reverse, save=save, cond=labels)

    name = "backward" if reverse else "forward"
    if len(trained.shape) == 3:
        from_noise = pair[1 if reverse else 0].size is None
        shown = (
            pictures.grid(y[:64], trained.shape, 16, zoom=2)
            if from_noise
            else pictures.pairs_grid(x[:32], y[:32], trained.shape, 16, zoom=2)
        )
        pictures.save_png(folder / f"{name}.png", shown)
        path = first(6, save=9).path
        pictures.save_png(
            folder / f"{name}_path.png", pictures.strip(np.asarray(path), trained.shape, 9, zoom=2)
        )
    elif trained.shape in ((1,), (2,)):
        some = first(200, save=40)
        pictures.lines_figure(
            folder / f"{name}.png",
            np.asarray(some.path),
            _run_scores.held_out(pair[0], len(x), side=0),
            _run_scores.held_out(pair[1], len(x), side=1),
            gap=trained.config.recipe.gap,
            arrived=np.asarray(some.arrived),
        )
