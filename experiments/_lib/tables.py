"""What tables share: reading results, and how a score is written in a cell."""

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Table = tuple[list[str], list[list[str]]]
"""A head and rows of cells."""


def read(results: Path, name: str) -> dict[str, Any] | None:
    """The report `results/NAME.json`; None before there is one."""
    path = results / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def read_seeds(results: Path, name: str) -> list[dict[str, Any]]:
    """The reports of all seeds of a run: `NAME.json` and `NAME_seed_*.json`."""
    names = [name, *(path.stem for path in sorted(results.glob(f"{name}_seed_*.json")))]
    return [report for one in names if (report := read(results, one)) is not None]


def share(*scores: dict) -> str:
    """A share in percent and its standard error; of several seeds their mean and deviation."""
    value, error = _of_seeds(scores)
    return f"{value:.1%} ± {error:.1%}"


def kid(*scores: dict) -> str:
    """A kernel distance, its standard error or the deviation over seeds, and its floor."""
    value, error = _of_seeds(scores)
    return f"{value:.3f} ± {error:.3f} ({scores[0]['floor']:.3f})"


def training(*reports: dict) -> str:
    """Steps and minutes of a training."""
    return f"{reports[0]['step']:,} steps, {least_minutes(reports):.0f} min"


def least_minutes(reports: Sequence[dict]) -> float:
    """Minutes of a training; of several seeds the least: other work of the machine only adds to them."""
    return min(report["training_seconds"] for report in reports) / 60


def seeds(reports: list[dict]) -> str:
    """How many seeds, where there are several."""
    return f" ({len(reports)} seeds)" if len(reports) > 1 else ""


def _of_seeds(scores: tuple[dict, ...]) -> tuple[float, float]:
    values = [score["value"] for score in scores]
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else scores[0][
        "standard_error"
    ]


def between(values: Iterable[float], form: str = ".2f") -> str:
    """The least and the largest of some values."""
    found = list(values)
    return f"{min(found):{form}} to {max(found):{form}}" if found else "?"


def mean_and_spread(values: list[float]) -> str:
    """Mean, standard deviation and number of values."""
    if not values:
        return ""
    form = ".3f" if max(values) < 1000 else ".1e"
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread} ({len(values)})"
