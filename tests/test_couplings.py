"""Couplings: the plan is the best one, pairs come from it, and randomness is keyed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from efm_jax.couplings import independent, minibatch_ot


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
    for couple in (independent(), minibatch_ot()):
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
