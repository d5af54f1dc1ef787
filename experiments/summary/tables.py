"""The table of the README: five results of five experiments."""

import json
import statistics
from pathlib import Path

from experiments._lib.tables import Table, least_minutes, read, read_seeds, share

RESULTS = Path(__file__).parent.parent


def summary() -> Table:
    """One row an experiment: what is mapped, how, how well, what real samples score, minutes of training."""
    head = ["task", "recipe", "score", "real samples", "training"]
    digits = "[digits 3 → 2, first command](docs/evidence/results.md#colored-digits)"
    mnist = "[digits 3 → 2, MNIST](docs/evidence/results.md#colored-digits)"
    noise = "[noise → digits](docs/evidence/results.md#noise-to-digits)"
    return head, [
        *_run("digits_translation", "quick", "IFM, one plan", digits, "read_as_target", "read as 2"),
        *_run("digits_translation", "full", "IFM, one plan", mnist, "read_as_target", "read as 2"),
        *_run(
            "digits_generation",
            "quick",
            "CFM by class",
            noise,
            "read_with_confidence",
            "read with confidence",
        ),
        *_toy(),
        *_exact(),
    ]


def _run(folder: str, name: str, recipe: str, page: str, score: str, said: str) -> list[list[str]]:
    reports = read_seeds(RESULTS / folder / "results", name)
    if not reports:
        return []
    there = [next(iter(report["maps"].values())) for report in reports]
    real = f"{there[0][f'{score}_real']['value']:.1%}"
    scores = f"{share(*(one[score] for one in there))} {said}"
    return [[page, recipe, scores, real, f"{least_minutes(reports):.0f} min"]]


def _toy() -> list[list[str]]:
    reports = _all("toy_table/results/seed_*.json")
    rows = [
        row
        for report in reports
        for row in report["rows"]
        if row["method"] == "EFM, straight tubes" and row["target"] == "swiss_roll"
    ]
    if not rows:
        return []
    floors = [
        floor["w2"] for report in reports for floor in report["floors"] if floor["target"] == "swiss_roll"
    ]
    ends = reports[0]["config"]["test"]
    text, real = f"W2 of {ends:,}: {_spread([row['w2'] for row in rows])}", f"W2 {_spread(floors)}"
    page = "[Gaussian → Swiss roll](docs/evidence/toys.md)"
    return [
        [page, "EFM, straight tubes", text, real, f"{statistics.mean(row['seconds'] for row in rows):.0f} s"]
    ]


def _exact() -> list[list[str]]:
    report = read(RESULTS / "exact_transport" / "results", "exact_transport")
    rows = [
        row
        for row in (report["rows"] if report else ())
        if (row["target"], row["gap"], row["map"]) == ("swiss_roll", 6.0, "capacitor chain")
    ]
    if not rows:
        return []
    text = f"W2 of {report['config']['lines']:,}: {_spread([row['wasserstein2'] for row in rows])}"
    real = f"W2 {_spread([row['floor'] for row in rows])}"
    page = "[Gaussian → Swiss roll, exact lines](docs/concepts/theory.md)"
    return [[page, "capacitor chain", text, real, "none"]]


def _all(pattern: str) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]


def _spread(values: list[float], form: str = ".3f") -> str:
    deviation = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{deviation}"


TABLES = {"summary": summary}
