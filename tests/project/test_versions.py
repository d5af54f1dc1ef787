"""The written bounds of dependencies, and the program that installs the lowest and the newest versions."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_dependency_is_listed_once_with_a_lower_bound():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    assert len(set(names)) == len(names)
    for line in project["dependencies"]:
        assert ">=" in line, line


def test_the_program_of_versions_names_what_it_takes():
    ran = subprocess.run(["bash", ".ci/versions", "oldest"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr == "versions: expected lowest or newest, got oldest\n"
