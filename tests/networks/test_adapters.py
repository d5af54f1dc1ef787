"""Networks of other libraries give the numbers of their own models, train, follow lines, and are told apart."""

import pickle
from functools import partial

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from efm_jax import checkpoint, lines, matching, networks, sampling, training

KEY = jax.random.key(0)
POINTS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)


class Nnx(nnx.Module):
    def __init__(self, rngs, rate=0.5):
        self.layers = nnx.List([nnx.Linear(3, 16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)])
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.labels = nnx.Embed(4, 16, rngs=rngs)

    def __call__(self, points, cond):
        h = self.layers[0](points) + self.labels(cond)
        return self.layers[1](self.dropout(jnp.tanh(h)))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, points, *, deterministic):
        h = jnp.tanh(linen.Dense(16)(points))
        return linen.Dense(3)(linen.Dropout(0.5, deterministic=deterministic)(h))


class Equinox(equinox.Module):
    mlp: equinox.nn.MLP
    dropout: equinox.nn.Dropout
    twice: jax.Array

    def __init__(self, key):
        self.mlp = equinox.nn.MLP(3, 3, 16, 1, key=key)
        self.dropout = equinox.nn.Dropout(0.5)
        self.twice = jnp.asarray([2, 2, 2])

    def __call__(self, point, *, key=None):
        return self.mlp(self.dropout(point, key=key)) * self.twice


def function_init(key):
    return {"w": jax.random.normal(key, (3, 3))}


def function_apply(params, points):
    return points @ params["w"]


NETWORKS = {
    "nnx": lambda: networks.from_nnx(Nnx, gap=2.0, num_classes=3),
    "linen": lambda: networks.from_linen(Linen(), dim=2, gap=2.0),
    "equinox": lambda: networks.from_equinox(Equinox, gap=2.0),
    "function": lambda: networks.from_function(function_init, function_apply, gap=2.0),
}


def test_each_gives_the_numbers_of_its_own_model():
    cond = jnp.asarray([0, 1, 2, -1, 0])
    module = Nnx(nnx.Rngs(KEY))
    module.eval()
    network = NETWORKS["nnx"]()
    # equal programs: equal bits but for the order of sums
    close = partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6)
    close(network.apply(network.init(KEY), POINTS, cond=cond), module(POINTS, cond))
    close(network.apply(network.init(KEY), POINTS), module(POINTS, jnp.full(5, -1)))

    network, params = NETWORKS["linen"](), Linen().init(KEY, POINTS, deterministic=True)
    close(network.apply(network.init(KEY), POINTS), Linen().apply(params, POINTS, deterministic=True))

    network = NETWORKS["equinox"]()
    module = equinox.nn.inference_mode(Equinox(KEY))
    close(network.apply(network.init(KEY), POINTS), jax.vmap(module)(POINTS))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_trains_is_saved_followed_and_pickled(name, tmp_path):
    network, optimizer, recipe = NETWORKS[name](), training.adam(0.01, warmup=0), matching.cfm(2.0)
    state = training.init_state(KEY, network, optimizer)
    step = training.make_train_step(recipe, network, optimizer)
    rng = np.random.default_rng(0)
    before = jax.tree.map(np.asarray, state.params)
    for _ in range(3):
        state, info = step(state, *rng.normal(size=(2, 32, 2)).astype(np.float32))
    assert np.isfinite(info.loss)
    assert jax.tree.map(np.shape, before) == jax.tree.map(np.shape, state.params)
    assert any(
        not np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (before, state.params)), strict=True)
    )
    checkpoint.save(tmp_path, state, meta={})
    again, _ = checkpoint.restore(tmp_path, training.init_state(KEY, network, optimizer))
    ends = sampling.transport(again, recipe, network, POINTS[:, :2], stepping=lines.fixed("euler", 2)).end
    assert ends.shape == (5, 3)
    copy = pickle.loads(pickle.dumps(network))
    np.testing.assert_array_equal(copy.apply(state.params, POINTS), network.apply(state.params, POINTS))


@pytest.mark.parametrize("name", ["nnx", "linen", "equinox"])
def test_dropout_draws_from_the_key_and_is_off_without_one(name):
    network = NETWORKS[name]()
    params = network.init(KEY)
    apply = jax.jit(network.apply)
    still, once, again, other = (
        apply(params, POINTS, key=key)
        for key in (None, jax.random.key(1), jax.random.key(1), jax.random.key(2))
    )
    np.testing.assert_array_equal(once, again)
    assert not np.allclose(once, other)
    assert not np.allclose(once, still)
    if name == "equinox":  # each point has a key of its own
        same = apply(params, jnp.ones((64, 3)), key=jax.random.key(1))
        assert len(np.unique(same, axis=0)) > 2


@pytest.mark.parametrize(
    ("bare", "adapter"),
    [
        (Nnx(nnx.Rngs(0)), "nnx"),
        (nnx.Linear(3, 3, rngs=nnx.Rngs(0)), "nnx"),
        (Linen(), "linen"),
        (equinox.nn.MLP(3, 3, 4, 1, key=KEY), "equinox"),
        (lambda points: points, "function"),
    ],
)
def test_a_bare_module_is_told_its_adapter(bare, adapter):
    recipe, optimizer = matching.cfm(2.0), training.adam()
    state = training.init_state(KEY, NETWORKS["function"](), optimizer)
    for use in (
        lambda: training.init_state(KEY, bare, optimizer),
        lambda: training.make_train_step(recipe, bare, optimizer),
        lambda: sampling.transport(state, recipe, bare, POINTS[:, :2]),
        lambda: sampling.learned_field(bare, state.params),
    ):
        with pytest.raises(ValueError, match=rf"got \w+\.\nWrap it with networks\.from_{adapter}\."):
            use()


def test_modules_in_a_row_are_networks():
    layers = [linen.Dense(16), jnp.tanh, linen.Dense(3)]
    flax = networks.from_linen(linen.Sequential(layers), dim=2)
    params = flax.init(KEY)
    for key in (None, KEY):
        field = linen.Sequential(layers).apply({"params": params}, POINTS)
        np.testing.assert_array_equal(flax.apply(params, POINTS, key=key), field)
    in_nnx = networks.from_nnx(
        lambda rngs: nnx.Sequential(nnx.Linear(3, 16, rngs=rngs), jnp.tanh, nnx.Linear(16, 3, rngs=rngs))
    )
    assert in_nnx.apply(in_nnx.init(KEY), POINTS, key=KEY).shape == POINTS.shape
    tanh = equinox.nn.Lambda(jnp.tanh)
    eqx = networks.from_equinox(lambda key: equinox.nn.Sequential([equinox.nn.Linear(3, 3, key=key), tanh]))
    assert eqx.apply(eqx.init(KEY), POINTS, key=KEY).shape == POINTS.shape


def test_what_an_adapter_cannot_take_is_named():
    with pytest.raises(ValueError, match="a function that builds the module, got Nnx"):
        networks.from_nnx(Nnx(nnx.Rngs(0)))
    with pytest.raises(ValueError, match="a function that builds the module, got MLP"):
        networks.from_equinox(equinox.nn.MLP(3, 3, 4, 1, key=KEY))
    with pytest.raises(ValueError, match="state besides its parameters, in "):
        networks.from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs)).init(KEY)
    with pytest.raises(ValueError, match="state besides its parameters, in batch_stats"):
        networks.from_linen(linen.BatchNorm(use_running_average=True), dim=2).init(KEY)
    short = networks.from_function(function_init, lambda params, points: points[:, :2])
    with pytest.raises(ValueError, match=r"one vector for each point, \(5, 3\), got \(5, 2\)"):
        short.apply(None, POINTS)
    with pytest.raises(ValueError, match="cond was given to a network without classes"):
        NETWORKS["linen"]().apply({}, POINTS, cond=jnp.zeros(5, int))
