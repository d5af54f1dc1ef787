"""The tables of quality against evaluations."""

import functools
import statistics
from pathlib import Path

from experiments._lib.tables import Table, read
from experiments.images.config import METHODS, slug

RESULTS = Path(__file__).parent / "results"
WAYS = {
    ("equal", "euler"): "Euler, equal steps",
    ("equal", "midpoint"): "midpoint, equal steps",
    ("placed", "euler"): "Euler, placed",
    ("placed", "midpoint"): "midpoint, placed",
    ("placed", "ab2"): "AB2, placed",
    ("reflow", "euler"): "reflow, Euler",
}
"""Rows of the toys, and their names; AB2 and Heun by equal steps are in the json alone."""


def toys(source: str, score: str = "w2") -> Table:
    """A score of every method and way by evaluations, for the pair of laws that begins with `source`."""
    report = read(RESULTS, "few_steps")
    counts = [*report["config"]["evaluations"], report["config"]["many"]] if report else []
    mine = [row for row in report["rows"] if row["source"] == source] if report else []
    rows = []
    there = [row["method"] for row in mine]
    for method in dict.fromkeys([*report["config"]["methods"], *there]) if report else ():
        for (way, solver), label in WAYS.items():
            found: dict[int, list[float]] = {}
            for row in mine:
                for one in row["scores"] if row["method"] == method else ():
                    if (one["way"], one["solver"]) == (way, solver):
                        found.setdefault(one["evaluations"], []).append(one[score])
            if found:
                rows.append([method, label, *(_mean(found.get(n, [])) for n in counts)])
    if score == "w2" and report and rows:
        targets = {row["target"] for row in mine}
        lowest = [row["w2"] for row in report["floors"] if row["target"] in targets]
        rows.append(["floor", "two sets of Q", *([_mean(lowest)] * len(counts))])
    return [
        "method",
        {"w2": "W2 at evaluations:", "miss": "distance at evaluations:"}[score],
        *map(str, counts),
    ], rows


def digits() -> Table | None:
    """Read as target, hue change and KID of every run by way and evaluations; None before there are any."""
    report = read(RESULTS, "digits")
    if report is None or not report["rows"]:
        return None
    counts = report["config"]["evaluations"]
    rows = []
    for run in report["runs"]:
        for way in ("equal", "placed"):
            for solver, label in (("euler", "Euler"), ("midpoint", "midpoint"), ("ab2", "AB2")):
                found = {
                    row["evaluations"]: row
                    for row in report["rows"]
                    if (row["run"], row["way"], row["solver"]) == (run["run"], way, solver)
                }
                if found:
                    label = f"{label}, {'equal steps' if way == 'equal' else 'placed'}"
                    rows.append([_method(run), label, *(_digits(found.get(n)) for n in counts)])
    return ["method", "read as target, median hue change, KID at evaluations:", *map(str, counts)], rows


def reflow_one_step() -> str:
    """W2 of one Euler step after reflow over that of many steps before it: the largest of all pairs and methods."""
    report = read(RESULTS, "few_steps")
    found: dict[tuple, list[float]] = {}
    for row in report["rows"] if report else ():
        for one in row["scores"]:
            key = (row["source"], row["method"], one["way"], one["solver"], one["evaluations"])
            found.setdefault(key, []).append(one["w2"])
    ratios = [
        statistics.mean(values)
        / statistics.mean(found[source, method, "equal", solver, report["config"]["many"]])
        for (source, method, way, solver, count), values in found.items()
        if (way, solver, count) == ("reflow", "euler", 1)
    ]
    return f"{max(ratios):.2f}" if ratios else "?"


def _method(run: dict) -> str:
    """The method of a run of `experiments.images`; the folder's name of another."""
    made = run["run"].removeprefix("images_digits_3_2_")
    name = next((name for name in METHODS if made.startswith(f"{slug(name)}_{run['seed']}")), run["run"])
    return f"{name}, reflow" if run["reflow"] else name


def _digits(row: dict | None) -> str:
    if row is None:
        return ""
    hue = row["hue_change_degrees"]["median"]
    hue = "-" if hue is None else f"{hue:.1f}°"
    kid = row["kid"]["value"]
    return f"{row['read_as_target']['value']:.1%}, {hue}, {'-' if kid is None else f'{kid:.2f}'}"


def _mean(values: list[float]) -> str:
    if not values:
        return ""
    mean = statistics.mean(values)
    return f"{mean:.2f}" if mean < 100 else f"{mean:.0f}"


TABLES = {
    "few steps noise": functools.partial(toys, "gaussian:2"),
    "few steps moons": functools.partial(toys, "moons"),
    "few steps digits": digits,
}
VALUES = {"reflow_one_step": reflow_one_step}
