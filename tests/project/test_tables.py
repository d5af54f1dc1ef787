"""Tables of README and docs: every experiment owns its own, `experiments.tables` finds them all."""

import importlib
import json
import types

import pytest

from experiments import tables
from experiments._lib import tables as cells

OWNERS = [path.parent.name for path in sorted(tables.ROOT.glob("experiments/[a-z]*/tables.py"))]


@pytest.mark.smoke
def test_every_block_of_the_pages_has_one_owner_and_every_table_a_place():
    on_pages = {found.groups() for page in tables.PAGES for found in tables.BLOCK.finditer(page.read_text())}
    assert on_pages == set(tables.blocks())


@pytest.mark.parametrize("owner", OWNERS)
def test_tables_of_nothing_are_heads_alone(owner, monkeypatch, tmp_path):
    module = importlib.import_module(f"experiments.{owner}.tables")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    for make in module.TABLES.values():
        table = make()
        if table is not None:
            head, rows = table
            assert head
            assert all(len(row) == len(head) for row in rows)
    for value in getattr(module, "VALUES", {}).values():
        assert value() == "?"


def test_a_block_that_no_experiment_fills_is_named():
    with pytest.raises(KeyError, match=r"no tables\.py has the block `table: unheard of`"):
        tables.render("<!-- table: unheard of -->\n<!-- end -->")


def test_a_block_of_two_experiments_is_named(monkeypatch):
    both = types.SimpleNamespace(TABLES={"toys": lambda: (["P"], [])})
    monkeypatch.setattr(tables.importlib, "import_module", lambda name: both)
    with pytest.raises(ValueError, match=r"blocks of two tables\.py.*table: toys"):
        tables.blocks()


def test_a_page_is_filled_between_its_marks(monkeypatch):
    made = {("table", "a"): lambda: "\nA\n", ("value", "b"): lambda: "7"}
    monkeypatch.setattr(tables, "blocks", lambda: made)
    old = "x <!-- table: a -->old<!-- end --> y <!-- value: b -->8<!-- end --> <!-- table: a --><!-- end -->"
    new = "x <!-- table: a -->\nA\n<!-- end --> y <!-- value: b -->7<!-- end --> <!-- table: a -->\nA\n<!-- end -->"
    assert tables.render(old) == new


def test_seeds_of_one_run_give_their_mean_deviation_and_least_minutes(tmp_path):
    for name, value in (("quick", 0.9), ("quick_seed_1", 0.7), ("quick_superposed", 0.1)):
        score = {"value": value, "standard_error": 0.02, "floor": 0.01}
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"score": score, "step": 1000, "training_seconds": 600 * value})
        )
    both, one = cells.read_seeds(tmp_path, "quick"), cells.read_seeds(tmp_path, "quick_superposed")
    assert cells.share(*(report["score"] for report in both)) == "80.0% ± 14.1%"  # sqrt(2) / 10
    assert cells.kid(*(report["score"] for report in both)) == "0.800 ± 0.141 (0.010)"
    assert cells.training(*both) + cells.seeds(both) == "1,000 steps, 7 min (2 seeds)"
    assert cells.share(one[0]["score"]) + cells.seeds(one) == "10.0% ± 2.0%"
    assert cells.read_seeds(tmp_path, "full") == []
