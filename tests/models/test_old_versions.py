"""What an older version wrote is opened, resumed and put to work by this one; see old/README.md."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from efm_jax import cli, models
from efm_jax.models import configs
from efm_jax.models.presets import PRESETS

OLD = Path(__file__).parent / "old"
CONFIGS = {path.stem: json.loads(path.read_text()) for path in sorted((OLD / "configs").glob("*.json"))}
COMMAND = [
    "train",
    "toy-swiss-roll",
    "--recipe.charges",
    "64",
    "--recipe.num-points",
    "64",
    "--save-every",
    "20",
]
COMMAND += ["--network.width", "16", "--network.depth", "2", "--optimizer.warmup", "10", "--no-report"]
COMMAND += ["--sampling.samples", "50", "--no-progress"]
COMMAND += ["--recipe.points", "box", "--network.output", "field"]  # today's own are others

RENEWED = ("digits-quick", "digits-full", "generate-quick", "generate-full")
"""Presets that train another recipe today."""

# The same numbers bit for bit on the machine that made them; another one may round sums another way, which twenty steps
# of Adam at 2e-3 and sixty steps along a line let grow to some 1e-4 at most.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.mark.parametrize("name", CONFIGS)
def test_old_configurations_are_read(name):
    run = configs.from_dict(CONFIGS[name])
    old, new = CONFIGS[name], configs.to_dict(run)
    for part in ("data", "network", "optimizer", "sampling"):
        assert old[part].items() <= new[part].items()
    words = {"uniform": "linear"}
    for key, value in new["recipe"].items():
        if (name, key) == ("pfgm", "width"):  # then an option that pfgm did not have
            continue
        assert words.get(old["recipe"].get(key), old["recipe"].get(key, value)) == value
    assert configs.from_dict(json.loads(json.dumps(new))) == run
    if name in PRESETS and name not in RENEWED:
        preset, then = PRESETS[name][1], {}
        if name.startswith("toy"):  # today's points and network are others
            then = {
                "recipe": replace(preset.recipe, points="box"),
                "network": replace(preset.network, output="field"),
            }
        then["data"] = replace(preset.data, noise="host")
        assert run == configs.complete(replace(preset, **then))


def test_an_old_run_resumes_to_the_weights_that_the_old_version_reached(tmp_path):
    run = shutil.copytree(OLD / "run", tmp_path / "run")
    cli.main([*COMMAND, "--run", str(run), "--steps", "60"])
    models.export(run, tmp_path / "model")
    ours, theirs = (
        safetensors.numpy.load_file(path)
        for path in (tmp_path / "model" / "model.safetensors", OLD / "resumed.safetensors")
    )
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, **TOLERANCE)
    before = safetensors.numpy.load_file(OLD / "model" / "model.safetensors")
    assert any(np.abs(before[key] - value).max() > 5e-3 for key, value in theirs.items())
    assert configs.canonical(json.loads((run / "config.json").read_text()))["recipe"]["height"] == "linear"


@pytest.mark.parametrize("place", ["run", "model"])
def test_old_runs_and_models_translate_as_they_did(tmp_path, place):
    lines = models.transport(models.load(OLD / place), np.load(OLD / "inputs.npy"))
    assert lines.arrived.all()
    np.testing.assert_allclose(lines.end[:, :2], np.load(OLD / "translated.npy"), **TOLERANCE)


def test_another_option_is_still_refused(tmp_path):
    run = shutil.copytree(OLD / "run", tmp_path / "run")
    with pytest.raises(SystemExit):
        cli.main([*COMMAND, "--run", str(run), "--steps", "60", "--recipe.gap", "3"])
