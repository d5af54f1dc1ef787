"""The table of the battery."""

from pathlib import Path

from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"


def flung() -> Table:
    """The farthest end and the least share of lines that arrive, over all pairs and seeds of a gap."""
    report = read(RESULTS, "result")
    rows = report["rows"] if report else []
    cells = []
    for method, gap in sorted({(row["method"], row["gap"]) for row in rows}):
        mine = [row for row in rows if (row["method"], row["gap"]) == (method, gap)]
        ways = [way for row in mine for way in (row, row["adaptive"])]
        farthest = max(way["farthest"] for way in ways)
        arrived = 100 * min(way["arrived"] for way in ways)
        cells.append([f"{gap:g}", method, str(len(mine)), f"{farthest:.3g}", f"{arrived:.4g} %"])
    return ["L", "method", "trainings", "farthest end ↓", "fewest lines that arrive ↑"], cells


TABLES = {"flung lines": flung}
"""Blocks of the pages."""
