"""What tests of lines share: a linear flow, whose lines are matrix exponentials, and where lines start."""

import jax.numpy as jnp
import numpy as np

GAP = 2.0
A = np.array([[0.1, -0.6], [0.5, -0.2]])


def linear_field(points):
    """`dx/dz = A x`, times a positive factor that must not matter."""
    x = points[:, :-1]
    scale = 1.0 + jnp.sum(x * x, axis=1, keepdims=True)
    return jnp.concatenate([x @ jnp.asarray(A, x.dtype).T, jnp.ones_like(x[:, :1])], axis=1) * scale


def starts(n=5, dim=2, z=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, dim))
    return jnp.asarray(np.c_[x, np.full(n, z)], jnp.float32)
