"""Data that are pairs of arrays from any iterable, or from a function of the step."""

import itertools

import _runs
import numpy as np
import pytest
from _killed_run import CONFIG, NETWORK, OPTIMIZER, RECIPE, source
from _runs import outcome

from efm_jax import checkpoint, datasets
from efm_jax.models.build import Built
from efm_jax.runs import Plan, fit, read_log

interruptible, straight = _runs.interruptible, _runs.straight  # fixtures

pytestmark = pytest.mark.usefixtures("one_compilation")

PAIR = source(0.0), source(3.0)


def from_step(step):
    """The batches of the run of sources, from a step on, without end."""
    for number in itertools.count(step):
        yield tuple(datasets.batch(one, 3, side, number, 8) for side, one in enumerate(PAIR))


def run(folder, data, **options):
    plan = {"steps": 20, "batch_pos": 8, "batch_neg": 8, "seed": 3, "config": CONFIG, "ema_decay": 0.9}
    plan |= {"save_every": 7, "log_every": 4, "keep": 2} | options
    return fit(folder, Built(data, RECIPE, NETWORK, OPTIMIZER), Plan(**plan), progress=False)


class Tensors:
    """Arrays of another library, in another form and precision."""

    def __init__(self, x):
        self.x = x

    def __array__(self, dtype=None, copy=None):
        return self.x.reshape(8, 1, 2).astype(np.float64)


def test_a_function_of_the_step_resumes_bit_for_bit(tmp_path, straight):
    run(tmp_path, from_step, steps=12)
    state = run(tmp_path, from_step)
    assert int(state.step) == 20
    assert outcome(tmp_path) == outcome(straight)


def test_an_iterable_is_taken_from_where_it_stands(tmp_path, straight):
    stream = ((Tensors(p), Tensors(q)) for p, q in from_step(0))
    run(tmp_path / "a", stream, steps=12)  # takes no pair more than it needs
    with pytest.warns(UserWarning, match="resumes at step 12 with the first pair that it gives now"):
        run(tmp_path / "a", stream)
    assert outcome(tmp_path / "a") == outcome(straight)
    pairs = list(itertools.islice(from_step(0), 20))
    run(tmp_path / "b", pairs)
    assert outcome(tmp_path / "b") == outcome(straight)


def test_data_that_end_are_saved_and_said(tmp_path, capsys, straight):
    state = run(tmp_path, itertools.islice(from_step(0), 9))
    assert int(state.step) == checkpoint.latest(tmp_path / "checkpoints") == 9
    assert f"The data have ended at step 9 of 20; all is saved in {tmp_path}.\nGive more to resume." in (
        capsys.readouterr().err
    )
    run(tmp_path, from_step)
    assert outcome(tmp_path) == outcome(straight)
    assert read_log(tmp_path)[-1]["step"] == 20


def test_data_without_a_pair_are_refused(tmp_path, capsys, straight):
    for empty in ([], lambda step: iter(())):
        with pytest.raises(ValueError, match=r"the data hold no pair of arrays.*\nGive at least one"):
            run(tmp_path, empty)
    assert "all is saved" not in capsys.readouterr().err
    run(tmp_path, from_step)
    assert outcome(tmp_path) == outcome(straight)
    run(tmp_path, [], steps=21)  # nothing more came
    assert f"at step 20 of 21; all is saved in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5])
def test_a_seed_that_no_key_takes_is_refused(tmp_path, seed):
    with pytest.raises(ValueError, match="seed must be"):
        run(tmp_path / "new", from_step, seed=seed)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (
            (np.zeros((8, 2)), np.zeros((7, 2))),
            r"pair 0 of the data must have x_neg as 8 samples .* got float64 \(7, 2\)",
        ),
        ((np.zeros((8, 2), np.uint8), np.zeros((8, 2))), "must have x_pos as 8 samples .* got uint8"),
        ((np.zeros(8), np.zeros((8, 2))), "must have x_pos as 8 samples"),
        ((np.zeros((8, 2)), np.zeros((8, 3))), "same number of dimensions"),
    ],
)
def test_pairs_that_do_not_fit_are_named(tmp_path, pair, said):
    with pytest.raises(ValueError, match=said):
        run(tmp_path, itertools.repeat(pair))


def test_labels_need_sources(tmp_path):
    with pytest.raises(ValueError, match="need two sources"):
        run(tmp_path / "new", from_step, label_dropout=0.1)
    assert not (tmp_path / "new").exists()
