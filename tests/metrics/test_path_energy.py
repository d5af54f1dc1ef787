"""Energy and curvature of paths: straight lines, arcs and plans in closed form; bad paths by name."""

import re

import numpy as np
import ot
import pytest
from _samples import sets

from efm_jax.metrics import normalized_path_energy, path_curvature, path_energy, wasserstein2


def test_straight_lines_have_the_least_energy_and_no_curvature():
    x, y = sets(20, 20, 3)
    times = np.array([0.0, 0.1, 0.15, 0.6, 1.0])
    path = x + times[:, None, None] * (y - x)
    straight = np.mean(np.sum((y - x) ** 2, axis=1))
    assert path_energy(path, times=times) == pytest.approx(straight, rel=1e-12)
    assert path_curvature(path, times=times) == pytest.approx(0.0, abs=1e-12)
    # another unit of time, another origin, the other sense: nothing changes
    for other in (20.0 * times + 5.0, -times):
        assert path_energy(path, times=other) == pytest.approx(straight, rel=1e-12)
        assert path_curvature(path, times=other) == pytest.approx(0.0, abs=1e-12)
    # the same way at uneven speed costs more: run through in equal steps instead
    assert path_energy(path) > 1.1 * straight
    reverse = path[::-1]
    assert path_energy(reverse, times=times[::-1]) == pytest.approx(straight, rel=1e-12)


def test_the_energy_of_an_arc_is_its_speed_squared():
    t = np.linspace(0.0, 1.0, 2001)
    angle = 1.5 * np.pi * t
    arc = 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[:, None]
    speed, chord = 2.0 * 1.5 * np.pi, 8.0  # |x(1) - x(0)|^2 = (2 sqrt 2)^2
    # chords of 2,000 steps are shorter than the arc by 1e-7 of it
    assert path_energy(arc) == pytest.approx(speed**2, rel=1e-6)
    assert path_curvature(arc) == pytest.approx(speed**2 - chord, rel=1e-6)
    assert normalized_path_energy(arc, np.sqrt(chord)) == pytest.approx(speed**2 / chord - 1, rel=1e-6)
    # uneven speed: s = t^2 along a line of length 3 has energy 9 * integral (2t)^2 = 12
    line = 3.0 * (t**2)[:, None, None]
    assert path_energy(line) == pytest.approx(12.0, rel=1e-6)


def test_normalized_path_energy_of_the_optimal_and_of_a_poor_plan():
    x, y = sets(100, 100, 2)
    distance = wasserstein2(x, y)
    best = y[ot.emd([], [], ot.dist(x, y)).argmax(axis=1)]
    assert normalized_path_energy(np.stack([x, best]), distance) == pytest.approx(0.0, abs=1e-9)
    poor = np.mean(np.sum((x - y) ** 2, axis=1))
    expected = (poor - distance**2) / distance**2
    assert normalized_path_energy(np.stack([x, y]), distance) == pytest.approx(expected, rel=1e-9)
    assert normalized_path_energy(np.stack([x, x]), distance) == 1.0  # too little energy counts as well


def test_bad_paths():
    good = np.zeros((4, 2, 3))
    for path in (good[0], good[:1], np.zeros((3, 0, 2))):
        with pytest.raises(ValueError, match=re.escape("path must have shape [t, n, D]")):
            path_energy(path)
    for times, message in (
        (np.arange(3.0), r"shape \(4,\)"),
        ([0.0, 1.0, 1.0, 2.0], "strictly"),
        ([0.0, 2.0, 1.0, 3.0], "strictly"),
        ([0.0, 1.0, 2.0, np.nan], "strictly"),
    ):
        for measure in (path_energy, path_curvature):
            with pytest.raises(ValueError, match=message):
                measure(good, times=times)
    bad = good.copy()
    bad[1, 1, 0] = np.inf
    with pytest.raises(ValueError, match="in 1 of 2 paths"):
        path_energy(bad)
    for distance in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="distance must be W2"):
            normalized_path_energy(good, distance)
