"""The tables of five methods on toys."""

import json
import statistics
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, mean_and_spread
from experiments.toy_table.methods import LEVERS, METHODS

RESULTS = Path(__file__).parent / "results"
BASES = ("C2FM", "EFM, superposed", "EFM, straight tubes", "IFM, one plan")
"""The rows that levers change."""


CHIEF = (
    "I-CFM",
    "OT-CFM",
    "EFM, per plate",
    "EFM, superposed",
    "EFM, straight tubes",
    "C2FM",
    "IFM, one plan",
)
"""The rows that a reader asks for first."""


def chief() -> Table:
    """Of W2 the chief methods and the floor, the number of seeds left out."""
    head, rows = distances()
    shown = [row for row in rows if row[0] in CHIEF or row[0].startswith("floor")]
    return head, [[row[0], *(cell.partition(" (")[0] for cell in row[1:])] for row in shown]


def distances(pattern: str = "seed_*.json") -> Table:
    """W2 of every method on every pair of laws, mean and spread over seeds, and the floor."""
    reports = _reports(pattern)
    columns = _columns(reports)
    rows = [
        [method, *(_spread(reports, pair, method, lambda r: r["w2"]) for pair in columns)]
        for method in _methods(reports)
    ]
    floors = [
        mean_and_spread([f["w2"] for report in reports for f in report["floors"] if f["target"] == target])
        for _, target in columns
    ]
    return ["W2", *_names(columns)], [*rows, ["floor: two sets of Q", *floors]]


def costs() -> Table:
    """Sliced W2, energy, curvature, evaluations and training time of every method, means over pairs and seeds."""
    reports = _reports("seed_*.json")
    columns = {
        "sliced W2": lambda r: r["sliced_w2"],
        "NPE": lambda r: r.get("npe"),
        "curvature": lambda r: r.get("curvature"),
        "adaptive: evaluations": lambda r: r["adaptive"]["evaluations"],
        "adaptive: from Euler's ends": lambda r: r["adaptive"]["from_euler"],
        "arrived": lambda r: 100 * r["adaptive"]["arrived"],
        "training, s": lambda r: r["seconds"],
    }
    rows = []
    for method in _methods(reports):
        mine = [row for report in reports for row in report["rows"] if row["method"] == method]
        rows.append([method, *(_mean(map(read, mine)) for read in columns.values())])
    return ["means over pairs and seeds", *columns], rows


def levers() -> Table:
    """W2 with one thing changed, beside the method it is a change of."""
    changed = sorted(RESULTS.glob("levers_seed_*.json"))
    reports = [json.loads(path.read_text()) for path in changed]
    same = [RESULTS / path.name.removeprefix("levers_") for path in changed]
    whole = [json.loads(path.read_text()) for path in same if path.is_file()]
    columns = _columns(reports)
    rows = []
    for method in _methods(reports):
        rows.append([method, *(_spread(reports, pair, method, lambda r: r["w2"]) for pair in columns)])
    for base in BASES if rows else ():
        rows.append([f"*{base}*", *(_spread(whole, pair, base, lambda r: r["w2"]) for pair in columns)])
    return ["one change", *_names(columns)], rows


def _reports(pattern: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


def _columns(reports: list[dict]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["source"], row["target"]) for report in reports for row in report["rows"]))


def _methods(reports: list[dict]) -> list[str]:
    """In the order of the programs' own lists, changes of a method after it."""
    found = {row["method"] for report in reports for row in report["rows"]}
    known = [*METHODS, *LEVERS]
    families = [method.partition(",")[0] for method in known]
    return sorted(found, key=lambda one: (families.index(one.partition(",")[0]), known.index(one)))


def _names(columns: list[tuple[str, str]]) -> list[str]:
    return [f"{source.replace('gaussian:2', 'N')} -> {target}" for source, target in columns]


def _spread(reports: list[dict], pair: tuple[str, str], method: str, read: Callable[[dict], float]) -> str:
    return mean_and_spread(
        [
            read(row)
            for report in reports
            for row in report["rows"]
            if (row["source"], row["target"], row["method"]) == (*pair, method)
        ]
    )


def _mean(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.mean(known):.3g}" if known else ""


TABLES = {
    "toy table, chief": chief,
    "toy table": distances,
    "toy table, low noise": partial(distances, "low_noise_seed_*.json"),
    "toy costs": costs,
    "toy levers": levers,
}
