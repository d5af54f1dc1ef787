"""The multilayer perceptron: its start, scalings and heights against closed forms, and transformations."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _networks import perturbed, points

from efm_jax.networks import mlp


def test_init_depends_on_the_key_and_takes_both_kinds_of_key():
    network = mlp(2, gap=1.0)
    kernel = lambda key: np.asarray(network.init(key)["layers"]["0"]["kernel"])  # noqa: E731
    assert np.array_equal(kernel(jax.random.key(3)), kernel(jax.random.PRNGKey(3)))
    assert not np.array_equal(kernel(jax.random.key(3)), kernel(jax.random.key(4)))


def test_the_last_output_alone_is_scaled():
    network = mlp(3, gap=4.0)
    params = perturbed(network.init(jax.random.key(0)))
    bias = jnp.array([0.5, -2.0, 3.0, 7.0])
    params["end"] = {"kernel": 0.0 * params["end"]["kernel"], "bias": bias}
    out = network.apply(params, points(3))
    np.testing.assert_array_equal(out[:, :-1], jnp.broadcast_to(bias[:-1], out[:, :-1].shape))
    np.testing.assert_allclose(out[:, -1], 7.0 * math.sqrt(4), rtol=1e-6)  # one rounding


def test_parameters_start_with_the_variance_declared():
    network = mlp(15, gap=1.0, width=200, octaves=2)
    params = network.init(jax.random.key(0))
    for layer, fan_in in (("0", 20), ("1", 200), ("2", 200)):
        kernel, bias = (np.asarray(params["layers"][layer][name]) for name in ("kernel", "bias"))
        assert kernel.shape == (fan_in, 200)
        # uniform: the share of the variance's spread is sqrt(0.8 / n), under 1.5 % for 4,000 numbers; five of those
        assert kernel.var() == pytest.approx(1 / fan_in, rel=5 * math.sqrt(0.8 / kernel.size))
        assert np.abs(kernel).max() <= math.sqrt(3 / fan_in)
        assert not bias.any()
    same = (
        np.asarray(params["layers"]["1"]["kernel"]).ravel(),
        np.asarray(params["layers"]["2"]["kernel"]).ravel(),
    )
    assert abs(np.corrcoef(*same)[0, 1]) < 5 / math.sqrt(same[0].size)


def test_mlp_is_unchanged_when_data_and_plates_are_scaled_and_data_shifted():
    loc, scale, shift = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, 0.5]), np.array([3.0, 1.0, -2.0])
    first = mlp(3, gap=4.0, loc=loc, scale=scale)
    second = mlp(3, gap=4.0 * 3.7, loc=3.7 * loc + shift, scale=3.7 * scale)
    params = perturbed(first.init(jax.random.key(0)))
    moved = jnp.concatenate([3.7 * points(3)[:, :-1] + shift, 3.7 * points(3)[:, -1:]], axis=1)
    # rounding of inputs of size up to 40 divided by 0.5, times the slope of the network
    np.testing.assert_allclose(
        second.apply(params, moved), first.apply(params, points(3)), rtol=1e-4, atol=1e-4
    )


def test_log_heights_are_the_linear_network_seen_from_afar():
    loc, scale, gap, least = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, 0.5]), 40.0, 1e-3
    options = {"gap": gap, "loc": loc, "scale": scale}
    linear, log = mlp(3, **options), mlp(3, **options, height=least)
    params = perturbed(linear.init(jax.random.key(0)))
    z = np.array([1e-4, 1e-3, 0.02, 1.0, 40.0, 100.0])
    x = np.random.default_rng(0).normal(size=(6, 3)) * 2.0 * np.sqrt(1 + z[:, None] ** 2)
    near = loc + (x - loc) / np.sqrt(1 + (z[:, None] / scale) ** 2)
    height = gap * np.log(np.maximum(z, least) / least) / np.log(gap / least)
    expected = linear.apply(params, jnp.asarray(np.c_[near, height], jnp.float32))
    # rounding of inputs of order 1 to 10
    np.testing.assert_allclose(
        log.apply(params, jnp.asarray(np.c_[x, z], jnp.float32)), expected, rtol=1e-4, atol=1e-4
    )


def test_no_labels_means_the_null_label():
    network = mlp(2, gap=4.0, num_classes=2)
    params = perturbed(network.init(jax.random.key(0)))
    x = jnp.ones((3, 3))
    out = network.apply(params, x, cond=jnp.array([0, 1, -1]))
    assert len(np.unique(out[:, 0])) == 3
    np.testing.assert_allclose(
        network.apply(params, x)[0], out[2], rtol=1e-6
    )  # equal rows, other vector lanes


@pytest.mark.smoke
def test_mlp_under_jit_equals_eager():
    network = mlp(2, gap=4.0)
    params = perturbed(network.init(jax.random.key(0)))
    # the same sums, fused in another order
    np.testing.assert_allclose(
        network.apply(params, points(2)), jax.jit(network.apply)(params, points(2)), rtol=1e-5, atol=1e-5
    )


def test_mlp_under_vmap():
    network = mlp(2, gap=4.0)
    params = perturbed(network.init(jax.random.key(0)))
    x = points(2)
    one = jax.vmap(lambda row: network.apply(params, row[None])[0])(x)
    np.testing.assert_allclose(one, network.apply(params, x), rtol=1e-5, atol=1e-6)  # another order of sums


def test_labels_of_any_whole_type_are_the_same_labels():
    network = mlp(2, gap=6.0, width=8, depth=1, num_classes=3)
    params, points = network.init(jax.random.key(0)), np.ones((3, 3), np.float32)
    fields = [
        network.apply(params, points, cond=np.array([0, 1, 2], t))
        for t in ("int32", "uint8", "uint32", ">i4")
    ]
    assert np.isfinite(fields[0]).all()
    for field in fields[1:]:
        np.testing.assert_array_equal(field, fields[0])


def test_parameters_are_float32_in_x64_too():
    network = mlp(2, gap=6.0, width=8, depth=1)
    usual = network.init(jax.random.key(0))
    with jax.enable_x64(True):
        wide = mlp(2, gap=6.0, width=8, depth=1).init(jax.random.key(0))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(wide)} == {"float32"}
    assert jax.tree.structure(wide) == jax.tree.structure(usual)
