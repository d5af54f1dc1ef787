"""Pictures in tar files: the samples of a folder of the same files, and nothing of what a tar file may do to a disk."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from efm_jax.datasets import batch, identity
from efm_jax.datasets.opening import Options, opened, specification
from efm_jax.datasets.shards import expanded, read_tar


def png(seed: int, side: int = 8) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 1, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pack(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.smoke
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_samples_are_those_of_a_folder_of_the_same_files(tmp_path, ending, cache):
    files = {f"{'ab'[k % 2]}/{k:03d}.png": png(k) for k in range(600)}  # more than are decoded ahead
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    names = sorted(files)
    for k in range(3):
        part = {name: files[name] for name in names[200 * k : 200 * (k + 1)]}
        pack(tmp_path / f"{k + 8:02d}.{ending}", part, "w:gz" if ending == "tar.gz" else "w")
    place = cache if cache == "memory" else f"{tmp_path}/kept"
    options = Options(size=6, flip=True, held_out=0.3, cache="memory")
    for split in ("train", "test"):
        plain = opened(f"folder:{tmp_path}/folder", options._replace(split=split))
        spec = f"tar:{tmp_path}/{{08..10}}.{ending}"
        for _ in range(2):
            found = opened(spec, options._replace(split=split, cache=place))
            assert (found.shape, found.size, found.class_names) == (plain.shape, plain.size, ("a", "b"))
            for labels in (None, [1, -1, 0]):
                np.testing.assert_array_equal(
                    batch(found, 0, 1, 2, 30, labels=labels), batch(plain, 0, 1, 2, 30, labels=labels)
                )


def test_classes_stand_beside_the_pictures(tmp_path):
    pack(
        tmp_path / "0.tar",
        {
            "./x/0.cls": b"10\n",
            "./x/0.png": png(0),
            "./x/1.json": b"{}",
            "./x/1.png": png(1),
            "./x/1.cls": b"2",
            "y/1.PNG": png(2),
            "y/1.txt": b"text",
            "y/1.cls": b" 10",
        },
    )
    read = read_tar(f"{tmp_path}/0.tar", cache="memory")
    assert read.names == ["x/0.png", "x/1.png", "y/1.PNG"]
    assert read.labels is not None
    assert (read.labels[0].tolist(), read.labels[1]) == ([1, 0, 1], ("2", "10"))
    for _ in range(2):
        again = read_tar(f"{tmp_path}/0.tar", cache=tmp_path / "kept")
        assert again.labels is not None
        assert (again.labels[0].tolist(), again.labels[1]) == ([1, 0, 1], ("2", "10"))
        np.testing.assert_array_equal(again.images, read.images)
    pack(tmp_path / "0.tar", {"0.png": png(0), "0.cls": b"1", "1.png": png(1)})
    with pytest.raises(ValueError, match=r"1 of 2 pictures .* have no \.cls"):
        read_tar(f"{tmp_path}/0.tar", cache="memory")


def test_they_are_read_again_only_when_a_file_changes(tmp_path, monkeypatch):
    for k in range(2):
        pack(tmp_path / f"{k}.tar", {f"{k}.png": png(k)})
    images = read_tar(f"{tmp_path}/?.tar", cache=tmp_path / "kept").images
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", None)
        np.testing.assert_array_equal(read_tar(f"{tmp_path}/?.tar", cache=tmp_path / "kept").images, images)
    pack(tmp_path / "1.tar", {"1.png": png(5)})
    os.utime(tmp_path / "1.tar", (5, 5))
    found = read_tar(f"{tmp_path}/?.tar", cache=tmp_path / "kept").images
    np.testing.assert_array_equal(found[0], images[0])
    assert (found[1] != images[1]).any()


def test_nothing_is_written_beside_the_file_of_decoded_pictures(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    path = pack(tmp_path / "0.tar", {"../up.png": png(0), f"{tmp_path}/root.png": png(1), "here.png": png(2)})
    with tarfile.open(path, "a") as tar:
        for name, kind in (
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            tar.addfile(member)
    assert len(read_tar(str(path), cache=tmp_path / "kept").images) == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0.tar", "kept", "work"]
    assert list((tmp_path / "work").iterdir()) == []


def test_what_is_wrong_is_told(tmp_path):
    bad = pack(tmp_path / "bad.tar", {"0.png": png(0), "1.png": b"no picture", "2.png": png(2)})
    with pytest.raises(ValueError, match=r"1\.png cannot be read as a picture .*--data\.on-error skip"):
        read_tar(str(bad), cache=tmp_path / "kept")
    for cache in ("memory", tmp_path / "kept"):
        with pytest.warns(UserWarning, match="left out 1 of 3 pictures"):
            read = read_tar(str(bad), on_error="skip", cache=cache)
        assert (read.names, read.skipped) == (["0.png", "2.png"], ["1.png"])
    with pytest.raises(FileNotFoundError, match=r"holds no picture \(\.png"):
        read_tar(str(pack(tmp_path / "none.tar", {"0.txt": b""})), cache="memory")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*/0\.tar"):
        opened(f"tar:{tmp_path}/{{0..3}}.tar", Options())
    with pytest.raises(ValueError, match="differ in size"):
        read_tar(str(pack(tmp_path / "two.tar", {"0.png": png(0), "1.png": png(1, 9)})), cache="memory")
    (tmp_path / "text.tar").write_text("no tar file")
    with pytest.raises(ValueError, match=r"text\.tar is no readable tar file"):
        read_tar(f"{tmp_path}/text.tar", cache=tmp_path / "kept")
    whole = bad.read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    with pytest.raises(ValueError, match=r"cut\.tar is no readable tar file"):
        read_tar(f"{tmp_path}/cut.tar", cache=tmp_path / "kept")
    with tarfile.open(tmp_path / "bomb.tar", "w") as tar:
        member = tarfile.TarInfo("0.png")
        member.size = 1 << 40
        tar.addfile(member)
    with pytest.raises(ValueError, match=r"0\.png has 1,099,511,627,776 bytes"):
        read_tar(f"{tmp_path}/bomb.tar", cache=tmp_path / "kept")
    for pattern in ("{3..1}.tar", "{0..999999999}.tar", "{0..99999}/{0..99999}.tar"):
        with pytest.raises(ValueError, match="must count upwards"):
            expanded(pattern)


@pytest.mark.parametrize("damage", [b"7.png", bytes(512)])
@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_what_lies_behind_damage_is_not_left_out_silently(tmp_path, damage, ending):
    path = pack(tmp_path / "0.tar", {f"{k}.png": png(k) for k in range(3)})
    content = bytearray(path.read_bytes())
    at = content.index(b"1.png")
    content[at : at + len(damage)] = damage
    if ending == "tar.gz":
        path = tmp_path / "0.tar.gz"
        path.write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)
    for on_error in ("raise", "skip"):
        with pytest.raises(
            ValueError, match=r"no readable tar file, or it is damaged \(the header behind 0\.png"
        ):
            read_tar(str(path), cache="memory", on_error=on_error)


def test_the_end_of_a_tar_file_may_be_missing_or_be_followed_by_more(tmp_path):
    path = pack(tmp_path / "0.tar", {f"{k}.png": png(k) for k in range(3)})
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) // 512 * 512 + 512
    for content in (whole[:end], whole[: end + 512], whole[: end + 1024] + whole):
        path.write_bytes(content)
        assert read_tar(str(path), cache="memory").names == ["0.png", "1.png", "2.png"]


def test_pictures_that_are_passed_over_are_told(tmp_path):
    members = {"a.png": png(0), "b.cls": b"x", "0.seg.png": png(1), "day.1.JPG": png(2), "0.txt": b""}
    path = pack(tmp_path / "0.tar", members)
    with pytest.warns(UserWarning, match=r"left out of .*0\.tar: 2 pictures .* such as 0\.seg\.png"):
        assert read_tar(str(path), cache="memory").names == ["a.png"]


def test_an_empty_class_is_none(tmp_path):
    path = pack(tmp_path / "0.tar", {"0.png": png(0), "0.cls": b" \n", "1.png": png(1), "1.cls": b"cat"})
    with pytest.raises(ValueError, match=r"1 of 2 pictures .* have no \.cls"):
        read_tar(str(path), cache="memory")


def test_one_set_is_decoded_once_however_its_path_is_written(tmp_path, monkeypatch):
    pack(tmp_path / "sub" / "0.tar", {"0.png": png(0)})
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    monkeypatch.chdir(tmp_path)
    images = read_tar("sub/0.tar", cache="./kept").images
    monkeypatch.setattr(tarfile, "open", None)
    for path in (tmp_path / "sub", "link", "./sub"):
        np.testing.assert_array_equal(read_tar(f"{path}/0.tar", cache="./kept").images, images)


def test_a_set_is_known_by_its_files_wherever_they_lie(tmp_path):
    for place in ("one", "two"):
        for k in range(2):
            pack(tmp_path / place / f"{k}.tar", {f"{k}.png": png(k)})
    digests = [identity.digest(f"tar:{tmp_path}/{place}/{{0..1}}.tar") for place in ("one", "two")]
    assert digests[0] == digests[1] != identity.digest(f"tar:{tmp_path}/one/0.tar")
    pack(tmp_path / "two" / "1.tar", {"1.png": png(7)})
    assert identity.digest(f"tar:{tmp_path}/two/{{0..1}}.tar") != digests[0]
    assert identity.digest(f"tar:{tmp_path}/three/{{0..1}}.tar") is None
    assert identity.absolute("tar:x/{0..1}.tar") == f"tar:{os.getcwd()}/x/{{0..1}}.tar"
    assert specification(tmp_path / "one" / "0.tar") == f"tar:{tmp_path}/one/0.tar"
