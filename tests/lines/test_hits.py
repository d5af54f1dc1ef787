"""Lines from charges through the whole space hit every charge of the other sign equally often: Gauss's law, counted."""

import _lines_to_charges
import numpy as np
import pytest
from _lines_to_charges import KEY, LINES, mapped, plates
from scipy import stats

from efm_jax import metrics
from efm_jax.charges.plates import capacitor, capacitor_chain
from efm_jax.datasets import toys
from efm_jax.lines import _arrivals, launches, whole_space

pytestmark = pytest.mark.slow

plane = _lines_to_charges.plane  # the fixture


def assert_uniform(lines, charges, independent=True):
    """Every negative charge is hit as often as any other; 99.8 % of the lines arrive."""
    arrived = np.asarray(lines.arrived)
    assert arrived.mean() >= 0.998, whole_space.tally(lines)
    (ends,) = np.nonzero(np.asarray(charges.charge) < 0)
    hits = np.bincount(np.asarray(lines.charge)[arrived], minlength=len(charges.charge))
    assert hits[ends].sum() == arrived.sum()
    expected = arrived.sum() / len(ends)
    statistic = np.sum((hits[ends] - expected) ** 2 / expected)
    low, high = stats.chi2(len(ends) - 1).ppf([0.005, 0.995])
    # launches without replacement vary less than chance: then too little is no fault
    assert low * independent <= statistic <= high, statistic / (len(ends) - 1)
    return statistic / (len(ends) - 1)


def test_every_negative_charge_is_hit_equally_often(plane):
    """By flux each of n lines from random charges in random directions ends on any negative charge with chance 1/128."""
    charges, launch, lines = plane
    assert_uniform(lines, charges)
    up = np.asarray(launch.up)
    # the map is stochastic: lines of one charge part, and half leave backward
    assert 0.4 < up.mean() < 0.6
    assert len(np.unique(np.asarray(lines.charge)[np.asarray(launch.origin) == 5])) > 3
    length = np.asarray(lines.length)
    assert 6.0 < np.median(length) < 64.0
    assert length.max() > 1000.0


@pytest.mark.slow
@pytest.mark.parametrize("gap", [6.0, 30.0])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_hits_are_uniform_in_every_dimension(dim, gap):
    charges = plates(dim, gap=gap, seed=dim)
    assert_uniform(mapped(charges)[1], charges)
    assert_uniform(mapped(charges, draws="even")[1], charges, independent=False)


@pytest.mark.slow
@pytest.mark.parametrize("gap", [6.0, 30.0])
@pytest.mark.parametrize("target", ["swiss_roll", "two_gaussians"])
def test_the_toys_arrive_with_uniform_hits_and_the_right_law(target, gap):
    toy = getattr(toys, target)()
    rng = np.random.default_rng(0)
    charges = capacitor(toys.gaussian().draw(rng, 1024), toy.draw(rng, 1024), gap)
    _, lines = mapped(charges)
    assert_uniform(lines, charges)
    _, even = mapped(charges, draws="even")
    q = np.asarray(charges.positions)[1024:, :-1]
    # random charges of Q in place of those that lines end on: what W2 to Q chance alone leaves
    floor = np.mean([metrics.wasserstein2(q[rng.integers(0, 1024, 1024)], q) for _ in range(3)])
    # launches without replacement only help; the spread of W2 where modes are 16 apart is some 30 %
    assert metrics.wasserstein2(np.asarray(even.end)[:1024, :-1], q) < 1.3 * floor


@pytest.mark.slow
def test_the_chain_is_deterministic_where_order_is_kept():
    """At D = 1 lines cannot cross: of 16 lines from each of 128 charges, 16 end on each, but for shared border lines."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 128, 1)).astype(np.float32)
    charges = capacitor_chain(x, 0.7 * y + 1, 6.0, reach=60.0)
    launch = launches.from_charges(KEY, charges, LINES, height=0.0, hemisphere="up")
    reach = whole_space.capture_radius(charges, height=6.0)
    lines = whole_space.to_charges(launch.points, charges, reach=reach)
    assert np.asarray(lines.arrived).mean() >= 0.999, whole_space.tally(lines)
    hits = np.bincount(np.asarray(lines.charge), minlength=len(charges.charge))[np.asarray(reach) > 0]
    assert np.abs(hits - 16).max() <= 3
    from_, to = np.asarray(charges.positions)[np.asarray(launch.origin), 0], np.asarray(lines.end)[:, 0]
    order = np.lexsort((to, from_))
    assert np.mean(np.diff(to[order]) >= 0) > 0.99


def test_equal_shapes_are_compiled_once(plane):
    before = _arrivals.to_charges_jit._cache_size()
    other = plates(2, gap=5.0, seed=9)
    lines = mapped(other)[1]
    assert _arrivals.to_charges_jit._cache_size() == before
    assert_uniform(lines, other)
    assert np.all(np.asarray(lines.end)[:, -1] == 5.0)
