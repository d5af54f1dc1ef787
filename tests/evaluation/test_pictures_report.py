"""Two sets of pictures: known cases, corruptions in their order, closed forms, reports that say how they were made."""

import json

import numpy as np
import pytest
from _scenes import FEATURES, noisy, report, scenes
from PIL import Image, ImageFilter

from efm_jax import metrics
from efm_jax.datasets import from_pictures, white_noise
from efm_jax.evaluation.features import own
from efm_jax.evaluation.pictures import pictures_report, table, write
from efm_jax.models import reports, scoring

DISTANCES = ("kid", "frechet")
SCORES = (*DISTANCES, "precision", "recall", "density", "coverage", "near_copies")
SCORE = {"label", "value", "standard_error", "floor", "floor_standard_error", "n", "how"}


def blurred(images, radius):
    return np.stack([np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(radius))) for p in images])


def mixed(images, share):
    """A share of the pictures replaced by one of them: diversity lost."""
    images = images.copy()
    images[: int(share * len(images))] = images[-1]
    return images


def fewer(images, share):
    """A share of the law's modes missing: the darkest scenes, several times over."""
    kept = np.argsort(images.mean(axis=(1, 2, 3)))[: round((1 - share) * len(images))]
    return images[np.resize(kept, len(images))]


@pytest.mark.parametrize(
    ("corrupt", "levels"),
    [
        (noisy, (0, 20, 40, 80)),
        (blurred, (0, 0.5, 0.8, 1.3, 3)),
        (mixed, (0, 0.3, 0.6, 0.95)),
        (fewer, (0, 0.3, 0.6, 0.9)),
    ],
)
def test_corruptions_order_correctly(corrupt, levels):
    fresh, real = scenes(150, seed=1), scenes(300, seed=2)
    scores = [report(corrupt(fresh, level), real)["scores"] for level in levels]
    for name in DISTANCES:
        values = [score[name]["value"] for score in scores]
        assert values == sorted(values), name
        assert values[-1] > scores[0][name]["floor"] + 5 * scores[-1][name]["floor_standard_error"], name
    # untouched pictures of the same law score what real ones do
    clean = scores[0]
    for name in SCORES:
        error = np.hypot(clean[name]["standard_error"], clean[name]["floor_standard_error"])
        assert abs(clean[name]["value"] - clean[name]["floor"]) < 4 * error + 1e-9, name
    # diversity is lost, and what is corrupted besides is less real; recall is blind to copies: their balls are wide
    for name in (
        ("coverage",) if corrupt in (mixed, fewer) else ("precision", "recall", "density", "coverage")
    ):
        last = scores[-1][name]
        assert last["value"] < last["floor"] - 4 * np.hypot(
            last["standard_error"], last["floor_standard_error"]
        ), name


def test_a_set_handed_back_is_found_out():
    real, held = scenes(100, seed=2), scenes(100, seed=3)
    got = report(real, real, held_out=held)["scores"]
    assert got["frechet"]["value"] == pytest.approx(0.0, abs=1e-6)  # of float32 features
    assert got["kid"]["value"] < got["kid"]["floor"] + 4 * got["kid"]["floor_standard_error"]
    assert got["precision"]["value"] == got["recall"]["value"] == got["coverage"]["value"] == 1.0
    assert got["near_copies"]["value"] == 1.0
    assert got["near_copies"]["floor"] == pytest.approx(0.01)
    assert got["near_copies"]["smallest_distance"] == 0.0 < got["near_copies"]["median_distance_held_out"]


@pytest.mark.parametrize("held_out", [None, scenes(40, seed=4)])
def test_a_set_has_no_distance_to_itself(held_out):
    real = scenes(40, seed=2)
    for same in (real, real[::-1].copy()):
        got = report(same, real, held_out=held_out)
        assert "set a holds the same pictures as b" in got["split"]
        for name in DISTANCES:
            score = got["scores"][name]
            assert score["value"] == score["standard_error"] == 0.0 != score["floor"]
        assert got["scores"]["precision"]["value"] == got["scores"]["near_copies"]["value"] == 1.0
    other = real.copy()
    other[0, 0, 0, 0] ^= 1
    got = report(other, real, held_out=held_out)
    assert "same" not in got["split"]
    assert got["scores"]["frechet"]["value"] > 0.0
    told = table(got).splitlines()[3]
    assert ("a half of set b: compare with the floor" in told) == (held_out is None)


def test_kid_and_not_the_distance_in_pixels_tells_real_pictures_from_their_mean():
    rng = np.random.default_rng(0)
    grain = 80.0 * rng.normal(size=(3, 100, 16, 16, 3))  # what no two pictures share
    real, held, fresh = (
        np.clip(scenes(100, seed=seed) + part, 0, 255).astype(np.uint8) for seed, part in enumerate(grain)
    )
    mean = np.repeat(real.mean(axis=0, keepdims=True), 100, axis=0).astype(np.uint8)
    flat = [part.reshape(100, -1) / 127.5 - 1.0 for part in (mean, fresh, real)]
    assert metrics.wasserstein2(flat[0], flat[2]) < metrics.wasserstein2(flat[1], flat[2])
    kids = [report(part, real, held_out=held)["scores"]["kid"]["value"] for part in (mean, fresh)]
    assert kids[0] > 10.0 * kids[1]


def test_inputs_are_scored_as_a_set_judged_on_its_own():
    a, inputs, b, held = (scenes(30, seed=seed) for seed in range(4))
    got = report(a, b, held_out=held, inputs=noisy(inputs, 20))["scores"]
    own = report(noisy(inputs, 20), b, held_out=held)["scores"]
    alone = report(a, b, held_out=held)["scores"]
    for name in SCORES:
        assert got[name]["inputs"] == own[name]["value"]
        assert got[name]["inputs_standard_error"] == own[name]["standard_error"]
        assert {key: value for key, value in got[name].items() if "inputs" not in key} == alone[name]
    with pytest.raises(ValueError, match="one picture for each of the 30 of set a, got 29"):
        report(a, b, inputs=inputs[1:])


def cubic_mean(a, s, b, t):
    """E (x.y / D + 1)^3 of x ~ N(a, s^2 I) and y ~ N(b, t^2 I): first over x, whose x.y is normal, then over y."""
    dim = len(a)
    mean, spread = 1 + a @ b / dim, t**2 * (a @ a) / dim**2
    square = b @ b + dim * t**2  # E |y|^2, and below E (a.y) |y|^2
    return mean**3 + 3 * mean * spread + 3 * s**2 / dim**2 * (square + a @ b * (square + 2 * t**2) / dim)


def test_shifted_gaussians_have_their_closed_forms():
    dim, n = 4, 1500
    (a, s), (b, t) = laws = (0.8 * np.ones(dim), 1.2), (np.array([1.0, 0.0, -1.0, 0.5]), 0.8)
    rng = np.random.default_rng(0)

    def pictures(law):
        # numbers as gray levels of 2 x 2 pixels, 20 levels to 1: rounding adds a variance of 1/12 of a level, 2e-4
        drawn = law[0] + law[1] * rng.normal(size=(n, dim))
        return np.clip(np.rint(128 + 20 * drawn), 0, 255).astype(np.uint8).reshape(n, 2, 2, 1)

    numbers = own(lambda x: (x[..., 0].reshape(-1, dim) - 128.0) / 20.0, "numbers")
    made, real, held = pictures(laws[0]), pictures(laws[1]), pictures(laws[1])
    got = pictures_report(made, real, held, extractor=numbers, kid_subsets=20, kid_subset_size=400)["scores"]
    kid = cubic_mean(a, s, a, s) + cubic_mean(b, t, b, t) - 2 * cubic_mean(a, s, b, t)
    assert abs(got["kid"]["value"] - kid) < 4 * got["kid"]["standard_error"] < 0.3 * kid
    frechet = (a - b) @ (a - b) + dim * (s - t) ** 2
    assert abs(got["frechet"]["value"] - frechet) < 4 * got["frechet"]["standard_error"] < 0.3 * frechet
    assert abs(got["kid"]["floor"]) < 4 * got["kid"]["floor_standard_error"]


def test_a_report_says_how_it_was_made_and_is_the_same_again():
    a, b = scenes(60, seed=1), scenes(90, seed=2)
    got = report(a, b, seed=3)
    assert got == report(a, b, seed=3)
    assert got["scores"]["kid"] != report(a, b, seed=4)["scores"]["kid"]
    assert got == json.loads(json.dumps(got, allow_nan=False))
    assert got["n"] == 45
    assert got["seed"] == 3
    assert "45 of set b at random as reference, 45 others" in got["split"]
    assert got["features"]["name"] == "random"
    assert got["features"]["dimension"] == 48
    assert got["scores"]["kid"]["label"] == "KID-random"
    for name in SCORES:
        assert set(got["scores"][name]) >= SCORE
        assert got["scores"][name]["n"] == 45
    assert report(a, b, most=20)["n"] == 20
    assert report(a, b, held_out=scenes(30, seed=5))["n"] == 30


@pytest.mark.parametrize(
    ("a", "b", "options", "told"),
    [
        (7, 40, {}, "set a must hold at least 8 pictures to be scored, got 7"),
        (8, 15, {}, "set b must hold at least 16 .* got 15; half of b is held out"),
        (8, 8, {"held_out": scenes(3)}, "set held_out must hold at least 8"),
        (8, 16, {"seed": -1}, "seed must be a whole number"),
        (8, 16, {"most": 4}, "most >= 8"),
    ],
)
def test_sets_too_small_are_named(a, b, options, told):
    with pytest.raises(ValueError, match=told):
        report(scenes(a), scenes(b), **options)


def test_table_and_files(tmp_path):
    got = report(scenes(30, seed=1), scenes(40, seed=2))
    told = table(got)
    lines = told.splitlines()
    assert lines[0] == "| score | set a | floor: real to real | n |"
    labels = [got["scores"][n]["label"] for n in SCORES]
    labels[1] += " (to a half of set b: compare with the floor, its other half)"
    assert [line.split("|")[1].strip() for line in lines[2:9]] == labels
    assert "seed 0" in told
    write(got, tmp_path / "new" / "report.json")
    files = ["report.json", "report.md"]
    kept = json.loads((tmp_path / "new" / "report.json").read_text())
    assert kept == got | {"made_by": "efm_jax", "files": files}
    assert (tmp_path / "new" / "report.md").read_text() == told + "\n"
    with pytest.raises(ValueError, match=r"written as \.json"):
        write(got, tmp_path / "report.txt")


def test_pictures_of_a_run_are_compared_where_the_network_is_there(tmp_path, monkeypatch):
    pair = from_pictures(scenes(40, seed=1)), from_pictures(scenes(30, seed=2))
    noise = white_noise((16, 16, 3))
    y = scenes(24, seed=3).reshape(24, -1) / np.float32(127.5) - 1
    x = y.copy()
    y[5] = np.nan

    def compared(count=24, features=None, start=0):
        train, test = ((noise if start == 1 else source, source) for source in pair)
        direction = scoring.Direction(False, ("P", "Q"), train, test)
        return scoring.feature_scores(x[:count], y[:count], direction, tmp_path / "features", features)

    monkeypatch.setattr(scoring, "efficientnet_lite0", lambda: FEATURES)
    got = compared()
    assert got["n"] == 23
    assert got["scores"]["kid"]["label"] == "KID-random"
    # the inputs are the outputs here, so that left as they are they score the same
    for score in got["scores"].values():
        assert (score["inputs"], score["inputs_standard_error"]) == (score["value"], score["standard_error"])
    assert "| score | set a | inputs left as they are | floor: real to real | n |" in table(got)
    assert got["own_input"]["features"]["first"]["value"] == 1.0
    assert got["own_input"]["pixels"]["distance"]["value"] == 0.0
    assert len(list((tmp_path / "features").iterdir())) == 3  # outputs and inputs are the same pictures here
    from_noise = compared(start=1)  # noise has no content to keep
    assert "own_input" not in from_noise
    assert "inputs" not in from_noise["scores"]["kid"]
    assert "at least 8 are needed" in compared(6)["left_out"]
    monkeypatch.setattr(scoring, "open_extractor", lambda name: FEATURES._replace(label=name))
    assert compared(features="inception:f")["scores"]["frechet"]["label"] == "Frechet-inception:f"

    def missing():
        raise ImportError("not installed; install it.")

    monkeypatch.setattr(scoring, "efficientnet_lite0", missing)
    assert compared() == {"left_out": "not installed; install it"}  # other words follow it
    with pytest.raises(ImportError):
        compared(features="efficientnet")
    with pytest.raises(ValueError, match="features of a run must be"):
        reports.evaluate(tmp_path, features="inception")
