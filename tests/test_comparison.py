"""Two sets of pictures: known cases, corruptions in their order, folders of any sizes, and the command."""

import functools
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy.spatial.distance import cdist

from efm_jax import _run_scores, assessment, cli, evaluation, metrics, partners
from efm_jax.comparison import folders_report, pictures_report, table, write
from efm_jax.datasets import common_size, from_pictures, read_folder, white_noise
from efm_jax.features import own
from efm_jax.partners import folders_partners_report, partners_report
from efm_jax.pictures import save_png

DISTANCES = ("kid", "frechet")
SCORES = (*DISTANCES, "precision", "recall", "density", "coverage", "near_copies")
SCORE = {"label", "value", "standard_error", "floor", "floor_standard_error", "n", "how"}


@functools.cache
def _filters():
    return np.random.default_rng(0).normal(size=(27, 24))


def random_network(images):
    """Responses of random 3 x 3 filters, their mean and spread over the picture: sees edges, grain and colour."""
    x = images.astype(np.float64) / 127.5 - 1.0
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    response = np.maximum(windows.reshape(*windows.shape[:3], 27) @ _filters(), 0.0)
    return np.concatenate([response.mean(axis=(1, 2)), response.std(axis=(1, 2))], axis=1)


FEATURES = own(random_network, "random", side=24, fingerprint="1")


def scenes(n, seed=0, side=16):
    """Discs of random colour, size and place on a graded ground, uint8 [n, side, side, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    centre, radius = rng.uniform(0.2, 0.8, (n, 2, 1, 1)), rng.uniform(0.1, 0.35, (n, 1, 1))
    disc = np.hypot(y - centre[:, 0], x - centre[:, 1]) < radius
    ground = rng.uniform(0, 120, (n, 1, 1, 3)) + 60 * y[..., None]
    return np.where(disc[..., None], rng.uniform(120, 255, (n, 1, 1, 3)), ground).astype(np.uint8)


def noisy(images, level):
    noise = np.random.default_rng(9).normal(size=images.shape)
    return np.clip(images + level * noise, 0, 255).astype(np.uint8)


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


def report(a, b, **options):
    return pictures_report(a, b, extractor=FEATURES, kid_subsets=20, **options)


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
        # numbers as grey levels of 2 x 2 pixels, 20 levels to 1: rounding adds a variance of 1/12 of a level, 2e-4
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


# folders ------------------------------------------------------------------------------------------------------------


def fill(folder, images, sizes=None):
    for i, picture in enumerate(images):
        height, width = (sizes or [picture.shape[:2]])[i % len(sizes or [0])]
        save_png(folder / f"{i}.png", np.asarray(Image.fromarray(picture).resize((width, height))))
    return folder


def test_folders_of_one_size_are_compared_as_they_are(tmp_path):
    a, b = scenes(30, seed=1), scenes(50, seed=2)
    got = folders_report(fill(tmp_path / "a", a), fill(tmp_path / "b", b), extractor=FEATURES, kid_subsets=20)
    names = [sorted(f"{i}.png" for i in range(len(part))) for part in (a, b)]
    in_order = [part[[int(name[:-4]) for name in order]] for part, order in zip((a, b), names, strict=True)]
    assert got["scores"] == report(*in_order)["scores"]
    assert got["resize"] == "kept: all pictures have one size"
    assert got["sets"]["a"]["pictures"] == 30
    assert got["sets"]["b"]["shape"] == [16, 16, 3]
    assert got["sets"]["a"]["sha256"] != got["sets"]["b"]["sha256"]
    assert evaluation.folders_report is folders_report


def test_any_sizes_are_brought_to_the_smallest(tmp_path):
    a = fill(tmp_path / "a", scenes(20, seed=1), [(40, 20), (18, 30)])
    b = fill(tmp_path / "b" / "deeper", scenes(30, seed=2), [(64, 64)])
    assert common_size([a, b]) == 18
    assert common_size([b]) is None
    assert common_size([b], most=24) == 24
    got = folders_report(a, tmp_path / "b", extractor=FEATURES, kid_subsets=5)
    assert got["sets"]["a"]["shape"] == got["sets"]["b"]["shape"] == [18, 18, 3]
    assert "18 x 18 (the smallest side found" in got["resize"]
    assert "bicubic with antialias" in got["resize"]
    got = folders_report(a, b, size=12, grey=True, extractor=FEATURES, kid_subsets=5, most=9)
    assert got["sets"]["b"]["shape"] == [12, 12, 1]
    assert got["sets"]["b"]["pictures"] == 18  # 9 for reference, 9 held out
    assert got["n"] == 9


def test_unreadable_pictures_are_named(tmp_path):
    a, b = fill(tmp_path / "a", scenes(12, seed=1)), fill(tmp_path / "b", scenes(20, seed=2))
    (a / "torn.png").write_bytes((a / "3.png").read_bytes()[:70])
    (a / "text.jpg").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.jpg cannot be read as a picture"):
        folders_report(a, b, extractor=FEATURES)
    with pytest.warns(UserWarning, match="left out 2 of 14"):
        got = folders_report(a, b, extractor=FEATURES, on_error="skip", kid_subsets=5)
    assert got["sets"]["a"]["skipped"] == ["text.jpg", "torn.png"]
    assert got["sets"]["a"]["pictures"] == 12


def test_empty_and_missing_folders_are_named(tmp_path):
    b = fill(tmp_path / "b", scenes(16))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="empty holds no picture"):
        folders_report(tmp_path / "empty", b, extractor=FEATURES)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*gone"):
        folders_report(b, tmp_path / "gone", extractor=FEATURES)


def test_a_choice_of_pictures_is_seeded(tmp_path):
    folder = fill(tmp_path / "a", scenes(10))
    some = read_folder(folder, most=4, seed=1)
    assert len(some.images) == len(set(some.names)) == 4
    assert some.names == sorted(some.names) == read_folder(folder, most=4, seed=1).names
    assert some.names != read_folder(folder, most=4, seed=2).names
    assert len(read_folder(folder, most=10).images) == 10


def test_table_and_files(tmp_path):
    got = report(scenes(30, seed=1), scenes(40, seed=2))
    told = table(got)
    lines = told.splitlines()
    assert lines[0] == "| score | set a | floor: real to real | n |"
    assert [line.split("|")[1].strip() for line in lines[2:9]] == [got["scores"][n]["label"] for n in SCORES]
    assert "seed 0" in told
    write(got, tmp_path / "new" / "report.json")
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == got
    assert (tmp_path / "new" / "report.md").read_text() == told + "\n"
    with pytest.raises(ValueError, match=r"written as \.json"):
        write(got, tmp_path / "report.txt")


# the command and runs -----------------------------------------------------------------------------------------------


def test_the_command_compares_two_folders(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    a, b = (fill(tmp_path / name, scenes(24, seed, 32)) for seed, name in enumerate("ab"))
    arguments = ["evaluate", "--a", str(a), "--b", str(b), "--features", "digits", "--seed", "5"]
    cli.main([*arguments, "--output", str(tmp_path / "report.json")])
    out = capsys.readouterr().out
    assert "| KID-Digits |" in out
    got = json.loads((tmp_path / "report.json").read_text())
    assert got["seed"] == 5
    assert got["n"] == 12
    kept = list((tmp_path / "cache" / "efm_jax" / "features").iterdir())
    assert len(kept) == 3  # the set judged, the reference, and the held-out ones
    cli.main([*arguments, "--output", str(tmp_path / "again.json"), "--partners"])
    assert "| first, features |" in capsys.readouterr().out
    again = json.loads((tmp_path / "again.json").read_text())
    assert again.pop("partners")["n"] == 24
    assert again == got


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "either a run folder, or two folders"),
        (["--a", "x"], "either a run folder, or two folders"),
        (["run", "--a", "x", "--b", "y"], "either a run folder, or two folders"),
        (["--a", "x", "--b", "y", "--features", "none"], "two folders are compared on features"),
        (["--a", "x", "--b", "y", "--features", "digits"], "there is no folder x"),
    ],
)
def test_mistakes_of_the_command(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", *arguments])
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


def test_pictures_of_a_run_are_compared_where_the_network_is_there(tmp_path, monkeypatch):
    pair = from_pictures(scenes(40, seed=1)), from_pictures(scenes(30, seed=2))
    noise = white_noise((16, 16, 3))
    y = scenes(24, seed=3).reshape(24, -1) / np.float32(127.5) - 1
    x = y.copy()
    y[5] = np.nan

    def compared(count=24, features=None, start=0):
        pairs = [[source, source] for source in pair]
        if start == 1:
            pairs = [[noise, source] for source in pair]
        return _run_scores.on_features(x[:count], y[:count], (0, 1), *pairs, tmp_path / "features", features)

    monkeypatch.setattr(_run_scores, "efficientnet_lite0", lambda: FEATURES)
    got = compared()
    assert got["n"] == 23
    assert got["scores"]["kid"]["label"] == "KID-random"
    assert got["own_input"]["features"]["first"]["value"] == 1.0
    assert got["own_input"]["pixels"]["distance"]["value"] == 0.0
    assert len(list((tmp_path / "features").iterdir())) == 3  # outputs and inputs are the same pictures here
    assert "own_input" not in compared(start=1)  # noise has no content to keep
    assert "at least 8 are needed" in compared(6)["left_out"]
    monkeypatch.setattr(_run_scores, "open_extractor", lambda name: FEATURES._replace(label=name))
    assert compared(features="inception:f")["scores"]["frechet"]["label"] == "Frechet-inception:f"

    def missing():
        raise ImportError("not installed")

    monkeypatch.setattr(_run_scores, "efficientnet_lite0", missing)
    assert compared() == {"left_out": "not installed"}
    with pytest.raises(ImportError):
        compared(features="efficientnet")
    with pytest.raises(ValueError, match="features of a run must be"):
        assessment.evaluate(tmp_path, features="inception")


# partners -----------------------------------------------------------------------------------------------------------


def test_ranks_equal_sorting():
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(30, 20)), rng.normal(size=(40, 20))
    partner = rng.integers(0, 40, 30)
    got = metrics.retrieval(outputs, targets, partner)
    apart = cdist(outputs, targets)
    order = np.argsort(apart, axis=1)
    np.testing.assert_array_equal(got.rank, 1 + np.argmax(order == partner[:, None], axis=1))
    # inner products of centred float64 beside differences
    np.testing.assert_allclose(got.distance, apart[np.arange(30), partner], rtol=1e-12)
    wrong = [np.delete(row, p).mean() for row, p in zip(apart, partner, strict=True)]
    np.testing.assert_allclose(got.distance_to_others, wrong, rtol=1e-10)
    # chance: 30 ranks uniform on 1..40 have mean 20.5 and standard error 40 / sqrt(12 * 30) = 2.1
    assert abs(got.rank.mean() - 20.5) < 4 * 2.1


def test_ties_stand_in_their_middle():
    same = np.ones((5, 17))
    np.testing.assert_array_equal(metrics.retrieval(same, same).rank, 3.0)
    targets = np.repeat(np.eye(3), 2, axis=0)
    np.testing.assert_array_equal(metrics.retrieval(np.eye(3), targets, np.array([0, 2, 4])).rank, 1.5)


@pytest.mark.parametrize(
    ("outputs", "partner", "told"),
    [
        (np.zeros((4, 2)), None, "each of the 4 outputs needs the index of its partner among the 3"),
        (np.zeros((2, 2)), np.array([0, 3]), "each of the 2 outputs"),
        (np.zeros((2, 2)), np.array([0, -1]), "each of the 2 outputs"),
        (np.zeros((2, 2)), np.array([0.0, 1.0]), "got float64"),
        (np.zeros((2, 3)), None, "outputs and targets must have the same"),
    ],
)
def test_outputs_without_partner_are_named(outputs, partner, told):
    with pytest.raises(ValueError, match=told):
        metrics.retrieval(outputs, np.zeros((3, 2)), partner)


def test_partners_are_lost_with_noise():
    targets = scenes(60, seed=1)
    reports = [
        partners_report(noisy(targets, level), targets, extractor=FEATURES) for level in (0, 20, 60, 150)
    ]
    for space in ("pixels", "features"):
        distances = [got[space]["distance"]["value"] for got in reports]
        assert distances == sorted(distances)
        assert reports[0][space]["first"]["value"] == 1.0
        assert reports[0][space]["rank"]["value"] == 1.0 < reports[0][space]["rank"]["floor"] == 30.5
        assert reports[-1][space]["first"]["value"] < 1.0 or space == "pixels"
    assert reports[0]["pixels"]["distance"]["value"] == 0.0
    # noise of 20 grey levels, cut at 0 and 255: a little less than 20
    assert 17 < reports[1]["pixels"]["distance"]["value"] < 20.1
    shuffled = np.random.default_rng(0).permutation(60)
    got = partners_report(targets, targets[shuffled], np.argsort(shuffled), extractor=FEATURES)
    assert got["features"]["rank"]["value"] == 1.0
    json.dumps(got, allow_nan=False)
    with pytest.raises(ValueError, match="must have one size"):
        partners_report(targets, targets[:, 1:], extractor=FEATURES)


def test_partners_in_folders_are_found_by_name(tmp_path):
    images = scenes(20, seed=1)
    a = fill(tmp_path / "a", noisy(images, 3))
    for i, picture in enumerate(images[:15]):
        path = tmp_path / "b" / f"{i}.bmp"  # another format of the same name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
    got = folders_partners_report(a, tmp_path / "b", extractor=FEATURES)
    assert got["n"] == 15
    assert got["without_partner"] == [f"{i}.png" for i in range(15, 20)]
    assert got["size"] is None
    assert got["features"]["rank"]["value"] == got["pixels"]["first"]["value"] == 1.0
    assert got["features"]["rank"]["floor"] == 8.0
    assert partners.table(got).count("| 15 |") == 6
    other = fill(tmp_path / "c", [])
    save_png(other / "else.png", images[0])
    with pytest.raises(ValueError, match=r"no picture in .* same name.*0\.png .*else\.png"):
        folders_partners_report(a, other, extractor=FEATURES)
