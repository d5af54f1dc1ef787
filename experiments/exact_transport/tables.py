"""The table of exact transport."""

import statistics
from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, between, read

RESULTS = Path(__file__).parent / "results"
MAPS = ("stochastic map", "capacitor chain", "forward only")


def exact(*targets: str) -> Table:
    """W2 of each map compared with that of distinct charges of Q, means over the seeds run."""
    report = read(RESULTS, "exact_transport")
    cells: dict[tuple, dict[int, dict[str, dict]]] = {}
    for row in report["rows"] if report else ():
        if row["target"] in targets:
            seeds = cells.setdefault((row["source"], row["target"], row["gap"]), {})
            seeds.setdefault(row["seed"], {})[row["map"]] = row
    distinct = {(p["target"], p["seed"]): p["wasserstein2"] for p in report["perfect"]} if report else {}
    rows = []
    for (source, target, gap), seeds in sorted(cells.items()):
        whole = {seed: found for seed, found in seeds.items() if len(found) == len(MAPS)}
        if whole:
            shown = [_mean([found[name] for found in whole.values()]) for name in MAPS]
            hits = statistics.mean(distinct[target, seed] for seed in whole)
            rows.append([f"{source} → {target}", f"{gap:g}", *shown, f"{hits:.2f}"])
    return ["P → Q", "L", "stochastic map ↓", "chain ↓", "forward only ↓", "distinct charges"], rows


def forward(source: str, target: str, gap: float) -> list[float]:
    """W2 of forward lines of two plates, one a seed: for the tables of others, so that it stands once."""
    report = read(RESULTS, "exact_transport")
    want = (source, target, gap, "forward only")
    keys = ("source", "target", "gap", "map")
    return [
        row["wasserstein2"]
        for row in (report["rows"] if report else ())
        if tuple(row[k] for k in keys) == want
    ]


def mean_forward(gap: float) -> str:
    """Mean W2 of forward lines from a Gaussian to the Swiss roll."""
    found = forward("gaussian:2", "swiss_roll", gap)
    return f"{statistics.mean(found):.2f}" if found else "?"


def far() -> Table:
    """W2 of forward lines between plates far apart over that of random charges of Q, means over the seeds."""
    report = read(RESULTS, "far")
    cells: dict[tuple, list[dict]] = {}
    for row in report["rows"] if report else ():
        cells.setdefault((row["source"], row["target"], row["extra"]), []).append(row)
    rows = []
    for (source, target, extra), found in cells.items():
        hits, floor = (statistics.mean(row[name] for row in found) for name in ("perfect", "floor"))
        ratios = [
            f"{statistics.mean(row[name] for row in found) / hits:.2f}" for name in ("by flux", "upright")
        ]
        kind = "∞" if extra is None else str(extra)
        rows.append([f"{source} -> {target}", kind, *ratios, f"{hits:.2f}", f"{floor:.2f}", str(len(found))])
    head = [
        "P -> Q",
        "K",
        "launched by flux / random charges",
        "launched upright / random charges",
        "random charges",
        "floor",
        "seeds",
    ]
    return head, rows


def far_ratio(launch: str) -> str:
    """The range of W2 over that of random charges of Q between plates far apart."""
    column = {"by flux": 2, "upright": 3}[launch]
    return between(float(row[column]) for row in far()[1])


def distinct_charges(target: str) -> str:
    """W2 of distinct charges of Q, mean over the seeds."""
    report = read(RESULTS, "exact_transport")
    found = [row["wasserstein2"] for row in (report["perfect"] if report else ()) if row["target"] == target]
    return f"{statistics.mean(found):.2f}" if found else "?"


def _mean(rows: list[dict]) -> str:
    distance, arrived = (statistics.mean(row[key] for row in rows) for key in ("wasserstein2", "arrived"))
    return f"{distance:.2f}" + ("" if arrived == 1.0 else f" ({arrived:.2%})")


TABLES = {
    "exact": partial(exact, "swiss_roll", "eight_gaussians"),
    "exact more": partial(exact, "two_gaussians"),
    "exact far": far,
}
VALUES = {
    **{f"forward_L{gap:g}": partial(mean_forward, gap) for gap in (6.0, 30.0)},
    "far_by_flux": partial(far_ratio, "by flux"),
    "far_upright": partial(far_ratio, "upright"),
    "distinct_swiss_roll": partial(distinct_charges, "swiss_roll"),
}
