"""Pictures changed a little at each draw."""

import numpy as np
import pytest

from efm_jax import datasets
from efm_jax.datasets import batch, jitter, jittered
from efm_jax.models import build, configs, scoring

RNG = np.random.default_rng(0)
SIDE = 33


def blob(row: float, column: float, width: float = 4.0) -> np.ndarray:
    """A Gaussian spot on black, 8 bits."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.uint8(np.rint(255 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centers [n, 2] about the middle, and second moments [n, 2, 2], of pictures in -1..1."""
    light = (x.reshape(-1, SIDE, SIDE) + 1) / 2
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    grid = np.stack([rows, columns])
    mass = light.sum((1, 2))
    center = np.einsum("nij,kij->nk", light, grid) / mass[:, None]
    second = np.einsum("nij,kij,lij->nkl", light, grid, grid) / mass[:, None, None]
    return center, second - center[:, :, None] * center[:, None, :]


def test_a_spot_is_moved_and_stretched_as_the_formula_says():
    middle = (SIDE - 1) / 2
    source = jittered(datasets.from_pictures(blob(middle, middle)[None]), 1.0)
    index, numbers = source.draw.choose(np.random.default_rng(3), 40)
    center, second = moments(source.draw.read(index, numbers))
    for (angle, slant, tall, wide, down, right), found, spread in zip(numbers, center, second, strict=True):
        theta, s = jitter.TURN * angle, jitter.SLANT * slant
        turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
        matrix = turn @ [[np.exp(jitter.SIZE * tall), 0], [s, np.exp(jitter.SIZE * wide)]]
        inverse = np.linalg.inv(matrix)
        shift = jitter.MOVE * SIDE * np.array([down, right])
        # a spot's center and covariance follow the inverse map; 8 bits and cut-off tails are below 0.02 pixels, linear
        # interpolation widens by at most 1/4 of a squared pixel, of 16
        np.testing.assert_allclose(found, -inverse @ shift, atol=0.03)
        np.testing.assert_allclose(spread, 16 * inverse @ inverse.T, atol=0.4)


def test_deviations_are_those_told_and_no_jitter_changes_nothing():
    source = datasets.from_pictures(RNG.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8))
    assert jittered(source, 0.0) is source
    numbers = jittered(source, 0.5).draw.choose(np.random.default_rng(0), 4000)[-1]
    # the deviation of 4,000 normal numbers is known to 1.1 %, four of it
    np.testing.assert_allclose(numbers.std(0), 0.5, rtol=0.045)
    small = batch(jittered(source, 1e-9), 0, 0, 0, 6)
    np.testing.assert_allclose(small, batch(source, 0, 0, 0, 6), atol=1e-5)  # float32 rounding


def test_colors_classes_and_rows_are_kept():
    digits = jittered(datasets.open_source("digits"), 1.0)
    x = batch(digits, 0, 0, 0, 50)
    light = (x.reshape(50, -1, 3) + 1) / 2
    brightest = light.max(-1, keepdims=True)
    tint = np.where(brightest > 0.2, light / np.maximum(brightest, 0.2), np.nan)
    # mixing pixels of one color keeps it, up to float32's rounding of values near 1
    assert np.nanmax(np.nanmax(tint, 1) - np.nanmin(tint, 1)) < 1e-5
    np.testing.assert_array_equal(batch(digits, 0, 0, 0, 50, rows=slice(7, 12)), x[7:12])
    assert digits.classes is not None
    three = batch(digits, 0, 0, 0, 9, labels=[3])
    assert three.shape == (9, 3072)
    assert digits.class_names == datasets.open_source("digits").class_names


def test_pairs_stay_pairs():
    x = RNG.normal(size=(5, 8, 8, 1)).astype(np.float32)
    p, q = (jittered(side, 1.0) for side in datasets.from_pairs(x, 2 * x))
    np.testing.assert_allclose(2 * batch(p, 0, 0, 3, 4), batch(q, 0, 1, 3, 4), rtol=1e-6)


def test_only_training_pictures_are_changed(tmp_path):
    data = configs.Data("digits:3", "digits:2", jitter=1.0)
    train, _ = build.sources(data)
    test, _ = build.sources(data, split="test")
    plain, _ = build.sources(configs.Data("digits:3", "digits:2"), split="test")
    np.testing.assert_array_equal(batch(test, 0, 0, 0, 5), batch(plain, 0, 0, 0, 5))
    before, _ = build.sources(configs.Data("digits:3", "digits:2"))
    assert np.abs(batch(train, 0, 0, 0, 5) - batch(before, 0, 0, 0, 5)).max() > 0.1


def test_scores_compare_with_pictures_as_they_are():
    plain, changed = (
        configs.Run(data=configs.Data("digits:3", "digits:2", jitter=amount)) for amount in (0.0, 1.0)
    )
    (real, _), _ = scoring.open_data(plain, (32, 32, 3))
    (compared, _), _ = scoring.open_data(changed, (32, 32, 3))
    np.testing.assert_array_equal(batch(compared, 0, 0, 0, 5), batch(real, 0, 0, 0, 5))


@pytest.mark.parametrize("amount", [-1.0, float("nan"), float("inf")])
def test_an_amount_that_is_none_is_refused(amount):
    with pytest.raises(ValueError, match="jitter must be a finite number >= 0"):
        jittered(datasets.from_pictures(np.zeros((2, 3, 3), np.uint8)), amount)


def test_vectors_and_noise_are_refused():
    for source in (datasets.from_array(np.eye(3)), datasets.white_noise((4, 4, 3))):
        with pytest.raises(ValueError, match="only a finite set of pictures"):
            jittered(source)
    with pytest.raises(ValueError, match=r"data\.jitter 1\.0 is for folder"):
        build.run(configs.Run(data=configs.Data("moons", "swiss_roll", jitter=1.0)))


def test_digits_jittered_before_they_are_colored_are_those_jittered_after():
    source = datasets.open_source("digits:3")
    inside = jittered(source, 1.0)
    read = source.draw.read
    after = jittered(
        source._replace(draw=datasets.source.Choice(source.draw.choose, lambda *parts: read(*parts))), 1.0
    )
    # coloring is linear in the gray value: only float32's rounding differs
    np.testing.assert_allclose(batch(inside, 0, 0, 0, 9), batch(after, 0, 0, 0, 9), atol=1e-6)
