"""Steps that are not finite change nothing but the counts, neither state nor average."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _steps import DIAGONAL, DIM, X_NEG, X_POS, hidden, marching, random_draw, recipe_of

from efm_jax.training import adam, init_state, make_train_step
from efm_jax.types import Network


def host(tree):
    return [
        np.array(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in tree
    ]


def same_bits(a, b):
    pairs = zip(host(jax.tree.leaves(a)), host(jax.tree.leaves(b)), strict=True)
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


def test_a_step_that_is_not_finite_changes_nothing_but_the_counts():
    network, optimizer = hidden(), adam(1e-2, warmup=3)
    step = make_train_step(recipe_of(random_draw), network, optimizer)
    state = init_state(jax.random.key(0), network, optimizer)
    poison = X_POS.copy()
    poison[2, 1] = np.nan
    counts = []
    for x_pos in (X_POS, poison, poison, X_POS):
        before = jax.tree.map(jnp.copy, state)
        state, info = step(state, x_pos, X_NEG)
        bad = x_pos is poison
        assert bool(info.finite) is not bad
        for part in ("params", "ema", "opt_state"):
            assert same_bits(getattr(state, part), getattr(before, part)) is bad
        counts.append((int(state.step), int(state.skipped), int(state.skipped_in_row)))
    assert counts == [(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 2, 0)]
    assert step._cache_size() == 1


def test_skipped_steps_do_not_count_in_the_average():
    optimizer = marching(0.25)
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer)
    averages = []
    for bad in (0, 3):
        state = init_state(jax.random.key(0), DIAGONAL, optimizer)
        for x_pos in [X_POS] * 2 + [X_POS * np.float32(np.inf)] * bad + [X_POS] * 2:
            state, _ = step(state, x_pos, X_NEG)
        averages.append(np.asarray(state.ema["a"]))
    np.testing.assert_array_equal(*averages)


def test_an_infinite_gradient_or_update_is_skipped_though_the_loss_is_finite():
    root = Network(
        lambda key: {"a": jnp.zeros(DIM + 1)}, lambda params, points, **_: jnp.sqrt(params["a"]) + 0 * points
    )
    for network, optimizer in ((root, optax.sgd(0.1)), (DIAGONAL, marching(np.inf))):
        step = make_train_step(recipe_of(random_draw), network, optimizer)
        state = init_state(jax.random.key(0), network, optimizer)
        before = np.asarray(state.params["a"])
        state, info = step(state, X_POS, X_NEG)
        assert np.isfinite(info.loss)
        assert not info.finite
        np.testing.assert_array_equal(state.params["a"], before)
        assert int(state.skipped_in_row) == 1
