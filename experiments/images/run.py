"""One run: trained, scored on held-out pictures, its report published."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from efm_jax import evaluation, models, runs
from efm_jax._core.versions import versions
from efm_jax.datasets import Pictures, as_pictures, read_folder, split_by_name
from efm_jax.evaluation.features import efficientnet_lite0, extract
from efm_jax.matching.couplings import lines_plan, whole_plan
from efm_jax.models import reports
from experiments._lib import places
from experiments._lib import publish as _publish
from experiments.images.config import AS_IT_IS, CHARGES, LEVERS, METHODS, Method, Task, run, slug, tasks

RESULTS = places.results(__file__)
HELD_OUT = 0.2
"""Share of a folder's pictures that no training sees, as in `datasets.open_source`."""

BATCHES = 20
"""Minibatches whose plans are looked at."""


class Place(NamedTuple):
    """One cell of the tables."""

    task: str
    method: str
    seed: int

    def folder(self, root: Path) -> Path:
        """Where the cell's run is kept."""
        return root / f"images_{slug(self.task)}_{slug(self.method)}_{self.seed}"

    def result(self) -> Path:
        """Where its report is published."""
        return RESULTS / slug(self.task) / f"{slug(self.method)}_{self.seed}.json"


def published(task: str, method: str) -> bool:
    """Whether the tables have this cell, of any seed."""
    return any((Path(__file__).parent / "results" / slug(task)).glob(f"{slug(method)}_[0-9]*.json"))


def perform(place: Place, data: Path, root: Path) -> str:
    """Train, or go on; score; publish. A cell whose report is there is left as it is."""
    if place.result().is_file():
        return f"{place}: done before"
    task = tasks(data)[place.task]
    folder = place.folder(root)
    runs.train(folder, run(task, method(place.method), place.seed), progress=False)
    report = reports.evaluate(folder, features=None if task.scores == "pictures" else "none")
    if task.scores == "partners":
        report["partners"] = both_ways(folder, task, root)
    publish(place, report)
    return f"{place}\n{reports.summary(report)}"


def leave(name: str, task: Task, root: Path) -> None:
    """Publish how near pictures are to their partners as they are, and which plans find these."""
    place = Place(name, AS_IT_IS, 0)
    if not place.result().is_file():
        shares, reached = true_pairs(task, root)
        report = {
            "maps": {},
            "partners": both_ways(None, task, root),
            "true_pairs": shares,
            "reached": reached,
        }
        publish(place, report | {"versions": versions()})


def both_ways(folder: Path | None, task: Task, root: Path) -> dict[str, Any]:
    """`partners` of P -> Q and of Q -> P."""
    trained = None if folder is None else models.load(folder)
    source, target = (pictures_of(spec, task) for spec in (task.data.source, task.data.target))
    return {
        "there": partners(trained, source, target, root / "features"),
        "back": partners(trained, target, source, root / "features", reverse=True),
    }


def true_pairs(task: Task, root: Path) -> tuple[dict[str, float], float]:
    """Share of the training pictures that a plan pairs with their true partners; and of those that exact lines reach."""
    sides = [pictures_of(spec, task) for spec in (task.data.source, task.data.target)]
    training = split_by_name(sides[0].names, "train", HELD_OUT)
    images = [side.images[training] for side in sides]
    pixels = [np.float32(x).reshape(len(x), -1) for x in images]
    seen = [extract(efficientnet_lite0(), x, cache=root / "features") for x in images]
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(BATCHES):
        i, j = (rng.choice(len(x), CHARGES, replace=False) for x in pixels)
        shares.append(np.mean(i == j[whole_plan(pixels[0][i], pixels[1][j])]))
    order = np.arange(len(pixels[0]))
    lines = lines_plan(*seen)
    found = {
        f"plan of each minibatch of {CHARGES}": np.mean(shares),
        "one plan": np.mean(order == whole_plan(*pixels)),
        "plan by features": np.mean(order == whole_plan(*seen)),
        "exact lines by features": np.mean(order == lines),
    }
    return {plan: float(share) for plan, share in found.items()}, len(np.unique(lines)) / len(order)


def method(name: str) -> Method:
    """A method or a change of one."""
    return (METHODS | LEVERS)[name]


def publish(place: Place, report: dict[str, Any]) -> None:
    """Write the report, without the reader's paths, whole or not at all."""
    path = place.result()
    path.parent.mkdir(parents=True, exist_ok=True)
    values = _publish.without_paths({"task": place.task, "method": place.method, "seed": place.seed} | report)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(values, indent=1) + "\n")
    new.replace(path)


def pictures_of(spec: str, task: Task) -> Pictures:
    """The pictures of a folder of the task, sorted by name."""
    return read_folder(spec.removeprefix("folder:"), size=task.data.size)


def partners(
    trained: models.Trained | None,
    source: Pictures,
    target: Pictures,
    cache: Path,
    *,
    reverse: bool = False,
) -> dict[str, Any]:
    """Held-out pictures translated, each beside its true partner and all other pictures of the target folder.

    Without a trained run the inputs themselves are taken for translations: what doing nothing gets.
    """
    if [Path(name).stem for name in source.names] != [Path(name).stem for name in target.names]:
        raise SystemExit("the two folders must hold pictures of the same names")
    held_out = np.flatnonzero(split_by_name(source.names, "test", HELD_OUT))
    made = source.images[held_out]
    if trained is not None:
        x = made.reshape(len(made), -1).astype(np.float32) / 127.5 - 1.0
        lines = models.transport(trained, x, reverse=reverse)
        made = as_pictures(np.asarray(lines.end)[:, :-1], made.shape[1:])
    return evaluation.paired_report(
        made, target.images, held_out, extractor=efficientnet_lite0(), cache=cache
    )
