"""What is only for reading never stops a run: log, TensorBoard."""

import shutil
import warnings

import _runs
import numpy as np
import pytest
from _killed_run import run
from _runs import outcome

from efm_jax.runs import read_log

interruptible, straight = _runs.interruptible, _runs.straight  # fixtures

pytestmark = pytest.mark.usefixtures("one_compilation")


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half")
    run(folder, steps=14)
    return folder


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, cut out or put in."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(data)))
        match rng.integers(3):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                del data[at : at + int(rng.integers(1, 40))]
            case _:
                data[at:at] = rng.bytes(int(rng.integers(1, 40)))
    return bytes(data)


def test_a_damaged_log_never_stops_a_run(half, tmp_path, straight):
    from efm_jax.runs import _journal

    content = (half / "log.jsonl").read_bytes()
    for seed in range(300):
        folder = tmp_path / str(seed)
        folder.mkdir()
        spoiled = damaged(content, np.random.default_rng(seed))
        (folder / "log.jsonl").write_bytes(spoiled)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            _journal.Log(folder, 14).close()
        kept = (folder / "log.jsonl").read_bytes()
        aside = folder / "log.jsonl.damaged"
        assert len(said) == aside.exists() <= 1
        # no whole line is lost, but those of steps to come
        whole = [line["step"] for line in read_log(folder)]
        lost = kept + (aside.read_bytes() if aside.exists() else b"")
        for line in spoiled.split(b"\n")[:-1]:
            assert not line.strip() or line + b"\n" in lost or _journal.logs.parsed(line)["step"] > 14
        assert all(step <= 14 for step in whole)

    spoiled = shutil.copytree(half, tmp_path / "run")
    first, *rest = content.splitlines(keepends=True)
    (spoiled / "log.jsonl").write_bytes(b'{"step": 4, "lo\xff\n' + b"".join(rest))
    with pytest.warns(
        UserWarning, match=r"1 of 4 lines of .*log.jsonl are damaged and now in log.jsonl.damaged"
    ):
        run(spoiled)
    assert (spoiled / "log.jsonl.damaged").read_bytes() == b'{"step": 4, "lo\xff\n'
    state, log, window = outcome(straight)
    got = outcome(spoiled)
    assert (got[0], got[2]) == (state, window)
    assert [line for line in got[1] if line["step"] != 14] == log[1:]
    assert first.startswith(b'{"step": 4')


@pytest.mark.parametrize("name", ["log.jsonl", "tensorboard"])
def test_what_is_for_reading_and_cannot_be_written_is_a_warning(tmp_path, name, straight):
    run(tmp_path, steps=7)
    path = tmp_path / name
    if name == "tensorboard":
        pytest.importorskip("tensorboardX")
        shutil.rmtree(path)
        path.write_text("")
    else:
        path.unlink()
        path.mkdir()
    with pytest.warns(UserWarning, match=rf"{name} cannot be written .*; training goes on"):
        run(tmp_path)
    assert outcome(tmp_path)[0] == outcome(straight)[0]
