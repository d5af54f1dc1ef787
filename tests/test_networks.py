"""The networks against NumPy references, invariances and closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from efm_jax.networks import embedding, layers, mlp, unet

SHAPE, N = (8, 8, 2), 4
DIM = math.prod(SHAPE)
SMALL = dict(width=8, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.3, num_classes=3)


def small_unet(gap=4.0, loc=0.5, scale=2.0, **changes):
    return unet(SHAPE, gap=gap, loc=loc, scale=scale, **{**SMALL, **changes})


def perturbed(params, size=0.1):
    """Parameters moved off their zeros, by a fixed draw."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [p + size * rng.normal(size=p.shape).astype(np.float32) for p in leaves])


def points(dim=DIM, n=N, gap=4.0):
    rng = np.random.default_rng(2)
    x = 0.5 + 2.0 * rng.normal(size=(n, dim))
    return jnp.asarray(np.concatenate([x, rng.uniform(0.0, gap, (n, 1))], axis=1), jnp.float32)


@pytest.fixture(scope="module")
def net():
    """The small U-Net: parameters off zero, and `apply(params, points, labels)` compiled once."""
    network = small_unet()
    apply = jax.jit(lambda params, x, cond: network.apply(params, x, cond=cond))
    return network, perturbed(jax.jit(network.init)(jax.random.key(0))), apply


LABELS = jnp.array([0, 1, 2, -1])


def count(params):
    return sum(math.prod(p.shape) for p in jax.tree.leaves(params))


# --- what the networks are ------------------------------------------------------------------------------------------


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


def test_init_depends_on_the_key_and_takes_both_kinds_of_key():
    network = mlp(2, gap=1.0)
    kernel = lambda key: np.asarray(network.init(key)["layers"]["0"]["kernel"])  # noqa: E731
    assert np.array_equal(kernel(jax.random.key(3)), kernel(jax.random.PRNGKey(3)))
    assert not np.array_equal(kernel(jax.random.key(3)), kernel(jax.random.key(4)))


def test_gradient_reaches_every_parameter(net):
    network, params, _ = net

    @jax.jit
    def gradient(params):
        loss = lambda p: jnp.sum(network.apply(p, points(), cond=LABELS) ** 2)  # noqa: E731
        return jax.grad(loss)(params)

    dead = [
        jax.tree_util.keystr(path) for path, g in jax.tree.leaves_with_path(gradient(params)) if not np.any(g)
    ]
    assert not dead


def test_last_channel_is_pooled_and_scaled_and_the_rest_is_the_picture(net):
    _, params, apply = net
    end = params["end"]
    bias = jnp.array([0.5, -2.0, 3.0])
    out = apply({**params, "end": {"kernel": 0.0 * end["kernel"], "bias": bias}}, points(), LABELS)
    np.testing.assert_array_equal(out[:, :-1].reshape(N, *SHAPE), np.broadcast_to(bias[:2], (N, *SHAPE)))
    np.testing.assert_allclose(out[:, -1], 3.0 * math.sqrt(DIM + 1), rtol=1e-6)  # one rounding of the product


def test_z_scale_multiplies_the_last_component_alone():
    default, plain = mlp(3, gap=4.0), mlp(3, gap=4.0, z_scale=0.5)
    params = perturbed(default.init(jax.random.key(0)))
    a, b = default.apply(params, points(3)), plain.apply(params, points(3))
    np.testing.assert_array_equal(a[:, :-1], b[:, :-1])
    np.testing.assert_allclose(a[:, -1], b[:, -1] * math.sqrt(4) / 0.5, rtol=1e-6)  # one rounding


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


# --- gap and range of the data do not matter -------------------------------------------------------------------------


def test_unet_is_unchanged_when_data_and_plates_are_scaled_together(net):
    _, params, apply = net
    network = small_unet(gap=16.0, loc=2.0, scale=8.0)
    other = jax.jit(lambda p, x, cond: network.apply(p, x, cond=cond))(params, 4.0 * points(), LABELS)
    # a power of two scales without rounding, so normalised inputs are the same numbers
    np.testing.assert_array_equal(other, apply(params, points(), LABELS))


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


def test_height_matters(net):
    _, params, apply = net
    for scale in (0.0, 0.9, 0.99):
        moved = points().at[:, -1].multiply(scale)
        assert float(jnp.abs(apply(params, moved, LABELS) - apply(params, points(), LABELS)).max()) > 1e-3


def test_log_heights_are_the_linear_network_seen_from_afar():
    loc, scale, gap, least = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, 0.5]), 40.0, 1e-3
    options = {"gap": gap, "loc": loc, "scale": scale}
    linear, log = mlp(3, **options), mlp(3, **options, height="log", least=least)
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


def test_pictures_of_a_batch_do_not_see_each_other(net):
    _, params, apply = net
    order = np.array([2, 0, 3, 1])
    out = apply(params, points()[order], LABELS[order])
    # the same sums, perhaps in another order
    np.testing.assert_allclose(out, apply(params, points(), LABELS)[order], rtol=1e-5, atol=1e-5)


# --- the parts against NumPy in float64 ------------------------------------------------------------------------------


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
def test_residual_block_is_its_formula(cout):
    block = layers.ResidualBlock(4, cout, 5, dropout=0.5)
    p, (x, x64), (e, e64) = numbers(block), picture(2, 4, 4, 4), picture(2, 5)
    h = swish(reference_norm(x64, 1, **p["norm1"]))
    h = reference_conv(h, **p["conv1"]) + (e64 @ p["dense"]["kernel"] + p["dense"]["bias"])[:, None, None]
    h = reference_conv(swish(reference_norm(h, 1, **p["norm2"])), **p["conv2"])
    skip = x64 if cout == 4 else x64 @ p["skip"]["kernel"] + p["skip"]["bias"]
    np.testing.assert_allclose(block(x, e, None), h + skip, **CLOSE)


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


# --- dropout, labels, precision --------------------------------------------------------------------------------------


def test_dropout_follows_its_key(net):
    network, params, apply = net
    trained = jax.jit(lambda p, key: network.apply(p, points(), key=key, cond=LABELS))
    first = trained(params, jax.random.key(1))
    np.testing.assert_array_equal(first, trained(params, jax.random.key(1)))
    assert float(jnp.abs(first - trained(params, jax.random.key(2))).max()) > 1e-2
    plain = apply(params, points(), LABELS)
    np.testing.assert_array_equal(plain, apply(params, points(), LABELS))
    assert float(jnp.abs(first - plain).max()) > 1e-2


@pytest.mark.parametrize("channels", [6, 5])
def test_dropped_entries_are_binomial_and_the_rest_is_scaled(channels):
    x = jnp.ones((20_000, channels))
    out = np.asarray(layers.drop(x, 0.1, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(out), [0.0, 1.0 / 0.9], rtol=1e-6)  # one division
    dropped = out == 0.0
    # five standard deviations of a binomial share, over all entries and for each channel
    assert abs(dropped.mean() - 0.1) < 5 * math.sqrt(0.09 / dropped.size)
    assert np.all(np.abs(dropped.mean(0) - 0.1) < 5 * math.sqrt(0.09 / 20_000))
    # neighbouring channels share a random word, but are independent: correlation of 20,000 pairs, five deviations
    assert np.all(np.abs(np.corrcoef(dropped.T)[0, 1:]) < 5 / math.sqrt(20_000))
    assert layers.drop(x, 0.0, jax.random.key(0)) is x
    assert layers.drop(x, 0.1, None) is x


def test_each_label_has_its_own_field(net):
    _, params, apply = net
    x = jnp.broadcast_to(points()[:1], (N, DIM + 1))
    out = apply(params, x, LABELS)
    gaps = jnp.abs(out[:, None] - out[None]).max(-1) + jnp.eye(N)
    assert float(gaps.min()) > 1e-3


def test_no_labels_means_the_null_label():
    network = mlp(2, gap=4.0, num_classes=2)
    params = perturbed(network.init(jax.random.key(0)))
    x = jnp.ones((3, 3))
    out = network.apply(params, x, cond=jnp.array([0, 1, -1]))
    assert len(np.unique(out[:, 0])) == 3
    np.testing.assert_allclose(
        network.apply(params, x)[0], out[2], rtol=1e-6
    )  # equal rows, other vector lanes


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


def test_mlp_under_jit_equals_eager():
    network = mlp(2, gap=4.0)
    params = perturbed(network.init(jax.random.key(0)))
    # the same sums, fused in another order
    np.testing.assert_allclose(
        network.apply(params, points(2)), jax.jit(network.apply)(params, points(2)), rtol=1e-5, atol=1e-5
    )


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


def test_mlp_under_vmap():
    network = mlp(2, gap=4.0)
    params = perturbed(network.init(jax.random.key(0)))
    x = points(2)
    one = jax.vmap(lambda row: network.apply(params, row[None])[0])(x)
    np.testing.assert_allclose(one, network.apply(params, x), rtol=1e-5, atol=1e-6)  # another order of sums


# --- sizes and bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((7, 5, 3), dict(multipliers=(1,))),
        ((12, 4, 1), dict(multipliers=(1, 2, 3))),
        ((6, 10, 5), dict(multipliers=(2, 1), width=6)),
        ((12, 20, 2), dict(multipliers=(1, 2), patch=2)),
        ((9, 3, 4), dict(multipliers=(1,), patch=3)),
        ((1, 1, 1), dict(multipliers=(1,), width=4)),
    ],
)
def test_any_size_that_divides(shape, options):
    network = unet(shape, gap=1.0, **{"width": 8, "blocks": 1, "attention": (6,), **options})
    params = jax.eval_shape(network.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((3, math.prod(shape) + 1), jnp.float32)
    assert jax.eval_shape(network.apply, params, x).shape == x.shape


def test_attention_sits_where_it_is_asked_for():
    def attention_at(**options):
        network = unet((16, 8, 1), gap=1.0, width=8, multipliers=(1, 1), blocks=2, **options)
        params = jax.eval_shape(network.init, jax.random.key(0))
        return {way: [k for k in "012345" if "attention" in params[way].get(k, {})] for way in ("down", "up")}

    assert attention_at(attention=()) == {"down": [], "up": []}
    assert attention_at(attention=(16,)) == {"down": ["0", "1"], "up": ["5"]}
    assert attention_at(attention=(8,)) == {"down": ["2", "3"], "up": ["2"]}
    assert attention_at(attention=(8,), patch=2) == {"down": ["0", "1"], "up": ["5"]}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unet((28, 28, 1), gap=1.0, multipliers=(1, 2, 2, 2)), "divisible by .* = 8, got 28 x 28"),
        (lambda: unet((8, 6, 1), gap=1.0, multipliers=(1, 2), patch=2), "divisible by .* = 4, got 8 x 6"),
        (lambda: unet((8, 8), gap=1.0), "hold 3 whole numbers"),
        (lambda: unet((8, 8, 0), gap=1.0), ">= 1, got 0"),
        (lambda: unet((8, 8, 1), gap=0.0), "gap must be a finite number > 0"),
        (lambda: unet((8, 8, 1), gap=float("nan")), "gap must be a finite number > 0"),
        (lambda: unet((8, 8, 1), gap=1.0, scale=-1.0), "scale must be > 0"),
        (lambda: unet((8, 8, 1), gap=1.0, scale=np.ones(3)), "each of the 64 dimensions"),
        (lambda: unet((8, 8, 1), gap=1.0, loc=float("inf")), "loc must be a finite number"),
        (lambda: unet((8, 8, 1), gap=1.0, width=7), "width must be even, got 7"),
        (lambda: unet((8, 8, 1), gap=1.0, width=2), "width must be a whole number >= 4"),
        (lambda: unet((8, 8, 1), gap=1.0, multipliers=()), "at least one number"),
        (lambda: unet((8, 8, 1), gap=1.0, blocks=0), "blocks must be a whole number >= 1"),
        (lambda: unet((8, 8, 1), gap=1.0, attention=16), "attention must be a tuple"),
        (lambda: unet((8, 8, 1), gap=1.0, dropout=1.0), r"dropout must lie in \[0, 1\)"),
        (lambda: unet((8, 8, 1), gap=1.0, dtype="float16"), "dtype must be one of 'float32', 'bfloat16'"),
        (lambda: unet((8, 8, 1), gap=1.0, patch=0), "patch must be a whole number >= 1"),
        (lambda: unet((8, 8, 1), gap=1.0, num_classes=0), "num_classes must be a whole number >= 1"),
        (lambda: unet((8, 8, 1), gap=1.0, z_scale=0.0), "z_scale must be a finite number > 0"),
        (lambda: mlp(0, gap=1.0), "dim must be a whole number >= 1"),
        (lambda: mlp(2.5, gap=1.0), "dim must be a whole number >= 1"),
        (lambda: mlp(2, gap=1.0, depth=0), "depth must be a whole number >= 1"),
        (lambda: mlp(2, gap=1.0, activation="sine"), "activation must be one of 'selu'"),
        (lambda: mlp(2, gap=1.0, octaves=-1), "octaves must be a whole number >= 0"),
        (lambda: mlp(2, gap=1.0, height="cubic"), "height must be one of 'linear', 'log', got 'cubic'"),
        (lambda: mlp(2, gap=1.0, height="log", least=0.0), "least must be .* between 0 and gap = 1.0, got 0"),
        (lambda: mlp(2, gap=1e-3, height="log"), "least must be .* between 0 and gap = 0.001, got 0.001"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "x", "cond", "message"),
    [
        ({}, np.ones((3, 4), np.float32), None, r"shape \[n, 3\] \(2 coordinates and z\), got \(3, 4\)"),
        ({}, np.ones(3, np.float32), None, r"shape \[n, 3\]"),
        ({}, np.ones((2, 3), np.complex64), None, "floating-point numbers, got dtype complex64"),
        ({}, np.ones((2, 3), np.float32), np.zeros(2, int), "network without classes"),
        (
            {"num_classes": 2},
            np.ones((2, 3), np.float32),
            np.zeros(3, int),
            r"shape \(2,\), got shape \(3,\)",
        ),
        ({"num_classes": 2}, np.ones((2, 3), np.float32), np.zeros(2), "integer label"),
    ],
)
def test_bad_arguments_of_apply_are_named(options, x, cond, message):
    network = mlp(2, gap=1.0, **options)
    params = network.init(jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        network.apply(params, x, cond=cond)


# --- they learn ------------------------------------------------------------------------------------------------------


def fit(network, field, sample, steps, rate):
    """Train on fresh points of `sample` with target `field`; return the mean squared error on new ones."""
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

    @jax.jit
    def step(params, state, key):
        x = sample(key)
        gradient = jax.grad(lambda p: jnp.mean((network.apply(p, x, key=key) - field(x)) ** 2))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    params = network.init(jax.random.key(0))
    state = optimizer.init(params)
    for key in jax.random.split(jax.random.key(1), steps):
        params, state = step(params, state, key)
    x = sample(jax.random.key(2))
    return float(jnp.mean((jax.jit(network.apply)(params, x) - field(x)) ** 2))


def test_mlp_learns_the_field_of_a_dipole():
    gap, n = 6.0, 256
    plus, minus = jnp.array([-1.0, 0.0, 0.0]), jnp.array([1.0, 0.0, gap])

    def field(points):
        """Unit direction of one charge +1 on the plate at 0 and one -1 on the plate at the gap, D = 2."""
        pull = lambda charge: (points - charge) / jnp.linalg.norm(points - charge, axis=1, keepdims=True) ** 3  # noqa: E731
        e = pull(plus) - pull(minus)
        return math.sqrt(3) * e / jnp.linalg.norm(e, axis=1, keepdims=True)

    def sample(key):
        x, z = jax.random.split(key)
        x = jax.random.uniform(x, (n, 2), minval=-4.0, maxval=4.0)
        return jnp.concatenate([x, jax.random.uniform(z, (n, 1), minval=0.2, maxval=gap - 0.2)], axis=1)

    # mean square of the target is 1; a network blind to z, to one of the coordinates or to the signs stays above 0.1
    assert fit(mlp(2, gap=gap, scale=2.0), field, sample, 1500, 5e-3) < 5e-3


def test_mlp_with_log_heights_learns_a_field_over_five_decades():
    def field(points):
        """The way from the data, N(0, 1), to where a Gaussian of width z has blurred it to, over z."""
        x, z = points[:, :1], points[:, 1:]
        return jnp.concatenate([x * z / (1 + z**2), jnp.ones_like(z)], axis=1)

    def sample(key):
        key_x, key_z = jax.random.split(key)
        z = 1e-3 * 4e4 ** jax.random.uniform(key_z, (256, 1))
        return jnp.concatenate([jnp.sqrt(1 + z**2) * jax.random.normal(key_x, (256, 1)), z], axis=1)

    options = {"gap": 40.0, "width": 32, "depth": 2, "z_scale": 1.0}
    # of a mean square of 0.6; a network that sees height / gap alone is left with forty times as much
    assert fit(mlp(1, **options, height="log"), field, sample, 400, 5e-3) < 1e-3
    assert fit(mlp(1, **options), field, sample, 400, 5e-3) > 5e-3


@pytest.mark.slow
def test_unet_learns_to_pull_pictures_to_a_template():
    shape, gap = (8, 8, 1), 4.0
    template = jnp.asarray(np.sign(np.random.default_rng(0).normal(size=64)), jnp.float32)

    def field(points):
        """Pull on x towards a fixed picture, which turns over at mid-gap; E_z grows with the height."""
        x, z = points[:, :-1], points[:, -1:]
        return jnp.concatenate([jnp.where(z < gap / 2, template - x, -template - x), z], axis=1)

    def sample(key):
        x, z = jax.random.split(key)
        return jnp.concatenate([jax.random.normal(x, (32, 64)), gap * jax.random.uniform(z, (32, 1))], axis=1)

    network = unet(shape, gap=gap, width=16, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0)
    # mean square of the target is 2
    assert fit(network, field, sample, 1000, 2e-3) < 0.2
