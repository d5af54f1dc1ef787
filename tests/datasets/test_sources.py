"""Sources: a batch follows from seed, side and step alone; arrays and pictures are drawn fairly, scaled and split."""

import inspect
import subprocess
import sys
import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from _data import draw
from scipy import stats

from efm_jax import datasets
from efm_jax.datasets import (
    Source,
    as_pictures,
    batch,
    colored,
    from_array,
    from_pictures,
    split_mask,
    toys,
    white_noise,
)

RNG = np.random.default_rng(0)


def test_importing_and_drawing_need_no_jax():
    program = (
        "import sys; from efm_jax import datasets as d; d.batch(d.open_source('digits:3'), 0, 0, 0, 2);"
        "print('jax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_everything_public_is_listed():
    modules = {name for name, value in vars(datasets).items() if inspect.ismodule(value)} - {"toys"}
    public = {name for name in vars(datasets) if not name.startswith("_")}
    assert public - modules == set(datasets.__all__)


@pytest.mark.smoke
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
        (np.ma.masked_equal([[1.0, 2.0], [3.0, 4.0]], 4.0), r"got 1 of 4.\n.*x\[~x.mask.reshape"),
        (
            np.full((3, 2, 2, 1), 200.0),
            r"must lie in -1..1, got 200 to 200; .* divide by 127\.5 and subtract 1",
        ),
        (RNG.uniform(0, 255, (3, 8, 8, 3)), "or give uint8"),
    ],
)
def test_bad_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        from_array(array)


def test_samples_that_float32_cannot_hold_are_left_out_as_the_message_says():
    array = np.array([[1.0, 2.0], [1e39, 0.0], [-1e39, 0.0], [np.nan, 1e39]])
    with pytest.raises(ValueError, match="holds NaN, infinite") as told:
        from_array(array)
    kept = eval(str(told.value).partition("remove them: ")[2].rstrip("."), {"array": array, "np": np})
    np.testing.assert_array_equal(batch(from_array(kept), 0, 0, 0, 1), [[1, 2]])
    with pytest.raises(
        ValueError, match=r"too large for float32, over 3\.4e38, in 2 of 3 samples, the first at index 1"
    ):
        from_array(array[:3])


@pytest.mark.parametrize("make", [from_array, from_pictures])
def test_pictures_with_channels_first_are_warned_of(make):
    dtype = np.uint8 if make is from_pictures else np.float32
    said = r"(?s)\(2, 3, 8, 9\), and .*: 3 high, 8 wide, 9 channels.\n.*give np.moveaxis\(x, 1, -1\)"
    with pytest.warns(UserWarning, match=said) as told:
        make(np.zeros((2, 3, 8, 9), dtype))
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((2, 3, 8, 3), (2, 8, 8, 9), (2, 4, 4, 8)):  # the last: latents of small pictures
            make(np.zeros(shape, dtype))


def test_masked_arrays_without_missing_values_are_arrays():
    x = np.ma.masked_equal([[1.0, 2.0], [3.0, -9999.0]], -9999.0)
    whole = x[~x.mask.reshape(len(x), -1).any(axis=1)]  # as the message says
    np.testing.assert_array_equal(batch(from_array(whole), 0, 0, 0, 1), [[1, 2]])


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float16", "longdouble"])
def test_numbers_of_few_digits_and_many_are_kept(dtype):
    x = np.array([[1.0, -2.5], [0.5, 4.0]]).astype(jnp.dtype(dtype))
    drawn = batch(from_array(x), 0, 0, 0, 2)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(np.sort(drawn, axis=0), [[0.5, -2.5], [1, 4]])
    with pytest.raises(ValueError, match="NaN"):
        from_array(np.where(x > 1, x, np.nan).astype(x.dtype))


def test_wide_numbers_that_are_no_pictures_and_noise_in_their_shape_are_kept():
    assert from_array(np.full((3, 12), 200.0)).shape == (12,)
    assert from_array(np.full((3, 2, 2, 8), 200.0)).shape == (2, 2, 8)
    noise = RNG.normal(size=(20, 32, 32, 3)) * 2
    assert abs(noise).max() > 8
    assert from_array(noise).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((3, 2, 2)), "uint8"),
        (np.zeros((3, 2), np.uint8), r"\[n, H, W\]"),
        (np.zeros((0, 2, 2), np.uint8), "no empty axis"),
    ],
)
def test_bad_pictures(images, message):
    for make in (from_pictures, colored):
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
