"""The table of the toys."""

from pathlib import Path

from experiments._lib.tables import Table, read

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
                f"{exact['wasserstein2']:.2f} ({exact['arrived']:.1%} arrived)",
                f"{learned['wasserstein2']:.2f} ({learned['arrived']:.1%} arrived)",
                f"{exact['floor']:.2f}",
            ]
        )
    return head, rows


TABLES = {"toys": toys}
