"""Commands of experiments and benchmarks that pages and docstrings give are programs, and their options are options."""

import ast
import importlib
import io
import re
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import tyro

from benchmarks import __main__ as benchmarks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = sorted(path for folder in ("experiments", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
COMMAND = re.compile(r"python -m ((?:experiments|benchmarks)\b[\w.]*)([^`\n#]*)")
OPTION = re.compile(r"--[a-z][\w-]*")
ELSEWHERE = {"tpu", "gpu", "accelerator"}
"""Benchmarks of speed.md that `python -m benchmarks` leaves out: other machines and installations."""


def commands(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """The module and the options of every command in a text; a line that ends in a backslash goes on."""
    text = text.replace("\\\n", " ")
    return [(module.rstrip("."), tuple(OPTION.findall(rest))) for module, rest in COMMAND.findall(text)]


def test_commands_are_found_with_their_options():
    text = "`python -m benchmarks.field [--quick]`. Also\npython -m experiments.a.b x --one-two 3 \\\n    --four  # --no"
    assert commands(text) == [
        ("benchmarks.field", ("--quick",)),
        ("experiments.a.b", ("--one-two", "--four")),
    ]


def file_of(module: str) -> Path:
    """What `python -m MODULE` runs."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def options(path: Path) -> set[str]:
    """The options that a program takes: those of tyro's parser, of `add_argument`, or those that it looks for itself."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    for call in calls:
        if ast.unparse(call.func) == "tyro.cli":
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            command = getattr(module, ast.unparse(call.args[0]))
            with redirect_stdout(io.StringIO()) as told, pytest.raises(SystemExit):
                tyro.cli(command, args=["--help"])
            return set(OPTION.findall(told.getvalue()))
    added = [call for call in calls if call.func.attr == "add_argument"]
    said = [arg for call in added for arg in call.args] if added else nodes
    words = {node.value for node in said if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {word for word in words if OPTION.fullmatch(word)}


def wrong(text: str) -> list[str]:
    """What is said of a program and not so."""
    found = []
    for module, told in commands(text):
        path = file_of(module)
        if not path.is_file():
            found.append(f"there is no program {module}")
        elif told:
            found += [f"{module} has no {option}" for option in told if option not in options(path)]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_of_pages_are_commands(path):
    assert wrong(path.read_text()) == []


def test_commands_of_docstrings_are_commands():
    said = {path: ast.get_docstring(ast.parse(path.read_text())) or "" for path in PROGRAMS}
    assert sum(len(commands(text)) for text in said.values()) > 30
    assert {str(path.relative_to(ROOT)): wrong(text) for path, text in said.items() if wrong(text)} == {}


def test_all_benchmarks_of_the_page_are_run_together():
    page = (ROOT / "docs" / "evidence" / "speed.md").read_text()
    named = {module.partition(".")[2] for module, _ in commands(page)} - {""}
    assert len(named) > 8
    assert named - ELSEWHERE <= set(benchmarks.NAMES)
    assert all(file_of(f"benchmarks.{name}").is_file() for name in benchmarks.NAMES)
