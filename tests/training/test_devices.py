"""Training over eight virtual devices is training on one: the same batch, losses and parameters, to rounding."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from parallel_cases import CHARGES, POINTS

from efm_jax import cli, parallel
from efm_jax.cli import _training
from efm_jax.models import configs
from efm_jax.training import _placement

PROGRAM = Path(__file__).parents[1] / "support" / "_devices.py"


def run_program(program: Path, folder: Path, *arguments: str) -> subprocess.Popen:
    """Start a program of the tests that writes into a folder."""
    path = [str(program.parents[1]), str(program.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, str(program), *arguments, str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def told(made_once):
    def work(folder):
        output, _ = run_program(PROGRAM, folder).communicate(timeout=600)
        assert (folder / "told.json").exists(), output

    return json.loads((made_once("devices", work) / "told.json").read_text())


@pytest.mark.parametrize("way", ["plain jit", "plain sharded", "plain pmap", "plain own map", "dropout jit"])
def test_eight_devices_compute_what_one_does(told, way):
    got = told["steps_of_every_kind"][way]
    # a mean over 32 points in eight parts, and products of other shapes: a few float32 roundings a step, 6 steps
    assert got["losses"] < 5e-6
    # Adam divides by the root of the mean square: where a gradient is all but zero its rounding is magnified, up to a
    # share of a step (0.01); the parameters have moved five steps
    assert got["numbers"] < 1e-4
    assert got["moved"] > 0.03
    assert got["step"] == 6


@pytest.mark.parametrize("way", ["jit", "sharded", "pmap", "own map"])
def test_an_optimizer_that_asks_for_the_loss_gets_that_of_all_devices(told, way):
    got = told["steps_by_the_loss"]
    assert got[way]["losses"] < 5e-6
    assert got[way]["numbers"] < 1e-6  # the loss of one device is another by tenths
    assert got["moved"] > 5e-3


def test_each_device_follows_the_lines_of_its_own_samples(told):
    got = told["lines"]
    assert got["rows"] == [8, 3]
    assert got["gathers"] == 0
    assert got["share"] < 0.15  # an eighth, and what is counted on every device
    assert got["apart"] < 1e-5  # products of 8 rows round unlike those of 64


def test_a_split_state_is_held_in_eighths(told):
    got = told["steps_of_every_kind"]
    assert got["held"] == [[3, 512], 8]
    assert got["average held"] == [3, 512]
    assert got["moments held"] == [[3, 512]] * 2


def test_copies_under_pmap_stay_equal(told):
    assert told["steps_of_every_kind"]["copies agree"]


def test_each_device_sees_all_charges_and_its_own_points(told):
    got = told["evaluations"]
    assert got["seen"] == {"part": [CHARGES, POINTS // 8], "whole": [CHARGES, POINTS]}
    assert got["loss of whole"] == pytest.approx(got["loss"], rel=1e-6)  # the same points, other shapes


def test_arrays_of_the_recipe_are_on_every_device(told):
    assert max(told["held_arrays"].values()) < 1e-6  # two steps, float32


def test_the_compiler_divides_the_step_and_sends_no_more_than_it_must(told):
    got = told["compiled"]
    # the samples of both plates are gathered, loss and gradient are summed in one message
    assert got["collectives"] == {
        "all-gather": 2,
        "all-reduce": 1,
        "all-to-all": 0,
        "collective-permute": 0,
        "reduce-scatter": 0,
    }
    # an eighth of the field and network, and on every device the whole update and the drawing of points
    assert got["share"] < 0.4


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("rows", "the 12 rows of x_pos must be a multiple of the 8 devices that share them; take 8 or 16"),
        (
            "points",
            "the 30 points of a step must be a multiple of the 8 devices that share them; change num_points",
        ),
        ("axis", "axis must be one of the mesh's axes ('data',), got 'model'"),
        *(
            (what, "the mesh's axis 'data' must be of AxisType.Auto, got AxisType.Explicit")
            for what in ("explicit", "explicit run", "explicit rows")
        ),
        ("other run", "axis must be one of the mesh's axes ('model',), got 'data'"),
        ("devices", "devices must be between 1 and 8, the number of cpu devices, got 9"),
    ],
)
def test_what_cannot_be_divided_is_refused(told, what, said):
    assert said in told["refusals"][what]


def test_each_device_makes_its_own_rows_of_the_same_batch(told):
    assert told["made_on_devices"] == {"same": [True] * 4, "rows": [[8, 8], [8, 8], [2] * 8, [2] * 8]}


def test_a_run_is_the_same_on_one_device_and_on_eight(told):
    got = told["a_run"]
    assert got["moved"] > 0.03
    assert got["eight"] < 1e-4  # see the steps above
    # means of losses of about 1 over two steps
    np.testing.assert_allclose(got["logs"][0], got["logs"][1], rtol=5e-6)


def test_a_run_goes_on_with_other_devices(told):
    got = told["a_run"]
    assert got["parts"] < 1e-4
    np.testing.assert_allclose(got["logs"][0], got["logs"][2], rtol=5e-6)


def test_on_the_same_devices_a_resumed_run_is_the_straight_one_bit_for_bit(told):
    assert told["a_run"]["again"]


def test_a_split_state_is_saved_whole(told):
    assert told["a_run"]["saved"]


def test_a_batch_that_does_not_divide_is_refused_before_anything_is_written(told):
    said, exists = told["a_run"]["odd"]
    assert "the 16 positive charges of a step must be a multiple of the 3 devices" in said
    assert not exists


def test_a_mesh_takes_numbers_of_numpy_and_refuses_no_devices():
    assert parallel.data_mesh(np.int64(1)).size == 1
    with pytest.raises(ValueError, match="devices must hold one device at least"):
        parallel.data_mesh([])


def test_small_arrays_and_odd_ones_are_kept_whole():
    mesh = parallel.data_mesh(1)
    tree = {"a": np.zeros((64, 2048), np.float32), "b": np.zeros(1000), "key": jax.random.key(0)}
    got = {name: where.spec for name, where in _placement.split(tree, mesh, "data").items()}
    assert got["a"] == jax.sharding.PartitionSpec(None, "data")
    assert got["b"] == got["key"] == jax.sharding.PartitionSpec()


RECIPES = Path(__file__).parents[1] / "support" / "_devices_recipes.py"


@pytest.mark.slow
def test_every_recipe_and_network_is_divided(tmp_path):
    output, _ = run_program(RECIPES, tmp_path).communicate(timeout=1800)
    assert (tmp_path / "told.json").exists(), output
    got = json.loads((tmp_path / "told.json").read_text())
    assert len(got) == 11
    for name, losses in got.items():
        one = losses.pop("one")
        for way, there in losses.items():
            # the field of a few points is summed in other blocks than that of many; 3 steps
            np.testing.assert_allclose(there, one, rtol=2e-5, err_msg=f"{name} {way}")


# --- the page

PAGE = (Path(__file__).parents[2] / "docs" / "how_to" / "scale.md").read_text()


def test_the_commands_of_the_page_are_commands(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        _training, "train_in", lambda run, config, **_: asked.append((str(run), config.parallel))
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "runs" / "digits" / "config.json").write_text("{}")
    text = PAGE[PAGE.index("## Devices") :].replace("\\\n", " ")
    for command in re.findall(r"\befm (?:train|resume) [^`\"#\n]*--parallel[^`\"#\n]*", text):
        cli.main(shlex.split(command)[1:])
    Parallel = configs.Parallel
    two = [Parallel(coordinator="10.0.0.1:1234", processes=2, process_index=i) for i in range(2)]
    found = [Parallel(devices=8), Parallel(devices=4), *two, *[Parallel(coordinator="auto")] * 2]
    assert asked == [("runs/digits", where) for where in found]


@pytest.mark.slow
def test_the_programs_of_the_page_run():
    programs = re.findall(r"<!-- code: .*?devices -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(programs) == 2
    names: dict = {}
    for program in programs:
        exec(program, names)
    assert np.isfinite(float(names["info"].loss))
    assert names["ends"].shape == (64, 3)
