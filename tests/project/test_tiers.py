"""The three tiers of tests: every module has a test that runs while one works; slow ones are marked as such."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path.parent.name for path in ROOT.glob("efm_jax/[a-z]*/__init__.py"))


@pytest.mark.smoke
@pytest.mark.parametrize("module", [*MODULES, "project"])
def test_every_module_has_a_smoke_test(module):
    files = sorted((ROOT / "tests" / module).glob("test_*.py"))
    assert any("mark.smoke" in path.read_text() for path in files), f"mark a test of tests/{module} as smoke"


def test_the_readme_and_contributing_name_the_tiers():
    said = (ROOT / "CONTRIBUTING.md").read_text()
    for tier in (r"pytest -n 2 -m smoke", r"pytest -n 2\b(?! -m)", r"pytest -n 2 -m slow"):
        assert re.search(tier, said), tier


FILE = re.compile(r"`((?:efm_jax|tests|experiments|benchmarks|docs|\.ci)/[\w./-]+|[\w.]+\.(?:md|toml))`")


def test_files_that_contributing_names_are_there():
    named = FILE.findall((ROOT / "CONTRIBUTING.md").read_text())
    assert len(named) > 15
    missing = sorted(path for path in set(named) if not (ROOT / path).exists())
    assert missing == []
