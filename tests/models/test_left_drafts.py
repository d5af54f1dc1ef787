"""What a killed process leaves behind is swept by the next one; what a living one writes, and files of others, stay."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efm_jax import models
from efm_jax._core import files

PROGRAM = Path(__file__).parents[1] / "support" / "_killed_writer.py"


def start(what, path):
    return subprocess.Popen(
        [sys.executable, PROGRAM, what, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])},
    )


def killed(what, path):
    assert start(what, path).wait() == -9


def test_drafts_of_dead_processes_are_swept_and_no_others(tmp_path):
    killed("file", tmp_path / "a.txt")
    (left,) = tmp_path.iterdir()
    living = start("wait", tmp_path / "b.txt")
    try:
        assert living.stdout.readline() == "written\n"
        (draft,) = set(tmp_path.iterdir()) - {left}
        mine = {tmp_path / name for name in (".a.txt.0123abcd.tmp", ".efm-x.tmp", ".efm-notes.tmp")}
        other = tmp_path / f".efm-00000000-{os.getpid()}-00000000.tmp"  # of another machine
        old = tmp_path / f".efm-00000000-{os.getpid()}-00000001.tmp"
        for path in (*mine, other, old):
            path.write_text("mine")
        os.utime(old, (0, 0))
        files._sweep_drafts.cache_clear()
        files.write_bytes(tmp_path / "a.txt", b"whole")
        assert set(tmp_path.iterdir()) == {tmp_path / "a.txt", draft, *mine, other}
        assert (tmp_path / "a.txt").read_bytes() == b"whole"
    finally:
        living.kill()
        living.communicate()


@pytest.mark.parametrize("rename", ["0", "1"])
def test_an_export_killed_while_it_replaces_a_model_loses_neither(tmp_path, rename):
    """Before the old model is put aside, and between that and the new one's coming into its place."""
    models.export("moons", tmp_path / "model")
    killed(rename, tmp_path / "model")
    files._sweep_drafts.cache_clear()
    models.export(
        "swiss_roll" if "swiss_roll" in models.released() else "moons", tmp_path / "model", overwrite=True
    )
    assert os.listdir(tmp_path) == ["model"]
    models.load(tmp_path / "model")


@pytest.mark.parametrize("length", [240, 250, 255])
def test_names_may_be_as_long_as_the_system_lets_them_be(tmp_path, length):
    files.write_bytes(tmp_path / ("a" * length), b"x")
    assert (tmp_path / ("a" * length)).read_bytes() == b"x"
    model = models.export("moons", tmp_path / ("b" * length))
    models.export("moons", model, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["a" * length, "b" * length]


@pytest.mark.parametrize("length", [240, 255])
def test_pictures_of_long_names_are_translated(tmp_path, length):
    height, width, _ = models.load("digits").shape
    (tmp_path / "in").mkdir()
    name = "c" * (length - 4) + ".png"
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(tmp_path / "in" / name)
    models.translate("digits", str(tmp_path / "in"), tmp_path / "out")
    assert name in os.listdir(tmp_path / "out")
