"""A run folder from end to end: train, transport, score, picture.

    config.json  log.jsonl  checkpoints/     written by `runs.fit`
    pictures/    samples of both maps and the path between the plates
    report.json  the scores of the held-out samples, with how each was made

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
    _scores,
    build,
    checkpoint,
    comparison,
    configs,
    evaluation,
    partners,
    pictures,
    runs,
    sampling,
    training,
)
from efm_jax._types import FieldMatching, Network
from efm_jax.datasets import Source, as_pictures, batch, class_shares
from efm_jax.features import efficientnet_lite0
from efm_jax.lines import FieldLines
from efm_jax.parallel import hosts

EVALUATION_SEED = 20_000
"""Seeds the samples and noise of reports, whatever the run's seed: runs are scored on the same inputs."""


class Trained(NamedTuple):
    """A run folder opened.

    Attributes:
        config: Its configuration.
        recipe: Its recipe, for lines: where they start and end. Its field is that of minibatches, whatever was trained on.
        network: Its network.
        state: Its newest checkpoint.
        shape: Shape of one sample.
        seconds: Training time, over all resumes.
    """

    config: configs.Run
    recipe: FieldMatching
    network: Network
    state: training.TrainState
    shape: tuple[int, ...]
    seconds: float


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
        ValueError: See `build.sources`, `runs.fit`, `parallel.hosts`.
    """
    where = config.parallel
    hosts.join(where.coordinator, where.processes, where.process_index)
    mesh = hosts.meeting(where.devices)
    source_pos, source_neg = build.sources(config.data)
    network = build.network(config.network, source_pos.shape, config.recipe.gap)
    return runs.fit(
        folder,
        build.recipe(build.labelled(config, (source_pos, source_neg)), (source_pos, source_neg)),
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
    )


def load(folder: str | Path) -> Trained:
    """Open a run folder at its newest checkpoint.

    Raises:
        ValueError: The folder holds no run, or one that this version cannot read.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} is not a run folder: it holds no config.json; train one with `efm train`."
        )
    config = configs.load(folder / "config.json")
    source_pos, _ = build.sources(config.data)
    network = build.network(config.network, source_pos.shape, config.recipe.gap)
    like = training.init_state(jax.random.key(0), network, build.optimizer(config.optimizer, config.steps))
    state, meta = checkpoint.restore(folder / "checkpoints", like)
    lines_only = build.recipe(dataclasses.replace(config.recipe, field="minibatch"))
    return Trained(config, lines_only, network, state, source_pos.shape, float(meta.get("seconds", 0.0)))


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

    A recipe whose lines start at random (pfgm) draws them by the samples given: the same again for the same samples. Class
    labels `cond` [n] and guidance: see `sampling.transport`.
    """
    adaptive = trained.config.sampling.solver in ("tsit5", "dopri5")
    return sampling.transport(
        trained.state,
        trained.recipe,
        trained.network,
        x,
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
    folder: str | Path, *, samples: int | None = None, features: str | None = None
) -> dict[str, Any]:
    """Score a run on held-out samples, draw its pictures, and write report.json.

    P -> Q always; Q -> P too where P is data. Digits are read by the digit classifier, anything else is compared in
    sample space, and pictures on features of EfficientNet-Lite0 besides.

    Args:
        folder: The run folder.
        samples: Samples to transport; None for the run's own number.
        features: "efficientnet" or "none" for pictures that are no digits; None for the first where it is installed.
            The features of real pictures are kept in the folder.

    Returns:
        The report, as written.
    """
    if features not in (None, "efficientnet", "none"):
        raise ValueError(f"features of a run must be 'efficientnet', 'none' or None, got {features!r}.")
    folder = Path(folder)
    trained = load(folder)
    count = samples or trained.config.sampling.samples
    train_pair = build.sources(trained.config.data, split="train")
    test_pair = build.sources(trained.config.data, split="test")
    names = (trained.config.data.source, trained.config.data.target)
    report: dict[str, Any] = {
        "config": configs.to_dict(trained.config),
        "step": int(trained.state.step),
        "training_seconds": round(trained.seconds, 1),
        "skipped_steps": int(trained.state.skipped),
        "versions": versions(),
        "maps": {},
    }
    for reverse in (False, True):
        start, end = (1, 0) if reverse else (0, 1)
        if train_pair[end].size is None and len(train_pair[end].shape) == 3:
            continue  # pictures back to white noise: nothing to score
        x = _held_out(test_pair[start], count, side=start)
        cond = None
        if trained.config.network.classes is not None:
            x, cond = _of_each_class(test_pair[start], train_pair, len(x), side=start)
        began = time.perf_counter()
        lines = transport(trained, x, reverse=reverse, cond=cond)
        y = np.asarray(lines.end)[:, :-1]
        seconds = time.perf_counter() - began
        scores = _score(x, y, lines, names, start, end, train_pair, test_pair)
        if cond is not None and _is_digits(names[end]) and train_pair[end].classes is not None:
            as_asked = _scores.Read(y).labels == cond
            scores["read_as_label"] = _scores.share(
                as_asked, "outputs whose most probable digit is the label"
            )
        scores["seconds"] = round(seconds, 2)
        scores["samples_per_second"] = round(len(y) / seconds, 2)
        if len(trained.shape) == 3 and features != "none" and "wasserstein2" in scores:
            scores["features"] = _on_features(
                x, y, (start, end), train_pair, test_pair, folder / "features", features
            )
        label = f"{names[start]} -> {names[end]}"
        report["maps"][label] = scores
        _draw(folder / "pictures", trained, x, y, test_pair, reverse, cond)
    _files.write_json(folder / "report.json", report)
    return report


def summary(report: dict[str, Any]) -> str:
    """Say a report in a few lines: each score beside what real samples get."""
    told = [f"step {report['step']:,}, {report['training_seconds']:.0f} s of training"]
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
        for key in ("kid", "precision", "recall"):
            if key in seen:
                parts.append(
                    f"{seen[key]['label']}: {seen[key]['value']:.3f} (floor {seen[key]['floor']:.3f})"
                )
        parts.append(f"arrived: {scores['arrived']['value']:.1%}")
        parts.append(f"evaluations: {scores['evaluations']['mean']:.0f}")
        told.append(f"{name}: " + ", ".join(parts))
    return "\n".join(told)


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


def digit_of(spec: str) -> int | None:
    """Return the digit of a specification such as `digits:3` or `mnist:PATH:3`, or None.

    Example:
        >>> digit_of("digits:3"), digit_of("mnist:/data/mnist:2"), digit_of("digits"), digit_of("folder:3")
        (3, 2, None, None)
    """
    kind, _, rest = spec.partition(":")
    last = rest.rpartition(":")[2]
    return int(last) if kind in ("digits", "mnist") and last.isdigit() else None


def _held_out(source: Source, count: int, *, side: int) -> np.ndarray:
    n = count if source.size is None else min(count, source.size)
    return batch(source, EVALUATION_SEED, side, 0, n)


def _of_each_class(
    source: Source, pair: tuple[Source, Source], count: int, *, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out samples of as many classes in turn as there are, with their labels; of any class where they have none."""
    labelled = next(one for one in (source, *pair[::-1]) if one.classes is not None)
    there = np.flatnonzero(class_shares(labelled)).astype(np.int32)
    each = max(count // len(there), 1)
    x = batch(source, EVALUATION_SEED, side, 0, each * len(there), labels=there)
    in_turn = np.arange(len(x)).reshape(len(there), each).T.ravel()
    return x[in_turn], np.repeat(there, each)[in_turn]


def _is_digits(name: str) -> bool:
    return name.partition(":")[0] in ("digits", "mnist")


def _score(x, y, lines, names, start, end, train_pair, test_pair) -> dict[str, Any]:
    arrived, evaluations = np.asarray(lines.arrived), np.asarray(lines.num_evaluations)
    real_a = _held_out(train_pair[end], 2000, side=2 + end)
    real_b = _held_out(test_pair[end], 2000, side=4 + end)
    digits = [_is_digits(name) for name in names]
    wanted = digit_of(names[end])
    if all(digits) and wanted is not None:
        return evaluation.translation_report(
            x,
            y,
            real_a,
            real_b,
            target_digit=wanted,
            arrived=arrived,
            num_evaluations=evaluations,
        )
    if digits[end]:
        return evaluation.generation_report(y, real_a, real_b, arrived=arrived, num_evaluations=evaluations)
    return evaluation.samples_report(y, real_a, real_b, arrived=arrived, num_evaluations=evaluations)


def _on_features(x, y, ends, train_pair, test_pair, cache: Path, features: str | None) -> dict[str, Any]:
    """Outputs beside training pictures, held-out ones for the floor, and their inputs where these are data; or why not."""
    start, end = ends
    shape = test_pair[end].shape
    sound = np.isfinite(y).all(axis=1)
    x, y = x[sound], y[sound]
    real = [
        _held_out(pair[end], min(len(y), 2000), side=side)
        for pair, side in ((train_pair, 2 + end), (test_pair, 4 + end))
    ]
    fewest = min(map(len, (y, *real)))
    if fewest < comparison.LEAST:
        return {
            "left_out": f"{fewest} pictures of a side are too few; at least {comparison.LEAST} are needed"
        }
    try:
        extractor = efficientnet_lite0()
    except ImportError as error:
        if features is not None:
            raise
        return {"left_out": str(error)}
    made, *real = (as_pictures(part, shape) for part in (y, *real))
    report = comparison.pictures_report(made, *real, extractor=extractor, cache=cache)
    if train_pair[start].size is not None:
        inputs = as_pictures(x, shape)
        report["own_input"] = partners.partners_report(made, inputs, extractor=extractor, cache=cache)
    return report


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
            _held_out(pair[0], len(x), side=0),
            _held_out(pair[1], len(x), side=1),
            gap=trained.config.recipe.gap,
            arrived=np.asarray(some.arrived),
        )
