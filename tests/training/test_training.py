"""The training step: weighted least squares, keys of its own, one compilation, donated state, bad input by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from _steps import DIAGONAL, DIM, X_NEG, X_POS, hidden, random_draw, recipe_of

from efm_jax import matching, networks
from efm_jax.matching import by_height
from efm_jax.training import adam, ema_params, init_state, make_train_step
from efm_jax.types import Batch, Network


def frozen(points, target, weight):
    return recipe_of(lambda key, x_pos, x_neg: Batch(jnp.array(points), jnp.array(target), jnp.array(weight)))


# --- the step


@pytest.mark.smoke
def test_loss_gradient_and_update_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(4)
    points, target = rng.normal(size=(2, 9, DIM + 1)).astype(np.float32)
    weight = rng.uniform(0.1, 3.0, 9).astype(np.float32)
    optimizer = optax.sgd(0.5)
    step = make_train_step(frozen(points, target, weight), DIAGONAL, optimizer)
    state, info = step(init_state(jax.random.key(0), DIAGONAL, optimizer), X_POS, X_NEG)
    loss = np.mean(weight * ((points - target) ** 2).sum(-1)) / (DIM + 1)
    grad = 2 * (weight[:, None] * (points - target) * points).mean(0) / (DIM + 1)
    # sums of 9 to 36 float32 terms of order 1
    np.testing.assert_allclose(info.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(info.grad_norm, np.linalg.norm(grad), rtol=1e-5)
    np.testing.assert_allclose(state.params["a"], 1 - 0.5 * grad, rtol=1e-5)
    assert info.finite
    assert (int(state.step), int(state.skipped)) == (1, 0)


@pytest.mark.smoke
def test_loss_on_a_frozen_batch_falls():
    rng = np.random.default_rng(5)
    points, target = rng.normal(size=(2, 32, DIM + 1)).astype(np.float32)
    network, optimizer = hidden(64), adam(1e-2, warmup=5)
    step = make_train_step(frozen(points, target, np.ones(32, np.float32)), network, optimizer)
    state, losses = init_state(jax.random.key(0), network, optimizer), []
    for _ in range(300):
        state, info = step(state, X_POS, X_NEG)
        losses.append(float(info.loss))
    # 512 parameters fit 128 numbers; a wrong sign of gradient or update makes the loss rise
    assert losses[-1] < 0.05 * losses[0]


def test_draw_and_network_get_keys_of_their_own_new_at_every_step_and_fixed_by_the_state():
    def noise(params, points, *, key=None, cond=None):
        return params["a"] * jax.random.normal(key, points.shape)

    def draw(key, x_pos, x_neg):
        points = jax.random.normal(key, (2000, DIM + 1))
        return Batch(points, points, jnp.ones(2000))

    network, optimizer = Network(DIAGONAL.init, noise), optax.sgd(1e-9)
    step = make_train_step(recipe_of(draw), network, optimizer)
    runs = []
    for _ in range(2):
        state, losses = init_state(jax.random.key(6), network, optimizer), []
        for _ in range(3):
            state, info = step(state, X_POS, X_NEG)
            losses.append(float(info.loss))
        runs.append(losses)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3
    # difference of two independent standard normals has variance 2; one key for both would give 0.
    # Standard error over 8,000 numbers: 2 sqrt(2/8000) = 0.03
    assert all(abs(loss - 2.0) < 0.15 for loss in runs[0])


def test_parameters_and_steps_have_keys_of_their_own():
    seen = []

    def init(key):
        seen.append(key)
        return DIAGONAL.init(key)

    key = jax.random.key(3)
    state = init_state(key, Network(init, DIAGONAL.apply), optax.sgd(0.1))
    words = {tuple(jax.random.key_data(each).tolist()) for each in (key, state.key, *seen)}
    assert len(words) == 3


def test_each_device_draws_its_own_noise():
    """At points 1 and -1 of two devices one and the same noise would cancel in the gradient."""

    def draw(key, x_pos, x_neg):
        points = jnp.asarray([[1.0], [-1.0]]) * jnp.ones((2, DIM + 1))
        return Batch(points, jnp.zeros_like(points), jnp.ones(2))

    def noisy(params, points, *, key, cond=None):
        return params["a"] + points * jax.random.normal(key, points.shape)

    network, optimizer = Network(DIAGONAL.init, noisy), optax.sgd(0.5)
    step = make_train_step(recipe_of(draw), network, optimizer, axis_name="data")
    state = init_state(jax.random.key(0), network, optimizer)
    parts = X_POS[:6].reshape(2, 3, DIM), X_NEG[:4].reshape(2, 2, DIM)
    state, _ = jax.vmap(step, in_axes=(None, 0, 0), axis_name="data")(state, *parts)
    one, other = np.asarray(state.params["a"])
    np.testing.assert_array_equal(one, other)
    # without noise, or where it cancels, the gradient of a^2 / 4 takes 1 to 3/4
    assert np.abs(one - 0.75).min() > 1e-3


def test_half_precision_samples_and_networks_are_computed_with_in_float32():
    seen = []

    def draw(key, x_pos, x_neg):
        seen.extend((x_pos.dtype, x_neg.dtype))
        points = jnp.ones((4, DIM + 1))
        return Batch(points, points + 2.0**-10, jnp.ones(4))

    # bfloat16 knows 1 and not 1 + 2^-10
    network = Network(DIAGONAL.init, lambda params, points, **_: (params["a"] * points).astype(jnp.bfloat16))
    optimizer = optax.sgd(0.1)
    step = make_train_step(recipe_of(draw), network, optimizer)
    state = init_state(jax.random.key(0), network, optimizer)
    _, info = step(state, X_POS.astype(np.float16), jnp.asarray(X_NEG, jnp.bfloat16))
    assert seen == [jnp.float32, jnp.float32]
    assert float(info.loss) == 2.0**-20


def test_state_is_donated():
    network, optimizer = hidden(), adam()
    state = init_state(jax.random.key(0), network, optimizer)
    old = jax.tree.leaves(state)
    assert len({leaf.unsafe_buffer_pointer() for leaf in old if leaf.dtype == jnp.float32}) == sum(
        leaf.dtype == jnp.float32 for leaf in old
    )
    make_train_step(recipe_of(random_draw), network, optimizer)(state, X_POS, X_NEG)
    assert all(leaf.is_deleted() for leaf in old)


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: adam(1e-3, warmup=3, weight_decay=0.1),
        lambda: optax.sgd(0.1, momentum=0.9),
        lambda: optax.inject_hyperparams(optax.adam)(learning_rate=0.1),  # holds weakly typed scalars
        lambda: optax.chain(
            optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.lion(1e-3)
        ),  # holds a PRNG key
    ],
    ids=["adam", "momentum", "injected", "noise"],
)
def test_any_transformation_trains_and_compiles_once(make_optimizer):
    traced, optimizer = [], make_optimizer()

    def draw(key, x_pos, x_neg):
        traced.append(x_pos.shape)
        return random_draw(key, x_pos, x_neg)

    network = hidden()
    step = make_train_step(recipe_of(draw), network, optimizer)
    state = init_state(jax.random.key(0), network, optimizer)
    for t in range(4):
        state, info = step(state, X_POS + np.float32(t), X_NEG)
        assert info.finite
    assert step._cache_size() == 1
    state, _ = step(state, jnp.array(X_POS), X_NEG)  # arrays of numpy or of JAX: one program
    assert len(traced) == 1
    assert int(state.step) == 5


def test_arrays_of_the_recipe_are_arguments_of_the_step_and_no_constants_in_it():
    def draw(held, key, x_pos, x_neg):
        points = jax.random.normal(key, (11, DIM + 1))
        return Batch(points, points * jnp.mean(held), jnp.ones(11))

    held = jnp.arange(6.0).reshape(2, 3)
    optimizer = optax.sgd(0.1)
    steps = [
        make_train_step(recipe_of(bound(draw, held)), DIAGONAL, optimizer)
        for bound in (jax.tree_util.Partial, functools.partial)
    ]
    shapes = jax.eval_shape(lambda: init_state(jax.random.key(0), DIAGONAL, optimizer))
    inputs = [len(jax.tree.leaves(step.lower(shapes, X_POS, X_NEG).args_info)) for step in steps]
    assert inputs[0] == inputs[1] + 1  # the array and nothing else
    results = [step(init_state(jax.random.key(0), DIAGONAL, optimizer), X_POS, X_NEG)[0] for step in steps]
    # a constant may be folded into one rounding less
    np.testing.assert_allclose(results[0].params["a"], results[1].params["a"], rtol=1e-6)
    assert steps[0]._cache_size() == 1


# --- optimizers that ask for the loss


@pytest.mark.parametrize("wrap", [lambda o: o, optax.chain, lambda o: optax.MultiSteps(o, 1)])
def test_an_optimizer_that_asks_for_the_loss_gets_that_of_the_step(wrap):
    """Polyak's step is loss / |gradient|^2 against the gradient."""
    rng = np.random.default_rng(4)
    points, target = rng.normal(size=(2, 9, DIM + 1)).astype(np.float32)
    optimizer = wrap(optax.polyak_sgd(max_learning_rate=100.0))
    step = make_train_step(frozen(points, target, np.ones(9)), DIAGONAL, optimizer)
    state, info = step(init_state(jax.random.key(0), DIAGONAL, optimizer), X_POS, X_NEG)
    loss = ((points - target) ** 2).sum() / 9 / (DIM + 1)
    grad = 2 * ((points - target) * points).mean(0) / (DIM + 1)
    np.testing.assert_allclose(info.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(state.params["a"], 1 - loss / (grad**2).sum() * grad, rtol=1e-5)


def test_a_rate_falls_where_the_loss_does_not():
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=2)
    optimizer = optax.chain(optax.sgd(0.0), plateau)  # nothing moves
    step = make_train_step(
        frozen(*np.ones((2, 9, DIM + 1)) * [[[1.0]], [[2.0]]], np.ones(9)), DIAGONAL, optimizer
    )
    state = init_state(jax.random.key(0), DIAGONAL, optimizer)
    for _ in range(5):
        state, _ = step(state, X_POS, X_NEG)
    assert float(state.opt_state[1].best_value) == 1.0
    assert float(state.opt_state[1].scale) == 0.25


@pytest.mark.parametrize("optimizer", [optax.lbfgs(), optax.chain(optax.clip(1.0), optax.lbfgs())])
def test_an_optimizer_that_asks_for_more_than_the_loss_is_refused_before_training(optimizer):
    said = r"optimizer\.update needs 'grad' and 'value_fn', which a training step does not give: it gives value=loss"
    with pytest.raises(ValueError, match=said):
        make_train_step(recipe_of(random_draw), DIAGONAL, optimizer)


def test_an_update_on_the_axis_of_the_devices_is_no_mistake():
    optimizer = optax.GradientTransformation(
        lambda params: (),
        lambda grads, state, params=None: (jax.lax.pmean(grads, "data"), state),
    )
    make_train_step(recipe_of(random_draw), DIAGONAL, optimizer, axis_name="data")


# --- bad input


def bad_batch(**parts):
    def draw(key, x_pos, x_neg):
        return random_draw(key, x_pos, x_neg)._replace(**parts)

    return recipe_of(draw)


@pytest.fixture(scope="module")
def sgd_state():
    return init_state(jax.random.key(0), hidden(), optax.sgd(0.1))


@pytest.mark.parametrize(
    ("recipe", "x_pos", "x_neg", "said"),
    [
        (
            recipe_of(random_draw),
            X_POS,
            X_NEG[:, :2],
            r"same number of dimensions D, got \(7, 3\) and \(5, 2\)",
        ),
        (recipe_of(random_draw), X_POS[:0], X_NEG, r"x_pos must have shape \[n, D\] with n >= 1"),
        (
            recipe_of(random_draw),
            X_POS,
            X_NEG.astype(np.uint8),
            r"x_neg must hold floating-point numbers, got .*uint8",
        ),
        (recipe_of(random_draw), X_POS, X_NEG.reshape(5, 3, 1), r"flatten pictures"),
        (
            bad_batch(weight=np.ones((11, 1))),
            X_POS,
            X_NEG,
            r"weight \[k\] for samples of D = 3, got .*\(11, 1\)",
        ),
        (bad_batch(points=np.ones((11, DIM))), X_POS, X_NEG, r"points \[k, 4\]"),
    ],
    ids=["dims", "empty", "integers", "pictures", "weight", "points"],
)
def test_shapes_that_do_not_fit_are_named(sgd_state, recipe, x_pos, x_neg, said):
    step = make_train_step(recipe, hidden(), optax.sgd(0.1))
    with pytest.raises(ValueError, match=said):
        step(sgd_state, x_pos, x_neg)


def test_a_network_of_another_dimension_is_named(sgd_state):
    flat = Network(hidden().init, lambda params, points, **_: points[:, :2])
    step = make_train_step(recipe_of(random_draw), flat, optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"one field vector for each point, \(11, 4\), got \(11, 2\)"):
        step(sgd_state, X_POS, X_NEG)


def test_a_state_of_another_network_or_optimizer_is_named(sgd_state):
    step = make_train_step(recipe_of(random_draw), hidden(8), optax.sgd(0.1))
    said = r"state.params does not belong to this network: expected \['first'\]: float32\[4, 8\], got float32\[4, 16\]"
    with pytest.raises(ValueError, match=said):
        step(sgd_state, X_POS, X_NEG)
    step = make_train_step(recipe_of(random_draw), hidden(), adam())
    with pytest.raises(
        ValueError, match=r"state.opt_state does not belong to this optimizer: .*mu.*init_state"
    ):
        step(sgd_state, X_POS, X_NEG)


def test_parameters_must_be_floating_point():
    with pytest.raises(ValueError, match=r"floating-point arrays, got \[\"\['n'\]: int32\[2\]\"\]"):
        init_state(jax.random.key(0), Network(lambda key: {"n": jnp.arange(2)}, DIAGONAL.apply), adam())
    with pytest.raises(ValueError, match="no arrays at all"):
        init_state(jax.random.key(0), Network(lambda key: {}, DIAGONAL.apply), adam())


def test_what_no_call_made_is_named():
    recipe, optimizer = recipe_of(random_draw), optax.sgd(0.1)
    for wrong, said in (
        (
            (recipe_of, DIAGONAL, optimizer),
            r"recipe must be .* matching\.efm\(gap=6\.0\), got <function recipe_of",
        ),
        ((recipe, recipe, optimizer), r"network must be .* networks\.mlp\(2, gap=6\.0\), got FieldMatching"),
        ((recipe, DIAGONAL, 1e-3), r"optimizer must be .* training\.adam\(\), got 0\.001"),
    ):
        with pytest.raises(ValueError, match=said):
            make_train_step(*wrong)
    for key in (0, jax.random.split(jax.random.key(0), 2), np.zeros(2)):
        with pytest.raises(ValueError, match=r"key must be one random key, e\.g\. jax\.random\.key\(0\)"):
            init_state(key, DIAGONAL, optimizer)
    with pytest.raises(
        ValueError, match=r"network must be a Network, got function\.\nWrap it with networks\.from_function"
    ):
        init_state(jax.random.key(0), hidden, optimizer)
    assert init_state(jax.random.PRNGKey(0), DIAGONAL, optimizer).step == 0  # raw keys are keys


def test_a_state_that_was_given_away_is_named():
    optimizer = optax.sgd(0.1)
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer)
    state = init_state(jax.random.key(0), DIAGONAL, optimizer)
    step(state, X_POS, X_NEG)
    for use in (lambda: step(state, X_POS, X_NEG), lambda: ema_params(state)):
        with pytest.raises(
            ValueError,
            match=r"a training step has reused the memory of this state.*the state that the step returned",
        ):
            use()


def test_lists_are_samples_too():
    optimizer = optax.sgd(0.1)
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer)
    states = [init_state(jax.random.key(0), DIAGONAL, optimizer) for _ in range(2)]
    losses = [
        step(s, *x)[1].loss
        for s, x in zip(states, ((X_POS, X_NEG), (X_POS.tolist(), X_NEG.tolist())), strict=True)
    ]
    assert losses[0] == losses[1]


def test_recipe_and_network_have_one_gap():
    recipe, optimizer = matching.efm(gap=6.0), optax.sgd(0.1)
    plain = networks.mlp(DIM, gap=60.0, width=8, depth=1)
    for network in (plain, matching.flow_network(plain), matching.slope_network(plain)):
        with pytest.raises(
            ValueError, match=r"network was made with gap=60, the recipe with gap=6; make both with one"
        ):
            make_train_step(recipe, network, optimizer)
    with pytest.raises(ValueError, match=r"network was made with gap=60, the velocity with gap=6"):
        matching.velocity_network(plain, 6.0)
    make_train_step(by_height.pfgm_by_height(60.0), plain, optimizer)


def test_samples_in_another_byte_order_are_read_as_they_are():
    optimizer = optax.sgd(0.1)
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer)
    states = [init_state(jax.random.key(0), DIAGONAL, optimizer) for _ in range(2)]
    losses = [step(states[0], X_POS, X_NEG)[1].loss, step(states[1], X_POS.astype(">f4"), X_NEG)[1].loss]
    assert losses[0] == losses[1]
