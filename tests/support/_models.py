"""What tests of model folders share: a run with random weights, the model made of it, and copies to spoil."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from efm_jax import checkpoint, models, training
from efm_jax.models import build, configs

SHAPE = (4, 6, 3)


def made_run(folder, *, source="noise", target="folder:photos", shape=SHAPE, keeps_shape=False):
    """A run folder with random weights, as a run of 20 steps leaves it; the parameters and their average differ.

    Its checkpoint keeps the shape of a sample, or is one of the first version, which opened the data to learn it.
    """
    config = configs.from_dict(
        {
            "data": {"source": source, "target": target},
            "recipe": {"gap": 4.0},
            "network": {"kind": "mlp", "width": 8, "depth": 1, "output": "field"},
            "sampling": {"solver": "euler", "steps": 2},
            "steps": 20,
        }
    )
    network = build.network(config, shape)
    state = training.init_state(jax.random.key(0), network, build.optimizer(config.optimizer, config.steps))
    rng = np.random.default_rng(0)

    def drawn(tree):
        return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0.0, 0.3, leaf.shape), jnp.float32), tree)

    state = state._replace(
        params=drawn(state.params), ema=drawn(state.params), step=jnp.asarray(20, jnp.int32)
    )
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(configs.to_dict(config)))
    checkpoint.save(
        folder / "checkpoints",
        state,
        meta={"seconds": 12.5} | ({"shape": list(shape)} if keeps_shape else {}),
    )
    losses = [{"step": 10, "loss": 0.75, "seconds": 6.0}, {"step": 20, "loss": 0.5, "seconds": 12.5}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in losses))
    score = {"value": 0.125, "floor": 0.0625, "n": 9, "how": "some | how"}
    report = {"step": 20, "maps": {f"{source} -> {target}": {"n": 9, "kid": score}}}
    (folder / "report.json").write_text(json.dumps(report))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run from noise to the pictures of a folder, which is there."""
    place = tmp_path_factory.mktemp("run")
    (place / "photos").mkdir()
    for i in range(9):
        Image.new("RGB", (SHAPE[1], SHAPE[0]), (i, 0, 0)).save(place / "photos" / f"{i}.png")
    return made_run(place / "run", target=f"folder:{place / 'photos'}")


@pytest.fixture(scope="module")
def shared(run):
    return models.export(run, run.parent / "model")


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """A run on pictures whose lines do not start at noise: it translates."""
    place = tmp_path_factory.mktemp("translator") / "run"
    return made_run(place, source="gaussian:72", keeps_shape=True)


@pytest.fixture
def model(shared, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(shared, tmp_path / "model")


def rewrite(model, **changes):
    record = json.loads((model / "config.json").read_text())
    record.update(changes)
    (model / "config.json").write_text(json.dumps(record))
    return record
