"""What a report cannot do is found before the first step."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from efm_jax import cli


def train(folder, *more):
    options = [
        "--recipe.charges",
        "4",
        "--recipe.num-points",
        "4",
        "--network.width",
        "4",
        "--network.depth",
        "1",
    ]
    options += [
        "--steps",
        "1",
        "--optimizer.warmup",
        "0",
        "--no-progress",
        "--run",
        str(folder / "run"),
        *more,
    ]
    data = ["--data.source", f"npy:{folder / 'p.npy'}", "--data.target", f"npy:{folder / 'q.npy'}"]
    cli.main(["train", "toy-swiss-roll", *data, *options])


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((60, 3, 8, 8), r"shape must be \(H, W\), \(H, W, 1\) or \(H, W, 3\), got \(3, 8, 8\)"),
        ((60, 8, 8, 4), r"shape must be .*, got \(8, 8, 4\)"),
        ((3, 2), "has 1 held-out sample, and scores need two"),
    ],
)
def test_what_a_report_cannot_do_is_found_before_the_first_step(tmp_path, capsys, shape, said):
    for name in "pq":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    with pytest.raises(SystemExit):
        train(tmp_path)
    err = capsys.readouterr().err
    assert "the report at the end of training cannot be made" in err
    assert "--no-report" in err
    assert re.search(said, err)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_of_which_none_is_held_out_are_found_too(tmp_path, capsys, count):
    for i in range(count):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    with pytest.raises(SystemExit):
        train(tmp_path, "--data.source", "noise", "--data.target", f"folder:{tmp_path}")
    err = capsys.readouterr().err
    assert f"cannot be made: the test split of {count} samples is empty" in err
    assert not (tmp_path / "run").exists()


def test_a_report_that_fails_says_that_the_run_is_kept(tmp_path, capsys, monkeypatch):
    for name in "pq":
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))

    def fail(run):
        raise OSError("the disk is gone")

    monkeypatch.setattr("efm_jax.models.reports.evaluate", fail)
    with pytest.raises(SystemExit):
        train(tmp_path)
    err = capsys.readouterr().err
    assert f"trained and saved in {tmp_path / 'run'}, but its report failed; `efm evaluate" in err
    assert "the disk is gone" in err
    assert os.listdir(tmp_path / "run" / "checkpoints") == ["000000001"]
