"""Two arrays in one call: the map is learned, the choice is that of `efm suggest`, mistakes are told before any work."""

import re
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import efm_jax
from efm_jax import models, spaces
from efm_jax.datasets import batch, toys
from efm_jax.metrics import wasserstein2
from efm_jax.models import build, columns, suggestions
from efm_jax.models.suggestions import _pacing
from efm_jax.runs import of_arrays

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2)).astype(np.float32)
HOLED = np.ma.masked_array(X, mask=np.arange(120).reshape(60, 2) < 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Gaussian -> moons of 1,000 samples each, and the run folder."""
    folder = tmp_path_factory.mktemp("fit") / "run"
    x, y = (batch(source, 0, side, 0, 1000) for side, source in enumerate((toys.gaussian(2), toys.moons())))
    return efm_jax.fit(x, y, steps=300, run=folder, progress=False), folder


@pytest.mark.slow
def test_what_is_fitted_maps_and_the_untrained_network_does_not(trained):
    model, _ = trained
    test = batch(toys.gaussian(2), 1, 0, 0, 500)
    real, other = (batch(toys.moons(), seed, 1, 0, 500) for seed in (1, 2))
    params = model.network.init(jax.random.key(0))
    untrained = model._replace(state=model.state._replace(params=params, ema=params))
    floor = wasserstein2(other, real)
    # 0.37 is the floor of 500 samples, 0.52 measured, 1.9 that of the untrained network, 2.0 of the inputs
    assert wasserstein2(model.translate(test), real) < floor + 0.3
    assert wasserstein2(untrained.translate(test), real) > floor + 1.0


@pytest.mark.slow
def test_what_is_trained_is_what_efm_suggest_chooses_and_stays_in_the_folder(trained):
    model, folder = trained
    data = [f"npy:{folder / 'data' / name}.npy" for name in ("x", "y")]
    chosen = suggestions.suggest(*data).run
    assert (model.config.recipe, model.config.network.width) == (chosen.recipe, chosen.network.width)
    assert (model.config.steps, int(model.state.step)) == (300, 300)
    again = models.load(folder)
    np.testing.assert_array_equal(again.translate(X), model.translate(X))
    assert again._repr_html_().startswith("<img")  # the data are in the folder
    with pytest.raises(ValueError, match=r"holds a run already.\nGive a new folder"):
        efm_jax.fit(X, X, steps=1, run=folder)


@pytest.mark.parametrize(
    ("x", "y", "command"),
    [
        ("A 1", Path("B1"), "efm train 'A 1' B1 --run R"),
        (None, "B1", "efm train noise B --run R"),
        (["a.png", "b.png"], X, "efm train A B --run R"),
    ],
)
def test_names_in_place_of_arrays_are_sent_to_the_command_line(x, y, command, tmp_path):
    with pytest.raises(
        ValueError, match=r"fit takes arrays, got the name '.*'\.\nFor folders and files"
    ) as told:
        efm_jax.fit(x, y, run=tmp_path / "run")
    assert f'`{command}`, then `models.load("R")`' in str(told.value)
    assert not (tmp_path / "run").exists()


def test_columns_of_two_dataframes_belong_together_by_name(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    x = pandas.DataFrame({"age": X[:, 0] + 40, "income": 1000 * X[:, 1]})
    model = efm_jax.fit(x, x[["income", "age"]] + 7, steps=2, run=tmp_path / "run", progress=False)
    assert columns.names(model.columns) == ("age", "income")
    ranges = [np.asarray([end.low, end.high]) for end in model.columns]
    np.testing.assert_allclose(ranges[1] - ranges[0], 7, rtol=1e-3)  # incomes of thousands in float32
    there, swapped = model.translate(x), models.load(tmp_path / "run").translate(x[["income", "age"]])
    np.testing.assert_array_equal(there[["income", "age"]], swapped)
    with pytest.raises(ValueError, match=r"y has no column income.\nIts columns are age, wage"):
        efm_jax.fit(x, x.rename(columns={"income": "wage"}))
    with pytest.raises(ValueError, match="two DataFrames or two arrays, got DataFrame and ndarray"):
        efm_jax.fit(x, x.to_numpy())


def test_pictures_are_learned_in_a_space_of_their_owner_for_the_minutes_given(monkeypatch):
    blocks = spaces.own(
        lambda x: x[:, ::4, ::4].reshape(-1, 4),
        lambda u: u.reshape(-1, 2, 2, 1).repeat(4, axis=1).repeat(4, axis=2),
        (8, 8, 1),
    )
    low, high = (
        RNG.integers(a, b, (80, 2, 2, 1), np.uint8).repeat(4, 1).repeat(4, 2)
        for a, b in ((0, 60), (180, 240))
    )
    asked, seen = [], []
    coded = blocks._replace(encoder=lambda x: (seen.append(x.shape), blocks.encoder(x))[1])

    def paced(run, minutes):
        asked.append(minutes)
        return suggestions.of_steps(run, 2), suggestions.Timing(1.0, 1.0)

    monkeypatch.setattr(suggestions, "paced", paced)
    model = efm_jax.fit(low, high, minutes=0.5, method="cfm", seed=3, space=coded, progress=False)
    assert asked == [0.5]
    assert (model.config.recipe.method, model.config.seed, int(model.state.step)) == ("cfm", 3, 2)
    assert {shape[1:] for shape in seen} == {(8, 8, 1)}
    assert (model.shape, model.outside) == ((4,), (8, 8, 1))
    assert model.translate(Image.fromarray(low[0, ..., 0])).size == (8, 8)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X, np.zeros((5, 3)), r"one shape, got \(2,\) and \(3,\)"),
        (X, X[:, 0], r"y cannot be trained on: array must have shape \[n, ...\]"),
        (np.full((4, 2), np.nan), X, "x cannot be trained on: array holds NaN"),
        (
            HOLED,
            X,
            r"x cannot be trained on: a masked array must have no masked .*got 3 of 120.\nLeave out.*: x\[~x.mask",
        ),
        (X, None, r"y must be an array of samples, got None.\nOnly x may be None"),
        (None, None, "y must be an array of samples, got None"),
        (
            np.full((4, 2), 1e39),
            X,
            r"x cannot be .* too large for float32, over 3.4e38, in 4 of 4 .*abs\(array\)",
        ),
        (np.array(["a"]), X, "x cannot be trained on: array must hold floating-point numbers"),
        (X, X.astype(int), "y cannot be trained on: array must hold floating-point numbers, got dtype int64"),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_refused(x, y, said, monkeypatch):
    monkeypatch.setattr(of_arrays, "train", None)
    with pytest.raises(ValueError, match=said):
        efm_jax.fit(x, y, steps=5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "gan"}, "recipe.method must be one of"),
        ({"steps": 0}, "steps must be a whole number >= 1"),
        ({"minutes": -1}, "minutes must be"),
        ({"held_out": 2.0}, "held_out must be a share"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**63}, "seed must be at most 9,223,372,036,854,775,807"),
    ],
)
def test_options_out_of_range_leave_no_run(options, said, tmp_path, monkeypatch):
    monkeypatch.setattr(_pacing, "_timed", lambda *_: suggestions.Timing(1.0, 1.0))
    with pytest.raises(ValueError, match=said):
        efm_jax.fit(X, X + 1, run=tmp_path / "run", progress=False, **options)
    assert not (tmp_path / "run").exists()


def test_samples_replace_no_file_and_those_of_a_run_that_cannot_begin_are_removed(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.npy").write_text("mine")
    with pytest.raises(ValueError, match=r"data exists, and the samples would be written there.\nGive a new"):
        efm_jax.fit(X, X + 1, steps=1, run=tmp_path)
    assert (tmp_path / "data" / "x.npy").read_text() == "mine"

    with pytest.raises(ValueError, match="pfgm starts at noise and would ignore P, got npy:"):
        efm_jax.fit(X, X + 1, steps=1, method="pfgm", run=tmp_path / "pfgm")
    assert list((tmp_path / "pfgm").iterdir()) == []

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(suggestions, "paced", interrupted)
    with pytest.raises(KeyboardInterrupt):
        efm_jax.fit(X, X + 1, run=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_training_that_cannot_begin_leaves_nothing(tmp_path, monkeypatch):
    def failing(folder, *_, **__):
        for name in ("run.lock", "space.npz"):
            (folder / name).touch()
        raise ValueError("span 5 dimensions")

    (tmp_path / "mine.txt").touch()
    monkeypatch.setattr(of_arrays, "train", failing)
    for _ in range(2):  # the second one is told the same
        with pytest.raises(ValueError, match="span 5 dimensions"):
            efm_jax.fit(X, X + 1, steps=1, run=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupt_says_where_the_model_is(tmp_path, monkeypatch):
    def stopped(*_, **__):
        raise SystemExit(130)  # as `runs.fit` after Ctrl-C, all saved

    monkeypatch.setattr(of_arrays, "train", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"models.load\('.*run'\) is the model so far"):
        efm_jax.fit(X, X + 1, steps=5, run=tmp_path / "run")


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (np.ones((100, 2)), X, "x must .*, got 100 samples, 79 of them to train on, all the same"),
        (None, np.ones((100, 2)), "y must .*, got 100 samples, 79 of them to train on, all the same"),
        (X[:2], X, r"x must .*, got 2 samples, 1 of them to train on\.\n.*method=\"cfm\""),
    ],
)
def test_samples_at_one_place_are_told_before_training(x, y, said, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(of_arrays, "train", lambda *_, **__: begun.append(1))
    monkeypatch.setattr(of_arrays, "load", lambda *_, **__: None)
    with pytest.raises(ValueError, match=said):
        efm_jax.fit(x, y, steps=1, run=tmp_path)
    assert begun == []
    assert list(tmp_path.iterdir()) == []
    efm_jax.fit(x, y, steps=1, run=tmp_path, method="cfm")
    assert begun == [1]


@pytest.mark.parametrize("given", ["x", "xy"])
def test_pictures_in_0_to_1_are_warned_of_once_an_array(given, monkeypatch):
    low, high = (RNG.uniform(2e-5, end, (60, 8, 8, 1)) for end in (1, 0.9))
    monkeypatch.setattr(of_arrays, "train", lambda folder, config, **_: build.sources(config.data))
    monkeypatch.setattr(of_arrays, "load", lambda *_, **__: None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        efm_jax.fit(low, high if "y" in given else 2 * high - 1, steps=2, progress=False)
    assert len(told) == len(given)
    text = str(told[0].message)
    assert re.search(r"-1 is black and 1 is white, and none .* below 0, got .*\n.*give 2 \* array - 1", text)


def test_pictures_with_channels_first_are_warned_of_once_an_array(monkeypatch):
    monkeypatch.setattr(of_arrays, "train", lambda folder, config, **_: build.sources(config.data))
    monkeypatch.setattr(of_arrays, "load", lambda *_, **__: None)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        efm_jax.fit(None, RNG.integers(0, 255, (60, 3, 8, 8), np.uint8), steps=2, progress=False)
    assert [str(one.message).partition("give ")[2] for one in told] == ["np.moveaxis(x, 1, -1)."]


@pytest.mark.slow
def test_pictures_are_generated_from_noise():
    model = efm_jax.fit(None, RNG.integers(0, 255, (80, 8, 8, 3), np.uint8), steps=2, progress=False)
    assert model.config.data.source == "noise"
    assert model.generate(3).shape == (3, 8, 8, 3)
