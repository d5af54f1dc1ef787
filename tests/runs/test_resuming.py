"""Resuming: a run in parts is the run in one, bit for bit; another run's folder, or one in use, is refused."""

import json
import os
import shutil
import subprocess
import sys

import _runs
import pytest
from _killed_run import CONFIG, run, source
from _runs import PROGRAM, outcome

from efm_jax._core import files
from efm_jax.checkpoint import CheckpointError
from efm_jax.runs import read_config, read_log

interruptible, straight = _runs.interruptible, _runs.straight  # fixtures

pytestmark = pytest.mark.usefixtures("one_compilation")


# --- resuming


@pytest.mark.smoke
def test_a_run_in_two_parts_is_the_run_in_one(tmp_path, straight):
    run(tmp_path, steps=12)
    state = run(tmp_path)
    assert int(state.step) == 20
    assert outcome(tmp_path) == outcome(straight)


def test_a_finished_run_is_returned_as_it_is(tmp_path, straight):
    shutil.copytree(straight, tmp_path / "copy")
    before = (tmp_path / "copy" / "log.jsonl").read_bytes()
    state = run(tmp_path / "copy", pos=source(0.0)._replace(draw=None))
    assert int(state.step) == 20
    assert (tmp_path / "copy" / "log.jsonl").read_bytes() == before


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path, straight):
    run(tmp_path, steps=14)
    with open(tmp_path / "log.jsonl", "a") as file:  # steps that a killed process logged but did not save
        file.write('{"step": 16, "loss": 99.0}\n{"step": 20, "lo')
    assert [line["step"] for line in read_log(tmp_path)] == [4, 8, 12, 14, 16]
    run(tmp_path, steps=16)
    run(tmp_path)
    lines = [line for line in outcome(tmp_path)[1] if line["step"] != 14]  # the last line of the shorter run
    assert lines == outcome(straight)[1]
    assert all(json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_damaged_checkpoint_costs_its_steps_and_no_more(tmp_path, straight):
    run(tmp_path, steps=14)
    os.truncate(tmp_path / "checkpoints" / "000000014" / "checkpoint.json", 100)
    with pytest.warns(UserWarning, match=r"000000014.* Fell back to the checkpoint of step 7"):
        run(tmp_path)
    state, log, window = outcome(tmp_path)
    assert (state, log, window) == outcome(straight)
    names = os.listdir(tmp_path / "checkpoints")
    assert "000000014.damaged" in names


def test_when_no_checkpoint_can_be_read_nothing_is_touched(tmp_path):
    run(tmp_path, steps=7)
    os.truncate(tmp_path / "checkpoints" / "000000007" / "checkpoint.json", 100)
    log = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"none of the checkpoints in .* can be read"):
        run(tmp_path)
    assert os.listdir(tmp_path / "checkpoints") == ["000000007"]
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_config_json_is_mended_from_the_checkpoint(tmp_path):
    run(tmp_path, steps=3)
    (tmp_path / "config.json").unlink()
    run(tmp_path, steps=4)
    assert read_config(tmp_path) == json.loads(json.dumps(CONFIG))
    (tmp_path / "config.json").write_text('{"half')
    with pytest.raises(ValueError, match=r"config.json is no readable JSON file.*: they hold one"):
        run(tmp_path, steps=5)


def test_another_config_is_refused_with_what_differs(tmp_path):
    run(tmp_path, steps=3)
    other = {"network": {"width": 32, "scales": [1, 2]}, "rate": 0.01, "depth": 2, "steps": 4}
    said = r"another config:\n  depth: not set in the run, 2 now\n  network.width: 16 in the run, 32 now\nGive it"
    with pytest.raises(ValueError, match=said):
        run(tmp_path, config=other)
    with pytest.raises(
        ValueError, match=r"another fit:\n  batch_neg: 8 in the run, 9 now\n  seed: 3 in .*, 4 now"
    ):
        run(tmp_path, seed=4, batch_neg=9)
    # how long it goes on is free
    run(tmp_path, steps=4, config={**CONFIG, "steps": 4, "sampling": {"solver": "heun"}})
    assert read_config(tmp_path)["steps"] == 4


def test_a_run_is_never_overwritten(tmp_path):
    run(tmp_path, steps=3)
    with pytest.raises(
        ValueError, match=r"already holds a run \(checkpoints of steps \[3\]\); pass resume=True"
    ):
        run(tmp_path, resume=False)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "log.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ValueError, match=r"holds a log\.jsonl but no run; choose an empty folder"):
        run(foreign)
    (foreign / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="model_type: 'bert' in the run, not set now"):
        run(foreign)
    assert (foreign / "log.jsonl").read_text() == '{"step": 1}\n'


# --- one writer at a time


def test_a_folder_in_use_is_refused(tmp_path):
    refused = []

    def meanwhile(state):
        with pytest.raises(
            ValueError, match=rf"is in use by process {os.getpid()} on .*; wait for it to end"
        ):
            run(tmp_path)
        refused.append(1)

    run(tmp_path, steps=2, on_save=meanwhile)
    assert refused


def test_the_lock_of_a_dead_process_holds_nothing_up(tmp_path):
    program = (
        "import sys, time\nfrom efm_jax._core import files\n"
        "with files.exclusive(sys.argv[1], 'it'):\n    print('held', flush=True)\n    time.sleep(600)"
    )
    lock = tmp_path / "run.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, lock], stdout=subprocess.PIPE, text=True, cwd=PROGRAM.parents[1]
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=rf"it is in use by process {holder.pid} on"),
            files.exclusive(lock, "it"),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert f"process {holder.pid} " in lock.read_text()
    with files.exclusive(lock, "it"):
        assert f"process {os.getpid()} " in lock.read_text()
