"""The table of colored digits from white noise."""

from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, kid, read, share, training

RESULTS = Path(__file__).parent / "results"


def generation() -> Table:
    """Scores of the runs."""
    head = [
        "run",
        "read with confidence (real)",
        "read as asked",
        "classes, 0 to 9",
        "KID (floor)",
        "training",
    ]
    rows = []
    names = {
        "quick": "quick",
        "quick, Poisson flow, K = infinity": "quick_pfgm",
        "full": "full",
        "EFM in pixels": "efm_quick",
        "EFM in pixels, MNIST": "efm_full",
    }
    for label, name in names.items():
        report = read(RESULTS, name)
        if report is None:
            continue
        scores = next(iter(report["maps"].values()))
        rows.append(
            [
                label,
                f"{share(scores['read_with_confidence'])} ({scores['read_with_confidence_real']['value']:.1%})",
                share(scores["read_as_label"]) if "read_as_label" in scores else "",
                " ".join(map(str, scores["classes"]["counts"])),
                kid(scores["kid"]),
                training(report),
            ]
        )
    return head, rows


def confident(name: str) -> str:
    """The share of a run's digits that are read with confidence."""
    report = read(RESULTS, name)
    return f"{next(iter(report['maps'].values()))['read_with_confidence']['value']:.0%}" if report else "?"


def minutes() -> str:
    """Training time of the quick run."""
    report = read(RESULTS, "quick")
    return f"{report['training_seconds'] / 60:.0f}" if report else "?"


TABLES = {"generation": generation}
VALUES = {
    "generate_minutes": minutes,
    "components_confident": partial(confident, "quick"),
    "pixels_confident": partial(confident, "efm_quick"),
}
