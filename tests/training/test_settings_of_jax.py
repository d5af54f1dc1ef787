"""A training step of every recipe under JAX's own settings, and a sampler exported for any number of samples."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export

from efm_jax import lines, networks, sampling
from efm_jax.matching import c2fm, cfm, couplings, efm, ifm, pfgm
from efm_jax.training import adam, init_state, make_train_step

RECIPES = {
    "efm": efm(2.0),
    "c2fm": c2fm(2.0, target="velocity"),
    "ifm": ifm(2.0),
    "cfm": cfm(2.0, coupling=couplings.minibatch_ot()),
    "cfm by sinkhorn": cfm(2.0, coupling=couplings.sinkhorn()),
    "pfgm": pfgm(2.0),
}
NETWORKS = {
    "mlp": networks.mlp(16, width=8, depth=1, gap=2.0),
    "unet": networks.unet((4, 4, 1), width=8, multipliers=(1,), blocks=1, attention=(), gap=2.0),
}
SETTINGS = {
    "strict promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "64 bits": lambda: jax.enable_x64(True),
    "rbg keys": lambda: jax.default_prng_impl("rbg"),
    "legacy keys": contextlib.nullcontext,
    "leak checks": jax.checking_leaks,
}
X = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)


def one_step(recipe, network, key):
    optimizer = adam(1e-3, warmup=2, weight_decay=0.1, cosine_steps=9)
    return make_train_step(recipe, network, optimizer)(init_state(key, network, optimizer), X, X + 1)


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_step_of_every_recipe_can_be_compiled_under(setting):
    with SETTINGS[setting]():
        key = jax.random.PRNGKey(0) if setting == "legacy keys" else jax.random.key(0)
        for recipe, network in [*((name, "mlp") for name in RECIPES), ("cfm", "unet")]:
            before = jax.eval_shape(
                lambda k, net=NETWORKS[network]: init_state(k, net, adam(weight_decay=0.1)), key
            )
            step = jax.eval_shape(
                lambda k, pair=(RECIPES[recipe], NETWORKS[network]): one_step(*pair, k), key
            )
            assert step[1].loss.dtype == jnp.float32, (recipe, network)
            assert jax.tree.map(lambda leaf: leaf.dtype, step[0]) == jax.tree.map(
                lambda leaf: leaf.dtype, before
            )


@pytest.mark.parametrize(
    "recipe",
    ["cfm", "ifm", "pfgm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("efm", "c2fm"))],
)
def test_a_step_makes_no_nan_on_its_way(recipe):
    with jax.debug_nans(True):
        _, info = one_step(RECIPES[recipe], NETWORKS["mlp"], jax.random.key(0))
        assert info.finite


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_sampler_is_exported_for_any_number_of_samples(network):
    state = init_state(jax.random.key(0), NETWORKS[network], optax.sgd(1e-3))

    def carried(x):
        return sampling.transport(
            state, RECIPES["efm"], NETWORKS[network], x, stepping=lines.fixed(steps=2)
        ).end

    (number,) = export.symbolic_shape("number")
    exported = export.export(jax.jit(carried))(jax.ShapeDtypeStruct((number, 16), jnp.float32))
    for count in (1, 5):
        # another program of the same numbers
        np.testing.assert_allclose(exported.call(X[:count]), carried(X[:count]), rtol=1e-5, atol=1e-5)
