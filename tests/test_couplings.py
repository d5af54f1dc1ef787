"""Couplings: the plan is the best one, pairs come from it, and randomness is keyed."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_a_nan_in_the_data_does_not_end_the_process():
    x = normal(0, 4).at[0, 0].set(jnp.nan)
    i, _ = minibatch_ot()(jax.random.key(0), x, normal(1, 4), 4)
    assert sorted(i.tolist()) == [0, 1, 2, 3]
