"""The tables of exact lines as a plan."""

import math
import statistics
from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, between, read

RESULTS = Path(__file__).parent / "results"
WAYS = (
    "lines",
    "lines, one to one",
    "lines, K = 1",
    "lines, not stretched",
    "lines, by flux",
    "minibatch OT",
)


def costs() -> Table:
    """Cost of every way over that of the optimal plan, means over seeds; distinct partners in brackets."""
    report = read(RESULTS, "line_plans")
    rows: dict[str, dict[str, list[dict]]] = {}
    for row in report["costs"] if report else ():
        rows.setdefault(row["pair"], {}).setdefault(row["way"], []).append(row)
    cells = [[pair, *(_cell(found.get(way, ())) for way in WAYS)] for pair, found in rows.items()]
    return ["cost / W2² (distinct)", *(way.replace(", by flux", ", launched by flux") for way in WAYS)], cells


def times() -> Table | None:
    """Seconds by number of samples; None before they are measured."""
    report = read(RESULTS, "line_plans")
    rows = report["times"] if report else []
    if not rows:
        return None
    counts = sorted({row["count"] for row in rows})
    cells = []
    for dim, way in dict.fromkeys((row["dim"], row["way"]) for row in rows):
        found = {row["count"]: row["seconds"] for row in rows if (row["dim"], row["way"]) == (dim, way)}
        cells.append([f"D = {dim}", way, *(f"{found[n]:.2f}" if n in found else "" for n in counts)])
    return ["", "seconds for n =", *(f"{n:,}" for n in counts)], cells


def crossings() -> Table | None:
    """Of straight tubes the share of the squared velocity that no network can learn, in the columns of the toy table."""
    report = read(RESULTS, "line_plans")
    rows = report.get("crossings", []) if report else []
    if not rows:
        return None
    columns = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    cells = []
    for way in dict.fromkeys(row["way"] for row in rows):
        found = [
            [row["crossing"] for row in rows if (row["source"], row["target"], row["way"]) == (*column, way)]
            for column in columns
        ]
        cells.append([way, *(f"{statistics.mean(values):.2%}" if values else "" for values in found)])
    names = [f"{source.replace('gaussian:2', 'N')} -> {target}" for source, target in columns]
    return ["variance of v at a point / v²", *names], cells


def over_pairs(score: str, way: str, only: str = "") -> list[float]:
    """Means over seeds of a way's score, one a pair."""
    report = read(RESULTS, "line_plans")
    found: dict[str, list[float]] = {}
    for row in report["costs"] if report else ():
        if row["way"] == way and only in row["pair"]:
            found.setdefault(row["pair"], []).append(row[score])
    return [statistics.mean(values) for values in found.values()]


def largest(form: str, *what: str) -> str:
    """The largest of these means."""
    return f"{max(over_pairs(*what), default=math.nan):{form}}".replace("nan", "?")


def _cell(rows) -> str:
    if not rows:
        return ""
    cost, distinct = (statistics.mean(row[key] for row in rows) for key in ("cost", "distinct"))
    return f"{cost:.2f} ({distinct:.2f})"


TABLES = {"line plans": costs, "line crossings": crossings, "line plan times": times}
VALUES = {
    "line_plans_cost": lambda: between(over_pairs("cost", "lines")),
    "one_to_one_cost": lambda: between(over_pairs("cost", "lines, one to one")),
    "minibatch_cost": lambda: between(over_pairs("cost", "minibatch OT")),
    "independent_cost": partial(largest, ".0f", "cost", "independent"),
    "ellipse_ends": partial(largest, ".2f", "ends", "lines", "10:1"),
    "ellipse_ends_whitened": partial(largest, ".2f", "ends", "lines, whitened", "10:1"),
}
