"""Folders of pictures: order, sizes, color modes and splits; what cannot be read or is too large is named."""

import contextlib
import os
import re
import struct
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from efm_jax.datasets import common_size, fit_pictures, open_source, picture_files, read_folder, split_by_name


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
    with pytest.warns(UserWarning, match=rf"^left out of {tmp_path}: 1 \.txt$"):
        read = read_folder(tmp_path)
    assert read.names == ["b/a.PNG", "b/deep/c.bmp", "z.png"]
    assert read.skipped == []
    assert read.images.shape == (3, 4, 6, 3)
    for image, name in zip(read.images, read.names, strict=True):
        np.testing.assert_array_equal(image, noise_image(4, 6, len(name)))
    (tmp_path / "notes.txt").unlink()
    assert open_source(f"folder:{tmp_path}", split="all").shape == (4, 6, 3)


def test_every_kind_that_pillow_reads_safely_is_read(tmp_path):
    first, second = (Image.fromarray(np.full((4, 6, 3), level, np.uint8)) for level in (200, 20))
    for name, kind in (("a.tif", "TIFF"), ("b.TIFF", "TIFF"), ("c.gif", "GIF")):
        first.save(tmp_path / name, kind, save_all=True, append_images=[second])
    for name in ("d.jfif", "e.jpe", "f.jpg"):
        first.save(tmp_path / name, "JPEG", quality=95)
    second.save(tmp_path / "f.jpg", "MPO", save_all=True, append_images=[first])
    images = read_folder(tmp_path).images
    # the first frame or page; JPEG and a palette of gray levels keep a flat picture to one level
    np.testing.assert_allclose(images[:5].astype(int), np.full((5, 4, 6, 3), 200), atol=1)
    np.testing.assert_allclose(images[5].astype(int), np.full((4, 6, 3), 20), atol=1)


def test_no_program_is_started_whatever_a_file_is_named(tmp_path, monkeypatch):
    mark, programs, pictures = tmp_path / "mark", tmp_path / "bin", tmp_path / "pictures"
    programs.mkdir()
    pictures.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)  # what an earlier search for it found
    for ending in picture_files.EXTENSIONS:
        text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
        (pictures / f"a{ending}").write_text(text)
    with pytest.raises(ValueError, match=r"pictures in .* cannot be read"):
        read_folder(pictures)
    with pytest.raises(ValueError, match=r"no picture in .* can be read"):
        common_size([pictures])
    with pytest.raises(ValueError, match="none of the"):
        fit_pictures.read(pictures, (4, 4, 3))
    assert not mark.exists()
    with contextlib.suppress(OSError), Image.open(pictures / "a.png") as file:
        file.load()
    assert mark.exists(), "the stand-in is not what Pillow would start"


def test_links_to_folders_are_followed_once_and_loops_named(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    for folder in (outside / "deep", root / "own"):
        folder.mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(folder / "a.png")
    (root / "a_link").symlink_to(outside)
    (root / "again").symlink_to(outside / "deep")
    (root / "first").symlink_to(root / "own")
    (root / "own" / "loop").symlink_to(root)
    (root / "own" / "up").symlink_to(tmp_path)
    (root / "itself").symlink_to(root / "itself")
    with pytest.warns(UserWarning, match="left out") as warned:
        assert read_folder(root).names == ["a_link/deep/a.png", "own/a.png"]
    assert str(warned[0].message) == (
        f"left out of {root}: 1 without an ending, folders that lead back, are linked twice or may not be opened: again, "
        "first, own/loop, own/up"
    )
    (root / "b.png").symlink_to(root / "b.png")
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(ValueError, match=r"b\.png cannot be read as a picture"),
    ):
        read_folder(root)
    (outside / "deep" / "a.png").unlink()
    (outside / "deep" / "mine.png").symlink_to(root / "own" / "a.png")
    assert read_folder(outside).names == ["deep/mine.png"]


def test_what_is_left_out_is_counted_by_kind(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    for name in ("b.heic", "c.HEIC", "d.avif", "notes.txt", ".hidden.txt"):
        (tmp_path / name).write_bytes(b"")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        fit_pictures.read(tmp_path, (2, 2, 3))
        read_folder(tmp_path)
        open_source(f"folder:{tmp_path}", split="all")
    # translate names pictures of other kinds one by one in what it returns
    everything = f"left out of {tmp_path}: 2 .heic, 1 .avif, 1 .txt"
    assert [str(one.message) for one in warned] == [f"left out of {tmp_path}: 1 .txt", everything, everything]


@pytest.mark.parametrize(
    ("high", "levels", "gray", "said"),
    [
        (4095, None, 16, r"2 16-bit gray .* levels 3 to 4095 of 65535: they become dark.*--data.levels 4095"),
        (4095, 4095, 255, None),
        (1000, 4095, 62, r"levels 3 to 1000 of 4095: they become dark.*--data.levels 1023"),
        (5000, 4095, 255, r"levels 3 to 5000 of 4095: those above it become white.*--data.levels 8191"),
        (40000, None, 156, None),
    ],
)
def test_the_levels_of_16_bit_pictures(tmp_path, high, levels, gray, said):
    for name, dtype in (("a.png", np.uint16), ("b.tif", np.int32)):
        Image.fromarray(np.array([[3, high]], dtype)).save(tmp_path / name)
    for call in (
        lambda: read_folder(tmp_path, levels=levels).images,
        lambda: fit_pictures.read(tmp_path, (1, 2, 3), levels=levels).images,
    ):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            images = call()
        assert images[:, 0, 1].tolist() == [[gray] * 3] * 2  # 255 high / levels, rounded and at most 255
        assert len(warned) == (said is not None)
        assert said is None or re.search(said, str(warned[0].message), re.S)
    with pytest.raises(ValueError, match="levels must be from 1 to 65535"):
        read_folder(tmp_path, levels=0)


def test_gray_files_whose_white_is_unknown_are_refused(tmp_path):
    Image.fromarray(np.array([[3, 70000]], np.int32)).save(tmp_path / "wide.tif")
    Image.fromarray(np.array([[0.5, 1.0]], np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(
        ValueError, match=r"float\.tif \(floating-point gray.*wide\.tif \(it holds levels 3 to 70000"
    ):
        read_folder(tmp_path)


def test_large_pictures_are_in_memory_one_at_a_time(tmp_path, monkeypatch):
    for k in range(12):
        Image.new("RGB", (10, 10 if k % 2 else 2)).save(tmp_path / f"{k}.png")
    monkeypatch.setattr(picture_files, "_room", picture_files._Room(50))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    lock, now, most = threading.Lock(), [0], [0]
    fit = picture_files.fit

    def slow(picture, height, width):
        with lock:
            now[0] += min(picture.width * picture.height, 50)
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= min(picture.width * picture.height, 50)
        return fit(picture, height, width)

    monkeypatch.setattr(picture_files, "fit", slow)
    assert len(read_folder(tmp_path, size=2).images) == 12
    assert 20 < most[0] <= 50  # several small ones at once, or one large one


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
        ValueError,
        match=r"a\.png is 6 x 4 and b\.png is 6 x 8 pixels.*size= \(--data\.size, of .* --size\), e\.g\. 4",
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


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_sides_are_those_of_upright_pictures_without_decoding_any(tmp_path, ending, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / f"turned.{ending}", exif=exif)
    Image.new("RGB", (6, 4)).save(tmp_path / "plain.png")
    with monkeypatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", None)
        assert picture_files.size(tmp_path / f"turned.{ending}") == (4, 6)
        side = common_size([tmp_path])
    assert side == 4
    assert read_folder(tmp_path, size=side).images.shape == (2, 4, 4, 3)
    (tmp_path / "plain.png").unlink()
    assert read_folder(tmp_path).images.shape == (1, 6, 4, 3)


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
        ValueError,
        match=rf"4 of 7 pictures .* cannot be read: {named} .*remove or repair.*"
        "on_error='skip' .--data.on-error skip, of `efm compare` by --skip-unreadable",
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
    (tmp_path / "a.ico").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"files of kind \.ico"):
        read_folder(tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        read_folder(tmp_path / "a.ico")
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
