"""The table of colored digits from white noise."""

import statistics
from functools import partial
from pathlib import Path

from experiments._lib.tables import Table, kid, least_minutes, read_seeds, seeds, share, training

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
        reports = read_seeds(RESULTS, name)
        if not reports:
            continue
        scores = [next(iter(report["maps"].values())) for report in reports]
        real = f"{scores[0]['read_with_confidence_real']['value']:.1%}"
        rows.append(
            [
                label + seeds(reports),
                f"{share(*(one['read_with_confidence'] for one in scores))} ({real})",
                share(*(one["read_as_label"] for one in scores)) if "read_as_label" in scores[0] else "",
                " ".join(map(str, scores[0]["classes"]["counts"])),
                kid(*(one["kid"] for one in scores)),
                training(*reports),
            ]
        )
    return head, rows


def confident(name: str) -> str:
    """The share of a run's digits that are read with confidence."""
    shares = [
        next(iter(report["maps"].values()))["read_with_confidence"]["value"]
        for report in read_seeds(RESULTS, name)
    ]
    return f"{statistics.mean(shares):.0%}" if shares else "?"


def trained() -> str:
    """Minutes of the quick training."""
    reports = read_seeds(RESULTS, "quick")
    return f"{least_minutes(reports):.0f}" if reports else "?"


TABLES = {"generation": generation}
VALUES = {
    "generate_minutes": trained,
    "components_confident": partial(confident, "quick"),
    "pixels_confident": partial(confident, "efm_quick"),
}
