"""The table of exact transport."""

import statistics
from pathlib import Path

from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"
MAPS = ("stochastic map", "capacitor chain", "forward only")


def exact() -> Table:
    """W2 compared with that of a perfect map of the same charges and the floor, means over the seeds run."""
    report = read(RESULTS, "exact_transport")
    head = [
        "P -> Q",
        "L",
        *(f"{name}: W2, / perfect (arrived)" for name in MAPS),
        "perfect",
        "floor",
        "seeds",
    ]
    cells: dict[tuple, dict[int, dict[str, dict]]] = {}
    for row in report["rows"] if report else ():
        seeds = cells.setdefault((row["source"], row["target"], row["gap"]), {})
        seeds.setdefault(row["seed"], {})[row["map"]] = row
    ideal = {(p["target"], p["seed"]): p["wasserstein2"] for p in report["perfect"]} if report else {}
    rows = []
    for (source, target, gap), seeds in sorted(cells.items()):
        whole = {seed: found for seed, found in seeds.items() if len(found) == len(MAPS)}
        if not whole:
            continue
        perfect = statistics.mean(ideal[target, seed] for seed in whole)
        floor = statistics.mean(found[MAPS[0]]["floor"] for found in whole.values())
        shown = [_compared([found[name] for found in whole.values()], perfect) for name in MAPS]
        rows.append(
            [f"{source} -> {target}", f"{gap:g}", *shown, f"{perfect:.2f}", f"{floor:.2f}", str(len(whole))]
        )
    return head, rows


def far() -> Table:
    """W2 of forward lines between plates far apart over that of a perfect map, means over the seeds."""
    report = read(RESULTS, "exact_transport")
    cells: dict[tuple, list[dict]] = {}
    for row in report["far"] if report else ():
        cells.setdefault((row["source"], row["target"], row["extra"]), []).append(row)
    rows = []
    for (source, target, extra), found in cells.items():
        perfect, floor = (statistics.mean(row[name] for row in found) for name in ("perfect", "floor"))
        ratios = [
            f"{statistics.mean(row[name] for row in found) / perfect:.2f}" for name in ("by flux", "upright")
        ]
        kind = "∞" if extra is None else str(extra)
        rows.append(
            [f"{source} -> {target}", kind, *ratios, f"{perfect:.2f}", f"{floor:.2f}", str(len(found))]
        )
    head = [
        "P -> Q",
        "K",
        "charges, by flux / perfect",
        "new samples, upright / perfect",
        "perfect",
        "floor",
        "seeds",
    ]
    return head, rows


def _compared(rows: list[dict], perfect: float) -> str:
    distance, arrived = (statistics.mean(row[key] for row in rows) for key in ("wasserstein2", "arrived"))
    return f"{distance:.2f}, {distance / perfect:.2f} ({arrived:.2%})"


TABLES = {"exact": exact, "exact far": far}
