"""Programs and commands of the pages run as pasted, in order, in one namespace a page, with short trainings."""

import re
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from efm_jax import cli
from efm_jax.datasets import batch, open_source
from efm_jax.evaluation.drawing import save_png

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHORT = {"range(1000)": "range(2)", "--steps 3000": "--steps 3"}
"""What is shortened: trainings, whose length no block depends on."""
COMMANDS = {
    "get_started/laptop.md": ("efm ",),
    "how_to/conditions.md": ("efm train generate-quick", "efm generate"),
    "how_to/resume.md": ("efm train", "efm resume"),
    "how_to/share.md": ("efm translate digits", "efm generate digit_generator"),
}
"""Commands that need no data of a reader's own; `test_readme` has all commands read."""
_BRIEFLY = "--steps 2 --optimizer.warmup 1 --sampling.samples 8 --no-report"
SHORT_COMMANDS = {
    "efm train digits-quick": f"{_BRIEFLY} --recipe.plan-samples 64 --network.width 8",
    "efm train generate-quick": f"{_BRIEFLY} --network.width 16",
    "efm resume": "--no-report",
}
"""What their trainings are cut to."""


def blocks(page: Path, language: str) -> list[str]:
    return [code for found, code in BLOCK.findall(page.read_text()) if found == language]


def shortened(code: str) -> str:
    for long, short in SHORT.items():
        code = code.replace(long, short)
    return code


OWN = {"tables.md"}
"""Pages whose programs and commands run in a test of their own."""
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if blocks(page, "python") and page.name not in OWN]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A working directory with the folders of pictures and the parquet file that pages speak of."""
    monkeypatch.chdir(tmp_path)
    pictures = batch(open_source("digits:3"), 0, 0, 0, 40).reshape(40, 32, 32, 3)
    for k, picture in enumerate(np.asarray((pictures + 1) * 127.5, np.uint8)):
        folder = tmp_path / ("generated", "real")[k % 2]
        folder.mkdir(exist_ok=True)
        save_png(folder / f"{k}.png", picture)
        partners = tmp_path / ("photos", "drawings")[k % 2]  # of one name each
        partners.mkdir(exist_ok=True)
        save_png(partners / f"{k // 2}.png", picture)
    contents = [path.read_bytes() for path in sorted(tmp_path.glob("[gr]*/*.png"))]
    parquet.write_table(pa.table({"image": contents}), tmp_path / "pets.parquet")


def test_programs_are_on_pages_and_fit_the_column():
    assert len(PAGES) > 8
    wide = [
        f"{page.name}: {line}"
        for page in PAGES
        for code in blocks(page, "python")
        for line in code.splitlines()
        if len(line) > 80
    ]
    assert wide == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_programs_of_a_page_run(page, folders):
    names: dict = {}
    for code in blocks(page, "python"):
        exec(compile(shortened(code), str(page), "exec"), names)
    lines = names.get("lines") or names.get("found")
    if hasattr(lines, "end"):  # what the page traced went somewhere
        assert np.isfinite(np.asarray(lines.end)).all()


@pytest.mark.slow
@pytest.mark.parametrize("page", COMMANDS)
def test_commands_of_a_page_run(page, folders, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda *_, **__: True)
    ran = 0
    for code in blocks(DOCS / page, "bash"):
        for line in shortened(code).replace("\\\n", " ").splitlines():
            if line.startswith(COMMANDS[page]):
                short = [more for long, more in SHORT_COMMANDS.items() if line.startswith(long)]
                words = shlex.split(line, comments=True)[1:]
                cli.main([*words, *shlex.split(" ".join(short))])
                ran += 1
    assert ran >= len(COMMANDS[page])
