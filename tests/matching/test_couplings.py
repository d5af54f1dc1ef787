"""Couplings: the plan is the best one, pairs come from it, and randomness is keyed."""

import itertools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from efm_jax.matching import cfm
from efm_jax.matching.couplings import (
    entropic_plan,
    field_lines,
    given,
    independent,
    minibatch_ot,
    sinkhorn,
    whole_plan,
)


def normal(seed, n, dim=3):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, dim)), jnp.float32)


def test_minibatch_ot_is_the_best_of_all_assignments():
    x, y = normal(0, 6), normal(1, 6) + 1.0
    i, j = minibatch_ot()(jax.random.key(0), x, y, 6)
    cost = ((x[i] - y[j]) ** 2).sum()
    best = min(((x - y[jnp.array(p)]) ** 2).sum() for p in itertools.permutations(range(6)))
    # the plan is exact in float64; only the float32 sums differ
    assert float(cost) == pytest.approx(float(best), rel=1e-5)


@pytest.mark.parametrize(("n", "m", "dim"), [(512, 512, 2), (300, 300, 20), (200, 200, 1), (150, 400, 2)])
def test_minibatch_ot_costs_what_the_plain_solver_s_plan_does(n, m, dim):
    x, y = normal(0, n, dim), 2.0 * normal(1, m, dim) + 1.0
    i, j = minibatch_ot()(jax.random.key(0), x, y, min(n, m))
    assert len(set(i.tolist())) == len(set(j.tolist())) == min(n, m)
    cost = cdist(np.asarray(x, np.float64), np.asarray(y, np.float64), "sqeuclidean")
    # both in float64: only sums in another order differ
    assert cost[i, j].sum() == pytest.approx(cost[linear_sum_assignment(cost)].sum(), rel=1e-12)


@pytest.mark.parametrize(("n", "m", "k"), [(5, 9, 5), (9, 5, 3), (4, 4, 11)])
def test_pairs_come_from_one_plan(n, m, k):
    i, j = jax.jit(minibatch_ot(), static_argnums=3)(jax.random.key(2), normal(0, n), normal(1, m), k)
    pairs = set(zip(i.tolist(), j.tolist(), strict=True))
    size = min(n, m)
    assert len({a for a, _ in pairs}) == len(pairs)
    assert len({b for _, b in pairs}) == len(pairs)
    assert len(pairs) == k if k <= size else len(pairs) <= size


def test_independent_pairs_are_uniform_and_uncorrelated():
    i, j = independent()(jax.random.key(1), normal(0, 4), normal(0, 5), 20_000)
    counts = np.zeros((4, 5))
    np.add.at(counts, (np.asarray(i), np.asarray(j)), 1)
    chi2 = ((counts - 1000.0) ** 2 / 1000.0).sum()
    # 19 degrees of freedom: 0.01 % of draws exceed 51
    assert chi2 < 51.0


def test_a_key_fixes_the_pairs_and_another_changes_them():
    for couple in (independent(), minibatch_ot(), sinkhorn(), field_lines()):
        one, same, other = (
            couple(jax.random.key(seed), normal(0, 32), normal(1, 32), 16)[0].tolist() for seed in (3, 3, 4)
        )
        assert one == same
        assert one != other


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
@pytest.mark.parametrize(("n", "m"), [(4, 4), (4, 5), (200, 200)])
def test_a_nan_in_the_data_does_not_end_the_process(bad, n, m):
    x = normal(0, n).at[0, 0].set(bad)
    i, _ = minibatch_ot()(jax.random.key(0), x, normal(1, m), n)
    assert sorted(i.tolist()) == list(range(n))


# the entropic plan --------------------------------------------------------------------------------------------------

SPREAD = 3 * (1.0 + 4.0)  # three dimensions, variances about 1 and 4


def pots(x, y, epsilon, a=None, b=None):
    """The entropic plan by POT, float64, to 1e-7 of the mass."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    spread = x.var(0).sum() + y.var(0).sum()
    cost = cdist(x, y, "sqeuclidean")
    a, b = ot.unif(len(x)) if a is None else a, ot.unif(len(y)) if b is None else b
    return ot.bregman.sinkhorn_log(a, b, cost, epsilon * spread, numItermax=20_000, stopThr=1e-7), cost


@pytest.mark.parametrize(("n", "m", "epsilon"), [(30, 40, 1.0), (30, 40, 0.02), (60, 60, 0.1)])
def test_the_entropic_plan_is_pots(n, m, epsilon):
    x, y = normal(0, n), 2.0 * normal(1, m) + 50.0
    plan = np.asarray(entropic_plan(x, y, epsilon, tolerance=1e-5, iterations=5000), np.float64)
    wanted, _ = pots(x, y, epsilon)
    # columns within 1e-5, and float32 costs of about 1e-6 over epsilon
    assert np.abs(plan - wanted).sum() < 2e-5 + 1e-5 / epsilon
    # what was asked for: rows to the rounding of 32-bit sums, columns within the tolerance and that
    np.testing.assert_allclose(plan.sum(1), 1 / n, rtol=1e-5)
    assert np.abs(plan.sum(0) - 1 / m).sum() < 2e-5


def test_little_entropy_costs_hardly_more_than_the_best_assignment():
    x, y = normal(0, 60), 2.0 * normal(1, 60) + 1.0
    cost = cdist(np.asarray(x, np.float64), np.asarray(y, np.float64), "sqeuclidean")
    best = cost[linear_sum_assignment(cost)].mean()
    i, j = minibatch_ot()(jax.random.key(0), x, y, 60)
    assert cost[i, j].mean() == pytest.approx(best, rel=1e-12)
    epsilon = 1e-3
    plan = np.asarray(entropic_plan(x, y, epsilon, tolerance=1e-4, iterations=5000), np.float64)
    # the entropy of an assignment is log n beside that of the independent plan; 1e-4 of the mass astray costs little
    assert -1e-3 * best < (plan * cost).sum() - best < epsilon * SPREAD * np.log(60) + 1e-3 * best


def test_much_entropy_is_independence():
    plan = entropic_plan(normal(0, 30), normal(1, 40), 1e4)
    # the logarithm of the plan is off by costs / epsilon: some ten spreads over 1e4
    np.testing.assert_allclose(plan * 30 * 40, 1.0, rtol=3e-3)
    i, j = sinkhorn(1e4)(jax.random.key(1), normal(0, 5), normal(0, 4), 20_000)
    counts = np.zeros((5, 4))
    np.add.at(counts, (np.asarray(i), np.asarray(j)), 1)
    assert (counts.sum(1) == 4000).all()
    # 15 degrees of freedom, rows being in turn: 0.01 % of draws exceed 44
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 44.0


def test_entropic_plans_do_not_depend_on_units_or_places():
    x, y = normal(0, 30), 2.0 * normal(1, 40)
    plan = entropic_plan(x, y, 0.1, tolerance=1e-4)
    moved = entropic_plan(100.0 * x + 300.0, 100.0 * y - 500.0, 0.1, tolerance=1e-4)
    # coordinates of 500 with spread 100 keep six digits, whose errors are divided by epsilon
    np.testing.assert_allclose(moved, plan, atol=1e-4 * float(plan.max()))
    assert jnp.isfinite(entropic_plan(jnp.ones((30, 3)), jnp.ones((40, 3)))).all()


def test_sinkhorn_s_pairs_are_drawn_from_the_entropic_plan():
    x, y = normal(0, 5), normal(1, 4)
    num = 20_000
    i, j = jax.jit(sinkhorn(0.3), static_argnums=3)(jax.random.key(2), x, y, num)
    plan = np.asarray(entropic_plan(x, y, 0.3), np.float64)
    counts = np.zeros((5, 4))
    np.add.at(counts, (np.asarray(i), np.asarray(j)), 1)
    # 15 degrees of freedom: 0.01 % of draws exceed 44
    assert ((counts - num * plan) ** 2 / (num * plan)).sum() < 44.0
    assert plan.max() > 2 * plan.min()
    assert sorted(sinkhorn()(jax.random.key(0), x, y, 5)[0].tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("couple", [independent(), minibatch_ot(), sinkhorn(), field_lines()])
def test_couplings_map_over_batches(couple):
    x, y = normal(0, 3 * 8).reshape(3, 8, 3), normal(1, 3 * 6).reshape(3, 6, 3)
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda k, a, b: couple(k, a, b, 6))(keys, x, y)
    for t in range(3):
        one = couple(keys[t], x[t], y[t], 6)
        assert [v[t].tolist() for v in together] == [v.tolist() for v in one]


def test_a_nan_ends_sinkhorn_s_rounds():
    x = normal(0, 4).at[0, 0].set(jnp.nan)
    i, j = sinkhorn(iterations=10**9)(jax.random.key(0), x, normal(1, 5), 4)
    assert sorted(i.tolist()) == [0, 1, 2, 3]
    assert bool((j >= 0).all() and (j < 5).all())


# labels -------------------------------------------------------------------------------------------------------------

COUPLINGS = {
    "independent": independent(),
    "minibatch_ot": minibatch_ot(),
    "sinkhorn": sinkhorn(0.1),
    "field_lines": field_lines(),
}
with_all = pytest.mark.parametrize("couple", COUPLINGS.values(), ids=COUPLINGS.keys())
# label 2 is on one side only, 5 on the other
LABELS = jnp.array([0, 2, 0, -1, 2, 0, -1, 0]), jnp.array([-1, 0, 5, 0, -1, -1])


@with_all
def test_pairs_join_equal_labels_and_use_every_sample_that_has_a_partner(couple):
    pos, neg = LABELS
    draw = jax.jit(couple, static_argnums=3)
    i, j = draw(jax.random.key(0), normal(0, 8), normal(1, 6), 400, labels=LABELS)
    assert (pos[i] == neg[j]).all()
    if couple is not COUPLINGS["minibatch_ot"]:
        assert set(i.tolist()) == {0, 2, 3, 5, 6, 7}
        reached = set(j.tolist())
        # lines of several charges may end on one
        lines = couple is COUPLINGS["field_lines"]
        assert reached <= {0, 1, 3, 4, 5} if lines else reached == {0, 1, 3, 4, 5}
        # rows alike: 6 rows of 400 draws, 5 standard deviations
        assert np.bincount(i, minlength=8)[[0, 2, 3, 5, 6, 7]].min() > 400 / 6 - 5 * 7.5
    else:
        # two pairs of label 0 and two of -1, each a hundred times
        assert len(set(zip(i.tolist(), j.tolist(), strict=True))) == 4
        assert set(np.bincount(i)) == {0, 100}


@with_all
def test_one_label_for_all_is_no_label(couple):
    x, y = normal(0, 9), normal(1, 7)
    labels = jnp.full(9, 3), jnp.full(7, 3)
    one = couple(jax.random.key(0), x, y, 2000, labels=labels)
    none = couple(jax.random.key(0), x, y, 2000)
    if couple is COUPLINGS["minibatch_ot"]:
        assert [v.tolist() for v in one] == [v.tolist() for v in none]
        return
    tables = [np.histogram2d(*v, bins=(9, 7), range=((0, 9), (0, 7)))[0] for v in (one, none)]
    # 2,000 draws over 63 cells, two samples of one law: 62 degrees of freedom, 0.01 % of draws exceed 112
    total = np.maximum(tables[0] + tables[1], 1)
    assert ((tables[0] - tables[1]) ** 2 / total).sum() < 112


def test_minibatch_ot_with_labels_is_the_best_plan_that_keeps_to_them():
    rng = np.random.default_rng(0)
    x, y = normal(0, 40), normal(1, 50)
    pos, neg = rng.integers(0, 4, 40), rng.integers(0, 5, 50)
    size = sum(min((pos == c).sum(), (neg == c).sum()) for c in range(5))
    i, j = minibatch_ot()(jax.random.key(0), x, y, int(size), labels=(pos, neg))
    assert len(set(i.tolist())) == len(set(j.tolist())) == size
    assert (pos[i] == neg[j]).all()
    # one problem for all labels: what is forbidden costs more than any plan without it
    cost = cdist(np.asarray(x, np.float64), np.asarray(y, np.float64), "sqeuclidean")
    rows, columns = linear_sum_assignment(np.where(pos[:, None] == neg, cost, 1e6))
    kept = pos[rows] == neg[columns]
    assert kept.sum() == size
    # 1e6 leaves ten digits of a cost
    assert cost[i, j].sum() == pytest.approx(cost[rows, columns][kept].sum(), rel=1e-8)


def test_entropic_plans_with_labels_are_those_of_each_label():
    x, y = normal(0, 8), 2.0 * normal(1, 6) + 1.0
    plan = np.asarray(entropic_plan(x, y, 0.2, tolerance=1e-5, labels=LABELS), np.float64)
    pos, neg = (np.asarray(part) for part in LABELS)
    within = sum(
        np.concatenate([np.asarray(v)[of == c] - np.asarray(v)[of == c].mean(0) for c in np.unique(of)])
        .var(0)
        .sum()
        for v, of in ((x, pos), (y, neg))
    )
    wanted = np.zeros((8, 6))
    for c in (0, -1):
        rows, columns = np.flatnonzero(pos == c), np.flatnonzero(neg == c)
        cost = cdist(x[rows], y[columns], "sqeuclidean")
        part = ot.bregman.sinkhorn_log(
            ot.unif(len(rows)), ot.unif(len(columns)), cost, 0.2 * within, numItermax=20_000, stopThr=1e-7
        )
        wanted[np.ix_(rows, columns)] = part * len(rows) / 6  # six rows have a partner
    # as without labels
    assert np.abs(plan - wanted).sum() < 1e-4


@with_all
def test_without_a_common_label_there_are_no_pairs(couple):
    x, y, labels = normal(0, 4), normal(1, 3), (jnp.zeros(4, jnp.int32), jnp.ones(3, jnp.int32))
    with pytest.raises(ValueError, match="labels must have a value in common"):
        couple(jax.random.key(0), x, y, 2, labels=labels)
    i, j = jax.jit(couple, static_argnums=3)(jax.random.key(0), x, y, 2, labels=labels)
    assert i.tolist() == j.tolist() == [-1, -1]


def test_no_mass_without_a_common_label():
    plan = jax.jit(lambda labels: entropic_plan(normal(0, 4), normal(1, 3), labels=labels))
    assert (plan((jnp.zeros(4, int), jnp.ones(3, int))) == 0).all()


@with_all
def test_bad_labels_say_what_was_expected(couple):
    x, y = normal(0, 4), normal(1, 3)
    for labels in ((jnp.zeros(4, int), jnp.zeros(4, int)), jnp.zeros(4, int), (jnp.zeros(4, int),)):
        with pytest.raises(ValueError, match=r"labels_pos \[4\], labels_neg \[3\]"):
            couple(jax.random.key(0), x, y, 2, labels=labels)
    with pytest.raises(ValueError, match="whole numbers, got dtypes float32"):
        couple(jax.random.key(0), x, y, 2, labels=(jnp.zeros(4), jnp.zeros(3)))


def test_bad_options_say_what_was_expected():
    for options, message in (
        ({"epsilon": 0.0}, "epsilon must be a finite number > 0, got 0.0"),
        ({"iterations": 0}, "iterations must be a whole number >= 1, got 0"),
        ({"tolerance": -1.0}, "tolerance must be a finite number > 0, got -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            sinkhorn(**options)
        with pytest.raises(ValueError, match=message):
            entropic_plan(normal(0, 4), normal(1, 3), **options)
    with pytest.raises(ValueError, match="same number of dimensions"):
        entropic_plan(normal(0, 4), normal(1, 3, dim=2))


def test_a_whole_plan_in_blocks_is_the_best_within_each_block():
    x, y = np.asarray(normal(0, 12)), np.asarray(normal(1, 12))
    j = whole_plan(x, y, block_size=6)
    for block in (slice(0, 6), slice(6, 12)):
        cost = ((x[block] - y[j[block]]) ** 2).sum()
        best = min(((x[block] - y[block][list(p)]) ** 2).sum() for p in itertools.permutations(range(6)))
        # both sums are of the same float32 numbers
        assert cost == pytest.approx(best, rel=1e-6)
    assert sorted(j.tolist()) == list(range(12))
    whole = ((x - y[whole_plan(x, y)]) ** 2).sum()
    assert whole <= ((x - y[j]) ** 2).sum()


def test_given_pairs_stay_together():
    x = normal(0, 10)
    for num_pairs, most in ((7, 1), (30, 30)):
        i, j = given()(jax.random.key(0), x, x, num_pairs)
        assert (i == j).all()
        assert int(jnp.bincount(i, length=10).max()) <= most


def test_a_plan_of_bad_samples_says_what_was_expected():
    with pytest.raises(
        ValueError, match=r"must both be \[n, D\], got \(4, 2\) and \(3, 2\); draw equally many"
    ):
        whole_plan(np.zeros((4, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="x_neg holds NaN or infinity in 1 of 2 rows"):
        whole_plan(np.zeros((2, 2)), np.array([[0.0, np.nan], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="block_size must be a whole number >= 1, got 0"):
        whole_plan(np.zeros((2, 2)), np.zeros((2, 2)), block_size=0)
    with pytest.raises(ValueError, match="both plates must have as many rows, got 4 and 3"):
        given()(jax.random.key(0), normal(0, 4), normal(0, 3), 2)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_a_plan_is_made_on_a_machine_with_one_core():
    """With one thread the CPU client of XLA would wait for ever for the arguments of the callback."""
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); os.environ.pop('NPROC', None)\n"
        "import jax, jax.numpy as jnp, numpy as np\n"
        "from efm_jax.matching.couplings import minibatch_ot\n"
        "pair = jax.jit(lambda x, y: jnp.stack(minibatch_ot()(jax.random.key(1), x, y + 1e-3, 256)).sum(0))\n"
        "x = np.random.default_rng(0).normal(size=(256, 3072)).astype(np.float32)\n"
        "print(bool((pair(x, x[::-1]) == 255).all()))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert out.stdout.split() == ["True"], out.stderr


def test_a_recipe_with_a_plan_has_a_gradient_with_respect_to_the_samples():
    """The plan is constant: here row with row, so the mean target `x_neg - x_pos` has the slope 1 / n in each of x_neg."""
    x = jnp.asarray([[0.0], [10.0], [20.0]])
    recipe = cfm(coupling=minibatch_ot())
    slope = jax.jit(jax.grad(lambda y: recipe.draw(jax.random.key(0), x, y).target[:, 0].mean()))(x + 1.0)
    np.testing.assert_allclose(slope, 1 / 3, rtol=1e-6)
