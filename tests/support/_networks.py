"""What tests of networks share: the sizes of a small picture, points between the plates, parameters off their zeros."""

import math

import jax
import jax.numpy as jnp
import numpy as np

SHAPE, N = (8, 8, 2), 4
DIM = math.prod(SHAPE)


def perturbed(params, size=0.1):
    """Parameters moved off their zeros, by a fixed draw."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(1)
    return jax.tree.unflatten(tree, [p + size * rng.normal(size=p.shape).astype(np.float32) for p in leaves])


def points(dim=DIM, n=N, gap=4.0):
    rng = np.random.default_rng(2)
    x = 0.5 + 2.0 * rng.normal(size=(n, dim))
    return jnp.asarray(np.concatenate([x, rng.uniform(0.0, gap, (n, 1))], axis=1), jnp.float32)
