"""The shapes and types written in the package are true: its own examples run under jaxtyping's checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTEST = [sys.executable, "-m", "pytest", "efm_jax", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]


@pytest.mark.slow
def test_every_example_passes_with_annotations_checked():
    # a process of its own: the import hook must come before the package, and tests of bad input must not see it
    out = subprocess.run(
        [*PYTEST, "--jaxtyping-packages=efm_jax,beartype.beartype"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        check=False,
    )
    assert out.returncode == 0, out.stdout[-5000:]
    assert " passed" in out.stdout
