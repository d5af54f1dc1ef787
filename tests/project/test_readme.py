"""The README's programs run as they stand, with fewer steps."""

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(mark: str) -> str:
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.+?)```", README, re.S)
    assert found, mark
    return found.group(1)


def test_the_library_in_fifteen_lines():
    program = block("code: library")
    assert len([line for line in program.splitlines() if line.strip()]) <= 15
    brief = (
        program.replace("range(1500)", "range(2)")
        .replace("1, 0, 0, 100", "1, 0, 0, 4")
        .replace(" 64)", " 8)")
    )
    assert brief.count("range(2)") == brief.count("0, 0, 4)") == 1
    names: dict = {}
    exec(compile(brief, "README.md", "exec"), names)
    assert names["translated"].shape == (4, 3072)
    assert np.isfinite(names["translated"]).all()
    assert int(names["state"].step) == 2


def test_the_settings_of_the_library_example_are_those_of_the_quick_preset():
    from efm_jax.models.presets import PRESETS

    run = PRESETS["digits-quick"][1]
    program = block("code: library")
    assert f"gap={run.recipe.gap}" in program
    assert f"noise={run.recipe.noise}" in program
    assert f"width={run.network.width}" in program
    assert f"range({run.steps})" in program
