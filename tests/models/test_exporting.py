"""Model folders: what goes in comes out bit for bit, with a card made from the run, and nothing of the maker's disk."""

import json
import shutil

import _models
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _models import SHAPE, made_run

from efm_jax import checkpoint, models, training
from efm_jax._core import tensors as _tensors
from efm_jax.models import _card, exporting

run, shared = _models.run, _models.shared  # fixtures


@pytest.mark.smoke
def test_weights_config_and_ends_of_lines_are_those_of_the_run_bit_for_bit(run, shared):
    ours, theirs = models.load(run), models.load(shared)
    average = training.ema_params(ours.state)
    for wanted, got in zip(jax.tree.leaves(average), jax.tree.leaves(theirs.state.params), strict=True):
        np.testing.assert_array_equal(wanted, got, strict=True)
    assert jax.tree.structure(average) == jax.tree.structure(theirs.state.params)
    assert (theirs.shape, theirs.seconds, int(theirs.state.step)) == (ours.shape, 12.5, 20)
    assert theirs.config.recipe == ours.config.recipe
    assert theirs.config.network == ours.config.network
    assert theirs.config.sampling == ours.config.sampling
    x = np.random.default_rng(1).normal(size=(3, np.prod(SHAPE))).astype(np.float32)
    ends = [np.asarray(models.transport(one, x).end) for one in (ours, theirs)]
    assert np.abs(ends[0][:, :-1] - x).max() > 0.1
    np.testing.assert_array_equal(*ends)


def test_the_last_weights_are_given_on_request_only(run, tmp_path):
    last = models.load(models.export(run, tmp_path / "last", weights="last"))
    ours = models.load(run)
    for wanted, got in zip(jax.tree.leaves(ours.state.params), jax.tree.leaves(last.state.ema), strict=True):
        np.testing.assert_array_equal(wanted, got, strict=True)
    assert "parameters after the last step" in (tmp_path / "last" / "README.md").read_text()
    # the report scores the average, so it says nothing of these
    assert "0.125" not in (tmp_path / "last" / "README.md").read_text()
    with pytest.raises(ValueError, match="weights must be 'average' or 'last', got 'best'"):
        models.export(run, tmp_path / "best", weights="best")  # type: ignore[arg-type]


def test_half_the_digits_are_half_the_file_and_are_read_as_float32(run, shared, tmp_path):
    path = models.export(run, tmp_path / "half", half=True)
    x = np.random.default_rng(1).normal(size=(3, np.prod(SHAPE))).astype(np.float32)
    ends = [np.asarray(models.transport(models.load(one), x).end) for one in (shared, path)]
    assert 0 < np.abs(ends[0] - ends[1]).max() < 2 / 255  # a step of an 8-bit picture
    whole, half = models.load(shared).state.params, models.load(path).state.params
    for wanted, got in zip(jax.tree.leaves(whole), jax.tree.leaves(half), strict=True):
        np.testing.assert_array_equal(np.float32(np.float16(wanted)), got, strict=True)
    bytes_of = [
        sum(x.nbytes for x in _tensors.read(one / "model.safetensors").values()) for one in (shared, path)
    ]
    assert bytes_of[0] == 2 * bytes_of[1]
    assert (
        json.loads((path / "config.json").read_text())["version"] == 2
    )  # what cannot read float16 refuses it
    assert json.loads((shared / "config.json").read_text())["version"] == 1
    assert "rounded to float16" in (path / "README.md").read_text()
    assert "rounded" not in (shared / "README.md").read_text()
    with pytest.raises(ValueError, match="is a model already"):
        models.export(path, tmp_path / "again", half=True)


def test_a_weight_that_float16_does_not_hold_is_named():
    with pytest.raises(
        ValueError, match=r"parameter 'a\.b' holds 70000, and the largest number of float16 is 65504"
    ):
        _tensors.halved({"a": {"b": jnp.array([1.0, -7e4])}})
    kept = _tensors.halved({"a": jnp.array(7e4, jnp.bfloat16)})
    assert kept["a"].dtype == jnp.bfloat16


def test_no_path_of_the_maker_goes_out(run, shared):
    for name in ("config.json", "README.md"):
        text = (shared / name).read_text()
        assert str(run.parent) not in text
        assert "folder:photos" in text
    assert [
        exporting._last_part(spec)
        for spec in ("mnist:/data/mnist:3", "npz:~/a/b.npz:key", "folder:/x/y/", "digits:3")
    ] == [
        "mnist:mnist:3",
        "npz:b.npz:key",
        "folder:y",
        "digits:3",
    ]


def test_the_card_is_made_from_the_run(shared):
    card = (shared / "README.md").read_text()
    parameters = sum(leaf.size for leaf in jax.tree.leaves(models.load(shared).state.params))
    for told in (
        "# model\n",
        "4 x 6 pixels (height x width), 3 channels",
        "**efm**, gap 4.0",
        f"{parameters:,} parameters",
        "20 steps, 12 s; seed 0",
        "0.75 at step 10, 0.5 at step 20",
        "**euler**, steps 2",
        "| noise -> folder:photos | kid | value 0.125, floor 0.0625 | 9 | some \\| how |",
        "efm generate model",
        "## License\n\nNot stated: whoever shares this model writes its license here.",
    ):
        assert told in card
    assert "efm translate" not in card  # P is noise
    assert "y = model.generate(16)" in card
    assert "law" not in card.split("| network |")[0]  # a setting of another method


def test_the_card_begins_with_the_leading_scores_and_shows_a_picture_on_request_only(run, shared, tmp_path):
    assert {path.name for path in shared.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    row = "| noise -> folder:photos | KID | 0.125 |  | 0.062 | distance between features of mapped and real pictures |"
    assert row in (shared / "README.md").read_text()
    bare = shutil.copytree(run, tmp_path / "run")
    with pytest.raises(ValueError, match="has no picture of these weights"):
        models.export(bare, tmp_path / "none", picture=True)
    (bare / "pictures").mkdir()
    (bare / "pictures" / "forward.png").write_bytes(b"png")
    shown = models.export(bare, tmp_path / "shown", picture=True)
    assert "(samples.png)" in (shown / "README.md").read_text()
    copied = models.export(shown, tmp_path / "copied")
    for folder in (shown, models.export(bare, copied, picture=True, overwrite=True)):
        assert (folder / "samples.png").read_bytes() == b"png"
        models.load(folder)
    with pytest.raises(ValueError, match="is a model already"):
        models.export(shown, tmp_path / "other", picture=True)
    with pytest.raises(ValueError, match="has no picture of these weights"):
        models.export(bare, tmp_path / "last", picture=True, weights="last")  # the report is of the average


def test_the_card_of_a_table_shows_its_principal_components(tmp_path):
    run = made_run(tmp_path / "run", source="gaussian:3", target="gaussian:3", shape=(3,))
    (run / "pictures").mkdir()
    (run / "pictures" / "forward_pca.png").write_bytes(b"png")
    shown = models.export(run, tmp_path / "shown", picture=True)
    assert (shown / "samples.png").read_bytes() == b"png"


def test_a_run_without_report_or_with_that_of_another_step_has_no_scores(tmp_path):
    run = made_run(tmp_path / "run", source="gaussian:2", target="moons", shape=(2,))
    report = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps({**report, "step": 10}))
    (run / "log.jsonl").unlink()
    card = (models.export(run, tmp_path / "a b", license="CC BY 4.0") / "README.md").read_text()
    assert card.endswith("## License\n\nCC BY 4.0\n")
    assert "were not scored" in card
    assert "not logged" in card
    assert "efm translate 'a b' --input npy:SAMPLES.npy" in card
    assert "# x: an array [n, 2]\ny = model.translate(x)\n" in card


def test_the_card_shows_scores_on_features_too():
    kid = {"label": "KID-colors", "value": 0.125, "standard_error": 0.01, "floor": 0.25, "n": 9, "how": "so"}
    told = _card._scores({"a -> b": {"n": 9, "features": {"scores": {"kid": kid}}}})
    assert "| a -> b | KID-colors | value 0.125" in told
    assert "floor 0.25" in told


def test_a_place_that_is_taken_is_not_touched_and_a_failure_leaves_nothing(run, tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="taken/mine is no part of a model"):
            models.export(run, tmp_path / "taken", overwrite=overwrite)
    (tmp_path / "empty").mkdir()

    def full(path, text):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(exporting.files, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            models.export(run, tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "empty"}
    assert not list((tmp_path / "empty").iterdir())
    models.export(run, tmp_path / "empty")
    assert {p.name for p in (tmp_path / "empty").iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }


def test_a_model_is_replaced_when_asked(run, shared, tmp_path):
    place = tmp_path / "v1.2"
    models.export(run, place, license="MIT")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(ValueError, match=r"(?s)3 of the 4 files .* --overwrite"):
        models.export(shared, place)
    with pytest.raises(ValueError, match="is the model to copy and the output"):
        models.export(place, place, overwrite=True)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    models.export(shared, place, overwrite=True)
    assert (place / "README.md").read_bytes() == (shared / "README.md").read_bytes() != before["README.md"]
    assert [path.name for path in tmp_path.iterdir()] == ["v1.2"]


def test_a_model_is_copied_as_it_is(shared, tmp_path):
    copy = models.export(shared, tmp_path / "copy")
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
        path.name: path.read_bytes() for path in shared.iterdir()
    }
    for change in ({"weights": "last"}, {"license": "MIT"}, {"picture": True}):
        with pytest.raises(ValueError, match="is a model already: its weights, license and picture stay"):
            models.export(shared, tmp_path / "other", **change)
    assert not (tmp_path / "other").exists()


def test_weights_that_are_not_finite_are_not_given_away(run, tmp_path):
    bad = made_run(tmp_path / "run", source="gaussian:2", target="moons", shape=(2,))
    trained = models.load(bad)
    ema = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), trained.state.ema)
    checkpoint.save(bad / "checkpoints", trained.state._replace(ema=ema), meta={})
    with pytest.raises(
        ValueError, match=r"holds 1 NaN or infinite numbers of 3; .* export a run whose loss is finite"
    ):
        models.export(bad, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_run_is_opened_and_exported_when_its_data_are_gone(tmp_path):
    run = made_run(tmp_path / "run", target="npy:gone.npy", shape=(2,), keeps_shape=True)
    (tmp_path / "old").mkdir()
    shutil.copy(run / "config.json", tmp_path / "old")
    with pytest.raises(
        ValueError, match=r"did not keep the shape of a sample, and its data are not where config\.json says"
    ):
        models.export(tmp_path / "old", tmp_path / "none")
    ours, theirs = models.load(run), models.load(models.export(run, tmp_path / "model"))
    assert ours.shape == theirs.shape == (2,)
    average = training.ema_params(ours.state)
    for wanted, got in zip(jax.tree.leaves(average), jax.tree.leaves(theirs.state.params), strict=True):
        np.testing.assert_array_equal(wanted, got)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_every_dtype_of_parameters_survives(tmp_path, dtype):
    rng = np.random.default_rng(0)
    tree = {
        "a": {"0": jnp.asarray(rng.normal(size=(3, 2)), dtype)},
        "b": [jnp.asarray(1.5, dtype), jnp.zeros((0, 4), dtype)],
    }
    tree["t"] = jnp.asarray(np.arange(6.0).reshape(2, 3).T, dtype)  # not in C order in memory
    (tmp_path / "x").write_bytes(_tensors.encode(tree))
    tensors = _tensors.read(tmp_path / "x")
    assert set(tensors) == {"a.0", "b.0", "b.1", "t"}
    again = _tensors.fitted(tensors, jax.eval_shape(lambda: tree))
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    for wanted, got in zip(jax.tree.leaves(tree), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(np.asarray(wanted), np.asarray(got), strict=True)
    with pytest.raises(ValueError, match=r"two parameters would be named 'a.b'"):
        _tensors.encode({"a": {"b": jnp.ones(1)}, "a.b": jnp.ones(1)})
