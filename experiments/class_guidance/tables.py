"""The table of digits drawn by class."""

from pathlib import Path

from experiments._lib.tables import Table, kid, read, share

RESULTS = Path(__file__).parent / "results"


def guidance() -> Table:
    """Scores by scale of guidance."""
    report = read(RESULTS, "class_guidance")
    head = ["guidance", "read as the class asked for", "and with confidence", "KID (floor)", "arrived"]
    rows = [
        [
            f"{row['guidance']:g}",
            share(row["read_as_label"]),
            share(row["clearly"]),
            kid(row["kid"]),
            f"{row['arrived']:.1%}",
        ]
        for row in (report["rows"] if report else ())
    ]
    return head, rows


TABLES = {"guidance": guidance}
