"""progress.png: there while a run trains, and without a trace in what the run computes."""

import warnings

import _runs
import jax
import numpy as np
import pytest
from PIL import Image

from efm_jax import checkpoint, runs
from efm_jax.models import configs, pictures
from efm_jax.runs import _journal, _pictures

one_build = _runs.one_build  # fixture

CONFIG = configs.from_dict(
    {
        "data": {"source": "gaussian:2", "target": "moons"},
        "recipe": {"method": "cfm", "gap": 1.0, "charges": 16, "num_points": 16},
        "network": {"kind": "mlp", "width": 8, "depth": 1, "output": "flow"},
        "sampling": {"solver": "euler", "steps": 4, "samples": 40},
        "optimizer": {"warmup": 2},
        "steps": 12,
        "save_every": 5,
        "log_every": 3,
    }
)


def config(**more) -> configs.Run:
    return configs.from_dict(configs.to_dict(CONFIG) | more)


@pytest.fixture
def always(monkeypatch):
    """A picture after every step."""
    monkeypatch.setattr(_pictures, "LEAST", -1.0)
    monkeypatch.setattr(_pictures, "FIRST", 0.0)
    monkeypatch.setattr(pictures, "SHARE", np.inf)
    drawn = []
    real = pictures.sheet
    monkeypatch.setattr(
        pictures, "sheet", lambda trained, one: drawn.append(int(trained.state.step)) or real(trained, one)
    )
    return drawn


def outcome(folder):
    """All that a run computed: every number of its newest state, and its log but for the clock."""
    newest = folder / "checkpoints" / f"{checkpoint.latest(folder / 'checkpoints'):09d}"
    arrays = {
        str(path.relative_to(newest)): path.read_bytes()
        for path in sorted(newest.rglob("*"))
        if path.is_file() and path.name != "checkpoint.json"
    }
    log = [{k: v for k, v in line.items() if k not in _journal.MEASURED} for line in runs.read_log(folder)]
    return arrays, log


@pytest.mark.slow
@pytest.mark.smoke
def test_pictures_change_nothing_of_what_is_computed(tmp_path, always, one_build, capsys):
    states = {}
    for name, every in (("without", 0.0), ("with", 1e-9)):
        state = runs.train(tmp_path / name, config(picture_every=every), progress=name == "with")
        state = state._replace(key=jax.random.key_data(state.key))
        states[name] = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]
        if name == "without":
            assert always == []
            assert not (tmp_path / name / "progress.png").exists()
    assert states["with"] == states["without"]  # bit for bit
    assert outcome(tmp_path / "with")[1] == outcome(tmp_path / "without")[1]
    assert always == [step for step in range(1, 13) for _ in "pq"]  # both ways
    assert capsys.readouterr().err.count(f"open {tmp_path / 'with' / 'progress.png'}") == 1
    with Image.open(tmp_path / "with" / "progress.png") as image:
        assert min(image.size) > 300


def test_a_resumed_run_goes_on_with_the_same_samples(tmp_path, always, one_build, monkeypatch):
    seen = []
    real = pictures.sheet
    monkeypatch.setattr(pictures, "sheet", lambda trained, one: seen.append(one) or real(trained, one))
    for steps in (2, 4):
        runs.train(tmp_path, config(steps=steps, picture_every=1e-9), progress=False)
    assert always == [1, 1, 2, 2, 3, 3, 4, 4]
    for one in seen[2:]:
        np.testing.assert_array_equal(one.x, seen[int(one.reverse)].x)
    runs.train(tmp_path, config(steps=5, picture_every=0.0), progress=False)  # may be changed on resuming
    assert always[8:] == []


def test_a_failure_in_drawing_is_a_warning(tmp_path, always, one_build, monkeypatch):
    def fail(*_):
        raise MemoryError("no memory for pictures")

    monkeypatch.setattr(pictures, "sheet", fail)
    with pytest.warns(
        UserWarning, match=r"progress.png cannot be drawn \(no memory for pictures\); training goes on"
    ) as got:
        state = runs.train(tmp_path, config(picture_every=1e-9), progress=False)
    assert int(state.step) == 12
    assert sum("progress.png" in str(one.message) for one in got) == 1  # not tried again and again


def test_tensorboard_gets_the_pictures(tmp_path, always, one_build):
    pytest.importorskip("tensorboardX")
    runs.train(tmp_path, config(steps=2, picture_every=1e-9), progress=False)
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert content.count(b"held_out_samples") == 2
    assert content.count(b"\x89PNG") == 2


class Clock:
    """A clock that drawing and steps move on."""

    def __init__(self, monkeypatch, step: float, draw: list[float]):
        self.now, self.step, self.draw, self.drawn = 1000.0, step, draw, []
        monkeypatch.setattr(_pictures.time, "monotonic", lambda: self.now)

    def sheets(self, state):
        self.drawn.append(self.now - 1000.0)
        self.now += self.draw[min(len(self.drawn), len(self.draw)) - 1]
        return [("a", np.zeros((4, 4, 3), np.uint8))]

    def run(self, folder, every: float, steps: int) -> None:
        watch = _pictures.Watch(folder, self.sheets, every, steps, told=False)
        state = type("State", (), {"step": np.zeros(())})()
        for step in range(1, steps + 1):
            watch(step, state)  # type: ignore[arg-type]
            self.now += self.step


def test_the_first_picture_comes_in_the_first_minute_and_then_one_a_minute(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, 0.5, [8.0, 0.5])
    clock.run(tmp_path, 60.0, 1000)
    assert clock.drawn[0] == _pictures.FIRST
    np.testing.assert_allclose(np.diff(clock.drawn)[1:], 60.5, atol=0.5)  # a step
    assert clock.drawn[-1] < 500.0 + 8.0 - _pictures.LEAST


def test_drawing_that_takes_long_comes_seldom(tmp_path, monkeypatch):
    clock = Clock(monkeypatch, 1.0, [30.0, 10.0])
    clock.run(tmp_path, 60.0, 5000)
    np.testing.assert_allclose(np.diff(clock.drawn)[1:], 10.0 / pictures.SHARE + 10.0, atol=1.0)  # a step
    assert len(clock.drawn) <= 2 + 5000.0 * pictures.SHARE / 10.0


@pytest.mark.parametrize(("every", "steps"), [(0.0, 1000), (60.0, 60)])
def test_none_where_it_is_off_or_the_run_is_short(tmp_path, monkeypatch, every, steps):
    clock = Clock(monkeypatch, 0.5, [1.0])
    clock.run(tmp_path, every, steps)
    assert clock.drawn == []


def test_warnings_of_lost_lines_are_not_shown_while_training(tmp_path, monkeypatch, recwarn):
    clock = Clock(monkeypatch, 0.5, [1.0])
    real = clock.sheets

    def sheets(state):
        warnings.warn("only 3 of 8 lines arrived.", stacklevel=2)
        return real(state)

    clock.sheets = sheets
    clock.run(tmp_path, 60.0, 200)
    assert len(clock.drawn) > 0
    assert not [one for one in recwarn if "arrived" in str(one.message)]
