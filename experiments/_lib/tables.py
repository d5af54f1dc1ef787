"""What tables share: reading results, and how a score is written in a cell."""

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Table = tuple[list[str], list[list[str]]]
"""A head and rows of cells."""


def read(results: Path, name: str) -> dict[str, Any] | None:
    """The report `results/NAME.json`; None before there is one."""
    path = results / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def share(score: dict) -> str:
    """A share and its standard error, in percent."""
    return f"{score['value']:.1%} ± {score['standard_error']:.1%}"


def kid(score: dict) -> str:
    """A kernel distance, its standard error and its floor."""
    return f"{score['value']:.3f} ± {score['standard_error']:.3f} ({score['floor']:.3f})"


def training(report: dict) -> str:
    """Steps and minutes of a training."""
    return f"{report['step']:,} steps, {report['training_seconds'] / 60:.0f} min"


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
