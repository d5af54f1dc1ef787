"""Tables of pictures at equal budget: one head and rows of cells for each task."""

import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from experiments.images.config import AS_IT_IS, LEVERS, METHODS

HERE = Path(__file__).parent / "images" / "results"


class Column(NamedTuple):
    """One score: how it is read from a report (with its standard error, if it has one) and written."""

    name: str
    read: Callable[[dict], tuple[float, float | None]]
    form: str = ".3f"
    scale: float = 1.0
    unit: str = ""


def translation() -> tuple[list[str], list[list[str]]]:
    """Coloured digits, 3 -> 2 and 2 -> 3, by method."""
    return _rows("digits_3_2", METHODS, _BOTH_WAYS)


def levers() -> tuple[list[str], list[list[str]]]:
    """The same by lever."""
    return _rows("digits_3_2", LEVERS, _BOTH_WAYS)


def digits() -> tuple[list[str], list[list[str]]]:
    """Coloured digits from white noise."""
    return _rows(
        "noise_digits",
        METHODS,
        [
            Column("read with confidence", _score(0, "read_with_confidence"), ".1f", 100, " %"),
            Column("classes: KL to real ones", lambda r: (_map(r, 0)["classes"]["kl_to_real_nats"], None)),
            Column("KID", _score(0, "kid")),
            *_COSTS,
        ],
    )


def cifar10() -> tuple[list[str], list[list[str]]]:
    """CIFAR-10 from white noise."""
    names = {
        "kid": "KID-EffLite0",
        "frechet": "Frechet-EffLite0",
        "precision": "precision",
        "recall": "recall",
    }
    columns = [
        Column(name, lambda r, k=key: _pair(_map(r, 0)["features"]["scores"][k]))
        for key, name in names.items()
    ]
    return _rows("noise_cifar_10", METHODS, [*columns, *_COSTS])


def emoji() -> tuple[list[str], list[list[str]]]:
    """Emoji of one style drawn in another, beside their true partners."""
    columns = []
    for way, name in (("there", "Noto -> Twemoji"), ("back", "Twemoji -> Noto")):
        for space in ("features", "pixels"):
            columns += [
                Column(f"{name}: distance, {space}", _partner(way, space, "distance"), ".2f"),
                Column(f"rank, {space}", _partner(way, space, "rank"), ".1f"),
            ]
    return _rows("emoji", [AS_IT_IS, *METHODS], [*columns, *_COSTS])


def floors(task: str, name: str) -> str:
    """What real pictures get, in words for a page."""
    found = [report for report in _reports(task) if report["method"] != AS_IT_IS]
    if not found:
        return "?"
    scores = _map(found[0], 0)
    scores = scores.get("features", {}).get("scores", scores)
    return f"{scores[name]['floor']:.3f}"


def _map(report: dict, which: int) -> dict:
    return list(report["maps"].values())[which]


def _pair(score: dict) -> tuple[float, float | None]:
    return score["value"], score.get("standard_error")


def _score(which: int, key: str) -> Callable[[dict], tuple[float, float | None]]:
    return lambda report: _pair(_map(report, which)[key])


def _partner(way: str, space: str, key: str) -> Callable[[dict], tuple[float, float | None]]:
    return lambda report: _pair(report["partners"][way][space][key])


_COSTS = [
    Column("evaluations", lambda r: (_map(r, 0)["evaluations"]["mean"], None), ".0f"),
    Column("arrived", _score(0, "arrived"), ".1f", 100, " %"),
    Column("training, min", lambda r: (r["training_seconds"] / 60, None), ".0f"),
]
_BOTH_WAYS = [
    *(
        column
        for k, name in enumerate(("3 -> 2", "2 -> 3"))
        for column in (
            Column(f"{name}: read as target", _score(k, "read_as_target"), ".1f", 100, " %"),
            Column(
                "hue change",
                lambda r, k=k: (_map(r, k)["hue_change_degrees"]["median"], None),
                ".1f",
                1.0,
                "°",
            ),
            Column("KID", _score(k, "kid"), ".2f"),
        )
    ),
    *_COSTS,
]


def _rows(task: str, methods: Iterable[str], columns: list[Column]) -> tuple[list[str], list[list[str]]]:
    reports = _reports(task)
    rows = []
    for method in methods:
        mine = [report for report in reports if report["method"] == method]
        if mine:
            rows.append([method, *(_cell(column, mine) for column in columns), str(len(mine))])
    return ["method", *(column.name for column in columns), "seeds"], rows


def _cell(column: Column, reports: list[dict]) -> str:
    """Mean and spread over seeds; of one seed, the value and its standard error."""
    try:
        pairs = [column.read(report) for report in reports]
    except (KeyError, IndexError):  # of pictures as they are, which nobody carried
        return ""
    values = [column.scale * value for value, _ in pairs]
    error = None if pairs[0][1] is None else column.scale * pairs[0][1]
    error = statistics.stdev(values) if len(values) > 1 else error
    text = f"{statistics.mean(values):{column.form}}"
    return text + ("" if error is None else f" ± {error:{column.form}}") + column.unit


def _reports(task: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((HERE / task).glob("*.json"))]
