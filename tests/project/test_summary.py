"""The figure of quality against minutes: every run it names is there, and one that is not is left out."""

import json

import pytest

from experiments.summary import drawing
from experiments.summary.tables import RESULTS

PATTERNS = [pattern for _, patterns in drawing.RUNS.values() for pattern in patterns]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_reports_of_every_budget_are_of_one_length_and_are_there(pattern):
    found = [json.loads(path.read_text())["step"] for path in RESULTS.glob(f"{pattern}.json")]
    assert len(set(found)) <= 1
    assert found or pattern.endswith("/full"), "a run that was renamed would leave the figure silently"


def test_bars_reach_from_the_least_to_the_largest():
    assert drawing.span([1.0, 3.0, 8.0]) == (4.0, [[3.0], [4.0]])
    assert drawing.span([2.0]) == (2.0, [[0.0], [0.0]])


def test_runs_that_are_not_there_are_left_out(tmp_path):
    score = {"value": 0.9, "standard_error": 0.01}
    report = {
        "config": {"data": {"source": "digits:3"}},
        "maps": {"digits:3 -> digits:2": {"read_as_target": score, "kid": score}},
        "step": 3000,
        "training_seconds": 540.0,
    }
    quick = tmp_path / drawing.PRESETS / "quick.json"
    quick.parent.mkdir(parents=True)
    quick.write_text(json.dumps(report))
    drawing.minutes(tmp_path, tmp_path / "figure" / "minutes.png")
    assert (tmp_path / "figure" / "minutes.png").stat().st_size > 5000
