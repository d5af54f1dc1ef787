"""The tables of pictures at equal budget, one for each task."""

import json
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from experiments._lib.tables import Table, between
from experiments.images.config import AS_IT_IS, LEVERS, METHODS

RESULTS = Path(__file__).parent / "results"
CHIEF = (
    "I-CFM",
    "OT-CFM",
    "IFM, one plan",
    "EFM, straight tubes, one to one",
    "EFM, superposed",
    "EFM, per plate",
    "C2FM",
)
CHIEF_OF_PARTNERS = (
    "OT-CFM",
    "IFM",
    "EFM, superposed",
    "EFM, per plate",
    "EFM, straight tubes, lines by features",
    *(f"{name}, plan by features" for name in ("CFM", "IFM", "EFM")),
)
"""Methods of the short tables."""
Score = Callable[[dict], tuple[float, float | None]]


class Column(NamedTuple):
    """One score: how it, and what real pictures get, is read (value, standard error or None), and how it is written."""

    name: str
    read: Score
    real: Score | None = None
    form: str = ".3f"
    scale: float = 1.0
    unit: str = ""


def translation() -> Table:
    """Colored digits, 3 -> 2 and 2 -> 3, by method."""
    return _rows("digits_3_2", METHODS, _BOTH_WAYS)


def chief() -> Table:
    """Of these what a reader asks first: 3 -> 2 by the chief methods."""
    return _rows("digits_3_2", CHIEF, _BOTH_WAYS[:3])


def chief_in_components() -> Table:
    """The same in principal components."""
    return _rows("digits_3_2_64_components", CHIEF, _BOTH_WAYS[:3])


def chief_emoji() -> Table:
    """Emoji from Noto to Twemoji by the chief methods."""
    head, rows = emoji()
    return [head[0], *(name.split(": ")[-1] for name in head[1:5]), head[-1]], [
        [row[0], *row[1:5], row[-1]] for row in rows if row[0] in (AS_IT_IS, *CHIEF_OF_PARTNERS)
    ]


def components() -> Table:
    """The same in principal components, beside digits that are only encoded and decoded."""
    head, rows = _rows("digits_3_2_64_components", METHODS, _BOTH_WAYS)
    for report in _reports("digits_3_2_64_components")[:1]:
        alone = {"maps": {name: scores["reconstruction"] for name, scores in report["maps"].items()}}
        cells = [_cell(column, column.read, [alone]) for column in _BOTH_WAYS]
        rows.insert(-1, ["*encoded and decoded*", *cells, ""])
    return head, rows


def levers() -> Table:
    """One thing changed at a time, in principal components, where runs are short."""
    return _rows("digits_3_2_64_components", LEVERS, _BOTH_WAYS)


def widths() -> Table:
    """What the width does in pixels, beside the rows it is a change of."""
    changed = [name for name in LEVERS if "width" in name]
    return _rows("digits_3_2", ["OT-CFM", "IFM", *changed], _BOTH_WAYS)


def digits(task: str = "noise_digits") -> Table:
    """Colored digits from white noise."""
    return _rows(
        task,
        METHODS,
        [
            _share("read with confidence", 0, "read_with_confidence", "read_with_confidence_real"),
            Column(
                "classes: KL to real ones",
                lambda r: (_map(r, 0)["classes"]["kl_to_real_nats"], None),
                lambda r: (_map(r, 0)["classes"]["kl_expected_of_equal_laws"], None),
            ),
            _distance("KID", 0, "kid"),
        ],
    )


def cifar10(task: str = "noise_cifar_10") -> Table:
    """CIFAR-10 from white noise."""
    names = {
        "kid": "KID-EffLite0",
        "frechet": "Frechet-EffLite0",
        "precision": "precision",
        "recall": "recall",
    }
    return _rows(task, METHODS, [_feature(0, key, name) for key, name in names.items()])


def cats_and_dogs() -> Table:
    """Cats and dogs of CIFAR-10 in principal components, both ways."""
    columns = [
        _feature(which, key, f"{way}: {name}")
        for which, way in enumerate(("cat -> dog", "dog -> cat"))
        for key, name in (("kid", "KID-EffLite0"), ("frechet", "Frechet-EffLite0"))
    ]
    return _rows("cat_dog_192_components", METHODS, [*columns, *_COSTS])


def emoji() -> Table:
    """Emoji of one style drawn in another, beside their true partners."""
    columns = []
    for way, name in (("there", "Noto -> Twemoji"), ("back", "Twemoji -> Noto")):
        for space in ("features", "pixels"):
            columns += [
                Column(f"{name}: distance, {space}", _partner(way, space, "distance"), form=".2f"),
                Column(f"rank, {space}", _partner(way, space, "rank"), form=".1f"),
            ]
    return _rows("emoji", [AS_IT_IS, *METHODS], [*columns, *_COSTS])


def pairs() -> Table:
    """Which plans find the true partners among the training pictures."""
    alone = [report for report in _reports("emoji") if report["method"] == AS_IT_IS]
    rows = [[plan, f"{100 * share:.0f} %"] for found in alone for plan, share in found["true_pairs"].items()]
    return ["plan", "paired with the true partner"], rows


def reached() -> str:
    """The share of the training pictures of Q that exact lines by features reach."""
    found = [report["reached"] for report in _reports("emoji") if "reached" in report]
    return f"{found[0]:.0%}" if found else "?"


def independent_hue() -> str:
    """What independent pairs in pixels do to the hue, 3 -> 2."""
    return _score("digits_3_2", "I-CFM", _BOTH_WAYS[1])


def chain_in_components() -> str:
    """The share of 3s that the chain carries in principal components."""
    return _score("digits_3_2_64_components", "C2FM", _BOTH_WAYS[0])


def components_keep() -> str:
    """The share of the variance of held-out digits that the principal components keep."""
    found = [min(report["space"]["explained"].values()) for report in _reports("digits_3_2_64_components")]
    return f"{found[0]:.0%}" if found else "?"


def brief_kid() -> str:
    """KID of wide tubes on one plan in pixels, 3 -> 2, after the steps of an equal budget."""
    mean = _means("digits_3_2", _BOTH_WAYS[2]).get("IFM, one plan, width 0.3")
    return "?" if mean is None else f"{mean:.2f}"


def paired(plan: str) -> str:
    """The share of the training emoji that a plan pairs with their true partners."""
    shares = [
        share
        for report in _reports("emoji")
        for name, share in report.get("true_pairs", {}).items()
        if name.startswith(plan)
    ]
    return f"{shares[0]:.0%}" if shares else "?"


def of_pixels(key: str) -> str:
    """CIFAR-10 in components: a score over that in pixels, the range of the methods that are in both."""
    means = [_means("noise_cifar_10" + space, _feature(0, key, key)) for space in ("", "_192_components")]
    common = (means[0].keys() & means[1].keys()) - {"C2FM"}
    return between(means[1][name] / means[0][name] for name in common)


def median_minutes(task: str) -> str:
    """The median of the minutes that trainings of a task took."""
    found = [report["training_seconds"] / 60 for report in _reports(task) if report["method"] in METHODS]
    return f"{statistics.median(found):.0f}" if found else "?"


def _means(task: str, column: Column) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for report in _reports(task):
        found.setdefault(report["method"], []).append(column.read(report)[0])
    return {method: statistics.mean(values) for method, values in found.items()}


def _score(task: str, method: str, column: Column) -> str:
    reports = [report for report in _reports(task) if report["method"] == method]
    return _cell(column, column.read, reports) if reports else "?"


def _map(report: dict, which: int) -> dict:
    return list(report["maps"].values())[which]


def _feature(which: int, key: str, name: str) -> Column:
    """A score on features of one map, and its floor."""

    def seen(report: dict) -> dict:
        return _map(report, which)["features"]["scores"][key]

    return Column(name, lambda r: _pair(seen(r)), lambda r: (seen(r)["floor"], None))


def _pair(score: dict) -> tuple[float, float | None]:
    return score["value"], score.get("standard_error")


def _partner(way: str, space: str, key: str) -> Score:
    return lambda report: _pair(report["partners"][way][space][key])


def _share(name: str, which: int, key: str, real: str | None = None) -> Column:
    there = None if real is None else lambda r: (_map(r, which)[real]["value"], None)
    return Column(name, lambda r: _pair(_map(r, which)[key]), there, ".1f", 100.0, " %")


def _distance(name: str, which: int, key: str) -> Column:
    return Column(
        name, lambda r: _pair(_map(r, which)[key]), lambda r: (_map(r, which)[key]["floor"], None), ".2f"
    )


def _hue(name: str, which: int) -> Column:
    return Column(
        name, lambda r: (_map(r, which)["hue_change_degrees"]["median"], None), form=".1f", unit="°"
    )


_COSTS = [
    _share("arrived", 0, "arrived"),
    Column("training, min", lambda r: (r["training_seconds"] / 60, None), form=".0f"),
]
_BOTH_WAYS = [
    *(
        column
        for k, name in enumerate(("3 -> 2", "2 -> 3"))
        for column in (
            _share(f"{name}: read as target", k, "read_as_target", "read_as_target_real"),
            _hue(f"{name}: hue change", k),
            _distance(f"{name}: KID", k, "kid"),
        )
    ),
    *_COSTS,
]


def _rows(task: str, methods: Iterable[str], columns: list[Column]) -> Table:
    reports = _reports(task)
    rows = []
    for method in methods:
        mine = [report for report in reports if report["method"] == method]
        if mine:
            rows.append([method, *(_cell(column, column.read, mine) for column in columns), str(len(mine))])
    carried = [report for report in reports if report["method"] in METHODS]
    if rows and any(column.real for column in columns):
        real = [_cell(column, column.real, carried[:1]) if column.real else "" for column in columns]
        rows.append(["*real ones*", *real, ""])
    return ["method", *(column.name for column in columns), "seeds"], rows


def _cell(column: Column, read: Score, reports: list[dict]) -> str:
    """Mean and spread over seeds; of one seed, the value and its standard error."""
    try:
        pairs = [read(report) for report in reports]
    except (KeyError, IndexError):  # of pictures as they are, which nobody carried
        return ""
    values = [column.scale * value for value, _ in pairs]
    error = None if pairs[0][1] is None else column.scale * pairs[0][1]
    error = statistics.stdev(values) if len(values) > 1 else error
    text = f"{statistics.mean(values):{column.form}}"
    return text + ("" if error is None else f" ± {error:{column.form}}") + column.unit


def _reports(task: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((RESULTS / task).glob("*.json"))]


TABLES = {
    "images digits, chief": chief,
    "images components, chief": chief_in_components,
    "images emoji, chief": chief_emoji,
    "images digits": translation,
    "images components": components,
    "images levers": levers,
    "images widths": widths,
    "images noise digits": digits,
    "images cifar": cifar10,
    "images noise digits, components": lambda: digits("noise_digits_192_components"),
    "images cifar, components": lambda: cifar10("noise_cifar_10_192_components"),
    "images cats and dogs": cats_and_dogs,
    "images pairs": pairs,
    "images emoji": emoji,
}
VALUES = {
    "independent_hue": independent_hue,
    "emoji_reached": reached,
    "chain_in_components": chain_in_components,
    "components_keep": components_keep,
    "brief_kid": brief_kid,
    "paired_by_features": partial(paired, "plan by features"),
    "paired_by_minibatch": partial(paired, "plan of each minibatch"),
    "components_kid_of_pixels": partial(of_pixels, "kid"),
    "components_frechet_of_pixels": partial(of_pixels, "frechet"),
    "cifar_minutes": partial(median_minutes, "noise_cifar_10"),
    "cifar_components_minutes": partial(median_minutes, "noise_cifar_10_192_components"),
    "noise_components_minutes": partial(median_minutes, "noise_digits_192_components"),
    "components_minutes": partial(median_minutes, "digits_3_2_64_components"),
}
