"""Principal components: the best k directions, their units, and sources in them."""

import numpy as np
import pytest

from efm_jax.datasets import (
    batch,
    class_shares,
    digit_source,
    from_array,
    from_pictures,
    spaces,
    toys,
    white_noise,
    with_classes,
)
from efm_jax.datasets.spaces import Space, principal_components
from efm_jax.models import build, configs

RNG = np.random.default_rng(0)


def plates(n, m, dim):
    """Samples of unequal number, mean and spread in all directions."""
    turn = np.linalg.qr(RNG.normal(size=(dim, dim)))[0] * np.geomspace(3.0, 0.1, dim)
    return (
        (RNG.normal(size=(n, dim)) @ turn.T + 1.0).astype(np.float32),
        (RNG.normal(size=(m, dim)) @ turn.T * 1.5 - RNG.normal(size=dim)).astype(np.float32),
    )


def covariance(x_pos, x_neg):
    """Of both plates together, each half, in float64."""
    parts = [x.astype(np.float64) for x in (x_pos, x_neg)]
    middle = (parts[0].mean(axis=0) + parts[1].mean(axis=0)) / 2
    return sum((x - middle).T @ (x - middle) / (2 * len(x)) for x in parts)


def alike(one, other, tolerance=1e-5):
    """Two float32 spaces are the same to rounding."""
    for wanted, got in zip(one, other, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


# --- the components


@pytest.mark.parametrize(("n", "m", "dim"), [(50, 30, 12), (12, 8, 40)])  # either matrix is the smaller
def test_what_is_lost_is_the_sum_of_the_eigenvalues_left_out(n, m, dim):
    x_pos, x_neg = plates(n, m, dim)
    values = np.linalg.eigvalsh(covariance(x_pos, x_neg))[::-1]
    for k in (1, 5, 12):
        space = principal_components(x_pos, x_neg, k)
        lost = [
            np.sum((x - space.decode(space.encode(x))).astype(np.float64) ** 2, 1).mean()
            for x in (x_pos, x_neg)
        ]
        # float32: products of some ten terms of size 10, squared
        np.testing.assert_allclose(np.mean(lost), values[k:].sum(), rtol=1e-4, atol=1e-8)
        np.testing.assert_allclose(space.scale, np.sqrt(values[:k].mean()), rtol=1e-5)


def test_the_smaller_of_the_two_matrices_says_the_same():
    x_pos, x_neg = plates(20, 25, 10)
    padded = [np.pad(x, ((0, 0), (0, 60))) for x in (x_pos, x_neg)]  # now 45 samples in 70 dimensions
    wide, space = principal_components(padded[0], padded[1], 6), principal_components(x_pos, x_neg, 6)
    np.testing.assert_allclose(wide.basis[10:], 0.0, atol=1e-6)
    alike(space, Space(wide.mean[:10], wide.basis[:10], wide.scale))


def test_plates_weigh_the_same_and_neither_order_nor_sign_of_samples_turns_a_direction():
    x_pos, x_neg = plates(15, 40, 8)
    space = principal_components(x_pos, x_neg, 4)
    alike(space, principal_components(np.tile(x_pos[::-1], (3, 1)), x_neg[::-1], 4))
    mirrored = principal_components(-x_pos, -x_neg, 4)
    alike(space, mirrored._replace(mean=-mirrored.mean))
    largest = np.argmax(np.abs(space.basis), axis=0)
    assert (space.basis[largest, np.arange(4)] > 0).all()


def test_distances_are_those_of_the_data_in_one_unit_and_a_typical_coordinate_is_of_order_one():
    x_pos, x_neg = plates(200, 300, 20)
    space = principal_components(x_pos, x_neg, 7)
    u = RNG.normal(size=(5, 7)).astype(np.float32)
    apart = np.linalg.norm(space.decode(u)[:, None] - space.decode(u), axis=-1)
    np.testing.assert_allclose(
        apart, space.scale[0] * np.linalg.norm(u[:, None] - u, axis=-1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(space.encode(space.decode(u)), u, atol=1e-5)
    inside = np.mean(
        [space.encode(x).astype(np.float64).T @ space.encode(x) / len(x) for x in (x_pos, x_neg)], 0
    )
    np.testing.assert_allclose(np.trace(inside), 7.0, rtol=1e-4)
    white = principal_components(x_pos, x_neg, 7, whiten=True)
    inside = np.mean(
        [white.encode(x).astype(np.float64).T @ white.encode(x) / len(x) for x in (x_pos, x_neg)], 0
    )
    np.testing.assert_allclose(inside, np.eye(7), atol=1e-4)


def test_the_share_explained_is_that_of_each_sides_own_variance():
    x = RNG.normal(size=(4000, 3)).astype(np.float32) * np.float32([3.0, 2.0, 1.0])
    space = principal_components(x, x, 2)
    assert spaces.explained(space, x) == pytest.approx(13 / 14, abs=0.01)  # 4,000 draws: shares to 0.3 %
    across = np.zeros((50, 3), np.float32)
    across[:, 2] = RNG.normal(size=50)
    assert spaces.explained(space, across) < 0.01
    with pytest.raises(ValueError, match="the 4 samples are all the same"):
        spaces.explained(space, np.ones((4, 3)))


def test_the_share_explained_is_right_for_few_samples_too():
    deviation = np.geomspace(3.0, 0.3, 12)
    x = (RNG.normal(size=(4000, 12)) * deviation + 5.0).astype(np.float32)
    space = principal_components(x, -x, 4)
    many = spaces.explained(space, x)
    few = np.array([spaces.explained(space, x[k : k + 2]) for k in range(0, 4000, 2)])
    assert few.min() >= 0.0
    assert few.max() <= 1.0
    # weighed by their spread, pairs say what all samples say: 2,000 pairs of some 4 effective dimensions, 1 %
    spread = np.array([np.sum((x[k] - x[k + 1]) ** 2) for k in range(0, 4000, 2)])
    assert np.average(few, weights=spread) == pytest.approx(many, abs=0.02)
    line = Space(np.full(12, 9.0, np.float32), np.eye(12, 1, dtype=np.float32), np.ones(1, np.float32))
    assert (
        0.0 <= spaces.explained(line, x[:3]) <= 1.0
    )  # far from the middle of the space: no variance is lost by that


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"k": 0}, "from 1 to 6, the dimensions of a sample, got 0"),
        ({"k": 7}, "from 1 to 6, the dimensions of a sample, got 7"),
        ({"k": 2.0}, r"whole number from 1 to 6.*got 2\.0"),
        ({"x_pos": np.eye(2, 6), "x_neg": np.eye(2, 6), "k": 4}, "4 samples have at most 3 .*got k = 4"),
        ({"x_pos": np.eye(3, 6), "x_neg": np.eye(3, 6), "k": 4}, "span 2 dimensions, fewer than k = 4"),
        ({"x_pos": np.ones((9, 6)), "x_neg": np.ones((9, 6))}, "span 0 dimensions"),
        ({"x_neg": np.ones((9, 5))}, r"same number of dimensions, got \[\(9, 6\), \(9, 5\)\]"),
        ({"x_neg": np.full((9, 6), np.nan)}, "x_neg must be finite samples"),
        ({"x_pos": np.ones((9, 2, 3))}, r"x_pos must be finite samples \[n, D\].*got shape \(9, 2, 3\)"),
    ],
)
def test_what_has_no_such_components_is_refused(change, told):
    given = {"x_pos": RNG.normal(size=(9, 6)), "x_neg": RNG.normal(size=(9, 6)), "k": 2} | change
    with pytest.raises(ValueError, match=told):
        principal_components(given["x_pos"], given["x_neg"], given["k"])


def test_samples_of_another_size_do_not_enter_or_leave():
    space = principal_components(*plates(9, 9, 5), 2)
    with pytest.raises(
        ValueError, match=r"x must have shape \[n, 5\], the dimensions of the data.*got \(3, 4\)"
    ):
        space.encode(np.ones((3, 4)))
    with pytest.raises(
        ValueError, match=r"u must have shape \[n, 2\], the components of this space, got \(2,\)"
    ):
        space.decode(np.ones(2))


# --- sources


def test_a_wrapped_source_draws_the_components_of_the_same_samples_classes_and_hosts_rows_too():
    labels = np.arange(40) % 4
    source = with_classes(from_pictures(RNG.integers(0, 256, (40, 3, 3)).astype(np.uint8), flip=True), labels)
    space = spaces.fit(source, source, 3)
    inside = spaces.wrap(source, space)
    assert (inside.shape, inside.size) == ((3,), 40)
    np.testing.assert_array_equal(class_shares(inside), class_shares(source))
    for asked in ({}, {"labels": [2]}, {"labels": [1, -1]}):
        x = batch(source, 3, 1, 5, 8, **asked)
        np.testing.assert_array_equal(batch(inside, 3, 1, 5, 8, **asked), space.encode(x))
        # a product of fewer rows may add in another order
        np.testing.assert_allclose(
            batch(inside, 3, 1, 5, 8, rows=slice(2, 7), **asked), space.encode(x)[2:7], atol=1e-5
        )


def test_a_law_stays_a_law_and_the_fit_is_the_same_each_time():
    law = toys.gaussian(6)
    space = spaces.fit(law, law, 2)
    alike(space, spaces.fit(law, law, 2), tolerance=0.0)
    inside = spaces.wrap(law, space)
    assert inside.size is None
    np.testing.assert_array_equal(batch(inside, 0, 0, 3, 5), space.encode(batch(law, 0, 0, 3, 5)))


def test_the_fit_counts_every_sample_of_a_small_set_and_sees_colors_that_are_drawn():
    x_pos, x_neg = plates(15, 23, 6)
    alike(principal_components(x_pos, x_neg, 3), spaces.fit(from_array(x_pos), from_array(x_neg), 3))
    assert spaces._fitted_on(from_array(x_pos), 0).shape == (15, 6)
    alike(principal_components(x_neg, x_neg, 3), spaces.fit(None, from_array(x_neg), 3))
    bars = np.zeros((2, 4, 4), np.uint8)
    bars[0, 1], bars[1, :, 2] = 255, 255
    colored = digit_source(bars, np.zeros(2, int), size=4)
    # once through two samples would span one dimension
    assert spaces.fit(colored, colored, 3).basis.shape == (48, 3)
    with pytest.raises(ValueError, match="both are white noise"):
        spaces.fit(None, None, 3)


def test_white_noise_is_white_in_the_components_of_data():
    space = principal_components(*plates(40, 40, 30), 4)
    data = configs.Data("noise", "data", components=4)
    at_p, at_q = build.sides(data, space)
    u = at_p.encode(batch(white_noise((30,)), 0, 0, 0, 20_000))
    drawn = batch(
        build.encoded(data, (white_noise((30,)), from_array(np.eye(30))), space)[0], 0, 0, 0, 20_000
    )
    for one in (u, drawn):  # 20,000 draws: means to 0.7 %, variances to 1 %; four times that
        np.testing.assert_allclose(one.mean(axis=0), 0.0, atol=0.03)
        np.testing.assert_allclose(np.cov(one.T), np.eye(4), atol=0.04)
    assert at_q is space
