"""What tests of training steps share: charges, recipes that draw known points, small networks, a marching optimizer."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from efm_jax.types import Batch, FieldMatching, Network

DIM = 3
X_POS = np.random.default_rng(1).normal(size=(7, DIM)).astype(np.float32)
X_NEG = np.random.default_rng(2).normal(size=(5, DIM)).astype(np.float32)


def recipe_of(draw):
    return FieldMatching(draw, lambda key, x, reverse: x, (0.0, 1.0))


def random_draw(key, x_pos, x_neg):
    """11 points among 7 + 5 charges; NaN charges make NaN targets."""
    points = jax.random.normal(key, (11, x_pos.shape[1] + 1))
    target = points * jnp.mean(x_pos) + jnp.mean(x_neg)
    return Batch(points, target, jnp.ones(11))


DIAGONAL = Network(lambda key: {"a": jnp.ones(DIM + 1)}, lambda params, points, **_: params["a"] * points)


def hidden(width=16):
    def init(key):
        first, last = jax.random.split(key)
        return {
            "first": jax.random.normal(first, (DIM + 1, width)) / math.sqrt(DIM + 1),
            "last": jax.random.normal(last, (width, DIM + 1)) / math.sqrt(width),
        }

    return Network(init, lambda params, points, **_: jnp.tanh(points @ params["first"]) @ params["last"])


def marching(update):
    """An optimizer whose every update is `update`, so that the parameters are known at every step."""
    return optax.GradientTransformation(
        lambda params: (),
        lambda grads, state, params=None: (jax.tree.map(lambda g: jnp.full_like(g, update), grads), state),
    )
