"""Settings of networks: any size that divides, attention where it is asked for, and bad input by name."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.networks import dit, mlp, unet


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
        (lambda: mlp(64, gap=1.0, loc=float("inf")), "loc must be a finite number"),
        (lambda: unet((8, 8, 1), gap=1.0, width=7), "width must be even, got 7"),
        (lambda: unet((8, 8, 1), gap=1.0, width=2), "width must be a whole number >= 4"),
        (lambda: unet((8, 8, 1), gap=1.0, multipliers=()), "at least one number"),
        (lambda: unet((8, 8, 1), gap=1.0, blocks=0), "blocks must be a whole number >= 1"),
        (
            lambda: unet((8, 8, 1), gap=1.0, blocks=10**12),
            "blocks must be at most 1,000, got 1,000,000,000,000",
        ),
        (lambda: dit((8, 8, 1), gap=1.0, depth=10**12), "depth must be at most 1,000, got 1,000,000,000,000"),
        (lambda: mlp(2, gap=1.0, depth=10**12), "depth must be at most 1,000, got 1,000,000,000,000"),
        (lambda: unet((8, 8, 1), gap=1.0, attention=16), "attention must be a tuple"),
        (lambda: unet((8, 8, 1), gap=1.0, dropout=1.0), r"dropout must lie in \[0, 1\)"),
        (lambda: unet((8, 8, 1), gap=1.0, dtype="float16"), "dtype must be one of 'float32', 'bfloat16'"),
        (lambda: unet((8, 8, 1), gap=1.0, patch=0), "patch must be a whole number >= 1"),
        (lambda: unet((8, 8, 1), gap=1.0, num_classes=0), "num_classes must be a whole number >= 1"),
        (lambda: mlp(0, gap=1.0), "dim must be a whole number >= 1"),
        (lambda: mlp(2.5, gap=1.0), "dim must be a whole number >= 1"),
        (lambda: mlp(2, gap=1.0, depth=0), "depth must be a whole number >= 1"),
        (lambda: mlp(2, gap=1.0, activation="sine"), "activation must be one of 'selu'"),
        (lambda: mlp(2, gap=1.0, octaves=-1), "octaves must be a whole number >= 0"),
        (lambda: mlp(2, gap=1.0, height="cubic"), "height must be one of 'linear', 'log', got 'cubic'"),
        (lambda: mlp(2, gap=1.0, height=0.0), "must begin between 0 and gap = 1.0, got 0"),
        (lambda: mlp(2, gap=1e-3, height="log"), "must begin between 0 and gap = 0.001, got 0.001"),
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
