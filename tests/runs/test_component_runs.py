"""Runs in principal components: pictures go in and come out, and the space stays that of the folder."""

import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from efm_jax import cli, models, runs, training
from efm_jax.datasets import batch, spaces
from efm_jax.models import build, configs, reports, scoring
from efm_jax.models import space as _space_file

RNG = np.random.default_rng(0)

SHAPE = (4, 3, 3)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sets of pictures that differ in brightness, as npz files."""
    place = tmp_path_factory.mktemp("pictures")
    specs = []
    for name, low in (("dark", 0), ("bright", 80)):
        np.savez(place / f"{name}.npz", x=RNG.integers(low, low + 150, (30, *SHAPE)).astype(np.uint8))
        specs.append(f"npz:{place / name}.npz:x")
    return specs


def run_of(data, components=5, steps=4) -> configs.Run:
    return configs.from_dict(
        {
            "data": {"source": data[0], "target": data[1], "components": components},
            "recipe": {"method": "cfm", "gap": 1.0, "charges": 8, "num_points": 8},
            "network": {"kind": "mlp", "width": 8, "depth": 1, "output": "flow"},
            "optimizer": {"warmup": 1, "learning_rate": 0.05, "ema_decay": 0.5},
            "sampling": {"solver": "euler", "steps": 2, "clock": "linear", "samples": 8},
            "steps": steps,
        }
    )


@pytest.fixture(scope="module")
def trained_run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("components") / "run"
    runs.train(folder, run_of(data), progress=False)
    return folder


def weights(folder):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(models.load(folder).state.params)]


def test_a_run_goes_on_in_the_space_of_its_folder(data, trained_run, tmp_path):
    runs.train(tmp_path / "same", run_of(data, steps=2), progress=False)
    shutil.copytree(tmp_path / "same", tmp_path / "turned")
    told, whole = (tmp_path / "same" / "space.npz").read_bytes(), weights(trained_run)
    assert told == (trained_run / "space.npz").read_bytes()

    runs.train(tmp_path / "same", run_of(data), progress=False)
    assert all((a == b).all() for a, b in zip(weights(tmp_path / "same"), whole, strict=True))

    path = tmp_path / "turned" / "space.npz"
    own = _space_file.load(path)
    _space_file.save(path, own._replace(basis=-own.basis))
    runs.train(tmp_path / "turned", run_of(data), progress=False)
    np.testing.assert_array_equal(models.load(tmp_path / "turned").space.basis, -own.basis)
    assert any((a != b).any() for a, b in zip(weights(tmp_path / "turned"), whole, strict=True))


def test_the_space_that_an_unfinished_start_left_is_not_taken(data, trained_run, tmp_path):
    own = _space_file.load(trained_run / "space.npz")
    (tmp_path / "run").mkdir()
    _space_file.save(tmp_path / "run" / "space.npz", own._replace(mean=own.mean + 1.0))  # of other options
    runs.train(tmp_path / "run", run_of(data, steps=1), progress=False)
    assert (tmp_path / "run" / "space.npz").read_bytes() == (trained_run / "space.npz").read_bytes()


def test_a_folder_of_another_space_is_refused(data, trained_run, tmp_path):
    with pytest.raises(
        ValueError, match=r"holds 5 components of samples with 36 dimensions, expected 6 of 36"
    ):
        runs.train(trained_run, run_of(data, components=6), progress=False)
    with pytest.raises(ValueError, match="holds other data than the run in"):
        runs.train(trained_run, run_of(data[::-1]), progress=False)
    lost = shutil.copytree(trained_run, tmp_path / "lost")
    (lost / "space.npz").unlink()
    with pytest.raises(ValueError, match=r"holds a run without space\.npz: it was not trained in components"):
        runs.train(lost, run_of(data), progress=False)
    with pytest.raises(ValueError, match=r"space\.npz is missing: the space of the run"):
        models.load(lost)


def objects(space, path):
    np.savez(path, **space._asdict() | {"mean": np.array([print], dtype=object)})


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda space, path: path.write_bytes(path.read_bytes()[:-200]), "cannot be read as a space"),
        (lambda space, path: path.write_bytes(b""), "cannot be read as a space"),
        (lambda space, path: np.save(path.open("wb"), np.eye(3)), "cannot be read as a space"),
        (lambda space, path: np.savez(path, mean=space.mean), "cannot be read as a space"),
        (objects, "cannot be read as a space .*pickled Python objects, which are not read"),
        (lambda space, path: _space_file.save(path, space._replace(scale=-space.scale)), "not hold a space"),
        (lambda space, path: _space_file.save(path, space._replace(basis=2 * space.basis)), "orthonormal"),
        (lambda space, path: _space_file.save(path, space._replace(mean=space.mean[1:])), r"mean \(35,\)"),
    ],
)  # fmt: skip
def test_a_space_that_is_none_is_refused(trained_run, tmp_path, spoil, told):
    path = tmp_path / "space.npz"
    shutil.copy(trained_run / "space.npz", path)
    spoil(_space_file.load(path), path)
    with pytest.raises(ValueError, match=told):
        _space_file.load(path)


@pytest.mark.parametrize("side", ["source", "neither"])
def test_pictures_go_in_and_pictures_come_out(data, side):
    """A network that has learned nothing leaves everything where it is: what comes out is encoded and decoded."""
    config = run_of(("noise", data[1]) if side == "source" else data)
    pair = build.sources(config.data)
    space = spaces.fit(None if side == "source" else pair[0], pair[1], 5)
    network = build.network(config, SHAPE)
    state = training.init_state(jax.random.key(0), network, build.optimizer(config.optimizer, 4))
    trained = models.Trained(config, build.recipe(config.recipe), network, state, SHAPE, 0.0, space)
    x = batch(pair[0], 0, 0, 0, 7)
    lines = models.transport(trained, x, save=3)
    inside = x @ space.basis if side == "source" else (x - space.mean) @ space.basis / space.scale
    begin = (
        inside @ space.basis.T if side == "source" else (inside * space.scale) @ space.basis.T + space.mean
    )
    end = (inside * space.scale) @ space.basis.T + space.mean
    assert (lines.end.shape, lines.path.shape) == ((7, 37), (3, 7, 37))
    np.testing.assert_allclose(lines.end[:, :-1], end, atol=1e-4)  # float32 sums of 36 terms up to some ten
    np.testing.assert_array_equal(lines.path[-1], lines.end)
    np.testing.assert_allclose(lines.path[0, :, :-1], begin, atol=1e-4)
    np.testing.assert_allclose(lines.path[1, :, :-1], (begin + end) / 2, atol=1e-4)
    np.testing.assert_allclose(lines.path[:, :, -1], [[0.0] * 7, [0.5] * 7, [1.0] * 7], atol=1e-6)
    if side == "source":
        back = models.transport(trained, np.asarray(lines.end)[:, :-1], reverse=True)
        np.testing.assert_allclose(back.end[:, :-1], begin, atol=1e-4)


def test_the_report_says_what_the_space_keeps_and_what_it_can_reach(data, trained_run):
    report = reports.evaluate(trained_run, features="none")
    space, pair = models.load(trained_run).space, build.sources(run_of(data).data, split="test")
    kept = report["space"]["explained"]
    assert kept[data[1]] == pytest.approx(
        spaces.explained(space, batch(pair[1], 0, 0, 0, pair[1].size)), rel=1e-5
    )
    config = models.load(trained_run).config
    x = scoring.held_out(pair[0], config.sampling.samples, side=0)[:100]
    lost = np.sqrt(np.mean((space.decode(space.encode(x)) - x) ** 2))
    # what the components cannot hold is no error of lines there and back
    there_and_back = report["maps"][f"{config.data.source} -> {config.data.target}"]["round_trip"]["value"]
    assert there_and_back < 0.5 * lost
    for scores in report["maps"].values():
        alone = scores["reconstruction"]
        assert alone["wasserstein2"]["floor"] == scores["wasserstein2"]["floor"]
        assert "arrived" not in alone
    told = reports.summary(report)
    assert "5 components keep" in told
    assert "Real samples that are only encoded and decoded: W2" in told
    assert "pictures" in [path.name for path in trained_run.iterdir()]


def test_a_model_folder_holds_its_space_bit_for_bit(trained_run, tmp_path):
    folder = models.export(trained_run, tmp_path / "model")
    ours, theirs = models.load(trained_run), models.load(folder)
    for wanted, got in zip(ours.space, theirs.space, strict=True):
        np.testing.assert_array_equal(wanted, got, strict=True)
    x = RNG.uniform(-1, 1, (3, 36)).astype(np.float32)
    ends = [np.asarray(models.transport(one, x).end) for one in (ours, theirs)]
    np.testing.assert_array_equal(*ends)
    assert "5 principal components" in (folder / "README.md").read_text()

    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    assert {"space.mean", "space.basis", "space.scale"} < set(tensors)
    for name, value, told in (
        ("space.basis", 2 * tensors["space.basis"], "orthonormal"),
        ("space.mean", tensors["space.mean"][1:], "space.mean"),
    ):
        safetensors.numpy.save_file(tensors | {name: value}, folder / "model.safetensors")
        with pytest.raises(ValueError, match=f"does not fit .*{told}"):
            models.load(folder)


def test_a_run_from_before_components_is_one_without():
    before = configs.to_dict(configs.Run())
    assert before["data"].pop("components") is None
    assert configs.from_dict(before) == configs.complete(configs.Run())
    config = configs.complete(configs.Run(data=configs.Data(components=8)))
    assert configs.from_dict(configs.to_dict(config)) == config


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["digits-quick", "--data.components", "64"], "network.kind 'unet' cannot take; use 'mlp'"),
        (["toy-swiss-roll", "--data.components", "64"], "from 1 to 2, the dimensions of a sample, got 64"),
        (["toy-swiss-roll", "--data.components", "0"], "from 1 to 2, the dimensions of a sample, got 0"),
    ],
)
def test_the_command_names_what_cannot_be(tmp_path, capsys, options, told):
    with pytest.raises(SystemExit):
        cli.main(["train", *options, "--run", str(tmp_path / "run")])
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
