"""The programs behind the tables: records that survive, one small cell of the toy table, one of the effect of the gap."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from experiments._lib import places
from experiments._lib.record import Record
from experiments.gap_effect.config import Config as GapConfig
from experiments.gap_effect.run import EXACT, exact
from experiments.images.run import published
from experiments.line_plans.config import WIDTH
from experiments.line_plans.run import HEIGHTS, unlearnable
from experiments.toy_table import run, tables
from experiments.toy_table.config import Config, fast
from experiments.toy_table.methods import LEVERS, METHODS

ROOT = Path(__file__).parents[2]

SMALL = Config(train=256, test=128, steps=200, width=8, depth=1, batch=32, euler=10)


@dataclasses.dataclass(frozen=True)
class Anything:
    number: int = 1
    seeds: tuple[int, ...] = (0,)


def test_a_record_goes_on_where_it_stopped_and_refuses_another_configuration(tmp_path):
    path = tmp_path / "new" / "record.json"
    record = Record(path, Anything(), "rows", "other")
    record.add("rows", {"a": 1, "b": 2.0})
    again = Record(path, Anything(), "rows", "other")
    assert again["rows"] == [{"a": 1, "b": 2.0}]
    assert again.has("rows", a=1)
    assert not again.has("rows", a=2)
    assert not again.has("other", a=1)
    assert set(json.loads(path.read_text())) == {"config", "versions", "rows", "other"}
    with pytest.raises(SystemExit, match="made with another configuration; move it away first"):
        Record(path, Anything(2), "rows")


def test_a_table_is_filled_where_it_has_no_row_and_may_grow(tmp_path):
    made = []

    def make(place):
        made.append(place["seed"])
        return {"square": place["seed"] ** 2}

    for seeds in ((0, 1), (0, 1, 5)):
        record = Record(tmp_path / "record.json", Anything(seeds=seeds), "rows")
        record.fill("rows", ({"seed": seed} for seed in seeds), make)
    assert made == [0, 1, 5]
    assert record["rows"][-1] == {"seed": 5, "square": 25}


def test_a_place_named_twice_is_made_once(tmp_path):
    record = Record(tmp_path / "record.json", Anything(), "rows")
    record.fill("rows", [{"seed": 0}, {"seed": 1}, {"seed": 0}], lambda place: {"square": place["seed"] ** 2})
    assert record["rows"] == [{"seed": 0, "square": 0}, {"seed": 1, "square": 1}]


def test_a_row_made_with_other_versions_says_so(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    Record(path, Anything(), "rows").add("rows", {"a": 1})
    first = json.loads(path.read_text())["versions"]
    newer = first | {"jax": "99.0"}
    monkeypatch.setattr("experiments._lib.record.versions", lambda: newer)
    Record(path, Anything(), "rows").add("rows", {"a": 2})
    report = json.loads(path.read_text())
    assert report["versions"] == first
    assert report["rows"] == [{"a": 1}, {"a": 2, "versions": newer}]


def test_results_of_ones_own_are_begun_anew(tmp_path, monkeypatch):
    program = ROOT / "experiments" / "toy_table" / "__main__.py"
    assert (places.results(program) / "seed_0.json").is_file()
    monkeypatch.setenv("EFM_RESULTS", str(tmp_path / "mine"))
    assert places.results(program) == tmp_path / "mine" / "toy_table"
    assert list(places.results(program).iterdir()) == []


def test_every_program_keeps_its_results_where_it_is_told():
    beside = re.compile(r"__file__\)\.parent.*results")
    for path in (ROOT / "experiments").rglob("*.py"):
        if path.name != "tables.py" and path.parent.name != "_lib":
            assert not beside.search(path.read_text()) or (
                path.name == "run.py" and path.parent.name == "images"
            ), path


def test_pictures_are_made_again_for_the_cells_of_the_tables():
    assert published("digits 3 - 2", "IFM, one plan")
    assert not published("digits 3 - 2", "no such method")
    assert not published("no such task", "IFM, one plan")


def test_a_row_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    record = Record(tmp_path / "record.json", Anything(), "rows")
    record.add("rows", {"a": 1})
    before = record.path.read_text()
    with pytest.raises(TypeError, match="not JSON serializable"):
        record.add("rows", {"a": object()})
    assert record.path.read_text() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "IFM, one plan",
        pytest.param("OT-CFM", marks=pytest.mark.slow),
        pytest.param("PFGM++, K = 8", marks=pytest.mark.slow),
    ],
)
def test_a_cell_of_the_toy_table_is_whole_and_repeats(name):
    row = run.cell(SMALL, METHODS[name], "gaussian:2", "moons", 0)
    assert row["skipped"] == 0
    assert row["adaptive"]["arrived"] == 1.0
    numbers = [row["w2"], row["sliced_w2"], row["loss"], *row["adaptive"].values()]
    assert np.isfinite(numbers).all()
    # a plane's every projection is no longer than the whole
    assert row["sliced_w2"] < row["w2"]
    if name == "OT-CFM":
        again = run.cell(SMALL, METHODS[name], "gaussian:2", "moons", 0)
        assert {**again, "seconds": 0} == {**row, "seconds": 0}


def test_the_score_of_the_table_is_that_of_the_library():
    from efm_jax import metrics

    a, b = (run.samples("moons", 0, side, 200, "test") for side in (0, 1))
    # two exact solvers of one problem
    assert run.w2(a, b) == pytest.approx(metrics.wasserstein2(a, b), rel=1e-6)


def test_splits_and_sides_are_drawn_apart():
    drawn = [
        run.samples("moons", 0, side, 50, split) for side in (0, 1) for split in ("train", "test", "floor")
    ]
    rows = {tuple(row) for part in drawn for row in part.tolist()}
    assert len(rows) == 300


def test_no_two_methods_are_the_same_row_and_the_fast_table_is_shorter():
    assert not set(METHODS) & set(LEVERS)
    assert fast().steps < Config().steps
    assert fast().test < Config().test


@pytest.mark.slow
def test_the_exact_chain_carries_better_than_forward_lines_at_a_small_gap():
    config = GapConfig(charges=128, lines=64, points=21)
    ends = {
        name: exact(config, "gaussian:2", "eight_gaussians", 2.0, 0, name=name)
        for name in (EXACT[0], EXACT[2])
    }
    assert ends[EXACT[2]]["arrived"] == 1.0
    # exact lines end on a permutation of charges; forward-only ones on Q smeared by P's Cauchy law
    assert ends[EXACT[2]]["w2"] < ends[EXACT[0]]["w2"]
    assert all(row["detour"] >= 1.0 for row in ends.values())


def test_tables_show_means_and_spreads(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    for seed, w2 in ((0, 1.0), (1, 2.0)):
        record = Record(tmp_path / f"seed_{seed}.json", SMALL, "floors", "rows")
        record.add("floors", {"target": "moons", "w2": 0.5})
        for name in ("PFGM", "I-CFM"):  # rows are in the order of the program's list, not of the file
            record.add("rows", {"source": "gaussian:2", "target": "moons", "method": name, "w2": w2})
    assert tables.distances() == (
        ["W2", "N -> moons"],
        [
            ["I-CFM", "1.500 ± 0.707 (2)"],
            ["PFGM", "1.500 ± 0.707 (2)"],
            ["floor: two sets of Q", "0.500 ± 0.000 (2)"],
        ],
    )


def test_what_no_network_can_learn_of_two_tubes_is_their_closed_form():
    """Tubes from 0 to a and to -a: at a point the share of the second is a logistic function, and v^2 = a^2 everywhere."""
    n, a = 2000, 0.3
    v = a * np.where(np.arange(n) % 2, 1.0, -1.0)[:, None]
    found = unlearnable(np.zeros((n, 1)), v, np.random.default_rng(0))
    s = np.linspace(-1.5, 1.5, 6001)
    left = []
    for z in HEIGHTS:
        one, other = (np.exp(-((s + sign * z * a) ** 2) / (2 * WIDTH**2)) for sign in (1, -1))
        share = one / (one + other)
        left.append(np.sum((one + other) / 2 * 4 * share * (1 - share)) / np.sum((one + other) / 2))
    # the mean over 20,000 draws of a number between 0 and 1
    assert found == pytest.approx(np.mean(left), abs=0.01)
    assert 0.2 < found < 0.8
    x = np.random.default_rng(1).standard_normal((n, 1))
    assert unlearnable(x, np.full((n, 1), 2.0), np.random.default_rng(0)) < 1e-12  # one velocity
