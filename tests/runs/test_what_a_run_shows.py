"""What a run shows of its speed: the wait for data, points a second, a trace; batches put on the device ahead."""

import time

import jax
import numpy as np
import pytest
from _fit import fit
from _killed_run import NETWORK, RECIPE

from efm_jax.datasets import Source
from efm_jax.models import configs
from efm_jax.runs import read_log
from efm_jax.runs._plan import Plan
from efm_jax.training import adam, feeding

pytestmark = pytest.mark.usefixtures("one_compilation")


def source(seconds=0.0):
    def draw(rng, n):
        time.sleep(seconds)
        return rng.standard_normal((n, 2), np.float32)

    return Source(draw, (2,), None)


def test_the_log_says_what_data_cost_and_how_many_points_a_second_are_learned(tmp_path):
    common = dict(steps=30, batch_pos=8, batch_neg=8, seed=0, log_every=10, progress=False)
    for name, seconds in (("fast", 0.0), ("slow", 0.02)):
        fit(tmp_path / name, RECIPE, NETWORK, adam(1e-3), source(seconds), source(seconds), **common)
    fast, slow = (read_log(tmp_path / name)[1:] for name in ("fast", "slow"))
    # two draws of 0.02 s a step; the sleep of the machine may be longer, never shorter
    assert all(line["data_wait"] > 0.03 for line in slow)
    assert min(line["data_wait"] for line in fast) < 0.02
    for line in (*fast, *slow):
        # 8 points a step; both rates are rounded to three digits
        assert line["points_per_second"] == pytest.approx(8 * line["steps_per_second"], abs=0.1)


def test_batches_are_put_on_the_device_by_the_threads_that_make_them():
    import threading

    put = []

    def on_device(rows, n):
        put.append((threading.current_thread().name, n))
        return jax.device_put(rows)

    plain = list(feeding.batches(source(), source(), 3, (4, 6), range(2)))
    ahead = list(feeding.batches(source(), source(), 3, (4, 6), range(2), put=on_device))
    assert all(name.startswith("efm-data") for name, _ in put)
    assert [n for _, n in put] == [4, 6] * 2
    for before, after in zip(plain, ahead, strict=True):
        assert all(isinstance(x, jax.Array) for x in after)
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# a batch asked for in the trace has come by its last step: the threads are this far ahead and no further
@pytest.mark.parametrize("last", [3 + feeding.AHEAD + 1, 50])
def test_a_trace_of_some_steps_names_the_parts_of_a_step(tmp_path, last):
    plan = dict(steps=8, batch_pos=8, batch_neg=8, seed=0, progress=False, profile=(3, last))
    fit(tmp_path, RECIPE, NETWORK, adam(1e-3), source(), source(), **plan)
    [trace] = (tmp_path / "profile").rglob("*.xplane.pb")
    found = jax.profiler.ProfileData.from_file(str(trace))
    names = [event.name for plane in found.planes for line in plane.lines for event in line.events]
    assert names.count("step") == min(last, 8) - 2
    assert "data" in names


def test_a_training_that_fails_in_a_trace_ends_the_trace(tmp_path):
    def failing(step, _):
        if step == 4:
            raise OSError("the disk is full")

    plan = dict(steps=8, batch_pos=8, batch_neg=8, seed=0, progress=False, profile=(2, 7), on_step=failing)
    with pytest.raises(OSError, match="the disk is full"):
        fit(tmp_path, RECIPE, NETWORK, adam(1e-3), source(), source(), **plan)
    jax.profiler.start_trace(str(tmp_path / "another"))  # there is one at a time
    jax.profiler.stop_trace()


def test_a_step_names_its_parts():
    from efm_jax import training

    step = training.make_train_step(RECIPE, NETWORK, adam(1e-3))
    state = jax.eval_shape(lambda: training.init_state(jax.random.key(0), NETWORK, adam(1e-3)))
    plates = [jax.ShapeDtypeStruct((8, 2), np.float32)] * 2
    text = step.lower(state, *plates).as_text(debug_info=True)
    assert all(f"{name}/" in text or f"{name})" in text for name in ("field", "network", "optimizer"))


def test_steps_of_a_profile_are_two_numbers():
    plan = Plan.of_run(configs.Run(parallel=configs.Parallel(profile="20:30")))
    assert plan.profile == (20, 30)
    assert "profile" not in configs.to_dict(configs.Run())
    for text in ("30:20", "20", "a:b", "0:5"):
        with pytest.raises(ValueError, match="profile must be FIRST:LAST"):
            Plan.of_run(configs.Run(parallel=configs.Parallel(profile=text)))
