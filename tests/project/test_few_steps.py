"""The programs behind the tables of few steps: a small cell, digits from a run folder, tables with and without rows."""

import dataclasses
import json

import numpy as np
import pytest

from efm_jax import runs
from efm_jax.models.configs import CFM, Network, Optimizer, Sampling
from efm_jax.models.presets import PRESETS
from experiments._lib.record import Record
from experiments.few_steps import config as configs
from experiments.few_steps import digits, drawing, tables
from experiments.few_steps.run import cell
from experiments.toy_table.config import Config as ToyConfig

SMALL = configs.Config(
    toys=ToyConfig(seeds=(), train=256, test=128, steps=200, width=8, depth=1, batch=32),
    evaluations=(1, 2),
    many=20,
    pilots=16,
    resolution=16,
)


def test_solvers_spend_what_they_are_given():
    made = configs.ways(("euler", "midpoint", "ab2"), (1, 2, 3))
    assert made == [("euler", 1), ("euler", 2), ("euler", 3), ("midpoint", 2), ("ab2", 2), ("ab2", 3)]


def test_tables_and_figure_show_what_is_there(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.toys("moons")[1] == []
    assert tables.digits() is None
    record = Record(tmp_path / "few_steps.json", SMALL, "floors", "rows")
    record.add("floors", {"target": "t", "seed": 0, "w2": 0.5})
    score = {"way": "equal", "solver": "euler", "evaluations": 2, "w2": 1.25, "miss": 0.1}
    record.add("rows", {"source": "moons", "target": "t", "method": "M", "seed": 0, "scores": [score]})
    head, rows = tables.toys("moons")
    assert head == ["method", "W2 at evaluations:", "1", "2", "20"]
    assert rows == [
        ["M", "Euler, equal steps", "", "1.25", ""],
        ["floor", "two sets of Q", "0.50", "0.50", "0.50"],
    ]
    drawing.draw(record["rows"], record["floors"], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", ["IFM, one plan", "PFGM++, K = 8"])
def test_a_cell_scores_every_way(name):
    found = cell(SMALL, {"source": "gaussian:2", "target": "moons", "method": name, "seed": 0})
    ways = [(score["way"], score["solver"], score["evaluations"]) for score in found["scores"]]
    assert len(set(ways)) == len(ways)
    assert {way for way, _, _ in ways} == ({"equal", "placed"} | ({"reflow"} if "IFM" in name else set()))
    assert np.isfinite([score["w2"] for score in found["scores"]]).all()
    nodes = [score["nodes"] for score in found["scores"] if "nodes" in score]
    # from plate to plate
    assert all(sorted(n) == n for n in nodes)


@pytest.mark.slow
def test_a_run_folder_of_digits_is_scored_and_what_is_done_stays(monkeypatch, tmp_path):
    config = dataclasses.replace(
        PRESETS["digits-quick"][1],
        recipe=CFM(gap=1.0, charges=8, num_points=8, coupling="independent"),
        network=Network(
            kind="unet",
            width=8,
            multipliers=(1, 1),
            blocks=1,
            attention=(),
            patch=4,
            dropout=0.0,
            output="flow",
        ),
        optimizer=Optimizer(warmup=2),
        sampling=Sampling(solver="euler", steps=2, clock="linear", samples=8),
        steps=4,
    )
    runs.train(tmp_path / "tiny", config, progress=False)
    few = configs.DigitsConfig(evaluations=(1, 2), samples=16, pilots=4, resolution=4)
    path = tmp_path / "results" / "digits.json"
    digits.score_runs([tmp_path / "tiny"], path, few)
    report = json.loads(path.read_text())
    assert [run["run"] for run in report["runs"]] == ["tiny"]
    assert len(report["rows"]) == 2 * len(configs.ways(configs.PLACED, (1, 2)))
    assert all(row["n"] == 16 and 0 <= row["read_as_target"]["value"] <= 1 for row in report["rows"])
    digits.score_runs([tmp_path / "tiny"], path, few)
    assert json.loads(path.read_text())["rows"] == report["rows"]
    monkeypatch.setattr(tables, "RESULTS", path.parent)
    head, rows = tables.digits()
    assert len(head) == 4
    assert [row[1] for row in rows[:2]] == ["Euler, equal steps", "midpoint, equal steps"]
    assert rows[1][2] == ""
