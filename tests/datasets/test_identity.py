"""The digest of data: the same wherever the files lie, another one when what is in them changes."""

import os
import shutil

import numpy as np
import pytest

from efm_jax.datasets import identity


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "a"
    for i in range(200):
        path = folder / str(i % 3) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([i]) * 100)
    return folder


def test_a_digest_follows_files_wherever_they_go(pictures, tmp_path, monkeypatch):
    first = identity.digest(f"folder:{pictures}")
    moved = shutil.copytree(pictures, tmp_path / "deep" / "x:3")
    assert identity.digest(f"folder:{moved}") == first
    monkeypatch.chdir(tmp_path)
    assert identity.digest("folder:a") == first
    (moved / "notes.txt").write_text("no picture")
    assert identity.digest(f"folder:{moved}") == first
    np.savez(tmp_path / "p.npz", x=np.ones(3), y=np.zeros(3))
    shutil.copy("p.npz", "q.npz")
    assert identity.digest("npz:p.npz:x") == identity.digest("npz:q.npz:x") != identity.digest("npz:q.npz:y")
    assert {identity.digest(name) for name in ("digits:3", "noise", "gaussian:2", "npy:not there")} == {None}


@pytest.mark.parametrize("change", ["a byte", "a size", "a name", "one more", "one less"])
def test_a_digest_sees_what_changes(pictures, change):
    first, path = identity.digest(f"folder:{pictures}"), pictures / "0" / "0.png"
    match change:
        case "a byte":  # in one of the files that are read: 64 of 200, the first among them
            path.write_bytes(b"\1" + path.read_bytes()[1:])
        case "a size":
            (pictures / "1" / "100.png").write_bytes(b"1")
        case "a name":
            (pictures / "1" / "100.png").rename(pictures / "2" / "100.png")
        case "one more":
            (pictures / "more.png").write_bytes(b"")
        case "one less":
            (pictures / "1" / "100.png").unlink()
    assert identity.digest(f"folder:{pictures}") != first


def test_a_digest_reads_a_small_part_of_a_large_file(tmp_path):
    path = tmp_path / "large.npy"
    path.touch()
    os.truncate(path, 1 << 40)  # a terabyte of nothing
    first = identity.digest(f"npy:{path}")
    with path.open("r+b") as file:
        file.seek((1 << 40) - 1)
        file.write(b"1")
    assert identity.digest(f"npy:{path}") != first


def test_names_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    got = [
        identity.absolute(name)
        for name in ("mnist:x/../y:3", "npz:~/a.npz:k", "moons", "noise:8x8x3", "folder:")
    ]
    assert got == [f"mnist:{tmp_path}/y:3", "npz:/home/me/a.npz:k", "moons", "noise:8x8x3", "folder:"]
