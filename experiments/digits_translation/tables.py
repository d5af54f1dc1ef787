"""The tables of colored digits, 3 -> 2 and back."""

import statistics
from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, kid, least_minutes, read, read_seeds, seeds, share, training

RESULTS = Path(__file__).parent / "results"


def translation() -> Table:
    """Scores of the quick and the full run, 3 -> 2 and 2 -> 3."""
    rows = [
        ("quick", "quick"),
        ("quick, EFM", "quick_efm"),
        ("full", "full"),
        ("EFM, no jitter", "quick_superposed"),
        ("EFM per plate, no jitter", "quick_per_plate"),
        ("EFM, MNIST", "full_superposed"),
        ("EFM per plate, MNIST", "full_per_plate"),
    ]
    head = [
        "run",
        "map",
        "read as target",
        "median hue change",
        "KID (floor)",
        "training",
    ]
    return head, [cells for label, name in rows for cells in _maps(label, name)]


def changes() -> Table:
    """What single changes of the brief run do."""
    rows = [
        ("gap 10, noise 0.05, minibatch OT, `superposed`", "brief"),
        *((f"gap {g}", f"brief_gap_{g}") for g in (1, 3, 30, 100, 500)),
        ("`per_plate`", "brief_per_plate"),
        ("independent pairs", "brief_independent"),
        ("noise 1", "brief_noise"),
    ]
    head = ["change", "3 -> 2: read as 2", "2 -> 3: read as 3", "median hue change", "KID (floor), 3 -> 2"]
    cells = []
    for label, name in rows:
        both_ways = _maps(label, name)
        if both_ways:
            there, back = both_ways
            cells.append([label, there[2], back[2], f"{there[3]}, {back[3]}", there[4]])
    return head, cells


def jitter() -> Table | None:
    """What jittered real digits score: the floor of a map onto them."""
    report = read(RESULTS, "jitter")
    if report is None:
        return None
    rows = [
        [
            f"{amount:g}",
            *(cell for digit in report["config"]["digits"] for cell in _moved(report["rows"], digit, amount)),
        ]
        for amount in report["config"]["amounts"]
    ]
    head = [f"{digit}s: {score}" for digit in report["config"]["digits"] for score in ("read right", "KID")]
    return ["jitter", *head], rows


def trained(name: str) -> str:
    """Minutes of a training; `quick` is the README's first command."""
    reports = read_seeds(RESULTS, name)
    return f"{least_minutes(reports):.0f}" if reports else "?"


def full_kid() -> str:
    """KID of the full run, 3 -> 2."""
    kids = [next(iter(report["maps"].values()))["kid"]["value"] for report in read_seeds(RESULTS, "full")]
    return f"{statistics.mean(kids):.2f}" if kids else "?"


def classifier_accuracy() -> str:
    """The share of MNIST's test digits that the digit classifier reads right."""
    report = read(RESULTS.parent.parent / "digit_classifier", "result")
    return "?" if report is None else f"{report['scores']['mnist_test']['accuracy']:.2%}"


def _moved(rows: list[dict], digit: int, amount: float) -> list[str]:
    mine = [row for row in rows if (row["digit"], row["amount"]) == (digit, amount)]
    kids = [row["kid"] for row in mine]
    spread = f" ± {statistics.stdev(kids):.2f}" if len(kids) > 1 else ""
    return [f"{statistics.mean(row['read'] for row in mine):.1%}", f"{statistics.mean(kids):.2f}{spread}"]


def _maps(label: str, name: str) -> list[list[str]]:
    reports = read_seeds(RESULTS, name)
    rows = []
    for scores in zip(*(report["maps"].values() for report in reports), strict=True):
        target = scores[0]["target_digit"]
        hue = statistics.mean(one["hue_change_degrees"]["median"] for one in scores)
        rows.append(
            [
                label + seeds(reports),
                f"{5 - target} -> {target}",
                share(*(one["read_as_target"] for one in scores)),
                f"{hue:.1f}°",
                kid(*(one["kid"] for one in scores)),
                training(*reports),
            ]
        )
    return rows


TABLES = {"translation": translation, "gap": changes, "jitter": jitter}
VALUES = {
    **{f"{name}_minutes": partial(trained, name) for name in ("quick", "full")},
    "full_kid": full_kid,
    "classifier_accuracy": classifier_accuracy,
}
