"""The table of colored digits from white noise."""

from pathlib import Path

from experiments._lib.tables import Table, kid, read, share, training

RESULTS = Path(__file__).parent / "results"


def generation() -> Table:
    """Scores of the quick and the full run."""
    head = ["run", "read with confidence (real)", "classes, 0 to 9", "KID (floor)", "evaluations", "training"]
    rows = []
    for label in ("quick", "full"):
        report = read(RESULTS, label)
        if report is None:
            continue
        scores = next(iter(report["maps"].values()))
        rows.append(
            [
                label,
                f"{share(scores['read_with_confidence'])} ({scores['read_with_confidence_real']['value']:.1%})",
                " ".join(map(str, scores["classes"]["counts"])),
                kid(scores["kid"]),
                f"{scores['evaluations']['mean']:.0f}",
                training(report),
            ]
        )
    return head, rows


TABLES = {"generation": generation}
