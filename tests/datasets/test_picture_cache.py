"""Decoded pictures in a file: the samples are those from memory, and what is half written or out of date is not used."""

import io
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efm_jax._core import files, memory
from efm_jax.datasets import _decoding, batch, open_source, picture_files, read_folder
from efm_jax.datasets.opening import Options, opened
from efm_jax.datasets.source import Choice


def folder_of(path: Path, count: int = 30, side: int = 12) -> Path:
    """Pictures in three folders."""
    rng = np.random.default_rng(0)
    for k in range(count):
        (path / "abc"[k % 3]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (side, side + 2, 3), np.uint8)
        Image.fromarray(pixels).save(path / "abc"[k % 3] / f"{k}.png")
    return path


def mapped(path: Path, cache: Path, **options) -> np.ndarray:
    return read_folder(path, cache=cache, **options).images


def kept(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


@pytest.mark.smoke
@pytest.mark.parametrize(
    "options",
    [
        Options(),
        Options(split="test", size=8, flip=True),
        Options(split="all", size=(6, 9), gray=True, crop=10),
        Options(flip=True, held_out=0.5, gray=True),
    ],
)
def test_samples_are_those_from_memory_bit_for_bit(tmp_path, options):
    name = f"folder:{folder_of(tmp_path / 'pictures')}"
    plain = opened(name, options._replace(cache="memory"))
    for _ in range(2):  # decoded, then found
        found = opened(name, options._replace(cache=f"{tmp_path}/cache"))
        assert (found.shape, found.size, found.class_names) == (plain.shape, plain.size, plain.class_names)
        for step, n in ((0, 5), (7, 64)):
            for labels in (None, [0], [2, -1] if n % 2 == 0 else [1]):
                for rows in (None, slice(1, 4)):
                    want = batch(plain, 3, 1, step, n, labels=labels, rows=rows)
                    np.testing.assert_array_equal(
                        batch(found, 3, 1, step, n, labels=labels, rows=rows), want, strict=True
                    )


def test_rows_are_read_from_the_file_and_no_picture_is_decoded_again(tmp_path, monkeypatch):
    path, cache = folder_of(tmp_path / "pictures"), tmp_path / "cache"
    mapped(path, cache)
    (there,) = kept(cache)
    monkeypatch.setattr(picture_files, "read", None)
    images = mapped(path, cache)
    assert isinstance(images, np.memmap)
    assert Path(images.filename) == there / "pictures.npy"
    assert (there / "pictures.npy").stat().st_size < images.nbytes + 200
    np.testing.assert_array_equal(np.load(there / "pictures.npy"), images)
    source = opened(f"folder:{path}", Options(cache=str(cache)))
    assert isinstance(source.draw, Choice)
    # a batch of one sample maps the file and copies no more than its rows
    assert batch(source, 0, 0, 0, 1).nbytes == 4 * np.prod(source.shape)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.utime(path / "a" / "0.png", (1, 1)),
        lambda path: Image.new("RGB", (14, 12)).save(path / "a" / "0.png"),
        lambda path: Image.new("RGB", (14, 12)).save(path / "new.png"),
        lambda path: (path / "a" / "0.png").rename(path / "a" / "00.png"),
        lambda path: (path / "a" / "0.png").unlink(),
    ],
)
def test_other_files_are_decoded_anew(tmp_path, change):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    mapped(path, cache)
    change(path)
    plain, found = read_folder(path), read_folder(path, cache=cache)
    assert found.names == plain.names
    np.testing.assert_array_equal(found.images, plain.images)
    assert len(kept(cache)) == 1  # in the place of the old ones


def test_each_way_of_reading_has_its_own_file(tmp_path):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    ways = [{}, {"size": 6}, {"size": (6, 5)}, {"crop": 8}, {"gray": True}, {"background": 0}, {"levels": 9}]
    for count, way in enumerate(ways, 1):
        np.testing.assert_array_equal(mapped(path, cache, **way), read_folder(path, **way).images)
        assert len(kept(cache)) == count


def test_what_cannot_be_read_is_told_as_from_memory(tmp_path):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    (path / "a" / "bad.png").write_bytes(b"no picture")
    (path / "worse.png").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(ValueError, match="2 of 8 pictures") as plain:
            read_folder(path)
        with pytest.raises(ValueError, match="2 of 8 pictures") as found:
            read_folder(path, cache=cache)
        assert str(found.value) == str(plain.value)
        assert not kept(cache)
    for _ in range(2):
        with pytest.warns(UserWarning, match="left out 2 of 8 pictures"):
            read = read_folder(path, cache=cache, on_error="skip")
        assert read.skipped == ["a/bad.png", "worse.png"]
        with pytest.raises(ValueError, match="2 of 8 pictures") as found:
            read_folder(path, cache=cache)
        assert str(found.value) == str(plain.value)
    Image.new("RGB", (3, 3)).save(path / "worse.png")
    with pytest.raises(ValueError, match="differ in size"):
        read_folder(path, cache=cache, on_error="skip")


def test_levels_of_16_bit_pictures_are_told_each_time(tmp_path):
    (tmp_path / "pictures").mkdir()
    for k in range(2):
        Image.fromarray(np.array([[3, 1000 + k]], np.uint16)).save(tmp_path / "pictures" / f"{k}.png")
    for _ in range(2):
        with pytest.warns(UserWarning, match="the 2 16-bit gray pictures .* hold levels 3 to 1001"):
            mapped(tmp_path / "pictures", tmp_path / "cache")


KILLED = """
import os, signal, sys
from efm_jax.datasets import picture_files, read_folder
path, cache, after = sys.argv[1:]
left, read = [int(after)], picture_files.read
def counted(*arguments):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(*arguments)
picture_files.read = counted
if after == "-1":  # all is written, and not yet renamed
    picture_files.read = read
    from efm_jax._core import files
    files.put_in_place = lambda draft, final: os.kill(os.getpid(), signal.SIGKILL)
read_folder(path, cache=cache + "/")
"""


@pytest.mark.parametrize("after", [12, -1])
def test_what_a_killed_process_wrote_is_not_used_and_goes(tmp_path, after):
    path, cache = folder_of(tmp_path / "pictures"), tmp_path / "cache"
    died = subprocess.run([sys.executable, "-c", KILLED, str(path), str(cache), str(after)], check=False)
    assert died.returncode == -9
    (draft,) = kept(cache)
    assert draft.name.startswith(".efm-")
    np.testing.assert_array_equal(mapped(path, cache), read_folder(path).images)
    assert len(kept(cache)) == 1
    assert draft not in kept(cache)


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "no record", "other record", "text", "numbers", "archive"]
)
def test_damaged_files_are_written_anew(tmp_path, damage):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    mapped(path, cache)
    (there,) = kept(cache)
    array, about = there / "pictures.npy", there / "pictures.json"
    if damage == "cut":
        os.truncate(array, array.stat().st_size - 1)
    elif damage == "empty":
        array.write_bytes(b"")
    elif damage == "no record":
        about.unlink()
    elif damage == "other record":
        record = json.loads(about.read_text())
        about.write_text(json.dumps({**record, "names": record["names"][1:]}))
    elif damage == "numbers":
        np.save(array, np.zeros(np.load(array).shape, np.float32))
    elif damage == "archive":
        with open(array, "wb") as file:
            np.savez(file, np.zeros(3))
    else:
        about.write_text("[]")
    np.testing.assert_array_equal(mapped(path, cache), read_folder(path).images)
    assert len(kept(cache)) == 1


@pytest.mark.filterwarnings("ignore:waiting for process")
def test_processes_that_need_the_same_file_wait_for_the_first(tmp_path, monkeypatch):
    path, cache = folder_of(tmp_path / "pictures"), tmp_path / "cache"
    read, calls = picture_files.read, []
    monkeypatch.setattr(picture_files, "read", lambda *given: calls.append(given) or read(*given))
    with ThreadPoolExecutor(4) as pool:  # a lock is of an open file, so threads stand for processes
        found = list(pool.map(lambda _: mapped(path, cache), range(4)))
    assert len(calls) == 30
    assert all(np.array_equal(one, found[0]) for one in found)


def test_who_waits_is_told_for_whom(tmp_path, monkeypatch):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    mapped(path, cache)
    (lock,) = cache.glob("*.lock")
    told, begun = [], threading.Event()
    monkeypatch.setattr(files.warnings, "warn", lambda text, **_: told.append(text) or begun.set())
    with ThreadPoolExecutor(1) as pool:
        with files.exclusive(lock, "these"):
            holder = lock.read_text().strip()
            found = pool.submit(mapped, path, cache)
            assert begun.wait(20)
            assert not found.done()
        assert found.result(20).shape == (6, 12, 14, 3)
    assert told == [f"waiting for {holder}, which works on {lock.with_suffix('')}"]
    assert str(os.getpid()) in holder


def test_a_full_disk_is_told_and_nothing_stays(tmp_path, monkeypatch):
    path, cache = folder_of(tmp_path / "pictures"), tmp_path / "cache"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(ValueError, match=r"take 0\.0 GiB.*\n.*--data\.cache FOLDER"):
        mapped(path, cache)
    assert not kept(cache)


def test_a_disk_that_fills_is_told_and_nothing_stays(tmp_path):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))  # less than one picture
    try:
        with pytest.raises(
            ValueError, match=r"cannot be kept in .*cache \(File too large\).*\n.*--data\.cache FOLDER"
        ):
            mapped(path, cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not kept(cache)
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError, match=r"cannot be kept in .*file \(File exists\).*\n.*--data\.cache FOLDER"
    ):
        mapped(path, tmp_path / "file")


def test_what_was_put_aside_and_left_there_goes(tmp_path):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    mapped(path, cache)
    (there,) = kept(cache)
    shutil.copytree(there, there.with_suffix(".replaced"))  # its process died before it deleted it
    os.utime(path / "a" / "0.png", (1, 1))
    np.testing.assert_array_equal(mapped(path, cache), read_folder(path).images)
    assert kept(cache) == [there]


def test_a_part_of_a_folder_has_its_own_file(tmp_path, monkeypatch):
    path, cache = folder_of(tmp_path / "pictures", 6), tmp_path / "cache"
    ways = [{}, {"most": 3}, {"most": 3, "seed": 1}, {"names": ["b/1.png", "a/0.png"]}]
    want = [mapped(path, cache, **way).copy() for way in ways]
    monkeypatch.setattr(picture_files, "read", None)
    for way, images in zip(ways, want, strict=True):
        np.testing.assert_array_equal(mapped(path, cache, **way), images)


class Counted:
    """Files of noise that count how many bytes of them are in memory at once."""

    def __init__(self):
        self.held = self.most = 0

    def item(self, k: int) -> bytes:
        counted = self

        class Content(bytes):
            def __new__(cls, content):
                counted.held += 1
                counted.most = max(counted.most, counted.held)
                return bytes.__new__(cls, content)

            def __del__(self):
                counted.held -= 1

        buffer = io.BytesIO()
        Image.fromarray(np.full((2, 2, 3), k, np.uint8)).save(buffer, "PNG")
        return Content(buffer.getvalue())


def test_large_files_are_not_read_far_ahead(monkeypatch):
    counted = Counted()
    one = len(counted.item(0))
    monkeypatch.setattr(_decoding, "_BYTES_AHEAD", 20 * one)
    items = ((f"{k}.png", counted.item(k), None) for k in range(200))
    found = _decoding.Files("noise", None, lambda: items, {}, str, pytest.fail)
    read = _decoding.decoded(found, _decoding.Wanted(cache="memory"))
    assert read.images[:, 0, 0, 0].tolist() == list(range(200))
    assert counted.most <= 20 + os.cpu_count() + 2  # those that wait, those of the threads, and the next


def test_auto_takes_the_disk_where_a_quarter_of_the_memory_is_not_enough(tmp_path, monkeypatch):
    path = folder_of(tmp_path / "pictures")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    size = 30 * 12 * 14 * 3
    for free, on_disk in ((4 * size, False), (4 * size - 1, True), (None, False)):
        monkeypatch.setattr(memory, "free", lambda free=free: free)
        images = read_folder(path, cache="auto").images
        assert isinstance(images, np.memmap) == on_disk
        assert (tmp_path / "home").exists() or not on_disk
    assert len(kept(tmp_path / "home" / "efm_jax" / "pictures")) == 1
    for way, bytes_in_all in (({"size": 6}, 30 * 108), ({"crop": 8, "gray": True}, 30 * 64)):
        monkeypatch.setattr(memory, "free", lambda size=bytes_in_all: 4 * size)
        assert not isinstance(read_folder(path, cache="auto", **way).images, np.memmap)
        monkeypatch.setattr(memory, "free", lambda size=bytes_in_all: 4 * size - 1)
        assert isinstance(read_folder(path, cache="auto", **way).images, np.memmap)
    monkeypatch.setattr(memory, "free", lambda: 0)
    open_source(f"folder:{path}", size=5)  # auto unless told otherwise
    assert len(kept(tmp_path / "home" / "efm_jax" / "pictures")) == 4


def test_a_mistyped_place_is_no_folder(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"cache must be auto, memory, disk, none or a folder such as \./pictures, got 'dsik'",
    ):
        read_folder(folder_of(tmp_path, 1), cache="dsik")
