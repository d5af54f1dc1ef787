"""The script for an accelerator: its parts, limits and pieces; all of it at small sizes in a plain image."""

import importlib
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks import _card_parts, _card_training, accelerator

ROOT = Path(__file__).parents[2]
LACKING = ("tyro", "matplotlib", "tensorboardX", "mlxtend")
"""Packages that a plain JAX image lacks."""


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_can_be_imported(path):
    importlib.import_module(f"benchmarks.{path.stem}")


def test_a_part_that_takes_too_long_is_ended_and_run_again(tmp_path, monkeypatch, capfd):
    called = []

    def limited(command, seconds, environment):
        name = command[command.index("--part") + 1]
        called.append((name, round(seconds)))
        if len(called) == 1:
            accelerator._write(tmp_path, name, {"complete": False, "rows": [1]})
            return "ended after its 1 s"
        accelerator._write(tmp_path, name, {"complete": True, "rows": []})
        return "done"

    monkeypatch.setattr(accelerator, "_limited", limited)
    arguments = ["--out", str(tmp_path), "--minutes", "10", "--only", "card", "train"]
    accelerator.main(arguments)
    accelerator.main(arguments)
    # the last part gets all that is left; in the second call it is complete
    assert called == [("card", 42), ("train", 600), ("card", 42)]
    assert accelerator.results(tmp_path)["card"]["complete"]
    assert "train: complete already" in capfd.readouterr().out


def test_a_process_is_ended_at_its_limit():
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert accelerator._limited(program, 0.2, dict(os.environ)).startswith("ended after")
    assert accelerator._limited([sys.executable, "-c", ""], 60, dict(os.environ)) == "done"


def test_pieces_join_to_the_file(tmp_path):
    content = np.random.default_rng(0).bytes(1000)
    (tmp_path / "file").write_bytes(content)
    names = _card_training.pieces(tmp_path / "file", tmp_path, size=300)
    assert names == ["file.0", "file.1", "file.2", "file.3"]
    assert b"".join((tmp_path / name).read_bytes() for name in names) == content


def test_equal_sets_score_their_floor():
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 64, 16, 16, 3), dtype=np.uint8)
    row = next(_card_training.scores(one, other, one))
    assert row["frechet"] == row["frechet_floor"]
    far = next(_card_training.scores(np.zeros_like(one), other, one))
    assert far["frechet"] > 2 * far["frechet_floor"]


def test_the_longest_operations_are_those_of_the_profile(tmp_path):
    import jax
    import jax.numpy as jnp

    a = jnp.ones((1500, 1500))
    # a hundred times the sines: a thread that another program interrupts changes no order
    multiply = jax.jit(lambda a: jnp.sin((a @ a)[:10]))
    multiply(a).block_until_ready()
    rows = _card_parts.profiled(lambda: [multiply(a) for _ in range(3)], tmp_path / "trace", steps=3)
    # what an idle thread waits for is no operation: the product or what it is fused into comes first
    assert re.search("dot|fusion", rows[0]["name"])
    assert 0.0 < rows[0]["share"] <= 1.0
    assert not (tmp_path / "trace").exists()


@pytest.mark.slow
def test_all_parts_run_at_small_sizes_without_what_a_plain_image_lacks(tmp_path):
    for name in LACKING:
        (tmp_path / f"{name}.py").write_text("raise ImportError('blocked')")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "benchmarks.accelerator", "--out", str(tmp_path / "out")]
    command += ["--tiny"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, capture_output=True, text=True
    )
    found = accelerator.results(tmp_path / "out")
    assert [*found] == [*accelerator.LIMITS], done.stderr[-3000:]
    assert all(part["complete"] for part in found.values()), done.stderr[-3000:]
    rows = {name: part["rows"] for name, part in found.items()}
    right = rows["correctness"]
    assert all(row["error_over_tolerance"] < 1 for row in right if row["what"] == "field")
    assert right[-3]["arrived"] == 1.0
    assert right[-2]["loss_apart"] < 1e-5  # the same device, or another sum of 32 numbers
    assert right[-1]["parameters_apart"] == 0.0
    assert {(row["dtype"], row["precision"]) for row in rows["steps"]} == {*_card_parts.PRECISIONS[:2]}
    assert all(row["finite"] and row["longest"] for row in rows["steps"])
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert len(files) <= 8
    assert max(files.values()) < 16 * 2**20
    packed = b"".join((tmp_path / "out" / name).read_bytes() for name in rows["train"][1]["pieces"])
    (tmp_path / "model.zip").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "model.zip") as model:
        assert "model.safetensors" in model.namelist()
        assert json.loads(model.read("config.json"))["config"]["recipe"]["method"] == "efm"
