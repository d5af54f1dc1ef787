"""The page on tables: its programs and its commands, with fewer steps, run as printed and print what it shows."""

import re
import shlex
from pathlib import Path

import pytest

from efm_jax import cli
from efm_jax.datasets import tables
from efm_jax.datasets.tables import Reading
from experiments.single_cells import cells

PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "tables.md").read_text()
SHORT = "--steps 30 --network.width 16 --sampling.samples 40 --sampling.steps 4 --optimizer.warmup 5 --no-progress"


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.+?)```", PAGE, re.S)
    assert found, mark
    return found[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "result", "columns", "rows"),
    [
        ("tables", "mapped.csv", ("age", "income"), 300),
        ("cells", "mapped.h5ad", ("X_pca1", "X_pca2"), 129),
        ("released", "back.csv", ("X_pca1", "X_pca2"), 129),
    ],
)
def test_the_page_from_start_to_end(tmp_path, monkeypatch, capsys, part, result, columns, rows):
    pytest.importorskip("pyarrow")
    if part != "tables":
        try:
            cells.find()
        except FileNotFoundError:
            pytest.skip("there is no scanpy")
    monkeypatch.chdir(tmp_path)
    exec(compile(block(f"code: {'cells' if part == 'released' else part}"), "tables.md", "exec"), {})
    for line in block(f"command: {part}").replace("\\\n", " ").splitlines():
        command = shlex.split(line)[1:]
        cli.main(command + (shlex.split(SHORT) if command[0] == "train" else []))
    said = capsys.readouterr().out
    if part == "tables":
        shown = re.search(r"`(before.csv: 300 rows.*?)`", PAGE, re.S)
        assert shown
        assert f"P        {' '.join(shown[1].split())}" in said.splitlines()
    found = tables.read(result, Reading(columns=columns), others=True)
    assert len(found.x) == rows
    assert {"arrived", "name" if part == "tables" else "bulk_labels"} <= found.others.keys()
