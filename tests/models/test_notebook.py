"""A loaded model in a notebook: every kind of samples goes in and comes back, and it shows itself."""

import base64
import io
import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from efm_jax import models, sampling, spaces
from efm_jax.datasets import batch, toys
from efm_jax.datasets.source import Columns
from efm_jax.models import build, configs, frames
from efm_jax.training.state import TrainState
from efm_jax.types import Network

SHIFT = 51 / 127.5
"""What the lines below add to every number: 51 of the 255 levels of a picture."""
RNG = np.random.default_rng(0)
LEVELS = RNG.integers(51, 205, (3, 6, 8, 3), np.uint8)


def shifting(shape, source="noise", target="noise", own=None, columns=None):
    """A model whose lines are known: straight, `SHIFT` to the right over the whole gap."""
    sampling = configs.Sampling(solver="euler", steps=2)
    config = configs.Run(configs.Data(source, target), configs.CFM(), sampling=sampling)
    config = configs.complete(config)

    def apply(params, points, **_):
        return jnp.ones_like(points).at[:, :-1].set(SHIFT) + 0 * params

    state = TrainState(jnp.zeros(()), jnp.zeros(()), (), *(jnp.asarray(k) for k in (7, 0, 0, 0)))
    network = Network(lambda key: jnp.zeros(()), apply, 1.0)
    return models.Trained(
        config, build.lines_recipe(config.recipe), network, state, shape, 80.0, own=own, columns=columns
    )


MODEL = shifting((6, 8, 3))
OF_CATS = shifting((6, 8, 3), "folder:cats")


def test_pictures_of_pillow_and_arrays_come_back_as_what_they_were():
    moved = OF_CATS.translate(LEVELS)
    assert (moved.dtype, moved.shape) == (np.uint8, LEVELS.shape)
    np.testing.assert_array_equal(moved, LEVELS + 51)  # two steps in float32 are far below half a level
    floats = LEVELS / 127.5 - 1
    ends = OF_CATS.translate(floats)
    np.testing.assert_allclose(ends, floats + SHIFT, atol=1e-6)  # float32
    np.testing.assert_array_equal(OF_CATS.translate(floats.reshape(3, -1)), ends.reshape(3, -1))
    pictures = [Image.fromarray(one) for one in LEVELS]
    listed = OF_CATS.translate(pictures)
    np.testing.assert_array_equal([np.asarray(one) for one in listed], moved)
    np.testing.assert_array_equal(np.asarray(OF_CATS.translate(pictures[1])), moved[1])
    np.testing.assert_array_equal(np.asarray(pictures[1]), LEVELS[1])  # as they were
    np.testing.assert_array_equal(OF_CATS.translate(LEVELS[2]), moved[2])
    assert isinstance(OF_CATS.translate(jnp.asarray(LEVELS)), jnp.ndarray)
    np.testing.assert_array_equal(OF_CATS.translate(moved, reverse=True), LEVELS)


def test_pictures_of_other_sizes_and_modes_are_fitted_as_those_of_a_folder():
    wide = Image.fromarray(np.full((12, 40), 100, np.uint8)).convert("LA")
    wide.putalpha(255)
    assert [one.size for one in OF_CATS.translate((wide, wide))] == [(8, 6)] * 2
    assert OF_CATS.translate([wide])[0].getpixel((3, 3)) == (151, 151, 151)
    gray = shifting((6, 8, 1), "folder:cats")
    assert gray.translate(wide).mode == "L"
    assert gray.translate(LEVELS[..., 0]).shape == (3, 6, 8)
    assert gray.to_pil(LEVELS[0, ..., 0]).size == (8, 6)


def test_arrays_become_pictures_of_pillow():
    listed = MODEL.to_pil(LEVELS / 127.5 - 1)
    np.testing.assert_array_equal([np.asarray(one) for one in listed], LEVELS)
    np.testing.assert_array_equal(np.asarray(MODEL.to_pil(LEVELS[0])), LEVELS[0])
    sheet = MODEL.to_pil(LEVELS, columns=2)
    assert sheet.width > sheet.height > 0
    with pytest.raises(ValueError, match="columns must be a whole number >= 1, got 0"):
        MODEL.to_pil(LEVELS, columns=0)
    with pytest.raises(ValueError, match=r"samples of shape \(2,\) are no pictures"):
        shifting((2,)).to_pil(np.zeros((3, 2)))


def test_bfloat16_is_translated():
    x = RNG.normal(size=(3, 6, 8, 3)).astype(jnp.bfloat16)
    for given in (x, jnp.asarray(x)):
        np.testing.assert_array_equal(MODEL.translate(given), MODEL.translate(x.astype(np.float32)))


@pytest.mark.parametrize(
    ("x", "said"),
    [
        ("photos", r"an array of numbers, got str.\nOpen files with PIL.Image.open"),
        ([[1.0], [1.0, 2.0]], "an array of numbers, got list"),
        ([Image.new("RGB", (8, 6)), LEVELS[0]], "pictures of Pillow alone, got ndarray"),
        (LEVELS[:, :5], r"shape \(6, 8, 3\) here, got an array \(3, 5, 8, 3\).\nGive \[n, 6, 8, 3\]"),
        (np.moveaxis(LEVELS, -1, 1), r"array \(3, 3, 6, 8\).\nGive np.moveaxis\(x, 1, -1\)"),
        (LEVELS.astype(int), "must hold floating-point numbers, got dtype int64"),
        (np.full((1, 6, 8, 3), np.nan), "NaN"),
        (
            np.ma.masked_less(np.zeros((1, 6, 8, 3)), 1),
            "no masked values, for they are missing, got 144 of 144",
        ),
        (LEVELS[:0], r"no samples, got an array \(0, 6, 8, 3\)"),
    ],
)
def test_another_kind_of_samples_is_refused(x, said):
    with pytest.raises(ValueError, match=said):
        OF_CATS.translate(x)


@pytest.mark.parametrize("x", [LEVELS, LEVELS[0], Image.new("RGB", (8, 6)), [Image.new("RGB", (8, 6))]])
def test_pictures_are_no_noise(x):
    with pytest.raises(ValueError, match=r"the model starts at white noise, got pictures.\n.*`reverse=True`"):
        MODEL.translate(x)
    MODEL.translate(x, reverse=True)
    noise = RNG.normal(size=(3, 6, 8, 3))
    np.testing.assert_allclose(MODEL.translate(noise), noise + SHIFT, atol=1e-6)  # float32


def test_vectors_are_no_pictures():
    plane = shifting((2,), "moons")
    with pytest.raises(ValueError, match="no pictures, got uint8"):
        plane.translate(np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"are no pictures.\nGive an array"):
        plane.translate(Image.new("L", (2, 1)))
    np.testing.assert_allclose(plane.translate(np.zeros(2)), [SHIFT, SHIFT], atol=1e-6)  # float32


TABLE = shifting((2,), columns=(None, Columns(("age", "income"))))
PEOPLE = {"income": [3.0, 5.0], "name": ["Ann", "Bob"], "age": [30.0, 50.0]}
MOVED = {"income": [3.4, 5.4], "name": ["Ann", "Bob"], "age": [30.4, 50.4]}


def test_columns_of_a_dataframe_go_by_name_and_others_stay():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(PEOPLE, index=["u", "v"])
    got = TABLE.translate(frame)
    pandas.testing.assert_frame_equal(got, pandas.DataFrame(MOVED, index=["u", "v"]), check_dtype=False)
    assert frame["age"].tolist() == [30.0, 50.0]  # as it was
    row = TABLE.translate(frame.iloc[1])
    assert (row["name"], float(row["age"])) == ("Bob", pytest.approx(50.4))
    numbers = TABLE.translate(frame[["income", "age"]].astype(int))
    np.testing.assert_allclose(numbers[["age", "income"]], [[30.4, 3.4], [50.4, 5.4]], rtol=1e-6)
    unnamed = shifting((2,)).translate(frame[["income", "age"]])  # of a model without names all, as they come
    np.testing.assert_allclose(unnamed["income"], [3.4, 5.4], rtol=1e-6)
    numbered = shifting((2,), columns=(None, Columns(("0", "1"))))  # as pandas names columns by itself
    got = numbered.translate(pandas.DataFrame([[3.0, 5.0]], columns=[1, 0]))
    assert got.columns.tolist() == [1, 0]
    np.testing.assert_allclose(got, [[3.4, 5.4]], rtol=1e-6)


def test_tables_of_other_packages_go_by_name_too():
    class Frame(dict):
        """As polars has it: made of a dict, with columns and no index."""

        columns = property(lambda self: [*self])

    pa = pytest.importorskip("pyarrow")
    for frame in (Frame(PEOPLE), pa.table(PEOPLE)):
        got = TABLE.translate(frame)
        assert type(got) is type(frame)
        np.testing.assert_allclose(np.asarray(got["age"]), MOVED["age"], rtol=1e-6)
        assert list(map(str, got["name"])) == ["Ann", "Bob"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"age": None},
            r"has no column age\.\nIts columns are income, name; these are needed: age, income\.",
        ),
        ({"age": ["old", "young"]}, r"does not hold numbers alone in age\."),
        ({"income": [float("nan"), 5.0]}, r"misses values in 1 of 2 rows, in income\."),
    ],
)
def test_what_a_dataframe_lacks_is_named(change, said):
    pandas = pytest.importorskip("pandas")
    content = {name: values for name, values in {**PEOPLE, **change}.items() if values is not None}
    with pytest.raises(ValueError, match=said):
        TABLE.translate(pandas.DataFrame(content))
    with pytest.raises(ValueError, match="x has several columns of one name: 0"):
        frames.numbers(pandas.DataFrame([[1.0, 2.0]], columns=[0, "0"]), ["0"])
    with pytest.raises(ValueError, match=r"x has a column without a name.\nGive it one: x.rename"):
        frames.numbers(pandas.DataFrame({" ": [1.0], "a": [2.0]}), [" ", "a"])
    twice = pandas.DataFrame([[1.0, 2.0, 3.0]], columns=["age", "age", "income"])
    with pytest.raises(ValueError, match="several columns of one name: age"):
        TABLE.translate(twice)
    nullable = pandas.DataFrame({"age": [30, None], "income": [3, 5]}, dtype="Int64")
    with pytest.raises(ValueError, match="misses values in 1 of 2 rows, in age"):
        TABLE.translate(nullable)
    with pytest.raises(ValueError, match="numbers alone in name"):
        shifting((3,)).translate(pandas.DataFrame(PEOPLE))


def test_samples_are_generated_from_new_ones_of_p():
    plane = shifting((2,), "moons")
    got = plane.generate(5, seed=3)
    np.testing.assert_allclose(got, batch(toys.moons(), 3, 0, 0, 5) + SHIFT, atol=1e-6)  # float32
    assert MODEL.generate(4).shape == (4, 6, 8, 3)
    with pytest.raises(ValueError, match="count must be a whole number >= 1, got 0"):
        plane.generate(0)
    with pytest.raises(ValueError, match="trained without classes"):
        plane.generate(2, label="cat")
    with pytest.raises(ValueError, match="starts at samples of folder:cats, which are not here"):
        shifting((6, 8, 3), "folder:cats").generate(2)


def shown(model):
    """The picture that a notebook shows, and the text below it."""
    text = model._repr_html_()
    found = re.match(r'<img src="data:image/png;base64,([^"]+)" style="[^"]+"><br>(.*)$', text)
    assert found, text[:200]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1])))), found[2]


def test_few_shapes_serve_many_numbers_of_samples(monkeypatch):
    """Each shape is compiled, which takes seconds where lines take none."""
    sizes, model = [], shifting((2,), "two_moons", "two_moons")

    def noted(*args, batch_size, **options):
        sizes.append(batch_size)
        return transport(*args, batch_size=batch_size, **options)

    transport = sampling.transport
    monkeypatch.setattr(sampling, "transport", noted)
    x = np.random.default_rng(0).normal(size=(260, 2)).astype(np.float32)
    whole = model.translate(x)
    for count in (1, 2, 5, 6, 7, 8, 33, 40, 47):
        np.testing.assert_array_equal(model.translate(x[:count]), whole[:count])
    assert sizes == [250, 1, 2, 8, 8, 8, 8, 48, 48, 48]


def test_a_notebook_shows_what_the_model_makes_and_its_card_in_two_lines():
    sheet, card = shown(MODEL)
    assert sheet.shape[1] > 400  # eight pictures in a row about as wide as a page
    assert card == (
        "<b>noise -&gt; noise, pictures of 6 x 8 x 3</b><br>cfm, unet of 1 weights, 7 steps in 80 s"
    )
    assert shown(shifting((2,), "moons", "rings"))[0].shape == (320, 640, 3)
    assert shifting((6, 8, 3), "folder:cats")._repr_html_().startswith("<b>cats -&gt; noise")
    assert "\n" not in repr(MODEL)
    assert repr(MODEL).startswith("Trained(noise -> noise, pictures of 6 x 8 x 3; cfm")


# --- a person's own encoder and decoder

HALVES = spaces.own(lambda x: x[:, ::2] / 2, lambda u: 2 * u.repeat(2, axis=1), (6, 8, 3))


def test_a_model_of_latents_translates_pictures_through_functions_of_the_caller():
    model = shifting((3, 8, 3), "gaussian:72", own=HALVES)
    x = (LEVELS[:, ::2].repeat(2, axis=1) - 51) / 127.5 - 1  # rows in pairs, which the latents hold
    # what is added to latents is doubled
    np.testing.assert_allclose(model.translate(x), x + 2 * SHIFT, atol=1e-5)
    listed = model.translate([Image.fromarray(np.uint8(np.rint((one + 1) * 127.5))) for one in x])
    np.testing.assert_array_equal(np.asarray(listed[0]), np.rint((x[0] + 1) * 127.5) + 102)
    assert model.generate(3).shape == (3, 6, 8, 3)
    assert shown(model)[0].shape[1] > 400


def test_latents_are_loaded_with_the_functions_and_never_from_a_file(tmp_path):
    own = spaces.own(lambda x: x[:, :2], lambda u: np.concatenate([u, 0 * u[:, :1]], axis=1), (3,))
    plain, wrapped = models.load("moons"), models.load("moons", space=own)
    x = RNG.normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_array_equal(wrapped.translate(x)[:, :2], plain.translate(x[:, :2]))
    assert wrapped.generate(4).shape == (4, 3)
    with pytest.raises(ValueError, match=r"samples of shape \(2,\), the space has latents of \(3, 8, 3\)"):
        models.load("moons", space=HALVES)
    # what a model holds are names and numbers: a file that names functions is refused, not called
    folder = models.export("moons", tmp_path / "model")
    record = json.loads((folder / "config.json").read_text())
    record["config"]["data"]["decode"] = "os:abort"
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="does not describe a model"):
        models.load(folder)
