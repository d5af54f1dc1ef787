"""Model folders that are cut, foreign, spoilt or of another version are refused in words, and nothing in them runs."""

import pickle

import _models
import numpy as np
import pytest
import safetensors.numpy
from _models import rewrite

from efm_jax import models
from efm_jax._core import tensors
from efm_jax.models import loading

run, shared, model = _models.run, _models.shared, _models.model  # fixtures


class Touch:
    """What a pickle of bad will would do."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_weights_that_are_missing_cut_foreign_or_a_pickle_are_refused_and_nothing_runs(model, tmp_path):
    path = model / "model.safetensors"
    whole = path.read_bytes()
    marker = tmp_path / "marker"
    for content in (whole[:-1], whole[:30], b"", pickle.dumps(Touch(marker)), b"PK\x03\x04" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"model.safetensors cannot be read as safetensors .* fetch it again"
        ):
            models.load(model)
    assert not marker.exists()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # still well-formed: only the digest can tell
    with pytest.raises(ValueError, match="its bytes are not those that were written"):
        models.load(model)
    path.unlink()
    with pytest.raises(ValueError, match=r"holds no model.safetensors: the model is not whole"):
        models.load(model)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda t: {**t, "end.bias": t["end.bias"].astype(np.float64)},
            r"expected end.bias: float32\[73\], got float64\[73\]",
        ),
        (
            lambda t: {**t, "end.bias": t["end.bias"][1:]},
            r"expected end.bias: float32\[73\], got float32\[72\]",
        ),
        (
            lambda t: {k: v for k, v in t.items() if k != "end.bias"},
            r"expected end.bias: float32\[73\], got none there",
        ),
        (lambda t: {**t, "other": t["end.bias"]}, r"expected nothing at other, got other: float32\[73\]"),
        (
            lambda t: {**t, "end.bias": np.full_like(t["end.bias"], np.inf)},
            "'end.bias' holds 73 NaN or infinite",
        ),
    ],
)
def test_tensors_that_do_not_fit_the_network_are_named(model, spoil, told):
    path = model / "model.safetensors"
    path.write_bytes(safetensors.numpy.save(spoil(tensors.read(path))))
    with pytest.raises(ValueError, match=f"does not fit .*{told}.* fetch them again"):
        models.load(model)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "other"}, 'does not belong to a model: it has no "format": "efm_jax model"'),
        ({"version": 3}, "version 3 of the format, expected 1 to 2; update efm_jax"),
        ({"version": "1"}, "version '1' of the format"),
        ({"code": "print()"}, "must hold format, version, .*: unknown 'code'"),
        ({"file": {"bytes": 3}}, "'file' or 'training' is not as it was written"),
        ({"training": {"step": 2**31, "seconds": 1.0}}, "'file' or 'training' is not as it was written"),
        ({"training": {"step": -1, "seconds": 1.0}}, "'file' or 'training' is not as it was written"),
        ({"training": {"step": 1, "seconds": 10**400}}, "'file' or 'training' is not as it was written"),
        ({"training": {"step": 1, "seconds": float("nan")}}, "'file' or 'training' is not as it was written"),
        ({"config": {"recipe": {"method": []}}}, r"config.recipe.method must be one of efm, .*, got \[\]"),
        (
            {"config": {"recipe": {"gapp": 3.0}}},
            "config.recipe.gapp is not known; config.recipe has method, gap",
        ),
        ({"config": {"recipe": {"gap": "wide"}}}, "config.recipe.gap must be float, got 'wide'"),
        (
            {"config": {"recipe": {"gap": -1.0}, "network": {"kind": "mlp"}}},
            "gap must be a finite number > 0, got -1.0",
        ),
        ({"classes": ["0"]}, r"it names 1 classes, its network has None"),
        (
            {
                "columns": {
                    "names": [*map(str, range(72))],
                    "ranges": [None, [[float("nan")] * 72, [1.0] * 72]],
                }
            },
            "its columns must be 72 names and the ranges of two sides, the low end first",
        ),
        ({"config": []}, "config must be a JSON object"),
        ({"shape": [4, 0]}, r"shape must be a list of whole numbers >= 1, got \[4, 0\]"),
    ],
)
def test_a_config_that_this_version_does_not_know_is_refused(model, changes, told):
    rewrite(model, **changes)
    with pytest.raises(ValueError, match=told):
        models.load(model)


def test_what_is_no_model_folder_is_told_what_it_is(run, model, tmp_path):
    with pytest.raises(ValueError, match=r"holds no run and no model: it has no config.json"):
        models.load(tmp_path)
    with pytest.raises(ValueError, match=r"model.safetensors is a file; give the folder it lies in"):
        models.load(model / "model.safetensors")
    with pytest.raises(
        ValueError,
        match=r"nowhere: no folder has this name\.\n.*digit_generator, digits, earth, eight_gaussians, moons",
    ):
        models.load("nowhere")
    for text in ("{", '"\\', "[" * 100_000):
        (model / "config.json").write_text(text)
        with pytest.raises(ValueError, match=r"config.json is no readable JSON file.* fetch it again"):
            models.load(model)
    assert loading.is_model(model)
    assert not loading.is_model(run)
