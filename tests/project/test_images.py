"""Pictures at equal budget: every cell is a run that can be built, one is trained and scored, reports become rows."""

import functools
import json

import jax
import numpy as np
import pytest
from PIL import Image

from efm_jax.datasets import split_by_name
from efm_jax.models import build, configs
from experiments.images import run as images
from experiments.images import tables
from experiments.images.config import LEVERS, METHODS, Task, run, tasks

BUDGET = ("steps", "optimizer", "save_every", "log_every", "seed")


@functools.cache
def size_of(network, components, shape):
    """Number of parameters."""
    config = configs.Run(data=configs.Data(components=components), network=network)
    params = jax.eval_shape(build.network(config, shape).init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("name", [*METHODS, *LEVERS])
def test_methods_differ_in_recipe_form_and_clock_only(name, tmp_path):
    for task in tasks(tmp_path).values():
        first, other = (run(task, images.method(one), 3) for one in ("I-CFM", name))
        assert all(getattr(first, part) == getattr(other, part) for part in BUDGET)
        # exact means over charges are what Poisson flow is: more of them are its recipe
        assert first.recipe.charges == other.recipe.charges or name in LEVERS or "PFGM" in name
        assert first.recipe.num_points == other.recipe.num_points
        size = task.data.size or 32
        k, shape = task.data.components, (size, size, 3)
        assert size_of(first.network, k, shape) == size_of(other.network, k, shape)
        assert task.network.kind == "mlp" or size // task.network.patch == 16  # what the networks see


def test_recipes_of_all_methods_can_be_built():
    for method in (METHODS | LEVERS).values():
        assert build.recipe(method.made(charges=8, num_points=4))


def test_slugs_are_names_of_files():
    assert images.slug("noise - CIFAR-10") == "noise_cifar_10"
    assert images.slug("EFM, per plate") == "efm_per_plate"


def emoji(folder, shift):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(60):
        picture = np.roll(rng.integers(0, 255, (8, 8, 3)), shift, axis=2).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{i}.png")


def test_inputs_that_are_their_partners_rank_first(tmp_path, monkeypatch):
    from efm_jax.evaluation import features

    colors = features.own(lambda x: x.reshape(len(x), -1)[:, :64] / 255.0, "corner")
    monkeypatch.setattr(images, "efficientnet_lite0", lambda: colors)
    for name in ("a", "b"):
        emoji(tmp_path / name, 0)
    task = Task(configs.Data(f"folder:{tmp_path}/a", f"folder:{tmp_path}/b", size=8), 1, 1, "partners")
    sides = [images.pictures_of(spec, task) for spec in (task.data.source, task.data.target)]
    report = images.partners(None, *sides, tmp_path / "cache")
    held_out = split_by_name([f"{i}.png" for i in range(60)], "test", images.HELD_OUT).sum()
    assert report["pixels"]["rank"]["n"] == held_out
    assert report["pixels"]["rank"]["value"] == report["features"]["first"]["value"] == 1.0


def test_pictures_that_are_their_partners_are_paired_with_them(tmp_path, monkeypatch):
    """By pixels and by features; a minibatch holds few partners at all."""
    from efm_jax.evaluation import features

    colors = features.own(lambda x: x.reshape(len(x), -1)[:, :64] / 255.0, "corner")
    monkeypatch.setattr(images, "efficientnet_lite0", lambda: colors)
    monkeypatch.setattr(images, "CHARGES", 16)
    for name in ("a", "b"):
        emoji(tmp_path / name, 0)
    task = Task(configs.Data(f"folder:{tmp_path}/a", f"folder:{tmp_path}/b", size=8), 1, 1, "partners")
    shares, reached = images.true_pairs(task, tmp_path / "cache")
    size = 60 - split_by_name([f"{i}.png" for i in range(60)], "test", images.HELD_OUT).sum()
    assert (
        shares["one plan"]
        == shares["plan by features"]
        == shares["exact lines by features"]
        == reached
        == 1.0
    )
    # 16 of P find their partner among 16 of Q with probability 16 / size each: 20 draws of 16, three standard errors
    expected = 16 / size
    assert shares["plan of each minibatch of 16"] == pytest.approx(
        expected, abs=3 * (expected * (1 - expected) / 320) ** 0.5
    )


def test_methods_say_which_tasks_they_suit(tmp_path):
    known = tasks(tmp_path)
    assert METHODS["PFGM"].suits(known["noise - digits"])
    assert not METHODS["PFGM"].suits(known["emoji"])
    by_features = METHODS["IFM, plan by features"]
    assert [name for name, task in known.items() if by_features.suits(task)] == ["emoji"]
    assert all(METHODS["I-CFM"].suits(task) for task in known.values())


def report_of(method, seed, value):
    score = {"value": value, "standard_error": 0.25}
    scores = {"read_as_target": score, "kid": score, "hue_change_degrees": {"median": 2.0}}
    scores |= {"evaluations": {"mean": 24.0}, "arrived": {"value": 1.0, "standard_error": 0.0}}
    return {
        "method": method,
        "seed": seed,
        "training_seconds": 120.0,
        "maps": {"digits:3 -> digits:2": scores, "digits:2 -> digits:3": scores},
    }


def test_rows_hold_the_mean_and_the_spread_over_seeds_or_the_error_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "digits_3_2").mkdir()
    for report in (report_of("I-CFM", 0, 0.5), report_of("I-CFM", 1, 0.7), report_of("IFM", 0, 0.5)):
        name = f"{images.slug(report['method'])}_{report['seed']}.json"
        (tmp_path / "digits_3_2" / name).write_text(json.dumps(report))
    head, rows = tables.translation()
    assert [row[0] for row in rows] == ["I-CFM", "IFM", "*real ones*"]
    assert rows[0][head.index("3 -> 2: read as target")] == "60.0 ± 14.1 %"  # sqrt(2) * 10 %
    assert rows[1][head.index("3 -> 2: read as target")] == "50.0 ± 25.0 %"
    assert [row[-1] for row in rows] == ["2", "1", ""]


@pytest.mark.slow
def test_a_cell_is_trained_scored_published_and_left_alone_after_that(tmp_path, monkeypatch):
    data = configs.Data("digits:3", "digits:2", components=8)
    network = configs.Network(kind="mlp", width=32, depth=2)
    tiny = Task(data, 150, 4, "digits", network=network, num_points=32)
    monkeypatch.setattr(images, "tasks", lambda _: {"tiny": tiny})
    monkeypatch.setattr(images, "RESULTS", tmp_path / "results")
    place = images.Place("tiny", "IFM, one plan", 0)
    told = images.perform(place, tmp_path, tmp_path / "runs")
    report = json.loads((tmp_path / "results" / "tiny" / "ifm_one_plan_0.json").read_text())
    assert report["method"] == "IFM, one plan"
    assert report["step"] == 150
    assert (
        report["maps"]["digits:3 -> digits:2"]["read_as_target"]["value"] > 0.5
    )  # 8 components know a 2 from a 3
    assert "step 150" in told
    assert images.perform(place, tmp_path, tmp_path / "runs").endswith("done before")
