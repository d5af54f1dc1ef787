"""The table of the effect of the gap."""

from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, mean_and_spread, read

RESULTS = Path(__file__).parent / "results"


GAPS = (1.0, 2.0, 4.0, 6.0, 12.0, 30.0, None)
"""All of the experiment, so that no choice of columns decides; None: infinite."""
FIELDS = (
    "exact: two plates, forward only",
    "exact: two plates, stochastic map",
    "exact: capacitor chain",
    "exact: plates far apart, by flux",
    "exact: plates far apart, upright",
    "learned: EFM, made safe",
    "learned: EFM, superposed",
    "learned: EFM, per plate",
    "learned: C2FM",
    "learned: IFM, one plan",
    "learned: EFM, straight tubes",
)


def gaps(target: str) -> Table:
    """W2 by gap, exact and learned, mean and spread over the seeds: numbers of the figure."""
    report = read(RESULTS, "gap_effect")
    rows = [row for row in (report["rows"] if report else ()) if row["target"] == target]
    cells = []
    for name in FIELDS:
        found = [[row["w2"] for row in rows if (row["field"], row["gap"]) == (name, gap)] for gap in GAPS]
        cells.append([name, *map(mean_and_spread, found)])
    return ["field", *("L = ∞" if gap is None else f"L = {gap:g}" for gap in GAPS)], cells


def suggested(target: str) -> str:
    """What `gaps.suggest_gap` says of a Gaussian and a target."""
    report = read(RESULTS, "gap_effect")
    return next(
        (f"{row['gap']:.1f}" for row in (report or {}).get("suggested", ()) if row["target"] == target), "?"
    )


VALUES = {f"suggested_{target}": partial(suggested, target) for target in ("swiss_roll", "eight_gaussians")}
TABLES = {"gap effect": partial(gaps, "swiss_roll"), "gap effect more": partial(gaps, "eight_gaussians")}
