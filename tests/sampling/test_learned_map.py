"""The theorem's map with a trained network: taught outside the slab as well, it takes lines round the outside."""

import jax
import numpy as np
import pytest

from efm_jax import matching, networks, sampling, training
from efm_jax.lines import adaptive
from efm_jax.matching import points

GAP, STEPS, CHARGES = 1.0, 2000, 256


def strips(rng):
    """One charge in each 256th of the strips P = U(-1, 1), Q = U(0, 2), a spacing of 0.008."""
    share = (np.arange(CHARGES)[:, None] + rng.uniform(size=(2, CHARGES, 1))) / CHARGES
    return (2.0 * share + np.array([-1.0, 0.0])[:, None, None]).astype(np.float32)


@pytest.mark.slow
def test_a_network_taught_round_the_outside_carries_p_to_q_where_forward_lines_do_not():
    rng = np.random.default_rng(0)
    recipe = matching.efm(GAP, points=points.box(margin=0.0, bulge=4.0, beyond=3.0), num_points=512)
    network = networks.mlp(1, gap=GAP, scale=5.0)
    optimizer = training.adam(3e-3, warmup=50, cosine_steps=STEPS)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    state = training.init_state(jax.random.key(0), network, optimizer)
    for _ in range(STEPS):
        state, _ = step(state, *strips(rng))
    x = (2.0 * (np.arange(400)[:, None] + 0.5) / 400 - 1.0).astype(np.float32)
    field = sampling.learned_field(network, training.ema_params(state))
    lines = sampling.stochastic_map(
        jax.random.key(1), field, x, GAP, offset=0.05, region=5.0, stepping=adaptive(rtol=1e-3)
    )
    arrived = np.asarray(lines.arrived)
    # lines on their way beyond the box that was taught are given up; every tenth goes farther than that
    assert arrived.mean() > 0.8
    assert distance_to_q(np.asarray(lines.end)[arrived, 0]) < 0.25
    # Algorithm 2 in the same field: P/2 and Q's Cauchy law are not P, so its ends are not Q
    forward = sampling.transport(state, recipe, network, x)
    assert distance_to_q(np.asarray(forward.end)[:, 0]) > 0.6


def distance_to_q(ends):
    """W2 to the uniform law on (0, 2): a shift of all ends by a tenth is 0.1, P itself is 1 away."""
    return np.sqrt(np.mean((np.sort(ends) - 2.0 * (np.arange(len(ends)) + 0.5) / len(ends)) ** 2))
