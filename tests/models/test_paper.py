"""The paper's presets hold its numbers, describe its network, and go through every command of a run."""

import doctest
import json
import math
import shlex
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks import paper_hours
from efm_jax import cli, matching
from efm_jax.cli import _reports, _training
from efm_jax.datasets import open_source, read_folder
from efm_jax.evaluation.drawing import save_png
from efm_jax.models import apply, build, configs
from efm_jax.models.presets import PRESETS
from experiments.paper_rehearsals import run, tables
from experiments.paper_rehearsals.config import NAMES, Data

ROOT = Path(__file__).parents[2]
RUNS = {name: PRESETS[name][1] for name in NAMES}
SHAPES = paper_hours.SHAPES
PARAMETERS = 57_634_180
THROUGH = {
    "stopped_at": 10,
    "data_position": 20,
    "every_step_once": True,
    "log_kept": True,
    "losses_equal": True,
    "states_equal": True,
    "largest_difference": 0.0,
}
"""What a run that was stopped at step 10 must say at step 20."""


@pytest.mark.parametrize("module", [paper_hours, run], ids=lambda m: m.__name__)
def test_examples(module):
    assert doctest.testmod(module).failed == 0


def test_the_presets_are_those_of_the_paper():
    assert NAMES == ("paper-cmnist", "paper-translation", "paper-cifar10", "paper-celeba64")
    for preset in RUNS.values():
        assert preset.optimizer == configs.Optimizer(
            learning_rate=2e-4, warmup=5000, cosine=False, clip=1.0, weight_decay=0.0, ema_decay=0.9999
        )
        assert preset.network == configs.Network(
            width=128, multipliers=(1, 2, 2, 2), blocks=4, attention=(16,), dropout=0.1
        )
        assert (preset.steps, preset.recipe.num_points, preset.seed) == (1_000_000, 64, 0)
        recipe = preset.recipe
        assert (recipe.method, recipe.convention, recipe.target) == ("efm", "superposed", "direction")
        assert (recipe.points, recipe.noise, recipe.coupling) == ("segment", 1.0, "independent")
        assert preset.sampling.solver == "euler"
        assert preset.sampling.clock == "linear"


@pytest.mark.parametrize(
    ("name", "gap", "charges", "steps"),
    [
        ("paper-cmnist", 30.0, 64, 120),
        ("paper-translation", 10.0, 64, 40),
        ("paper-cifar10", 500.0, 1024, 2000),
        ("paper-celeba64", 500.0, 1024, 2000),
    ],
)
def test_gap_charges_and_euler_steps(name, gap, charges, steps):
    preset = RUNS[name]
    assert (preset.recipe.gap, preset.recipe.charges, preset.sampling.steps) == (gap, charges, steps)
    assert preset.recipe.gap / preset.sampling.steps == 0.25


@pytest.mark.parametrize("name", NAMES)
def test_each_network_is_the_papers(name):
    network = build.network(RUNS[name], SHAPES[name])
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) == PARAMETERS


@pytest.mark.parametrize("name", NAMES)
def test_the_published_codes_field_is_one_option_away(name, monkeypatch):
    # what `per_plate` and its gamma do with these is held to its formula in _sharded_field.py and test_matching.py
    asked = {}
    monkeypatch.setattr(matching, "efm", lambda gap, **policy: asked.update(policy))
    build.recipe(replace(RUNS[name].recipe, convention="per_plate"))
    assert (asked["convention"], asked["gamma"], asked["num_points"]) == ("per_plate", 5.0, 64)
    monkeypatch.undo()
    build.recipe(RUNS[name].recipe)  # the total field, which has no gamma, takes the preset as it is


def test_every_command_of_the_page_can_be_given(monkeypatch):
    given = []
    monkeypatch.setattr(
        _training, "train_in", lambda run, config, **options: given.append((run.name, config))
    )
    monkeypatch.setattr(_reports, "print_report", lambda run, report: None)
    monkeypatch.setattr("efm_jax.models.reports.destination", lambda *_, **__: None)
    monkeypatch.setattr(
        "efm_jax.models.reports.evaluate", lambda run, **options: given.append((Path(run).name, options))
    )
    monkeypatch.setattr(
        "efm_jax.models.exporting.export",
        lambda run, output, **options: given.append((Path(run).name, output)),
    )
    monkeypatch.setattr("efm_jax.models.loading.find", Path)  # none of the folders exists
    monkeypatch.setattr("efm_jax.models.reports.destination", lambda place, *_, **options: Path(place))
    saved = apply.Saved(Path("out"), 1, 1)
    for verb in ("generate", "translate"):
        monkeypatch.setattr(
            apply, verb, lambda run, *rest, **options: given.append((Path(run).name, rest)) or saved
        )
    page = (ROOT / "docs" / "evidence" / "paper_settings.md").read_text()
    block = page.split("<!-- lines: paper -->")[1].split("```")[1]
    lines = [line for line in block.splitlines() if line.startswith("efm ")]
    for line in lines:
        cli.main(shlex.split(line)[1:])
    assert len(given) == len(lines) == 14
    trained = {name: config for name, config in given if isinstance(config, configs.Run)}
    for name, config in trained.items():
        changed = run.changed(RUNS[f"paper-{name}"], config)
        assert changed == {"network.dtype": ["float32", "bfloat16"]}
    assert trained["cifar10"].parallel == configs.Parallel(devices=8, data_threads=8)


def test_a_crop_is_the_middle_of_each_picture(tmp_path):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    save_png(tmp_path / "a" / "one.png", picture)
    read = read_folder(tmp_path / "a", crop=6)
    np.testing.assert_array_equal(read.images[0], picture[3:9, 2:8])
    # a resize to the size it has changes nothing
    np.testing.assert_array_equal(read_folder(tmp_path / "a", crop=6, size=6).images, read.images)
    assert open_source(f"folder:{tmp_path / 'a'}", crop=6, size=3, split="all").shape == (3, 3, 3)
    with pytest.raises(ValueError, match="10 x 12 pixels are fewer than crop = 11"):
        read_folder(tmp_path / "a", crop=11)
    with pytest.raises(ValueError, match=r"crop=6 cuts the pictures of a folder, which 'moons' is not"):
        open_source("moons", crop=6)
    with pytest.raises(ValueError, match="integer >= 1"):
        read_folder(tmp_path / "a", crop=0)


def test_runs_from_before_there_was_a_crop_are_those_without_one():
    before = configs.to_dict(configs.Run())
    assert before["data"].pop("crop") is None
    assert configs.from_dict(before) == configs.complete(configs.Run())
    cut = configs.from_dict({"data": {"crop": 140}})
    assert configs.to_dict(cut)["data"]["crop"] == 140


def test_hours_are_those_of_the_committed_file():
    rows = {(row["preset"], row["device"], row["precision"]): row for row in tables.hours_rows()}
    assert len(rows) == len(NAMES) * len(paper_hours.DEVICES)
    device = paper_hours.DEVICES[0]
    name, preset = "paper-cifar10", RUNS["paper-cifar10"]
    row = paper_hours.expect(
        name, preset, SHAPES[name], device, *paper_hours.works(preset, SHAPES[name], device.dtype)
    )
    assert rows[name, device.name, device.precision] == row
    assert row["train_hours"][1] == pytest.approx(row["train_hours"][0] / 0.4, rel=1e-3)  # four digits
    small, large = (rows[n, device.name, device.precision] for n in (name, "paper-celeba64"))
    # four times the pixels: four times the convolutions, attention at 16x16 the same
    assert 3.0 < large["bound_ms"] / small["bound_ms"] < 4.2


@pytest.mark.parametrize("name", NAMES)
def test_each_rehearsal_at_full_size_went_through(name):
    found = json.loads((run.RESULTS / f"{name}.json").read_text())
    assert found["parameters"] == PARAMETERS
    assert found["losses_finite"]
    assert len(found["losses"]) == 20
    assert found["resume"] == THROUGH
    assert found["model"]["is_the_average"]
    side = SHAPES[name][0]
    assert found["pictures"] == {"drawn": 4, "size": [side, side], "asked": 4}
    allowed = {"recipe.num_points", "sampling.steps", "sampling.samples", "steps", "save_every", "log_every"}
    assert set(found["changed"]) <= allowed | {"data.crop"}
    # config and preset differ in nothing else but where the data lie
    again = configs.from_dict(found["config"])
    assert run.changed(RUNS[name], again) == found["changed"]


@pytest.mark.slow
def test_a_rehearsal_of_a_tiny_network(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for i in range(40):
        save_png(tmp_path / "data" / f"{i}.png", rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    tiny = {"network.width": "8", "network.blocks": "1", "network.multipliers": "1", "data.size": "8"}
    tiny |= {"recipe.charges": "8"}
    commands = []

    def in_process(arguments, output):
        commands.append(arguments[0])
        cli.main(arguments)
        return run.Used(0.0, 0.0, 0)

    result = run.rehearse(
        "paper-celeba64",
        Data(pictures=str(tmp_path / "data")),
        tmp_path / "run",
        command=in_process,
        more=tiny,
    )
    assert commands == ["train", "train", "train", "export", "generate"]
    assert result["resume"] == THROUGH
    assert result["losses_finite"]
    assert result["model"]["is_the_average"]
    assert result["pictures"] == {"drawn": 4, "size": [8, 8], "asked": 4}
    assert result["changed"]["recipe.num_points"] == [64, 4]
    assert result["changed"]["data.crop"] == [140, None]
    assert str(tmp_path) not in str(result["config"])
    assert Image.open(tmp_path / "run" / "drawn" / "grid.png").size[0] > 8
