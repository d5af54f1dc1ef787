"""The U-Net: its size, parts that are reached, invariances, dropout, labels, precision and derivatives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _networks import DIM, SHAPE, N, perturbed, points

from efm_jax.networks import mlp, unet

SMALL = dict(width=8, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.3, num_classes=3)


def small_unet(gap=4.0, scale=2.0, **changes):
    return unet(SHAPE, gap=gap, scale=scale, **{**SMALL, **changes})


@pytest.fixture(scope="module")
def net():
    """The small U-Net: parameters off zero, and `apply(params, points, labels)` compiled once."""
    network = small_unet()
    apply = jax.jit(lambda params, x, cond: network.apply(params, x, cond=cond))
    return network, perturbed(jax.jit(network.init)(jax.random.key(0))), apply


LABELS = jnp.array([0, 1, 2, -1])


@pytest.fixture(scope="module")
def training(net):
    """`training(key)`: gradient of a loss and the output in training mode, one program for both."""
    network, params, _ = net

    @jax.jit
    def run(params, key):
        def loss(params):
            out = network.apply(params, points(), key=key, cond=LABELS)
            return jnp.sum(out**2), out

        return jax.grad(loss, has_aux=True)(params)

    return lambda key: run(params, key)


def count(params):
    return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


# --- what it is ------------------------------------------------------------------------------------------------------


def test_default_unet_has_the_parameters_of_the_papers_network():
    params = jax.eval_shape(unet((32, 32, 3), gap=500.0).init, jax.random.key(0))
    assert count(params) == 57_634_180  # the paper's 57.63 M; also worked out by hand, layer by layer
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_parameters_are_nested_dicts_with_string_keys(net):
    def walk(tree):
        if isinstance(tree, dict):
            assert all(isinstance(k, str) for k in tree)
            return [leaf for branch in tree.values() for leaf in walk(branch)]
        return [tree]

    leaves = walk(net[1])
    assert all(isinstance(p, jax.Array) and p.dtype == jnp.float32 for p in leaves)
    assert len(leaves) == len(jax.tree.leaves(net[1]))


def test_networks_start_as_the_zero_field(net):
    network, moved, apply = net
    params = jax.jit(network.init)(jax.random.key(5))
    out = apply(params, points(), LABELS)
    assert out.shape == (N, DIM + 1)
    assert out.dtype == jnp.float32
    assert not np.any(out)
    assert np.any(apply(moved, points(), LABELS))

    network = mlp(3, gap=4.0)
    params = network.init(jax.random.key(5))
    assert not np.any(network.apply(params, points(3)))
    assert np.any(network.apply(perturbed(params), points(3)))


@pytest.mark.slow
def test_gradient_reaches_every_parameter(training):
    gradient, _ = training(jax.random.key(1))
    dead = [jax.tree_util.keystr(path) for path, g in jax.tree.leaves_with_path(gradient) if not np.any(g)]
    assert not dead


def test_last_channel_is_pooled_and_scaled_and_the_rest_is_the_picture(net):
    _, params, apply = net
    end = params["end"]
    bias = jnp.array([0.5, -2.0, 3.0])
    out = apply({**params, "end": {"kernel": 0.0 * end["kernel"], "bias": bias}}, points(), LABELS)
    np.testing.assert_array_equal(out[:, :-1].reshape(N, *SHAPE), np.broadcast_to(bias[:2], (N, *SHAPE)))
    np.testing.assert_allclose(out[:, -1], 3.0 * math.sqrt(DIM + 1), rtol=1e-6)  # one rounding of the product


# --- gap and range of the data do not matter -------------------------------------------------------------------------


@pytest.mark.slow  # the frame that scales is the same as that of the mlp, which is tested always
def test_unet_is_unchanged_when_data_and_plates_are_scaled_together(net):
    _, params, apply = net
    network = small_unet(gap=16.0, scale=8.0)
    other = jax.jit(lambda p, x, cond: network.apply(p, x, cond=cond))(params, 4.0 * points(), LABELS)
    # a power of two scales without rounding, so normalized inputs are the same numbers
    np.testing.assert_array_equal(other, apply(params, points(), LABELS))


def test_height_matters(net):
    _, params, apply = net
    for scale in (0.0, 0.9, 0.99):
        moved = points().at[:, -1].multiply(scale)
        assert float(jnp.abs(apply(params, moved, LABELS) - apply(params, points(), LABELS)).max()) > 1e-3


def test_pictures_of_a_batch_do_not_see_each_other(net):
    _, params, apply = net
    order = np.array([2, 0, 3, 1])
    out = apply(params, points()[order], LABELS[order])
    # the same sums, perhaps in another order
    np.testing.assert_allclose(out, apply(params, points(), LABELS)[order], rtol=1e-5, atol=1e-5)


# --- dropout, labels, precision --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dropout_follows_its_key(net, training):
    _, params, apply = net
    first, same, other = (training(jax.random.key(seed))[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert float(jnp.abs(first - other).max()) > 1e-2
    assert float(jnp.abs(first - apply(params, points(), LABELS)).max()) > 1e-2


def test_each_label_has_its_own_field(net):
    _, params, apply = net
    x = jnp.broadcast_to(points()[:1], (N, DIM + 1))
    out = apply(params, x, LABELS)
    gaps = jnp.abs(out[:, None] - out[None]).max(-1) + jnp.eye(N)
    assert float(gaps.min()) > 1e-3


def test_label_out_of_range_is_an_error_or_nan_under_jit(net):
    network, params, apply = net
    for bad in (3, -2):
        labels = jnp.array([0, bad, 1, 2])
        with pytest.raises(ValueError, match="between 0 and 2"):
            network.apply(params, points(), cond=labels)
        out = apply(params, points(), labels)
        assert np.isnan(out[1]).all()
        assert np.isfinite(out[jnp.array([0, 2, 3])]).all()


def test_bfloat16_is_close_to_float32(net):
    _, params, apply = net
    network = small_unet(dtype="bfloat16")
    assert {p.dtype for p in jax.tree.leaves(jax.eval_shape(network.init, jax.random.key(0)))} == {
        jnp.dtype("float32")
    }
    half = jax.jit(lambda p, x: network.apply(p, x, cond=LABELS))(params, points())
    full = apply(params, points(), LABELS)
    assert half.dtype == jnp.float32
    # 8 bits of mantissa (4e-3) through some 12 layers; exactly zero would mean that nothing ran in bfloat16
    error = float(jnp.linalg.norm(half - full) / jnp.linalg.norm(full))
    assert 1e-4 < error < 4e-2


# --- transformations -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_unet_under_jit_equals_eager(net):
    network, params, apply = net
    # the same sums, fused in another order
    np.testing.assert_allclose(
        network.apply(params, points(), cond=LABELS), apply(params, points(), LABELS), rtol=1e-4, atol=1e-4
    )


@pytest.mark.slow
def test_forward_and_reverse_derivatives_agree(net):
    network, params, _ = net
    rng = np.random.default_rng(6)
    v, w = (jnp.asarray(rng.normal(size=(N, DIM + 1)), jnp.float32) for _ in range(2))

    @jax.jit
    def both(x):
        f = lambda x: network.apply(params, x, cond=LABELS)  # noqa: E731
        return jnp.vdot(w, jax.jvp(f, (x,), (v,))[1]), jnp.vdot(jax.vjp(f, x)[1](w)[0], v)

    forward, reverse = both(points())
    assert float(forward) == pytest.approx(
        float(reverse), rel=1e-3
    )  # two orders of a sum of 500 signed terms
