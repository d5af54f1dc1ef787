"""The README's programs run as they stand, with fewer steps; its commands are commands, its names are there."""

import functools
import importlib
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

import efm_jax
from efm_jax import cli
from efm_jax.cli import _parsing, _training
from efm_jax.models import suggestions

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def block(mark: str, page: str = README) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.+?)```", page, re.S)
    assert found, mark
    return found.group(1)


def run_library(**replaced: str) -> dict:
    """What the names of the library block are bound to, after some of its text is replaced."""
    program = block("code: library")
    for old, new in replaced.items():
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    names: dict = {}
    exec(compile(program, "README.md", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("page", "mark"),
    [
        pytest.param("docs/concepts/theory.md", "code: theorem", marks=pytest.mark.slow),
        ("docs/concepts/far_plates.md", "code: far plates"),
    ],
    ids=str,
)
def test_programs_without_training_run_as_pasted(page, mark, capsys):
    program = block(mark, (ROOT / page).read_text())
    assert max(map(len, program.splitlines())) <= 80
    exec(compile(program, page, "exec"), {})
    # the first number that each prints is the share of lines that arrived
    assert float(capsys.readouterr().out.split()[0]) == 1.0


SHORT = {
    "range(1500)": "range(2)",
    "0, 0, 100)": "0, 0, 4)",
    "t, 64), batch": "t, 8), batch",
    "1, t, 64)": "1, t, 8)",
}


def test_the_readme_fits_its_limits():
    assert len(README.splitlines()) <= 120
    assert len(re.sub(r"```.*?```|\]\([^)]*\)|<[^>]*>", "", README, flags=re.S).split()) <= 900


def test_the_library_in_fifteen_lines():
    lines = block("code: library").splitlines()
    assert len([line for line in lines if line.strip()]) <= 15
    assert max(map(len, lines)) <= 80
    # two thirds of the time are the compilation of the U-Net: a small network is trained, of the U-Net the shapes are seen
    [line] = [line for line in block("code: library").splitlines() if line.startswith("network = ")]
    names = run_library(**SHORT, **{line: "network = networks.mlp(3072, gap=10.0, width=8, depth=1)"})
    assert names["translated"].shape == (4, 3072)
    assert np.isfinite(names["translated"]).all()
    assert int(names["state"].step) == 2
    exec(line, names)
    params = jax.eval_shape(names["network"].init, jax.random.key(0))
    points = jax.ShapeDtypeStruct((4, 3073), np.float32)
    assert jax.eval_shape(names["network"].apply, params, points).shape == (4, 3073)


@pytest.mark.slow
def test_the_library_block_turns_threes_into_twos():
    from efm_jax.evaluation import digit_classifier

    names = run_library()
    assert int(names["state"].step) == 1500
    # 92 % are read as 2, standard error 3 %; with jitter it takes more steps
    labels, _ = digit_classifier.read_digits(np.asarray(names["translated"]))
    assert np.mean(labels == 2) > 0.75


def test_the_settings_of_the_library_example_are_those_of_the_quick_preset():
    from efm_jax.models.presets import PRESETS

    run = PRESETS["digits-quick"][1]
    program = block("code: library")
    assert f"width={run.network.width}" in program
    assert f"multipliers={run.network.multipliers}" in program


def commands() -> list[str]:
    """Every `efm COMMAND ...` in a block of a page, and those with options in its text."""
    found: list[str] = []
    for path in PAGES:
        page = path.read_text()
        for code in re.findall(r"```bash\n(.*?)```", page, re.S):
            found += re.split("\n|&&", code.replace("\\\n", " "))
        found += re.findall(r"`(efm [^`\n]* --[^`\n]*)`", re.sub(r"```.*?```", "", page, flags=re.S))
    return [line.strip() for line in found if re.match(r"(\.venv/bin/)?efm \w+ +(?!\.\.\.)\S", line.strip())]


@pytest.mark.smoke
def test_the_commands_of_the_readme_are_commands(monkeypatch):
    ran = []

    def recorded(name, function):
        @functools.wraps(function)
        def record(*args, **options):
            ran.append(name)

        return record

    for name, command in _parsing.COMMANDS.items():
        if command is not None:
            monkeypatch.setitem(_parsing.COMMANDS, name, recorded(name, command))
    # data of a reader's own: what is suggested for the digits, measured and trained by nobody
    found = suggestions.suggest("digits:3", "digits:2")
    monkeypatch.setattr(suggestions, "suggest", lambda *_, **__: found)
    monkeypatch.setattr(suggestions, "paced", lambda run, *_, **__: (run, suggestions.Timing(1.0, 1.0)))
    monkeypatch.setattr(_training, "train_in", recorded("train", _training.train_in))
    known = [command for command in commands() if not command.startswith("efm suggest")]
    assert len(known) > 12
    for command in known:
        # `efm resume` reads its options from the run
        if "--help" in command or "PRESET" in command or command.startswith("efm resume"):
            continue
        cli.main(shlex.split(command, comments=True)[1:])
        assert ran[-1] == command.split()[1], command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_of_the_package_that_pages_speak_of_are_there(page):
    for dotted in set(re.findall(r"\befm_jax(?:\.\w+)+", page.read_text())):
        value = efm_jax
        for part in dotted.split(".")[1:]:
            if part in ("py", "json", "npz"):
                break
            if not hasattr(value, part):
                try:
                    importlib.import_module(f"{value.__name__}.{part}")
                except (ImportError, AttributeError):
                    pytest.fail(f"{page.name}: there is no {dotted}")
            value = getattr(value, part)
