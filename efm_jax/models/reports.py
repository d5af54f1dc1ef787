"""The report of a run or model: held-out samples carried, read, compared and drawn.

    pictures/    samples of both maps and the path between the plates
    report.json  the scores of the held-out samples, with how each was made
    step_N/      the same of the checkpoint of step N, where that was asked for

`evaluate` can make all of these again from a finished run folder.
"""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from efm_jax._core import checks, files, memory, outputs
from efm_jax._core.versions import versions
from efm_jax.datasets import Source
from efm_jax.evaluation import drawing, entries
from efm_jax.evaluation.features import extractors
from efm_jax.models import build, configs, scoring
from efm_jax.models.loading import find, is_model, load
from efm_jax.models.model import Trained, transport
from efm_jax.models.scoring import Direction
from efm_jax.types import FieldLines

__all__ = ["check", "check_run_folder", "destination", "evaluate", "summary"]

_REPORT = "report.json"


def evaluate(
    model: str | Path | Trained,
    *,
    step: int | None = None,
    samples: int | None = None,
    features: str | None = None,
    source: str | None = None,
    target: str | None = None,
    round_trip: int = 100,
    cache: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Score a run or a model on held-out samples, and write `report.json` and pictures.

    P -> Q always; Q -> P too where P is data. Digits are read by the digit classifier, other samples are compared in sample
    space, and pictures also on features of EfficientNet-Lite0. `samples_per_second` counts the compilation.

    Args:
        model: A run folder, a model folder, the name of a released model, or what `load` returned.
        step: Of a run folder: score the checkpoint of this step; None for the newest.
        samples: Samples to transport; None for the run's own number.
        features: Of pictures: "efficientnet", "inception:FILE" (see `features.inception`) or "none"; None for the first
            where it is installed, and for none of digits.
        source: P; None for what the configuration says.
        target: Q, likewise.
        round_trip: Samples at most that are carried there and back, where lines start at the samples; 0 for none.
        cache: Folder that keeps the features of real pictures; None for `features` in a run folder, the user's cache folder
            for a model, and no cache for what `load` returned.
        output: Folder for report and pictures; None for `destination`.
        overwrite: Overwrite any file in `output`; without it only those of an earlier report.

    Raises:
        ValueError: There is no such run or model; its data are not there, or are not of its shape or classes; or a file in
            `output` that no earlier report wrote would be overwritten.
    """
    scoring.check_features(features)
    count = None if samples is None else checks.count("samples", samples)
    if round_trip < 0:
        raise ValueError(f"round_trip must be a number of samples >= 0, 0 for none, got {round_trip!r}.")
    overwrite = overwrite or output is None  # a run folder holds what efm wrote
    if isinstance(model, Trained):
        trained = model
    else:
        folder, trained = find(model), load(model, step=step)
        cache = cache or (extractors.cache_folder() if is_model(folder) else folder / "features")
        output = destination(model, step, source=source, target=target, output=output)
    config = trained.config
    data = dataclasses.replace(
        config.data, source=source or config.data.source, target=target or config.data.target
    )
    config = dataclasses.replace(config, data=data)
    names, picture = (data.source, data.target), len(trained.shape) == 3
    # pictures back to white noise: nothing to score
    ways = [reverse for reverse in (False, True) if not (picture and build.is_noise(names[1 - int(reverse)]))]
    folder = None if output is None else files.expanded(output)
    written = [_REPORT, *(f"pictures/{name}" for reverse in ways for name in _drawn(reverse, trained.shape))]
    if folder is not None:
        outputs.check(folder, written, marker=_REPORT, overwrite=overwrite)
    train, test = scoring.open_data(config, trained.shape, trained.class_names)
    directions = [Direction(reverse, names, train, test) for reverse in ways]
    count = count or config.sampling.samples
    for one in directions:
        n = min(count, test[one.start].size or count)
        memory.check(
            f"a report on {n} samples", 12 * n * math.prod(trained.shape), "Score fewer with --samples."
        )
    report = _report(
        trained,
        config,
        directions,
        count,
        features=features,
        round_trip=round_trip,
        cache=cache,
        output=folder,
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        report |= {"made_by": outputs.MADE_BY, "files": written}
        files.write_json(folder / _REPORT, report)
    return report


def check_run_folder(run: Path) -> None:
    """Raise an error if the report of a new run would overwrite a file of the user in its folder."""
    if not (run / "config.json").exists():
        names = [f"pictures/{way}{end}.png" for way in ("forward", "backward") for end in ("", "_path")]
        outputs.check(run, [_REPORT, *names], marker=_REPORT, overwrite=None)


def check(config: configs.Run, train: tuple[Source, Source]) -> None:
    """See before training that the report at its end can be made.

    Args:
        config: The run.
        train: The training sets of P and Q.

    Raises:
        ValueError: Held-out samples are missing or too few, or samples of this shape cannot be drawn.
    """
    shape = train[0].shape
    try:
        test = build.sources(config.data, split="test")
        for kind, pair in (("training", train), ("held-out", test)):
            for name, source in zip((config.data.source, config.data.target), pair, strict=True):
                if source.size is not None and source.size < 2:
                    raise ValueError(f"{name} has {source.size} {kind} sample, and scores need two.")
        if len(shape) == 3:
            drawing.grid(np.zeros((1, math.prod(shape)), np.float32), shape, 1)
        elif shape in ((1,), (2,)):
            import matplotlib  # noqa: F401
    except (ValueError, ImportError) as error:
        raise ValueError(
            f"the report at the end of training cannot be made: {error}\nTrain with --no-report, or give other data."
        ) from error


def _drawn(reverse: bool, shape: tuple[int, ...]) -> list[str]:
    """The names of the pictures of one direction."""
    name = "backward" if reverse else "forward"
    if len(shape) == 3:
        return [f"{name}.png", f"{name}_path.png"]
    return [f"{name}.png"] if shape in ((1,), (2,)) else []


def _report(
    trained: Trained,
    config: configs.Run,
    directions: list[Direction],
    count: int,
    *,
    features: str | None,
    round_trip: int,
    cache: str | Path | None,
    output: Path | None,
) -> dict[str, Any]:
    """Return the report on a model, on the data of `config`; draw its pictures where there is an output folder."""
    names, train, test = directions[0].names, directions[0].train, directions[0].test
    report: dict[str, Any] = {
        "config": configs.to_dict(config),
        "step": int(trained.state.step),
        "training_seconds": round(trained.seconds, 1),
        "skipped_steps": int(trained.state.skipped),
        "versions": versions(),
        **({} if trained.class_names is None else {"classes": list(trained.class_names)}),
        "maps": {},
    }
    if trained.space is not None:
        report["space"] = scoring.space_report(trained.space, names, test)
    returns = round_trip if scoring.starts_at_samples(trained.recipe, trained.shape) else 0
    for direction in directions:
        start = direction.start
        x, cond = scoring.held_out(test[start], count, side=start), None
        if config.network.classes is not None:
            x, cond = scoring.of_each_class(test[start], train, len(x), side=start)
        scores, y = _one_way(trained, x, cond, direction, returns)
        if len(trained.shape) == 3 and ("wasserstein2" in scores or features not in (None, "none")):
            seen = {"left_out": "features 'none' was asked for"}
            if features != "none":
                seen = scoring.feature_scores(x, y, direction, cache, features)
            # pictures are led by their features: one mean picture repeated is near all of them in pixels
            scores = {"features": seen, **scores}
        if trained.space is not None:
            scores["reconstruction"] = scoring.reconstruction(trained.space, count, direction)
        report["maps"][direction.label] = scores
        if output is not None:
            _draw(output / "pictures", trained, x, y, direction, cond)
    return report


def destination(
    place: str | Path,
    step: int | None = None,
    *,
    source: str | None = None,
    target: str | None = None,
    output: str | Path | None = None,
) -> Path | None:
    """Return where `evaluate`, given the same, writes its report; None where it writes none.

    That is `output` if given; else a run folder, or `step_N` in it for a checkpoint asked for by its step. Reports on other
    data than the run's, and those of models, are not written unless asked for.

    Examples:
        >>> destination("moons"), destination("moons", output="scores").name
        (None, 'scores')
    """
    if output is not None:
        return files.expanded(output)
    folder = find(place)
    if source is not None or target is not None or is_model(folder):
        return None
    return folder if step is None else folder / f"step_{step:09d}"


def _one_way(
    trained: Trained, x: np.ndarray, cond: np.ndarray | None, direction: Direction, round_trip: int
) -> tuple[dict[str, Any], np.ndarray]:
    """Carry samples one way; return the scores of their ends, and the ends."""
    began = time.perf_counter()
    lines = transport(trained, x, reverse=direction.reverse, cond=cond)
    y = np.asarray(lines.end)[:, :-1]
    seconds = time.perf_counter() - began
    scores = scoring.score(x, y, lines, direction)
    end = direction.end
    if (
        cond is not None
        and scoring.is_digits(direction.names[end])
        and direction.train[end].classes is not None
    ):
        names = trained.class_names or direction.train[end].class_names
        asked = cond if names is None else np.asarray([int(name) for name in names])[cond]
        as_asked = entries.Read(y).labels == asked
        scores["read_as_label"] = entries.share(as_asked, "outputs whose most probable digit is the label")
        if direction.translates:
            left = entries.Read(x).labels == cond
            scores["read_as_label_inputs"] = entries.share(left, "the same share of the inputs")
    scores["seconds"] = round(seconds, 2)
    scores["samples_per_second"] = round(len(y) / seconds, 2)
    if round_trip > 0:
        first = slice(round_trip)
        labels = None if cond is None else cond[first]
        back = transport(trained, y[first], reverse=not direction.reverse, cond=labels)
        scores["round_trip"] = scoring.round_trip(_kept(trained, x[first], direction.reverse), lines, back)
    return scores, y


def _kept(trained: Trained, x: np.ndarray, reverse: bool) -> np.ndarray:
    """Samples as lines start at them: of a run in components, what these hold of them."""
    if trained.space is None:
        return x
    side = build.sides(trained.config.data, trained.space)[int(reverse)]
    return np.asarray(side.decode(side.encode(x)))


def _draw(folder: Path, trained: Trained, x, y, direction: Direction, cond: np.ndarray | None) -> None:
    def first(n: int, save: int) -> FieldLines:
        labels = None if cond is None else cond[:n]
        return transport(trained, x[:n], reverse=direction.reverse, save=save, cond=labels)

    names = _drawn(direction.reverse, trained.shape)
    if len(trained.shape) == 3:
        from_noise = direction.test[direction.start].size is None
        shown = (
            drawing.grid(y[:64], trained.shape, 16, zoom=2)
            if from_noise
            else drawing.pairs_grid(x[:32], y[:32], trained.shape, 16, zoom=2)
        )
        drawing.save_png(folder / names[0], shown)
        path = first(6, save=9).path
        drawing.save_png(folder / names[1], drawing.strip(np.asarray(path), trained.shape, 9, zoom=2))
    elif names:
        some = first(200, save=40)
        drawing.lines_figure(
            folder / names[0],
            np.asarray(some.path),
            scoring.held_out(direction.test[0], len(x), side=0),
            scoring.held_out(direction.test[1], len(x), side=1),
            gap=trained.config.recipe.gap,
            arrived=np.asarray(some.arrived),
        )


def summary(report: dict[str, Any]) -> str:
    """Summarize a report: of each map the scores of its outputs, of inputs left as they are, and of real samples."""
    said = [f"step {report['step']:,}, {report['training_seconds']:.0f} s of training"]
    if "space" in report:
        kept = ", ".join(f"{share:.1%} of {name}" for name, share in report["space"]["explained"].items())
        said.append(f"{report['space']['components']} components keep {kept}")
    if report.get("classes"):
        said.append(f"classes {', '.join(report['classes'])}")
    for name, scores in report["maps"].items():
        columns = _columns(scores)
        rows = [["", *columns]]
        for i, row in enumerate(("mapped", "inputs left as they are", "real")):
            if any(values[i] for values in columns.values()):
                rows.append([row, *(values[i] for values in columns.values())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        rest = [f"arrived: {scores['arrived']['value']:.1%}"]
        rest += [f"evaluations: {scores['evaluations']['mean']:.0f}"]
        if "left_out" in scores.get("features", {}):
            rest.append(f"KID left out: {scores['features']['left_out']}")
        if "round_trip" in scores:
            value, other = (_number(scores["round_trip"][part], 4) for part in ("value", "of_others"))
            rest.append(f"there and back: {value} a dimension (another sample: {other})")
        if "reconstruction" in scores:
            rest.append(f"reconstructions alone: {_without_lines(scores['reconstruction'])}")
        said += [name, *(f"  {line.rstrip()}" for line in [*table, ", ".join(rest)])]
    return "\n".join(said)


def _columns(scores: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """The leading scores by their titles: of outputs, of inputs left as they are (or ""), of real samples (or "")."""
    columns = {}
    seen = scores.get("features", {}).get("scores", {})
    for key in ("kid", "precision", "recall", "near_copies"):
        if key in seen:
            columns[seen[key]["label"]] = _three(seen[key], 3)
    picture = "features" in scores
    if "kid" in scores:
        columns["KID"] = _three(scores["kid"], 4)
    titles = {"read_as_label": "read as the label", "read_with_confidence": "read with confidence"}
    titles["read_as_target"] = f"read as {scores.get('target_digit')}"
    for key, title in titles.items():
        if key in scores:
            parts = (scores.get(f"{key}{of}") for of in ("", "_inputs", "_real"))
            value, inputs, real = ("" if part is None else f"{part['value']:.1%}" for part in parts)
            columns[title] = value, inputs, real
    if "hue_change_degrees" in scores:
        columns["hue change"] = f"{_number(scores['hue_change_degrees']['median'], 1)}°", "0.0°", ""
    for key, title in (("wasserstein2", "W2"), ("energy_distance", "energy distance")):
        if key in scores and not (picture and key == "energy_distance"):
            columns[f"{title} in pixels" if picture else title] = _three(scores[key], 3)
    return columns


def _three(score: dict[str, Any], digits: int) -> tuple[str, str, str]:
    value, inputs, real = (
        _number(score[part], digits) if part in score else "" for part in ("value", "inputs", "floor")
    )
    return value, inputs, real


def _without_lines(scores: dict[str, Any]) -> str:
    shares = {"read_as_target": "read as it", "read_with_confidence": "read with confidence"}
    distances = {"kid": "KID", "wasserstein2": "W2"}
    parts = [f"{label} {scores[key]['value']:.1%}" for key, label in shares.items() if key in scores]
    parts += [
        f"{label} {_number(scores[key]['value'], 3)}" for key, label in distances.items() if key in scores
    ]
    return ", ".join(parts)


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
