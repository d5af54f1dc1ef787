"""Adam with clipping, warm-up, decay and cosine against float64 NumPy, and on a quadratic."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efm_jax.training import adam


def adam_reference(params, grads, rate, warmup, clip, weight_decay, cosine_steps, b1=0.9, b2=0.999, eps=1e-8):
    """Clipped Adam(W) with warm-up and cosine, in float64."""
    params = params.astype(np.float64)
    mean, square = np.zeros_like(params), np.zeros_like(params)
    for t, grad in enumerate(grads.astype(np.float64)):
        if clip is not None:
            grad = grad * min(1.0, clip / np.linalg.norm(grad))
        mean = b1 * mean + (1 - b1) * grad
        square = b2 * square + (1 - b2) * grad**2
        step = mean / (1 - b1 ** (t + 1)) / (np.sqrt(square / (1 - b2 ** (t + 1))) + eps)
        scale = min((t + 1) / warmup, 1.0) if warmup else 1.0
        if cosine_steps is not None:
            progress = min(max((t - warmup) / (cosine_steps - warmup), 0.0), 1.0)
            scale *= (1 + math.cos(math.pi * progress)) / 2
        params = params - rate * scale * (step + weight_decay * params)
    return params


@pytest.mark.parametrize(
    ("warmup", "clip", "weight_decay", "cosine_steps"),
    [(5, 1.0, 0.0, None), (0, None, 0.0, None), (3, 2.0, 0.1, None), (4, 1.0, 0.0, 11)],
)
def test_adam_is_clipped_adam_with_warm_up(warmup, clip, weight_decay, cosine_steps):
    rng = np.random.default_rng(0)
    params = rng.normal(size=6).astype(np.float32)
    # norms from 0.1 to 100: some are clipped and some are not
    grads = (rng.normal(size=(14, 6)) * 10.0 ** rng.uniform(-1.5, 1.5, (14, 1))).astype(np.float32)
    optimizer = adam(0.05, warmup=warmup, clip=clip, weight_decay=weight_decay, cosine_steps=cosine_steps)
    got, state = jnp.array(params), optimizer.init(params)
    for grad in grads:
        updates, state = optimizer.update(jnp.array(grad), state, got)
        got = optax.apply_updates(got, updates)
    expected = adam_reference(params, grads, 0.05, warmup, clip, weight_decay, cosine_steps)
    # 14 float32 updates of size 0.05: a few hundred ulps of 1 at most
    np.testing.assert_allclose(got, expected, atol=5e-6)


def test_adam_finds_the_minimum_of_a_quadratic():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(5, 5))
    matrix = (root @ root.T + np.eye(5)).astype(np.float32)
    solution = rng.normal(size=5).astype(np.float32)
    optimizer = adam(0.05, warmup=10, cosine_steps=600)

    def update(carry, _):
        x, state = carry
        updates, state = optimizer.update(matrix @ (x - solution), state, x)
        return (optax.apply_updates(x, updates), state), None

    start = jnp.zeros(5)
    (x, _), _ = jax.lax.scan(update, (start, optimizer.init(start)), length=600)
    # the rate falls to zero, so what is left is float32 noise of the gradient
    np.testing.assert_allclose(x, solution, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number > 0, got nan"),
        ({"warmup": -1}, "warmup must be a number of updates >= 0, got -1"),
        ({"clip": -2.0}, "clip must be a finite number > 0, got -2.0"),
        ({"weight_decay": -0.1}, "weight_decay must be a finite number >= 0, got -0.1"),
        ({"weight_decay": math.nan}, "weight_decay must be a finite number >= 0, got nan"),
        ({"warmup": math.nan}, "warmup must be a number of updates >= 0, got nan"),
        ({"b1": 1.0}, r"b1 must lie in \[0, 1\), got 1.0"),
        ({"b2": 1.5}, r"b2 must lie in \[0, 1\), got 1.5"),
        ({"eps": -1e-8}, "eps must be a finite number >= 0, got -1e-08"),
        ({"warmup": 10, "cosine_steps": math.nan}, "cosine_steps must be above warmup = 10, got nan"),
        ({"warmup": 10, "cosine_steps": 10}, "cosine_steps must be above warmup = 10, got 10"),
    ],
)
def test_adam_refuses_numbers_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        adam(**options)
