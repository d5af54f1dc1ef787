"""The page on the run folder names every file that a run writes and every key of a score."""

import json
import re
from pathlib import Path

import pytest

from efm_jax import models, runs
from efm_jax.models import configs

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "run_folder.md").read_text()
RESULTS = Path(__file__).parents[2] / "experiments" / "released_models" / "results"
NAMED = {name.strip("/") for name in re.findall(r"`([^`]+)`", PAGE)}


def keys(value) -> set[str]:
    """All keys of a value of json, but names of packages."""
    if isinstance(value, dict):
        return {*value}.union(*(keys(one) for key, one in value.items() if key != "versions"))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


@pytest.mark.parametrize("name", ["cells", "digit_generator", "digits", "earth", "moons"])
def test_every_key_of_a_score_is_on_the_page(name):
    maps = json.loads((RESULTS / f"{name}.json").read_text())["maps"]
    found = set().union(*(keys(scores) for scores in maps.values()))
    described = re.compile(r"(_inputs|_real)$")
    of_features = {"label", "dimension", "seed", "split", "versions"}  # say how they were made
    left = {key for key in found if described.sub("", key) not in NAMED} - of_features
    assert left == set()


def test_every_file_of_a_run_is_on_the_page(tmp_path):
    pytest.importorskip("matplotlib")
    config = configs.from_dict(
        {
            "data": {"source": "gaussian:2", "target": "moons", "standardize": True},
            "network": {"kind": "mlp", "width": 8, "depth": 1},
            "sampling": {"steps": 2, "samples": 20},
            "picture_every": 1e-3,
            "steps": 2,
        }
    )
    runs.train(tmp_path, config, progress=False)
    models.evaluate(tmp_path, round_trip=0)
    assert {"space.npz", "run.lock", "report.html"} <= {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} <= NAMED
