"""The table of the effect of the gap."""

from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, mean_and_spread, read
from experiments.exact_transport.tables import forward

RESULTS = Path(__file__).parent / "results"


GAPS = (1.0, 4.0, 6.0, 12.0, 30.0)


def gaps(target: str) -> Table:
    """W2 by gap, exact and learned; of forward lines that of exact_transport where it has the gap, on more seeds."""
    report = read(RESULTS, "gap_effect")
    rows = [row for row in (report["rows"] if report else ()) if row["target"] == target]
    cells = []
    for name in dict.fromkeys(row["field"] for row in rows):
        found = [
            (forward("gaussian:2", target, gap) if name == "exact: two plates, forward only" else [])
            or [row["w2"] for row in rows if (row["field"], row["gap"]) == (name, gap)]
            for gap in GAPS
        ]
        cells.append([name, *map(mean_and_spread, found)])
    return ["field", *(f"L = {gap:g}" for gap in GAPS)], cells


TABLES = {"gap effect": partial(gaps, "swiss_roll"), "gap effect more": partial(gaps, "eight_gaussians")}
