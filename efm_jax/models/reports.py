"""Runs and models scored: held-out samples carried, read, compared and drawn.

    pictures/    samples of both maps and the path between the plates
    report.json  the scores of the held-out samples, with how each was made
    step_N/      the same of the checkpoint of step N, where that was asked for

Whatever of these a finished run folder holds can be made again from its config and checkpoint by `evaluate`.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from efm_jax._core import checks, files
from efm_jax._core.versions import versions
from efm_jax.datasets import Source
from efm_jax.evaluation import drawing
from efm_jax.evaluation import parts as _scores
from efm_jax.models import _report_parts, build, configs
from efm_jax.models.model import Trained, load, transport
from efm_jax.types import FieldLines


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
    """Score a run on held-out samples, draw its drawing, and write report.json: see `assess`.

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
    _report_parts.check_features(features)
    trained = load(folder, step=step)
    return assess(
        trained,
        samples=samples,
        features=features,
        source=source,
        target=target,
        output=destination(folder, step, source=source, target=target, output=output),
        cache=folder / "features",
        round_trip=round_trip,
    )


def destination(
    folder: str | Path,
    step: int | None = None,
    *,
    source: str | None = None,
    target: str | None = None,
    output: str | Path | None = None,
) -> Path | None:
    """Where `evaluate`, given the same, writes its report: the folder asked for, else `report_folder`.

    None, for nowhere, of a report on other data than the run's, which is not put among the run's own unless asked for.

    Examples:
        >>> destination("run", target="digits:5") is None
        True
    """
    if output is not None:
        return Path(output)
    return report_folder(folder, step) if source is None and target is None else None


def report_folder(folder: str | Path, step: int | None = None) -> Path:
    """Where the report of a run goes: its folder; that of a checkpoint asked for by its step, to one inside.

    Examples:
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
    _report_parts.check_features(features)
    config = trained.config
    data = dataclasses.replace(
        config.data, source=source or config.data.source, target=target or config.data.target
    )
    config = dataclasses.replace(config, data=data)
    count = config.sampling.samples if samples is None else checks.count("samples", samples)
    if round_trip < 0:
        raise ValueError(f"round_trip must be a number of samples >= 0, 0 for none, got {round_trip!r}.")
    train_pair, test_pair = _report_parts.opened(config, trained.shape)
    names = (data.source, data.target)
    report: dict[str, Any] = {
        "config": configs.to_dict(config),
        "step": int(trained.state.step),
        "training_seconds": round(trained.seconds, 1),
        "skipped_steps": int(trained.state.skipped),
        "versions": versions(),
        "maps": {},
    }
    if trained.space is not None:
        report["space"] = _report_parts.in_space(trained.space, names, test_pair)
    returns = round_trip if _report_parts.starts_at_samples(trained.recipe, trained.shape) else 0
    for reverse in (False, True):
        start, end = (1, 0) if reverse else (0, 1)
        if train_pair[end].size is None and len(train_pair[end].shape) == 3:
            continue  # pictures back to white noise: nothing to score
        x = _report_parts.held_out(test_pair[start], count, side=start)
        cond = None
        if config.network.classes is not None:
            x, cond = _report_parts.of_each_class(test_pair[start], train_pair, len(x), side=start)
        scores, y = _one_way(trained, x, cond, reverse, names, (train_pair, test_pair), returns)
        wanted = features is not None or "wasserstein2" in scores
        if len(trained.shape) == 3 and features != "none" and wanted:
            scores["features"] = _report_parts.on_features(
                x, y, (start, end), train_pair, test_pair, cache, features
            )
        if trained.space is not None:
            scores["reconstruction"] = _report_parts.reconstructed(
                trained.space, count, names, start, end, train_pair, test_pair
            )
        report["maps"][f"{names[start]} -> {names[end]}"] = scores
        if output is not None:
            _draw(Path(output) / "pictures", trained, x, y, test_pair, reverse, cond)
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
        files.write_json(Path(output) / "report.json", report)
    return report


def _one_way(
    trained: Trained, x, cond, reverse: bool, names, pairs, round_trip: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Carry samples one way; the scores of their ends, and those."""
    train_pair, test_pair = pairs
    start, end = (1, 0) if reverse else (0, 1)
    began = time.perf_counter()
    lines = transport(trained, x, reverse=reverse, cond=cond)
    y = np.asarray(lines.end)[:, :-1]
    seconds = time.perf_counter() - began
    scores = _report_parts.score(x, y, lines, names, start, end, train_pair, test_pair)
    if cond is not None and _report_parts.is_digits(names[end]) and train_pair[end].classes is not None:
        as_asked = _scores.Read(y).labels == cond
        scores["read_as_label"] = _scores.share(as_asked, "outputs whose most probable digit is the label")
    scores["seconds"] = round(seconds, 2)
    scores["samples_per_second"] = round(len(y) / seconds, 2)
    if round_trip > 0:
        first = slice(round_trip)
        labels = None if cond is None else cond[first]
        back = transport(trained, y[first], reverse=not reverse, cond=labels)
        scores["round_trip"] = _report_parts.round_trip(_kept(trained, x[first], reverse), lines, back)
    return scores, y


def _kept(trained: Trained, x: np.ndarray, reverse: bool) -> np.ndarray:
    """Samples as lines start at them: of a run in components, what these hold of them."""
    if trained.space is None:
        return x
    side = build.sides(trained.config.data, trained.space)[int(reverse)]
    return np.asarray(side.decode(side.encode(x)))


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
            drawing.grid(y[:64], trained.shape, 16, zoom=2)
            if from_noise
            else drawing.pairs_grid(x[:32], y[:32], trained.shape, 16, zoom=2)
        )
        drawing.save_png(folder / f"{name}.png", shown)
        path = first(6, save=9).path
        drawing.save_png(
            folder / f"{name}_path.png", drawing.strip(np.asarray(path), trained.shape, 9, zoom=2)
        )
    elif trained.shape in ((1,), (2,)):
        some = first(200, save=40)
        drawing.lines_figure(
            folder / f"{name}.png",
            np.asarray(some.path),
            _report_parts.held_out(pair[0], len(x), side=0),
            _report_parts.held_out(pair[1], len(x), side=1),
            gap=trained.config.recipe.gap,
            arrived=np.asarray(some.arrived),
        )


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


def _alone(scores: dict[str, Any]) -> str:
    told = [("read_as_target", "read as it"), ("read_with_confidence", "read with confidence")]
    parts = [f"{label} {scores[key]['value']:.1%}" for key, label in told if key in scores]
    told = [("kid", "KID"), ("wasserstein2", "W2")]
    return ", ".join(
        parts + [f"{label} {_number(scores[key]['value'], 3)}" for key, label in told if key in scores]
    )


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
