"""A person's pictures at the model's size and back: cropped as training's are, or padded with nothing lost."""

import numpy as np
import pytest
from PIL import Image

from efm_jax import models
from efm_jax.datasets import as_pictures, read_folder
from efm_jax.datasets.fit_pictures import is_picture, read, returned
from efm_jax.models import apply, build, configs
from efm_jax.types import FieldLines


def save(path, height, width, seed=0, mode="RGB", **options):
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    picture = Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8), mode)
    picture.save(path, **options)
    return np.asarray(picture)


@pytest.mark.parametrize("channels", [1, 3])
def test_cropped_ones_are_what_training_reads(tmp_path, channels):
    turned = Image.Exif()
    turned[0x0112] = 6  # lying on its side
    save(tmp_path / "a.png", 20, 9)
    save(tmp_path / "b.jpg", 7, 30, exif=turned)
    save(tmp_path / "c.png", 5, 6, mode="L")
    save(tmp_path / "d.png", 3, 2, mode="RGBA")
    (tmp_path / "e.png").write_bytes(b"no picture")
    given = read(tmp_path, (8, 12, channels))
    with pytest.warns(UserWarning, match="left out 1 of 5"):
        expected = read_folder(tmp_path, size=(8, 12), gray=channels == 1, on_error="skip")
    np.testing.assert_array_equal(given.images, expected.images)
    assert given.names == expected.names
    assert given.skipped == ("e.png",)
    # b lies 30 high and 7 wide when turned; the parts kept are 12 : 8
    assert [place.size for place in given.places] == [(9, 6), (7, 5), (6, 4), (2, 1)]
    assert read(tmp_path, (8, 12, channels), limit=2).names == ["a.png", "b.jpg"]


@pytest.mark.parametrize(("height", "width"), [(8, 5), (3, 12), (8, 12), (1, 12)])
def test_a_padded_picture_that_fits_comes_back_as_it_was(tmp_path, height, width):
    picture = save(tmp_path / "a.png", height, width)
    given = read(tmp_path / "a.png", (8, 12, 3), fit="pad")
    assert given.images.shape == (1, 8, 12, 3)
    for own_size in (False, True):
        np.testing.assert_array_equal(returned(given.images[0], given.places[0], own_size=own_size), picture)
    # the margin repeats the border: no color that is not in the picture
    left, upper, right, lower = given.places[0].box
    np.testing.assert_array_equal(
        given.images[0, :upper], np.repeat(given.images[0, upper : upper + 1], upper, 0)
    )
    np.testing.assert_array_equal(
        given.images[0, lower:], np.repeat(given.images[0, lower - 1 : lower], 8 - lower, 0)
    )
    assert (right - left, lower - upper) == (width, height)
    assert abs((12 - right) - left) <= 1


def test_a_large_picture_comes_back_whole_at_its_own_size(tmp_path):
    y, x = np.mgrid[:60, :25] / 60.0
    smooth = (np.stack([y, x, 1 - y], axis=-1) * 200).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    given = read(tmp_path, (32, 32, 3), fit="pad")
    assert given.places[0].size == (25, 60)
    assert given.places[0].box == (9, 0, 22, 32)  # 25 / 60 * 32 = 13.3 wide
    back = returned(given.images[0], given.places[0], own_size=True)
    assert back.shape == (60, 25, 3)
    # a ramp of 200 levels in 60 pixels survives halving and doubling but for its ends, half a coarse pixel: 4 levels
    assert np.abs(back.astype(int) - smooth).max() <= 4
    assert returned(given.images[0], given.places[0], own_size=False).shape == (32, 13, 3)


def test_what_cannot_be_read_is_named(tmp_path):
    assert not is_picture(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    assert is_picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"none of the 1 pictures in .* can be read; the first is a\.png"):
        read(tmp_path / "a.png", (4, 4, 3))
    for name in ("anim.ico", "b.tga", "notes.txt", "x.npy", "c.heic"):
        (tmp_path / name).write_bytes(b"")
    save(tmp_path / "b.png", 4, 4)
    with pytest.warns(UserWarning, match=r"left out of .*: 1 \.txt, 1 \.npy$"):
        assert read(tmp_path, (4, 4, 3)).other == ("anim.ico", "b.tga", "c.heic")
    assert read(tmp_path, (4, 4, 3), limit=1).other == ("anim.ico",)  # the others come after b.png
    with pytest.raises(ValueError, match=r"a picture \(\.png, \.jpg, .*got the file .*anim\.ico; convert it"):
        read(tmp_path / "anim.ico", (4, 4, 3))
    with pytest.raises(ValueError, match="fit must be 'crop' or 'pad', got 'squeeze'"):
        read(tmp_path, (4, 4, 3), fit="squeeze")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read(tmp_path / "gone.png", (4, 4, 3))


def test_pictures_behind_the_limit_are_not_told_of(tmp_path):
    save(tmp_path / "b.png", 4, 4)
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(b"")
    found = read(tmp_path, (4, 4, 3), limit=1)
    assert (found.names, found.skipped) == (["b.png"], ("a.png",))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_square_that_training_cut_out_is_cut_out_again(tmp_path, channels):
    turned = Image.Exif()
    turned[0x0112] = 6  # lying on its side
    save(tmp_path / "a.png", 20, 9)
    save(tmp_path / "b.png", 7, 30, exif=turned)
    save(tmp_path / "c.png", 7, 7)  # the square and no more
    given = read(tmp_path, (8, 8, channels), square=7)
    np.testing.assert_array_equal(
        given.images, read_folder(tmp_path, size=8, crop=7, gray=channels == 1).images
    )
    assert [place.size for place in given.places] == [(7, 7)] * 3
    one = read(tmp_path / "b.png", (8, 8, channels), square=7)
    np.testing.assert_array_equal(one.images[0], given.images[1])
    # whole ones are taken whole
    padded = read(tmp_path, (8, 8, channels), fit="pad", square=7)
    np.testing.assert_array_equal(padded.images, read(tmp_path, (8, 8, channels), fit="pad").images)


def test_pictures_smaller_than_the_square_are_named_with_the_mend(tmp_path):
    (tmp_path / "0.png").write_bytes(b"no picture")
    save(tmp_path / "a.png", 20, 9)
    save(tmp_path / "b.png", 9, 6)
    told = r"b\.png: .* least 7 x 7 .* \(data\.crop\), this one is 6 x 9; give it larger, or take it whole by --fit pad"
    for path in (tmp_path, tmp_path / "b.png"):
        with pytest.raises(ValueError, match=told):
            read(path, (8, 8, 3), square=7)
    first = read(tmp_path, (8, 8, 3), square=7, limit=1)  # it is not among these
    assert (first.names, first.skipped) == (["a.png"], ("0.png",))


@pytest.mark.parametrize("single", [False, True])
def test_a_run_with_a_crop_sees_the_middle_and_gives_that_back(tmp_path, monkeypatch, single):
    config = configs.Run(data=configs.Data("folder:a", "folder:b", size=8, crop=6))
    trained = models.Trained(config, build.recipe(config.recipe), None, None, (8, 8, 3), 0.0)
    seen = []

    def stay(trained, x, **_):
        seen.append(as_pictures(x, trained.shape))
        end = np.concatenate([x, np.full((len(x), 1), 10.0, np.float32)], axis=1)
        return FieldLines(end, None, np.ones(len(x), bool), np.ones(len(x), np.int32))

    monkeypatch.setattr(apply, "load", lambda run: trained)
    monkeypatch.setattr(apply, "transport", stay)
    given = tmp_path / "given"
    given.mkdir()
    picture = save(given / "one.png", 12, 10)
    spec = f"folder:{given / 'one.png' if single else given}"
    expected = read_folder(given, size=8, crop=6).images[0]
    for own_size, side in ((False, 8), (True, 6)):
        out = tmp_path / f"out{side}"
        apply.translate("run", spec, out, own_size=own_size)
        written = np.asarray(Image.open(out / "one.png"))
        np.testing.assert_array_equal(seen.pop()[0], expected)
        assert written.shape == (side, side, 3)
        if own_size:
            # six pixels there and back by eight, bicubic, of white noise: nearer to the middle than to any shift of it
            errors = {
                (down, left): np.abs(written - picture[down : down + 6, left : left + 6].astype(float)).mean()
                for down in range(7)
                for left in range(5)
            }
            assert min(errors, key=errors.__getitem__) == (3, 2)
