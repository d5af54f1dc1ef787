"""The table of networks by minutes of training."""

import statistics
from pathlib import Path

from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"


def networks() -> Table | None:
    """Of each task and network the time of a step, and what so many minutes of training bring: share read, KID."""
    report = read(RESULTS, "networks")
    if report is None or not report["rows"]:
        return None
    minutes = sorted({row["minutes"] for row in report["rows"]})
    head = ["task", "network", "weights", "step, ms", *(f"{m:g} min: read right, KID" for m in minutes)]
    rows = []
    for rate in report["rates"]:
        task, network = rate["task"], rate["network"]
        mine = [row for row in report["rows"] if (row["task"], row["network"]) == (task, network)]
        if mine:
            cells = [_scores([row for row in mine if row["minutes"] == m]) for m in minutes]
            weights = f"{mine[0]['weights'] / 1e6:.1f} M"
            rows.append([task, network, weights, f"{1e3 * rate['step']:.0f}", *cells])
    return head, rows


def _scores(rows: list[dict]) -> str:
    if not rows:
        return ""
    read_right, kid = ([row[key]["value"] for row in rows] for key in ("read", "kid"))
    return f"{statistics.mean(read_right):.1%}, {statistics.mean(kid):.2f}"


TABLES = {"networks": networks}
