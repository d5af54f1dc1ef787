"""The tables of high dimension: where exact lines of digits go, and the gaps that are suggested for them."""

from pathlib import Path

from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"


def lines() -> Table:
    """Where the exact lines of real digits go."""
    report = read(RESULTS, "high_dimension")
    head = [
        "charges",
        "L",
        "arrived",
        "hits: chi-square per degree",
        "median rank of the end",
        "median length",
    ]
    rows = [
        [
            row["data"],
            f"{row['gap']:g}",
            f"{row['arrived']:.1%}",
            f"{row['chi_square_per_degree']:.2f}",
            f"{row['median_rank_of_end']:.0f} of {report['config']['charges']}",
            f"{row['length'][1]:,.0f}",
        ]
        for row in (report["lines"] if report else ())
    ]
    return head, rows


def suggested_gaps() -> Table:
    """Gaps that `gaps.suggest_gap` finds."""
    report = read(RESULTS, "high_dimension")
    head = ["P -> Q", "median distance P to Q", "share of charges felt at L = 1, 10, 100", "suggested gap"]
    rows = []
    for curve in report["sharing"] if report else ():
        felt = dict(zip(curve["gaps"], curve["share"], strict=True))
        rows.append(
            [
                curve["data"],
                f"{curve['median_distance']:.1f}",
                ", ".join(f"{felt[gap]:.1%}" for gap in (1.0, 10.0, 100.0)),
                f"{curve['suggested_gap']:.1f}",
            ]
        )
    return head, rows


TABLES = {"high dimension": lines, "suggested gaps": suggested_gaps}
