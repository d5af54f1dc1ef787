"""A run killed at random moments, again and again, ends as if it had not been."""

import os
import signal
import subprocess
import sys
import time

import _runs
import numpy as np
import pytest
from _runs import PROGRAM, outcome

interruptible = _runs.interruptible  # the fixture

pytestmark = pytest.mark.usefixtures("one_compilation")


def start(folder, steps):
    """The run as a process of its own."""
    path = [str(PROGRAM.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), str(steps)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        stderr=subprocess.PIPE,
        text=True,
    )


def content(path):
    return path.read_bytes() if path.exists() else b""


def kill_often(folder, seed, kills, steps):
    """Kill a run again and again, up to 0.8 s after it has begun to log, and compare it with one left alone."""
    alone, ends = start(folder / "straight", steps), []
    log = folder / "killed" / "log.jsonl"
    for wait in np.random.default_rng(seed).uniform(0.0, 0.8, kills):
        before, process = content(log), start(folder / "killed", steps)
        while process.poll() is None and content(log) in (b"", before):
            time.sleep(0.01)
        time.sleep(wait)
        process.kill()
        _, told = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), told
        ends.append(process.returncode)
    assert -signal.SIGKILL in ends
    for process in (start(folder / "killed", steps), alone):
        _, told = process.communicate()
        assert process.returncode == 0, told
    assert outcome(folder / "killed") == outcome(folder / "straight")
    assert all(name.isdecimal() for name in os.listdir(folder / "killed" / "checkpoints"))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    kill_often(tmp_path, seed=0, kills=3, steps=80)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_killed_a_dozen_times_ends_as_if_it_had_not_been(tmp_path, seed):
    kill_often(tmp_path, seed, kills=12, steps=400)
