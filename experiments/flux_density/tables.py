"""The table of speeds."""

from pathlib import Path

from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"
DISTANCES = (1.0, 4.0, 8.0)


def tails() -> Table:
    """How far the velocity target spreads, at three of the distances."""
    head = ["field", "D", "a / L", "median", "rms (exact)", "99.9 %", "largest", "squares in the top 0.1 %"]
    report = read(RESULTS, "tails")
    rows = [
        [
            row["field"].replace("_", " "),
            str(row["dim"]),
            f"{row['distance_per_gap']:g}",
            f"{row['median']:.2g}",
            f"{row['rms']:.3g}" + (f" ({row['rms_exact']:.3g})" if "rms_exact" in row else ""),
            f"{row['quantile_999']:.3g}",
            f"{row['largest']:.3g}" if row["largest"] < 1000 else f"{row['largest']:,.0f}",
            f"{row['share_of_squares_in_top_thousandth']:.0%}",
        ]
        for row in (report["rows"] if report else ())
        if row["distance_per_gap"] in DISTANCES
    ]
    return head, rows


TABLES = {"tails": tails}
