"""The parts of networks against NumPy in float64; dropout against the binomial law."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from efm_jax import networks
from efm_jax._core import platforms
from efm_jax.networks import embedding, layers


def reference_conv(x, kernel, bias, stride=1):
    """Patches and one product; stride 2 pads below and right only."""
    _, h, w, c = x.shape
    before = 1 if stride == 1 else 0
    p = np.pad(x, ((0, 0), (before, 1), (before, 1), (0, 0)))
    out = (h // stride, w // stride)
    slices = [
        p[:, i : i + stride * out[0] : stride, j : j + stride * out[1] : stride][:, : out[0], : out[1]]
        for i in range(3)
        for j in range(3)
    ]
    return np.concatenate(slices, -1) @ kernel.reshape(9 * c, -1) + bias


def reference_norm(x, groups, gain, bias):
    n, h, w, c = x.shape
    y = x.reshape(n, h * w, groups, c // groups)
    y = (y - y.mean((1, 3), keepdims=True)) / np.sqrt(y.var((1, 3), keepdims=True) + 1e-6)
    return y.reshape(x.shape) * (1.0 + gain) + bias


def swish(x):
    return x / (1.0 + np.exp(-x))


def numbers(module):
    """Give every parameter of a module random values; return them as float64."""
    state = nnx.state(module, nnx.Param)
    rng = np.random.default_rng(3)
    fresh = jax.tree.map(lambda p: jnp.asarray(0.3 * rng.normal(size=p.shape), jnp.float32), state)
    nnx.update(module, fresh)
    return jax.tree.map(lambda p: np.asarray(p, np.float64), nnx.to_pure_dict(fresh))


def picture(*shape):
    x = np.random.default_rng(4).normal(size=shape).astype(np.float32)
    return jnp.asarray(x), x.astype(np.float64)


# float32 sums of about 100 terms of order one, a few roundings deep
CLOSE = dict(rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_is_a_product_over_patches(stride):
    conv = layers.Conv(5, 7, stride=stride)
    p, (x, x64) = numbers(conv), picture(2, 6, 4, 5)
    np.testing.assert_allclose(conv(x), reference_conv(x64, p["kernel"], p["bias"], stride), **CLOSE)


@pytest.fixture
def on_gpu():
    with platforms.made_for("gpu"):
        yield


def test_group_norm_in_one_pass_is_its_definition(on_gpu):
    norm = layers.GroupNorm(12)
    p, (x, _) = numbers(norm), picture(2, 6, 4, 12)
    # squares of a mean 10 times the spread leave a variance with two digits fewer
    for mean, close in ((0.0, CLOSE), (10.0, dict(atol=1e-3))):
        expected = reference_norm(np.asarray(x + mean).astype(np.float64), 3, p["gain"], p["bias"])
        np.testing.assert_allclose(norm(x + mean), expected, **close)
    # constant pictures: a variance below zero by rounding would give NaN
    flat = norm(jnp.full((1, 6, 4, 12), 3.3))
    np.testing.assert_allclose(flat, np.broadcast_to(p["bias"], flat.shape), atol=2e-3)


def test_both_forms_of_group_norm_have_one_gradient(on_gpu):
    norm, (x, _) = layers.GroupNorm(12), picture(2, 6, 4, 12)
    numbers(norm)
    y, along = jnp.sin(40.0 * x), jnp.cos(40.0 * x)
    one, other = (
        jax.grad(lambda x, form=form: (form(x) * y).sum())(x)
        for form in (norm, lambda x: layers.normalize(x, 3) * (1.0 + norm.gain[...]) + norm.bias[...])
    )
    np.testing.assert_allclose(one, other, **CLOSE)
    # forward too, as likelihoods need it
    _, change = jax.jvp(norm, (x,), (along,))
    np.testing.assert_allclose(jnp.vdot(change, y), jnp.vdot(one, along), rtol=1e-4)


def test_group_norm_is_its_definition_even_far_from_zero():
    norm = layers.GroupNorm(12)
    assert norm.groups == 3
    p, (x, x64) = numbers(norm), picture(2, 6, 4, 12)
    np.testing.assert_allclose(norm(x), reference_norm(x64, 3, p["gain"], p["bias"]), **CLOSE)
    # a mean 1000 times the spread: rounding of the inputs themselves is 6e-5 of the spread, which E[x^2] - mean^2
    # would turn into 0.1
    far = np.asarray(x + 1000.0)
    expected = reference_norm(far.astype(np.float64), 3, p["gain"], p["bias"])
    np.testing.assert_allclose(norm(jnp.asarray(far)), expected, atol=3e-4)


@pytest.mark.parametrize(
    ("channels", "groups"), [(128, 32), (256, 32), (8, 2), (12, 3), (10, 2), (7, 1), (1, 1), (36, 9)]
)
def test_groups_divide_the_channels(channels, groups):
    assert layers.groups_for(channels) == groups


@pytest.mark.parametrize("cout", [4, 6])
@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_residual_block_is_its_formula(cout, platform):
    block = layers.ResidualBlock(4, cout, 5, dropout=0.5)
    p, (x, x64), (e, e64) = numbers(block), picture(2, 4, 4, 4), picture(2, 5)
    h = swish(reference_norm(x64, 1, **p["norm1"]))
    h = reference_conv(h, **p["conv1"]) + (e64 @ p["dense"]["kernel"] + p["dense"]["bias"])[:, None, None]
    h = reference_conv(swish(reference_norm(h, 1, **p["norm2"])), **p["conv2"])
    skip = x64 if cout == 4 else x64 @ p["skip"]["kernel"] + p["skip"]["bias"]
    with platforms.made_for(platform):
        found = block(x, layers.shifts([block], e)[0], None)
    np.testing.assert_allclose(found, h + skip, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_unet_written_for_a_gpu_is_the_same(dtype):
    network = networks.unet(
        (4, 4, 1), gap=9.0, width=8, multipliers=(1,), blocks=1, dtype=dtype, num_classes=3
    )
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(leaf + 0.1 * rng.normal(size=leaf.shape), jnp.float32),
        network.init(jax.random.key(0)),
    )
    points = jax.random.normal(jax.random.key(2), (4, 17))
    given = {"key": jax.random.key(3), "cond": jnp.array([0, 1, 2, -1])}

    texts, found = [], []
    for platform in ("cpu", "gpu"):
        both = jax.jit(
            jax.value_and_grad(lambda params: jnp.square(network.apply(params, points, **given)).mean())
        )
        with platforms.made_for(platform):
            compiled = both.lower(params).compile()
        texts.append(compiled.as_text())
        found.append(compiled(params))
    assert texts[0] != texts[1]
    # bfloat16 keeps three digits, and rounds in other places
    (one, one_grad), (other, other_grad) = found
    apart = optax.tree.norm(jax.tree.map(jnp.subtract, one_grad, other_grad)) / optax.tree.norm(one_grad)
    assert abs(one - other) < (1e-5 if dtype == "float32" else 2e-2) * one
    assert apart < (1e-4 if dtype == "float32" else 5e-2)


def test_attention_is_its_formula():
    attention = layers.Attention(4)
    p, (x, x64) = numbers(attention), picture(2, 3, 4, 4)
    qkv = reference_norm(x64, 1, **p["norm"]).reshape(2, 12, 4) @ p["qkv"]["kernel"] + p["qkv"]["bias"]
    q, k, v = np.split(qkv, 3, axis=-1)
    weight = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(4))
    h = weight / weight.sum(-1, keepdims=True) @ v
    expected = x64 + (h @ p["project"]["kernel"] + p["project"]["bias"]).reshape(x.shape)
    np.testing.assert_allclose(attention(x), expected, **CLOSE)


def test_upsample_repeats_pixels():
    up = layers.Upsample(3)
    p, (x, x64) = numbers(up), picture(2, 2, 3, 3)
    expected = reference_conv(x64.repeat(2, axis=1).repeat(2, axis=2), **p["conv"])
    np.testing.assert_allclose(up(x), expected, **CLOSE)


def test_patches_fold_and_unfold():
    x, _ = picture(2, 4, 6, 3)
    folded = layers.space_to_depth(x, 2)
    assert folded.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(folded[1, 1, 2], np.asarray(x)[1, 2:4, 4:6].reshape(-1))
    np.testing.assert_array_equal(layers.depth_to_space(folded, 2), x)


def test_embeddings_are_their_formulas():
    u = np.array([0.0, 1e-3, 0.3, 1.0], np.float32)
    w = 10.0 ** (-4.0 * np.arange(8) / 7)
    angle = 1000.0 * u.astype(np.float64)[:, None] * w
    expected = np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    # angles up to 1000 in float32 are known to 1e-4
    np.testing.assert_allclose(embedding.sinusoidal(jnp.asarray(u), 16), expected, atol=2e-4)
    angle = np.pi * u.astype(np.float64)[:, None] * [1.0, 2.0, 4.0]
    expected = np.concatenate([2.0 * u[:, None] - 1.0, np.sin(angle), np.cos(angle)], axis=1)
    np.testing.assert_allclose(embedding.fourier(jnp.asarray(u), 3), expected, atol=2e-6)  # angles up to 13


@pytest.mark.parametrize("channels", [6, 5])
def test_dropped_entries_are_binomial_and_the_rest_is_scaled(channels):
    x = jnp.ones((20_000, channels))
    out = np.asarray(layers.drop(x, 0.1, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(out), [0.0, 1.0 / 0.9], rtol=1e-6)  # one division
    dropped = out == 0.0
    # five standard deviations of a binomial share, over all entries and for each channel
    assert abs(dropped.mean() - 0.1) < 5 * math.sqrt(0.09 / dropped.size)
    assert np.all(np.abs(dropped.mean(0) - 0.1) < 5 * math.sqrt(0.09 / 20_000))
    # neighboring channels share a random word, but are independent: correlation of 20,000 pairs, five deviations
    apart = np.corrcoef(dropped.T) - np.eye(channels)
    assert np.all(np.abs(apart) < 5 / math.sqrt(20_000))
    assert layers.drop(x, 0.0, jax.random.key(0)) is x
    assert layers.drop(x, 0.1, None) is x
