"""Networks learn known fields: a dipole's, one over five decades of height, a pull to a picture."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efm_jax.networks import mlp, unet


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

    options = {"gap": 40.0, "width": 32, "depth": 2}
    # of a mean square of 0.6; a network that sees height / gap alone is left with forty times as much
    assert fit(mlp(1, **options, height="log"), field, sample, 400, 5e-3) < 1e-3
    assert fit(mlp(1, **options), field, sample, 400, 5e-3) > 5e-3


@pytest.mark.slow
def test_unet_learns_to_pull_pictures_to_a_template():
    shape, gap = (8, 8, 1), 4.0
    template = jnp.asarray(np.sign(np.random.default_rng(0).normal(size=64)), jnp.float32)

    def field(points):
        """Pull on x toward a fixed picture, which turns over at mid-gap; E_z grows with the height."""
        x, z = points[:, :-1], points[:, -1:]
        return jnp.concatenate([jnp.where(z < gap / 2, template - x, -template - x), z], axis=1)

    def sample(key):
        x, z = jax.random.split(key)
        return jnp.concatenate([jax.random.normal(x, (32, 64)), gap * jax.random.uniform(z, (32, 1))], axis=1)

    network = unet(shape, gap=gap, width=16, multipliers=(1, 2), blocks=1, attention=(4,), dropout=0.0)
    # mean square of the target is 2
    assert fit(network, field, sample, 1000, 2e-3) < 0.2
