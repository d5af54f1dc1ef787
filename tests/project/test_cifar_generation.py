"""CIFAR-10 drawn by class: the program end to end on pictures of plain colors, whose classes anything can read."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments._lib import linear_reader
from experiments.cifar_generation import __main__ as program
from experiments.cifar_generation import config as configs

COLORS = np.random.default_rng(0).integers(40, 216, (10, 3, 1))
SMALL = configs.Config(guidance=(1.0,), each=4, shown=2, fitted=100, tested=40, decays=(1e-3, 10.0))


@pytest.fixture
def plain_colors(tmp_path):
    """CIFAR-10's six files, each class in one color with a little noise."""
    rng = np.random.default_rng(1)
    files = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    for name in files:
        labels = np.tile(np.arange(10), 6)
        pixels = COLORS[labels] + rng.integers(-20, 21, (60, 3, 1024))
        (tmp_path / name).write_bytes(np.c_[labels, pixels.reshape(60, -1)].astype(np.uint8).tobytes())
    return tmp_path


def mean_colors(self, pictures):
    return pictures.mean((1, 2), dtype=np.float32)


def test_the_program_trains_draws_reads_and_tells(plain_colors, tmp_path, monkeypatch):
    monkeypatch.setattr(program.Judge, "features", mean_colors)
    monkeypatch.setattr(program, "Config", lambda: SMALL)
    monkeypatch.setattr(program, "RESULTS", tmp_path / "results")
    whole = configs.runs(str(plain_colors))["components"]
    small = replace(
        whole,
        data=replace(whole.data, components=8),
        recipe=replace(whole.recipe, charges=20, num_points=20, label_groups=2),
        network=replace(whole.network, width=16, depth=1),
        optimizer=replace(whole.optimizer, warmup=1),
        steps=4,
    )
    monkeypatch.setattr(configs, "runs", lambda cifar10: {"components": small})
    program.main(("components",), cifar10=str(plain_colors), folder=tmp_path / "runs")
    report = json.loads((tmp_path / "results" / "cifar_generation.json").read_text())
    real, decoded = report["real"]
    # colors of ten classes lie 20 gray levels apart and more, their means over 1,024 pixels vary by .4
    assert real["read_right"]["value"] == decoded["read_right"]["value"] == 1.0
    assert real["decay"] == 1e-3  # with a weight of 10 the reader hardly learns
    (row,) = report["rows"]
    assert (row["training"], row["guidance"], row["steps"], row["n"]) == ("components", 1.0, 4, 40)
    assert np.mean(row["by_class"]) == pytest.approx(row["read_right"]["value"], abs=1e-3)  # rounded
    assert (tmp_path / "results" / "components.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_training_is_named_beside_the_known(plain_colors, tmp_path):
    with pytest.raises(SystemExit, match="no training 'none'; there are components, pixels"):
        program.main(("none",), cifar10=str(plain_colors), folder=tmp_path)
    assert not any(tmp_path.glob("cifar_generation*"))


def test_the_decay_is_chosen_on_samples_that_the_reader_did_not_see():
    # three telling numbers beside 300 of noise, 400 samples: without a decay the reader learns them by heart
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 2, 500)
    x = rng.standard_normal((500, 303)).astype(np.float32)
    x[:, :3] += kind[:, None]
    assert (linear_reader.train(x[:400], kind[:400], 2, decay=0.0).read(x[:400]) == kind[:400]).all()
    assert linear_reader.chosen_decay(x, kind, 2, (0.0, 0.1, 100.0)) == 0.1  # the others guess
