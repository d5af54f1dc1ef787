"""The transformer: the paper's sizes, its start, places and labels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import matching, networks, training
from efm_jax.models import build, configs
from efm_jax.networks.dit import SIZES


def filled(params):
    keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
    leaves, tree = jax.tree.flatten(params)
    fresh = [0.1 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, fresh)


@pytest.mark.parametrize(("size", "millions"), [("S", 33), ("B", 130), ("L", 458)])
def test_sizes_are_those_of_the_paper(size, millions):
    """Table 4 of arXiv 2212.09748, patch 2, latents of 32 x 32 x 4, 1,000 classes."""
    width, depth = SIZES[size]
    network = networks.dit((32, 32, 4), gap=1.0, width=width, depth=depth, num_classes=1000)
    params = jax.eval_shape(network.init, jax.random.key(0))
    # theirs has three more output channels and counts the places: 0.1 M
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) / 1e6 == pytest.approx(
        millions, abs=0.7
    )


@pytest.mark.parametrize(
    ("size", "patch", "billions"),
    [("S", 2, 6.06), ("B", 8, 1.42), ("L", 4, 19.70)],
)
def test_operations_are_those_of_the_paper(size, patch, billions):
    """Table 4 of arXiv 2212.09748 counts a multiplication and its addition as one."""
    width, depth = SIZES[size]
    network = networks.dit((32, 32, 4), gap=1.0, width=width, depth=depth, patch=patch, num_classes=1000)
    params = jax.eval_shape(network.init, jax.random.key(0))
    points, label = jax.ShapeDtypeStruct((1, 4097), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
    cost = jax.jit(network.apply).lower(params, points, cond=label).cost_analysis()
    # theirs leaves out norms, softmax and sums: 1 % here
    assert cost["flops"] / 2e9 == pytest.approx(billions, rel=0.015)


@pytest.mark.slow
def test_it_starts_as_the_zero_field_and_learns():
    network, optimizer = networks.dit((4, 4, 1), gap=2.0, width=8, depth=1), training.adam(1e-2, warmup=0)
    state = training.init_state(jax.random.key(0), network, optimizer)
    x_pos, x_neg = jax.random.normal(jax.random.key(1), (2, 16, 16))
    assert not network.apply(state.params, jnp.c_[x_pos, jnp.ones(16)]).any()
    step = training.make_train_step(matching.efm(2.0, num_points=16), network, optimizer)
    losses = []
    for _ in range(40):
        state, info = step(state, x_pos, x_neg)
        losses.append(float(info.loss))
    # the zero field misses unit vectors by 1; what 40 steps of 16 points learn is small, and far from the noise of 0.03
    assert np.mean(losses[-5:]) < 0.9 * losses[0]


@pytest.mark.slow
def test_height_label_and_place_matter():
    network = networks.dit((4, 6, 2), gap=2.0, width=8, depth=2, num_classes=3)
    params = filled(network.init(jax.random.key(0)))
    points = jnp.concatenate([jax.random.normal(jax.random.key(2), (1, 48)), jnp.ones((1, 1))], axis=1)
    field = jax.jit(network.apply)
    base = field(params, points, cond=jnp.array([0]))
    assert base.shape == points.shape
    assert jnp.abs(field(params, points, cond=jnp.array([2])) - base).max() > 1e-3
    assert jnp.abs(field(params, points.at[:, -1].set(0.5), cond=jnp.array([0])) - base).max() > 1e-3
    # a picture moved by a patch is not the moved field: places are seen
    moved = jnp.roll(points[:, :-1].reshape(4, 6, 2), 2, axis=1).reshape(1, -1)
    other = field(params, points.at[:, :-1].set(moved), cond=jnp.array([0]))
    back = jnp.roll(other[:, :-1].reshape(4, 6, 2), -2, axis=1).reshape(1, -1)
    assert jnp.abs(back - base[:, :-1]).max() > 1e-3


@pytest.mark.slow
def test_a_configured_run_builds_it_and_bfloat16_stays_close():
    network = configs.Network(kind="dit", width=16, depth=2, patch=2)
    one = build.network(configs.Run(network=network), (8, 8, 3))
    half = build.network(
        configs.Run(network=configs.Network(kind="dit", width=16, depth=2, patch=2, dtype="bfloat16")),
        (8, 8, 3),
    )
    params = filled(one.init(jax.random.key(0)))
    points = jax.random.normal(jax.random.key(3), (4, 193))
    a, b = (np.asarray(n.apply(params, points)) for n in (one, half))
    # bfloat16 keeps 8 bits; two blocks of a few products each
    np.testing.assert_allclose(b, a, atol=0.05 * np.abs(a).max())
    with pytest.raises(ValueError, match="needs pictures"):
        build.network(configs.Run(network=network), (2,))


def test_sizes_that_do_not_fit_are_refused():
    for options, words in (
        ({"patch": 3}, "divisible by patch"),
        ({"width": 6}, "multiple of 4"),
        ({"width": 200}, "multiple of its 3 heads"),
        ({"depth": 0}, "depth"),
    ):
        with pytest.raises(ValueError, match=words):
            networks.dit((8, 8, 1), gap=1.0, **options)
