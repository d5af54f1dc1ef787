"""The moving average of parameters: its closed form, how the first ones fade, and float32 for bfloat16."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _steps import DIAGONAL, DIM, X_NEG, X_POS, marching, random_draw, recipe_of

from efm_jax.training import adam, ema_params, init_state, make_train_step
from efm_jax.types import Network


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_moving_average_is_its_closed_form(decay):
    optimizer, count = marching(0.25), 40
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer, ema_decay=decay)
    state = init_state(jax.random.key(0), DIAGONAL, optimizer)
    for _ in range(count):
        state, _ = step(state, X_POS, X_NEG)
    decays = np.array([min(decay, (1 + t) / (10 + t)) for t in range(count)])
    values = 1 + 0.25 * np.arange(count + 1)  # of the parameters, the initial ones first
    weights = np.append(1.0, 1 - decays) * np.append(np.cumprod(decays[::-1])[::-1], 1.0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    # 40 float32 updates of numbers up to 11
    np.testing.assert_allclose(ema_params(state)["a"], np.full(DIM + 1, weights @ values), rtol=3e-6)


def test_initial_parameters_fade_from_the_average_as_documented():
    # the first update takes the parameters from 1 to 0, where they stay: the average is that 1's weight
    drop = optax.GradientTransformation(
        lambda params: jnp.zeros(()),
        lambda grads, done, params=None: (
            jax.tree.map(lambda g: jnp.where(done == 0, -1.0, 0.0 * g), grads),
            done + 1,
        ),
    )
    step = make_train_step(recipe_of(random_draw), DIAGONAL, drop)
    state = init_state(jax.random.key(0), DIAGONAL, drop)
    for count in range(1, 21):
        state, _ = step(state, X_POS, X_NEG)
        weight = math.factorial(count) * math.factorial(9) / math.factorial(count + 9)
        # relative: one rounding a step
        np.testing.assert_allclose(ema_params(state)["a"], np.full(DIM + 1, weight), rtol=1e-5)


def test_average_of_bfloat16_parameters_is_kept_in_float32():
    network = Network(lambda key: {"a": jnp.ones(DIM + 1, jnp.bfloat16)}, DIAGONAL.apply)
    optimizer = marching(0.0078125)  # one ulp of bfloat16 at 1: the parameters march exactly
    step = make_train_step(recipe_of(random_draw), network, optimizer, ema_decay=0.9)
    state = init_state(jax.random.key(0), network, optimizer)
    for _ in range(30):
        state, _ = step(state, X_POS, X_NEG)
    decays = np.array([min(0.9, (1 + t) / (10 + t)) for t in range(30)])
    mean = 1.0
    for t, decay in enumerate(decays):
        mean = decay * mean + (1 - decay) * (1 + 0.0078125 * (t + 1))
    assert state.ema["a"].dtype == jnp.float32
    np.testing.assert_allclose(
        state.ema["a"], np.full(DIM + 1, mean), rtol=1e-5
    )  # float32, not 4e-3 of bfloat16
    assert ema_params(state)["a"].dtype == jnp.bfloat16


@pytest.mark.parametrize("decay", [1.0, -0.1, math.nan])
def test_ema_decay_must_be_below_one(decay):
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\), got"):
        make_train_step(recipe_of(random_draw), DIAGONAL, adam(), ema_decay=decay)
