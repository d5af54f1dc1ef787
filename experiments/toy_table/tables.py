"""Tables of the toy experiments: one head and rows of cells each."""

import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).parents[1]
BASES = ("C2FM", "EFM, superposed", "IFM, one plan")
"""The rows that levers change."""


def distances() -> tuple[list[str], list[list[str]]]:
    """W2 of every method on every pair of laws, mean and spread over seeds, and the floor."""
    reports = _reports("toy_table", "seed_*.json")
    columns = _columns(reports)
    rows = [
        [method, *(_spread(reports, pair, method, lambda r: r["w2"]) for pair in columns)]
        for method in _methods(reports)
    ]
    floors = [
        _mean_and_spread([f["w2"] for report in reports for f in report["floors"] if f["target"] == target])
        for _, target in columns
    ]
    return ["W2", *_names(columns)], [*rows, ["floor: two sets of Q", *floors]]


def costs() -> tuple[list[str], list[list[str]]]:
    """Sliced W2, energy, curvature, evaluations and training time of every method, means over pairs and seeds."""
    reports = _reports("toy_table", "seed_*.json")
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


def levers() -> tuple[list[str], list[list[str]]]:
    """W2 with one thing changed, beside the method it is a change of."""
    folder = HERE / "toy_table" / "results"
    changed = sorted(folder.glob("levers_seed_*.json"))
    reports = [json.loads(path.read_text()) for path in changed]
    same = [folder / path.name.removeprefix("levers_") for path in changed]
    whole = [json.loads(path.read_text()) for path in same if path.is_file()]
    columns = _columns(reports)
    rows = []
    for method in _methods(reports):
        rows.append([method, *(_spread(reports, pair, method, lambda r: r["w2"]) for pair in columns)])
    for base in BASES if rows else ():
        rows.append([f"*{base}*", *(_spread(whole, pair, base, lambda r: r["w2"]) for pair in columns)])
    return ["one change", *_names(columns)], rows


def gaps() -> tuple[list[str], list[list[str]]]:
    """W2 by gap, exact and learned."""
    reports = _reports("gap_effect", "gap_effect.json")
    rows = reports[0]["rows"] if reports else []
    widths = sorted({row["gap"] for row in rows})
    cells = []
    for pair in dict.fromkeys((row["source"], row["target"]) for row in rows):
        for name in dict.fromkeys(row["field"] for row in rows):
            found = [
                [
                    row["w2"]
                    for row in rows
                    if (row["source"], row["target"]) == pair and (row["field"], row["gap"]) == (name, gap)
                ]
                for gap in widths
            ]
            if any(found):
                cells.append([f"{pair[0]} -> {pair[1]}", name, *(_mean_and_spread(w2) for w2 in found)])
    return ["P -> Q", "field", *(f"L = {gap:g}" for gap in widths)], cells


def _reports(experiment: str, pattern: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((HERE / experiment / "results").glob(pattern))]


def _columns(reports: list[dict]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row["source"], row["target"]) for report in reports for row in report["rows"]))


def _methods(reports: list[dict]) -> list[str]:
    """In the order of their first rows, those of one name next to each other."""
    found = list(dict.fromkeys(row["method"] for report in reports for row in report["rows"]))
    names = [method.partition(",")[0] for method in found]
    return sorted(found, key=lambda method: names.index(method.partition(",")[0]))


def _names(columns: list[tuple[str, str]]) -> list[str]:
    return [f"{source.replace('gaussian:2', 'N')} -> {target}" for source, target in columns]


def _spread(reports: list[dict], pair: tuple[str, str], method: str, read: Callable[[dict], float]) -> str:
    return _mean_and_spread(
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


def _mean_and_spread(values: list[float]) -> str:
    if not values:
        return ""
    form = ".3f" if max(values) < 1000 else ".1e"
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread} ({len(values)})"
