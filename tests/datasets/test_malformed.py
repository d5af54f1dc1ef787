"""Malformed files for every reader: one clear error each, nothing started, no more memory than they hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.parametrize(("count", "seed"), [(110, 0), pytest.param(2200, 1, marks=pytest.mark.slow)])
def test_malformed_files_end_in_one_clear_error(tmp_path, count, seed):
    mark, trap = tmp_path / "mark", tmp_path / "bin" / "gs"
    trap.parent.mkdir()
    trap.write_text(f"#!/bin/sh\ntouch {mark}\n")
    trap.chmod(0o755)
    root = SUPPORT.parents[1]
    env = {**os.environ, "PATH": f"{trap.parent}{os.pathsep}{os.environ['PATH']}"}
    env |= {"PYTHONPATH": f"{root}{os.pathsep}{SUPPORT}", "JAX_PLATFORMS": "cpu"}
    program = [sys.executable, SUPPORT / "_fuzz.py", str(count), str(seed)]
    done = subprocess.run(program, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["faults"] == []
    assert {path.name for path in tmp_path.iterdir()} == {"bin"}, "a file has started something"
    # damage is seen: at most half of the files are still sound ones, mostly logs and markers that are only for reading
    assert told["found"]["ValueError"] > told["found"]["read"] > 0
    assert (
        told["kilobytes"] < 100_000
    )  # the largest file holds some kilobytes, compiled code and buffers the rest
    assert told["slowest"][0] < 10.0
