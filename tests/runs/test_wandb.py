"""Losses and progress pictures at Weights & Biases: a stand-in takes what is logged, and the real one writes it offline."""

import json
import sys

import _runs
import numpy as np
import pytest
from PIL import Image

from efm_jax import cli, runs
from efm_jax.models import configs, pictures
from efm_jax.runs import _pictures

one_build = _runs.one_build  # fixture

CONFIG = configs.from_dict(
    {
        "data": {"source": "gaussian:2", "target": "moons"},
        "recipe": {"method": "cfm", "gap": 1.0, "charges": 16, "num_points": 16},
        "network": {"kind": "mlp", "width": 8, "depth": 1, "output": "flow"},
        "sampling": {"solver": "euler", "steps": 4, "samples": 40},
        "optimizer": {"warmup": 2},
        "steps": 6,
        "save_every": 3,
        "log_every": 3,
        "picture_every": 1e-9,
        "log": "wandb",
    }
)


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """A picture after every step."""
    monkeypatch.setattr(_pictures, "LEAST", -1.0)
    monkeypatch.setattr(_pictures, "FIRST", 0.0)
    monkeypatch.setattr(pictures, "SHARE", np.inf)


class StandIn:
    """What of wandb is called."""

    def __init__(self, fails=False):
        self.begun, self.rows, self.ends, self.fails = [], [], 0, fails

    def init(self, **options):
        self.begun.append(options)
        return self

    def log(self, values):
        if self.fails:
            raise RuntimeError("no space")
        self.rows.append(values)

    def finish(self):
        self.ends += 1

    def define_metric(self, name, step_metric):
        assert (name, step_metric) == ("*", "step")

    Image = staticmethod(np.shape)
    Settings = staticmethod(dict)


@pytest.mark.slow
def test_a_run_logs_its_losses_and_pictures_and_goes_on_under_its_id(tmp_path, monkeypatch, one_build):
    wandb = StandIn()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    runs.train(tmp_path / "mine", CONFIG, progress=False)
    losses = [row for row in wandb.rows if "loss" in row]
    written = runs.read_log(tmp_path / "mine")
    assert [row["loss"] for row in losses] == [line["loss"] for line in written]
    assert [row["step"] for row in losses] == [3, 6]
    pictures = [row for row in wandb.rows if "held_out_samples" in row]
    assert [row["step"] for row in pictures] == [1, 2, 3, 4, 5, 6]
    assert pictures[0]["held_out_samples"][-1] == 3
    assert (wandb.begun[0]["name"], wandb.begun[0]["resume"], wandb.ends) == ("mine", "allow", 1)
    assert wandb.begun[0]["config"]["recipe"]["method"] == "cfm"
    assert "log" not in json.loads(
        (tmp_path / "mine" / "config.json").read_text()
    )  # it is no part of what is trained
    assert not (tmp_path / "mine" / "tensorboard").exists()
    more = configs.from_dict(configs.to_dict(CONFIG) | {"steps": 9, "log": "wandb"})
    runs.train(tmp_path / "mine", more, progress=False)
    assert wandb.begun[1]["id"] == wandb.begun[0]["id"]
    assert len(wandb.begun[0]["id"]) == 8
    assert [row["step"] for row in wandb.rows if "loss" in row] == [3, 6, 9]


def test_training_goes_on_where_wandb_fails(tmp_path, monkeypatch, one_build):
    monkeypatch.setitem(sys.modules, "wandb", StandIn(fails=True))
    with pytest.warns(UserWarning, match=r"wandb takes no more \(no space\); training goes on") as told:
        state = runs.train(tmp_path, CONFIG, progress=False)
    assert int(state.step) == 6
    assert sum("wandb" in str(one.message) for one in told) == 1


@pytest.mark.parametrize(
    "options",
    [["toy-swiss-roll", "--run", "RUN"], ["gaussian:2", "moons", "--run", "RUN"]],
    ids=["preset", "two"],
)
def test_without_wandb_one_line_says_so_before_any_work(tmp_path, monkeypatch, capsys, options):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SystemExit) as stop:
        cli.main(
            ["train", *(str(tmp_path / "run") if one == "RUN" else one for one in options), "--log", "wandb"]
        )
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert said.err == "efm: --log wandb needs wandb, which is not installed.\npip install wandb\n"
    assert "time     " not in said.out  # no step was measured
    assert not (tmp_path / "run" / "config.json").exists()


def test_the_real_one_writes_offline(tmp_path, monkeypatch, one_build):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    runs.train(tmp_path / "mine", CONFIG, progress=False)
    (written,) = (tmp_path / "mine" / "wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    assert content.count(b"held_out_samples") >= 6
    assert content.count(b"grad_norm") >= 2
    shown = [*written.parent.glob("files/media/images/*.png")]
    assert len(shown) == 6
    progress = Image.open(tmp_path / "mine" / "progress.png")
    assert Image.open(shown[-1]).size == progress.size
