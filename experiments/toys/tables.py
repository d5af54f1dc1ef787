"""The table of the toys."""

import statistics
from pathlib import Path

from experiments._lib.tables import Table, read
from experiments.exact_transport.tables import forward

RESULTS = Path(__file__).parent / "results"


def toys() -> Table:
    """W2 of the toys, exact and learned."""
    report = read(RESULTS, "toys")
    head = ["P -> Q", "L", "convention", "exact field: W2", "learned field: W2", "floor"]
    rows = []
    for exact, learned in zip(report["rows"][::2], report["rows"][1::2], strict=True) if report else ():
        rows.append(
            [
                f"{exact['source']} -> {exact['target']}",
                f"{exact['gap']:g}",
                f"`{exact['convention']}`",
                f"{_exact(exact):.2f}",
                f"{learned['wasserstein2']:.2f}",
                f"{exact['floor']:.2f}",
            ]
        )
    return head, rows


def _exact(row: dict) -> float:
    """The mean over the seeds of exact_transport, which has the field of charges at the same gaps."""
    found = forward(row["source"], row["target"], row["gap"])
    return statistics.mean(found) if found and row["convention"] == "superposed" else row["wasserstein2"]


TABLES = {"toys": toys}
