"""Bad sets and numbers are named by every metric of samples."""

import numpy as np
import pytest
from _samples import KEY, sets

from efm_jax.metrics import (
    energy_distance,
    frechet_distance,
    kid,
    mmd,
    sliced_wasserstein2,
    wasserstein2,
)

PAIRS = [
    wasserstein2,
    lambda a, b: sliced_wasserstein2(KEY, a, b),
    frechet_distance,
    mmd,
    kid,
    energy_distance,
]


@pytest.mark.parametrize("measure", PAIRS)
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((8, 2)), np.zeros((8, 3)), r"same number of dimensions, got \(8, 2\) and \(8, 3\)"),
        (np.zeros(8), np.zeros((8, 1)), r"a must have shape \[n, D\].*reshape\(-1, 1\)"),
        (np.zeros((8, 1)), np.zeros((8, 2, 2, 3)), r"b must have shape.*reshape\(len\(b\), -1\)"),
        (np.zeros((0, 2)), np.zeros((8, 2)), "a must have shape"),
        (np.zeros((8, 0)), np.zeros((8, 0)), "D >= 1"),
        (
            np.zeros((3, 1)),
            np.array([[0.0], [np.nan], [np.inf]]),
            "b holds NaN or infinite numbers in 2 of 3.*index 1",
        ),
        (np.array([["a"]]), np.zeros((1, 1)), "real numbers"),
        (np.zeros((8, 1), complex), np.zeros((8, 1)), "real numbers.*complex"),
    ],
)
def test_bad_sets(measure, a, b, message):
    if measure is kid and len(b) == 3:
        a, b = np.tile(a, (2, 1)), np.concatenate([b, np.zeros((3, 1))])
        message = message.replace("2 of 3", "2 of 6")
    with pytest.raises(ValueError, match=message):
        measure(a, b)


def test_bad_numbers():
    a, b = sets(8, 6, 2)
    with pytest.raises(ValueError, match=r"(?s)equally large, got 8 and 6 .*sliced"):
        wasserstein2(a, b)
    with pytest.raises(ValueError, match="num_projections"):
        sliced_wasserstein2(KEY, a, b, num_projections=0)
    for bandwidth in (0.0, -1.0, np.nan, [], [1.0, 0.0], [[1.0]]):
        with pytest.raises(ValueError, match="bandwidth must be"):
            mmd(a, b, bandwidth=bandwidth)
    for options in ({"subsets": 1}, {"subset_size": 1}, {"subsets": 2.5}, {"subset_size": 2.5}):
        with pytest.raises(ValueError, match="must be a whole number >= 2"):
            kid(a, b, **options)
    for measure, least in ((mmd, 2), (frechet_distance, 2), (kid, 4)):
        with pytest.raises(ValueError, match=f"n >= {least}"):
            measure(a, b[: least - 1])
