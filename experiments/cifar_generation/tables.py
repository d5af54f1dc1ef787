"""The table of CIFAR-10 drawn by class."""

from pathlib import Path

from experiments._lib.tables import Table, kid, read, share

RESULTS = Path(__file__).parent / "results"


def generation() -> Table:
    """Real pictures, real ones that are decoded, and samples at each scale of guidance."""
    report = read(RESULTS, "cifar_generation") or {"real": [], "rows": []}
    head = ["pictures", "guidance", "read as their class", "KID-EffLite0 (floor)", "training"]
    rows = [_row(row["pictures"], "", row, "") for row in report["real"]]
    rows += [
        _row(
            row["training"], f"{row['guidance']:g}", row, f"{row['steps']:,} steps, {row['minutes']:.0f} min"
        )
        for row in report["rows"]
    ]
    return head, rows


def _row(name: str, guidance: str, scores: dict, training: str) -> list[str]:
    return [name, guidance, share(scores["read_right"]), kid(scores["kid"]), training]


TABLES = {"cifar by class": generation}
