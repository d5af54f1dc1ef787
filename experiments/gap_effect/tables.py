"""The table of the effect of the gap."""

from pathlib import Path

from experiments._lib.tables import Table, mean_and_spread, read

RESULTS = Path(__file__).parent / "results"


def gaps() -> Table:
    """W2 by gap, exact and learned."""
    report = read(RESULTS, "gap_effect")
    rows = report["rows"] if report else []
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
                cells.append([f"{pair[0]} -> {pair[1]}", name, *(mean_and_spread(w2) for w2 in found)])
    return ["P -> Q", "field", *(f"L = {gap:g}" for gap in widths)], cells


TABLES = {"gap effect": gaps}
