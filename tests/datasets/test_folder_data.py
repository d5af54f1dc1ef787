"""Folders of pictures: order, sizes, color modes and splits; what cannot be read or is too large is named."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from efm_jax.datasets import open_source, read_folder, split_by_name


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
    with pytest.raises(
        ValueError, match=r"a\.png is 6 x 4 and b\.png is 6 x 8 pixels.*size= \(--data\.size\), e\.g\. 4"
    ):
        read_folder(tmp_path)
    assert read_folder(tmp_path, size=5).images.shape == (2, 5, 5, 3)
    assert read_folder(tmp_path, size=(4, 6)).images.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(read_folder(tmp_path, size=(4, 6)).images[0], noise_image(4, 6))
    assert open_source(f"folder:{tmp_path}", size=16, split="all").shape == (16, 16, 3)
    for size in (0, (3,), (3, 0), (2, 2.5)):
        with pytest.raises(ValueError, match="size must be"):
            read_folder(tmp_path, size=size)


def test_resizing_crops_at_the_center_and_averages(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # the center square is flat, the wings are black
    Image.fromarray(wide).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_folder(tmp_path, size=4).images, np.full((1, 4, 4, 3), 200))
    stripes = np.tile(np.array([0, 255], np.uint8)[None, :, None], (32, 16, 3))
    Image.fromarray(stripes).save(tmp_path / "a.png")
    # antialiased: stripes of one pixel average to gray, where picking pixels would give 0 or 255
    assert np.abs(read_folder(tmp_path, size=8).images.astype(int) - 127)[:, :, 1:-1].max() < 20


def test_modes_become_rgb_or_gray(tmp_path):
    gray16 = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    Image.fromarray(gray16).save(tmp_path / "gray16.png")
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
    np.testing.assert_array_equal(found["gray16"][..., 0], [[0, 100], [200, 255]])
    assert (found["bits"] == 255).all()
    assert (found["palette"] == [40, 50, 60]).all()
    assert (found["clear"] == 255).all()
    assert (found["see_through"] == 255).all()
    np.testing.assert_allclose(
        found["half"][0, 0], [127, 127, 255], atol=1
    )  # 8-bit rounding of half and half
    np.testing.assert_allclose(found["ink"][0, 0], [255, 0, 0], atol=8)  # JPEG of flat red
    assert (read_folder(tmp_path, background=0).images[read.names.index("clear.png")] == 0).all()
    gray = read_folder(tmp_path, gray=True)
    assert gray.images.shape == (7, 2, 2, 1)
    luma = 0.299 * 40 + 0.587 * 50 + 0.114 * 60
    assert gray.images[read.names.index("palette.png"), 0, 0, 0] == pytest.approx(
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
    bad = ("bad_chunk.png", "bad_cut.png", "bad_empty.jpg", "bad_text.png")
    named = r" \(.+\), ".join(bad)
    with pytest.raises(
        ValueError, match=rf"4 of 7 pictures .* cannot be read: {named} .*remove or repair.*on_error='skip'"
    ):
        read_folder(tmp_path)
    with pytest.warns(UserWarning, match=r"left out 4 of 7 pictures .*bad_chunk\.png"):
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


def test_many_unreadable_pictures_are_counted_and_the_first_named(tmp_path):
    for k in range(7):
        (tmp_path / f"{k}.png").write_bytes(b"hello")
    with pytest.raises(ValueError, match=r"7 of 7 pictures .*0\.png \(.*4\.png \(.* and 2 more") as error:
        read_folder(tmp_path)
    assert "5.png" not in str(error.value)


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
