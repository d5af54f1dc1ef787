"""Sources, couplings, points, widths, recipes and networks can be pickled, do the same then, and are compiled once."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import charges, datasets, fields, lines, matching, networks, sampling, training
from efm_jax.datasets import batch, digits, spaces, toys
from efm_jax.fields import widths
from efm_jax.matching import couplings, points

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 6, 2)).astype(np.float32)
PICTURES = RNG.integers(0, 255, (6, 8, 8, 3)).astype(np.uint8)
VECTORS = RNG.normal(size=(9, 4)).astype(np.float32)


def again(value):
    return pickle.loads(pickle.dumps(value))


SOURCES = {
    "array": lambda: datasets.from_array(VECTORS),
    "pairs": lambda: datasets.from_pairs(X, Y)[1],
    "pictures": lambda: datasets.from_pictures(PICTURES, flip=True),
    "jittered": lambda: datasets.jittered(datasets.from_pictures(PICTURES)),
    "digits": lambda: digits.colored(PICTURES[..., 0], size=None),
    "classes": lambda: datasets.with_classes(datasets.from_array(VECTORS), np.arange(9) % 3),
    "components": lambda: spaces.wrap(
        datasets.from_array(VECTORS), spaces.principal_components(VECTORS, VECTORS, 2)
    ),
    "noise in components": lambda: spaces.wrap(
        datasets.white_noise((4,)), spaces.principal_components(VECTORS, VECTORS, 2)
    ),
    **{
        name: getattr(toys, name)
        for name in (
            "swiss_roll",
            "two_gaussians",
            "eight_gaussians",
            "moons",
            "s_curve",
            "checkerboard",
            "rings",
        )
    },
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_pickled_source_draws_the_same(name):
    source = SOURCES[name]()
    copy = again(source)
    np.testing.assert_array_equal(batch(copy, 0, 1, 2, 5), batch(source, 0, 1, 2, 5))
    for one, other in zip(source.classes or (), copy.classes or (), strict=True):
        np.testing.assert_array_equal(batch(one, 0, 1, 2, 5), batch(other, 0, 1, 2, 5))


RECIPES = {
    "efm": lambda: matching.efm(6.0, num_points=8),
    "efm of given charges": lambda: matching.efm(6.0, num_points=8, charges=charges.capacitor(X, Y, 6.0)),
    "per plate": lambda: matching.efm(6.0, convention="per_plate", gamma=1.0, points=points.box()),
    "c2fm": lambda: matching.c2fm(6.0, target="robust", num_points=8),
    "ifm": lambda: matching.ifm(6.0, width=widths.bridge(), coupling=couplings.given()),
    "ifm at points": lambda: matching.ifm(6.0, points=points.segment(coupling=couplings.given())),
    "cfm": lambda: matching.cfm(coupling=couplings.minibatch_ot(), width=widths.ramped()),
    "sinkhorn": lambda: matching.cfm(coupling=couplings.sinkhorn(0.1)),
    "tubes": lambda: matching.tubes(),
    "pfgm": lambda: matching.pfgm(num_points=8),
    "near the plates": lambda: matching.efm(6.0, points=points.near_plate(), num_points=8),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_pickled_recipe_gives_the_same_batch(name):
    recipe = RECIPES[name]()
    copy = again(recipe)
    for one, other in zip(recipe.draw(KEY, X, Y), copy.draw(KEY, X, Y), strict=True):
        np.testing.assert_array_equal(one, other)
    for reverse in (False, True):
        np.testing.assert_array_equal(recipe.start(KEY, X, reverse), copy.start(KEY, X, reverse))
    assert copy.span == recipe.span


NETWORKS = {
    "mlp": lambda: networks.mlp(2, gap=1.0, width=4, depth=1, num_classes=3),
    "velocity": lambda: matching.velocity_network(
        networks.mlp(2, gap=1.0, width=4, depth=1, height="log"), 1.0
    ),
    "capacitor": lambda: matching.capacitor_network(networks.mlp(2, gap=1.0, width=4, depth=1), 1.0, X, Y),
    "flow": lambda: matching.flow_network(networks.mlp(2, gap=1.0, width=4, depth=1)),
    "slope": lambda: matching.slope_network(networks.mlp(2, gap=1.0, width=4, depth=1)),
    "tail": lambda: matching.tail_network(networks.mlp(2, gap=1.0, width=4, depth=1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_pickled_network_has_the_same_parameters_and_field(name):
    network = NETWORKS[name]()
    network.init(KEY)  # what it keeps after its first use does not go along
    copy = again(network)
    params = network.init(KEY)
    jax.tree.map(np.testing.assert_array_equal, copy.init(KEY), params)
    where = jnp.concatenate([X, jnp.full((6, 1), 0.5)], axis=1)
    np.testing.assert_array_equal(copy.apply(params, where), network.apply(params, where))
    assert copy[2:] == network[2:]


def test_values_are_compiled_once():
    traced = []

    def once(name, function):
        def counted(*arguments):
            traced.append(name)
            return function(*arguments)

        return jax.jit(counted)

    recipe, network = RECIPES["efm of given charges"](), NETWORKS["flow"]()
    draw = once("draw", lambda draw, key: draw(key, jnp.asarray(X), jnp.asarray(Y)).target)
    follow = once("follow", lambda field, where: field(where))
    for seed in range(3):
        draw(recipe.draw, jax.random.key(seed))
        params = network.init(jax.random.key(seed))
        follow(sampling.learned_field(network, params), jnp.ones((4, 3)))
    assert traced == ["draw", "follow"]


def test_a_run_may_be_sent_to_another_process():
    """What a step of training and a sampler are made of, after pickle, gives the same numbers."""
    parts = matching.cfm(num_points=8), NETWORKS["flow"]()
    optimizer, ends = training.adam(0.01, warmup=0), []
    for recipe, network in (parts, again(parts)):
        state = training.init_state(KEY, network, optimizer)
        state, _ = training.make_train_step(recipe, network, optimizer)(state, X, Y)
        ends.append(sampling.transport(state, recipe, network, X, stepping=lines.fixed("euler", 2)).end)
    np.testing.assert_array_equal(*ends)


FIELDS = {
    "plates": lambda: fields.field_fn(charges.capacitor(X, Y, gap=2.0), convention="per_plate", gamma=0.5),
    "chain": lambda: fields.chain_fn(X, Y, 2.0),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_pickled_field_shares_the_lines_of_the_first(name):
    field, starts, traces = FIELDS[name](), np.c_[X, np.full(6, 0.5)].astype(np.float32), []

    @jax.jit
    def ends(field, points):
        traces.append(points.shape)
        return field(points)

    np.testing.assert_array_equal(ends(field, starts), ends(again(field), starts))
    np.testing.assert_array_equal(ends(FIELDS[name](), starts), ends(field, starts))
    assert len(traces) == 1
