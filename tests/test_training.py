import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efm_jax._types import Batch, FieldMatching, Network
from efm_jax.training import adam, ema_params, init_state, make_train_step

DIM = 3
X_POS = np.random.default_rng(1).normal(size=(7, DIM)).astype(np.float32)
X_NEG = np.random.default_rng(2).normal(size=(5, DIM)).astype(np.float32)


def recipe_of(draw):
    return FieldMatching(draw, lambda key, x, reverse: x, (0.0, 1.0))


def frozen(points, target, weight):
    return recipe_of(lambda key, x_pos, x_neg: Batch(jnp.array(points), jnp.array(target), jnp.array(weight)))


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


def host(tree):
    return [
        np.array(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x) for x in tree
    ]


def same_bits(a, b):
    pairs = zip(host(jax.tree.leaves(a)), host(jax.tree.leaves(b)), strict=True)
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in pairs)


# --- adam


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
        ({"weight_decay": -0.1}, "weight_decay must be >= 0, got -0.1"),
        ({"warmup": 10, "cosine_steps": 10}, "cosine_steps must be above warmup = 10, got 10"),
    ],
)
def test_adam_refuses_numbers_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        adam(**options)


# --- the step


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


# --- the moving average


def marching(update):
    """An optimiser whose every update is `update`, so that the parameters are known at every step."""
    return optax.GradientTransformation(
        lambda params: (),
        lambda grads, state, params=None: (jax.tree.map(lambda g: jnp.full_like(g, update), grads), state),
    )


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9999])
def test_moving_average_is_its_closed_form(decay):
    optimizer, count = marching(0.25), 40
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer, ema_decay=decay)
    state = init_state(jax.random.key(0), DIAGONAL, optimizer)
    for _ in range(count):
        state, _ = step(state, X_POS, X_NEG)
    decays = np.array([min(decay, (1 + t) / (10 + t)) for t in range(count)])
    values = 1 + 0.25 * np.arange(count + 1)  # of the parameters, the initial ones first
    weights = np.append(1.0, 1 - decays) * np.append(np.cumprod(decays[::-1])[::-1], 1.0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    # 40 float32 updates of numbers up to 11
    np.testing.assert_allclose(ema_params(state)["a"], np.full(DIM + 1, weights @ values), rtol=3e-6)


def test_initial_parameters_fade_from_the_average_as_documented():
    # the first update takes the parameters from 1 to 0, where they stay: the average is that 1's weight
    drop = optax.GradientTransformation(
        lambda params: jnp.zeros(()),
        lambda grads, done, params=None: (
            jax.tree.map(lambda g: jnp.where(done == 0, -1.0, 0.0 * g), grads),
            done + 1,
        ),
    )
    step = make_train_step(recipe_of(random_draw), DIAGONAL, drop)
    state = init_state(jax.random.key(0), DIAGONAL, drop)
    for count in range(1, 21):
        state, _ = step(state, X_POS, X_NEG)
        weight = math.factorial(count) * math.factorial(9) / math.factorial(count + 9)
        # relative: one rounding a step
        np.testing.assert_allclose(ema_params(state)["a"], np.full(DIM + 1, weight), rtol=1e-5)


def test_average_of_bfloat16_parameters_is_kept_in_float32():
    network = Network(lambda key: {"a": jnp.ones(DIM + 1, jnp.bfloat16)}, DIAGONAL.apply)
    optimizer = marching(0.0078125)  # one ulp of bfloat16 at 1: the parameters march exactly
    step = make_train_step(recipe_of(random_draw), network, optimizer, ema_decay=0.9)
    state = init_state(jax.random.key(0), network, optimizer)
    for _ in range(30):
        state, _ = step(state, X_POS, X_NEG)
    decays = np.array([min(0.9, (1 + t) / (10 + t)) for t in range(30)])
    mean = 1.0
    for t, decay in enumerate(decays):
        mean = decay * mean + (1 - decay) * (1 + 0.0078125 * (t + 1))
    assert state.ema["a"].dtype == jnp.float32
    np.testing.assert_allclose(
        state.ema["a"], np.full(DIM + 1, mean), rtol=1e-5
    )  # float32, not 4e-3 of bfloat16
    assert ema_params(state)["a"].dtype == jnp.bfloat16


# --- steps that are not finite


def test_a_step_that_is_not_finite_changes_nothing_but_the_counts():
    network, optimizer = hidden(), adam(1e-2, warmup=3)
    step = make_train_step(recipe_of(random_draw), network, optimizer)
    state = init_state(jax.random.key(0), network, optimizer)
    poison = X_POS.copy()
    poison[2, 1] = np.nan
    counts = []
    for x_pos in (X_POS, poison, poison, X_POS):
        before = jax.tree.map(jnp.copy, state)
        state, info = step(state, x_pos, X_NEG)
        bad = x_pos is poison
        assert bool(info.finite) is not bad
        for part in ("params", "ema", "opt_state"):
            assert same_bits(getattr(state, part), getattr(before, part)) is bad
        counts.append((int(state.step), int(state.skipped), int(state.skipped_in_row)))
    assert counts == [(1, 0, 0), (2, 1, 1), (3, 2, 2), (4, 2, 0)]
    assert step._cache_size() == 1


def test_skipped_steps_do_not_count_in_the_average():
    optimizer = marching(0.25)
    step = make_train_step(recipe_of(random_draw), DIAGONAL, optimizer)
    averages = []
    for bad in (0, 3):
        state = init_state(jax.random.key(0), DIAGONAL, optimizer)
        for x_pos in [X_POS] * 2 + [X_POS * np.float32(np.inf)] * bad + [X_POS] * 2:
            state, _ = step(state, x_pos, X_NEG)
        averages.append(np.asarray(state.ema["a"]))
    np.testing.assert_array_equal(*averages)


def test_an_infinite_gradient_or_update_is_skipped_though_the_loss_is_finite():
    root = Network(
        lambda key: {"a": jnp.zeros(DIM + 1)}, lambda params, points, **_: jnp.sqrt(params["a"]) + 0 * points
    )
    for network, optimizer in ((root, optax.sgd(0.1)), (DIAGONAL, marching(np.inf))):
        step = make_train_step(recipe_of(random_draw), network, optimizer)
        state = init_state(jax.random.key(0), network, optimizer)
        before = np.asarray(state.params["a"])
        state, info = step(state, X_POS, X_NEG)
        assert np.isfinite(info.loss)
        assert not info.finite
        np.testing.assert_array_equal(state.params["a"], before)
        assert int(state.skipped_in_row) == 1


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
        (recipe_of(random_draw), X_POS, X_NEG[:, :2], r"one space, got D = 3 for x_pos \(7, 3\) and D = 2"),
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
    said = r"state.params is not of this network: expected \['first'\]: float32\[4, 8\], got float32\[4, 16\]"
    with pytest.raises(ValueError, match=said):
        step(sgd_state, X_POS, X_NEG)
    step = make_train_step(recipe_of(random_draw), hidden(), adam())
    with pytest.raises(ValueError, match=r"state.opt_state is not of this optimizer: .*mu.*init_state"):
        step(sgd_state, X_POS, X_NEG)


def test_parameters_must_be_floating_point():
    with pytest.raises(ValueError, match=r"floating-point arrays, got \[\"\['n'\]: int32\[2\]\"\]"):
        init_state(jax.random.key(0), Network(lambda key: {"n": jnp.arange(2)}, DIAGONAL.apply), adam())
    with pytest.raises(ValueError, match="no arrays at all"):
        init_state(jax.random.key(0), Network(lambda key: {}, DIAGONAL.apply), adam())


@pytest.mark.parametrize("decay", [1.0, -0.1, math.nan])
def test_ema_decay_must_be_below_one(decay):
    with pytest.raises(ValueError, match=r"ema_decay must be in \[0, 1\), got"):
        make_train_step(recipe_of(random_draw), DIAGONAL, adam(), ema_decay=decay)
