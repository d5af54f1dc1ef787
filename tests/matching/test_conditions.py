"""Class conditions in a step: a class has the field of its own charges, and networks that ignore labels are refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from _fit import fit as fit_run
from _labeled import LINEAR, NEG, OPTIMIZER, POS, RECIPE

from efm_jax import matching, networks, sampling, training
from efm_jax.datasets import batch, toys
from efm_jax.matching import classes, couplings
from efm_jax.types import Batch, Network

GAP = 4.0
RNG = np.random.default_rng(0)
EFM = matching.efm(GAP, num_points=8)


# --- what a step regresses on


def rows(labels, n=24, m=36):
    return batch(POS, 0, 0, 0, n, labels=labels), batch(NEG, 0, 1, 0, m, labels=labels)


def test_the_field_of_a_class_is_that_of_its_charges_alone():
    labels = np.array([2, 0, -1], np.int32)
    x_pos, x_neg = rows(labels)
    drawn = jax.jit(classes.by_class(EFM.draw, 3))(jax.random.key(0), x_pos, x_neg)
    of_points = np.asarray(classes.labels_of_points(labels, len(drawn.points)))
    assert len(drawn.points) == 24
    for group, label in enumerate(labels):
        here = of_points == label
        assert here.sum() == 8
        own_pos, own_neg = np.split(x_pos, 3)[group], np.split(x_neg, 3)[group]
        positions = np.r_[np.c_[own_pos, np.zeros(8)], np.c_[own_neg, np.full(12, GAP)]]
        charge = np.r_[np.full(8, 1 / 8), np.full(12, -1 / 12)]
        expected = reference.coulomb(drawn.points[here], positions, charge)
        # float32 sums over twenty charges, some roundings each, magnified by how much the plates cancel
        error = np.abs(np.asarray(drawn.target[here]) / np.sqrt(3) - expected.direction)
        assert (error.max(1) < 2e-6 * expected.kappa).all()
        # and the other classes' charges are not in it
        everyone = reference.coulomb(
            drawn.points[here],
            np.r_[np.c_[x_pos, np.zeros(24)], np.c_[x_neg, np.full(36, GAP)]],
            np.r_[np.full(24, 1 / 24), np.full(36, -1 / 36)],
        )
        assert np.abs(everyone.direction - expected.direction).max() > 0.05


def test_pairs_keep_to_their_class():
    """Classes 1,000 apart: a pair of two classes would be seen in its velocity."""
    recipe = matching.cfm(GAP, coupling=couplings.minibatch_ot(), num_points=6)
    labels = np.array([0, 2], np.int32)
    far = np.repeat(1000.0 * labels, 6)[:, None]
    x_pos, x_neg = (np.asarray(RNG.normal(size=(12, 2)) + far, np.float32) for _ in range(2))
    drawn = classes.by_class(recipe.draw, 2)(jax.random.key(1), x_pos, x_neg)
    of_points = np.asarray(classes.labels_of_points(labels, 12))
    assert np.abs(np.asarray(drawn.target)).max() < 5.0
    assert (np.abs(np.asarray(drawn.points)[:, :-1] - 1000.0 * of_points[:, None]) < 5.0).all()


def test_one_group_is_the_recipe_itself_and_devices_share_the_points_of_all_groups():
    assert classes.by_class(RECIPE.draw, 1) is RECIPE.draw
    labels = np.array([1, -1], np.int32)
    x_pos, x_neg = rows(labels, 8, 8)
    start = functools.partial(training.init_state, jax.random.key(0), LINEAR, OPTIMIZER)
    one, info = training.make_train_step(RECIPE, LINEAR, OPTIMIZER)(start(), x_pos, x_neg, labels)
    # the step of two devices, mapped on one: each brings half of the rows, gathers all, supervises half of the points
    mapped = training.make_train_step(RECIPE, LINEAR, OPTIMIZER, axis_name="data")
    both = jax.jit(jax.vmap(mapped, in_axes=(None, 0, 0, None), axis_name="data"))
    two, infos = both(start(), *(np.reshape(x, (2, 4, 2)) for x in (x_pos, x_neg)), labels)
    np.testing.assert_allclose(infos.loss, [info.loss] * 2, rtol=1e-6)  # a mean in another order
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        # Adam's first step is the sign of the gradient: rounding shows where that is all but zero
        np.testing.assert_allclose(np.asarray(b)[0], a, atol=1e-5)
    moved = np.abs(np.asarray(one.params["rows"])).max(1) > 0
    assert moved.tolist() == [False, True, False, True]  # the row of class 1, and the last


def test_the_label_reaches_the_network_at_its_own_points():
    """Samples and targets are the label, and so is what the network says: nothing is left to learn."""

    def draw(key, x_pos, x_neg):
        points = jax.random.normal(key, (8, 3))
        return Batch(points, jnp.full((8, 3), x_pos[0, 0]), jnp.ones(8))

    def apply(params, points, *, key=None, cond=None):
        return params[0] * jnp.broadcast_to(cond[:, None].astype(jnp.float32), points.shape)

    network = Network(lambda key: jnp.ones(1), apply, num_classes=3)
    labels = np.array([2, 0, -1, 1], np.int32)
    x = np.repeat(labels, 2)[:, None] * np.ones((1, 2), np.float32)
    step = training.make_train_step(RECIPE._replace(draw=draw), network, OPTIMIZER)
    state, info = step(training.init_state(jax.random.key(0), network, OPTIMIZER), x, x, labels)
    assert float(info.loss) == 0.0
    _, info = step(state, x[::-1], x, labels)  # samples of classes 1, -1, 0, 2
    assert float(info.loss) == 1.0  # the labels of every group are one apart


# --- networks without labels


@pytest.mark.parametrize(
    "network",
    [
        Network(lambda key: jnp.ones(3), lambda params, points, **_: params * points),
        networks.mlp(2, gap=1.0, width=4, depth=1),
    ],
    ids=["of one's own", "mlp"],
)
def test_a_network_without_classes_takes_no_labels(network):
    state = training.init_state(jax.random.key(0), network, OPTIMIZER)
    with pytest.raises(ValueError, match="the network takes no class labels: its num_classes is None"):
        training.make_train_step(RECIPE, network, OPTIMIZER)(state, *rows([0]), np.array([0]))
    with pytest.raises(ValueError, match="the network takes no class labels: its num_classes is None"):
        sampling.transport(state, RECIPE, network, np.zeros((4, 2), np.float32), cond=np.zeros(4, int))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda network: network,
        lambda network: matching.velocity_network(network, 1.0),
        matching.flow_network,
        matching.slope_network,
    ],
    ids=["itself", "velocity", "flow", "slope"],
)
def test_networks_say_how_many_labels_they_take(wrap):
    small = {"gap": 1.0, "width": 4}
    assert wrap(networks.mlp(2, **small, depth=1, num_classes=2)).num_classes == 2
    assert wrap(networks.unet((4, 4, 1), **small, multipliers=(1,), blocks=1, num_classes=5)).num_classes == 5
    assert wrap(networks.mlp(2, **small, depth=1)).num_classes is None


def test_labels_are_refused_where_they_cannot_serve(tmp_path):
    state = training.init_state(jax.random.key(0), LINEAR, OPTIMIZER)
    make = functools.partial(training.make_train_step, network=LINEAR, optimizer=OPTIMIZER)
    with pytest.raises(ValueError, match="one whole number for each group of rows"):
        make(RECIPE)(state, *rows([0]), np.array([0.5]))
    with pytest.raises(ValueError, match="the 24 rows of x_pos must be a multiple of the 5 labels"):
        make(RECIPE)(state, *rows([0]), np.zeros(5, int))
    from efm_jax.charges.plates import capacitor

    held = matching.efm(GAP, charges=capacitor(*rows([0]), GAP))
    with pytest.raises(ValueError, match="holds charges of its own, which are of all classes"):
        make(held)(state, *rows([0]), np.array([0]))
    fit = functools.partial(
        fit_run,
        tmp_path / "run",
        RECIPE,
        LINEAR,
        OPTIMIZER,
        steps=1,
        batch_pos=8,
        batch_neg=8,
        seed=0,
        config={},
    )
    two = POS._replace(classes=POS.classes[:2])
    with pytest.raises(ValueError, match=r"of the same classes, got \[0, 1\] and \[0, 1, 2\]"):
        fit(two, NEG, label_dropout=0.1)
    with pytest.raises(ValueError, match="neither plate's data have any"):
        fit(toys.moons(), toys.moons(), label_dropout=0.1)
    with pytest.raises(ValueError, match="must be multiples of its 3 label groups"):
        fit(POS, NEG, label_dropout=0.1, label_groups=3)
    assert not (tmp_path / "run").exists()
