"""Transport against a flow known in closed form: averaged parameters, both directions, batches, labels, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from efm_jax import matching, networks, sampling, training
from efm_jax.lines import adaptive, fixed
from efm_jax.lines.whole_space import to_height
from efm_jax.types import Network

GAP = 4.0
A = np.array([[0.0, -0.3], [0.2, 0.1]])
RECIPE = matching.efm(GAP)
SHIFT = np.array([0.0, 0.25, -0.5])


def flow(traces=None):
    """A network whose field is `(A x + b[label], 1)`, and its state with an average unlike its parameters."""

    def apply(params, points, *, key=None, cond=None):
        if traces is not None:
            traces.append(points.shape)
        x = points[:, :-1]
        bend = 0.0 if cond is None else jnp.asarray(SHIFT, x.dtype)[cond][:, None]
        return jnp.concatenate([x @ params.T + bend, jnp.ones_like(x[:, :1])], axis=1)

    network = Network(lambda key: jnp.asarray(A, jnp.float32), apply, num_classes=len(SHIFT))
    state = training.init_state(jax.random.key(0), network, training.adam())
    return network, state._replace(params=jnp.full_like(state.params, 7.0))


def draw(n=7):
    return np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)


@pytest.mark.smoke
def test_samples_follow_the_averaged_field_from_plate_to_plate():
    network, state = flow()
    x = draw()
    lines = sampling.transport(state, RECIPE, network, x, stepping=adaptive(rtol=1e-5, clock="sine"), save=5)
    # some twenty steps of error 1e-5; the raw parameters (7 everywhere) would end beyond e^28
    np.testing.assert_allclose(lines.end[:, :-1], x @ expm(A * GAP).T, atol=3e-4)
    np.testing.assert_array_equal(lines.end[:, -1], GAP)
    assert lines.arrived.all()
    heights = np.linspace(0, GAP, 5)
    np.testing.assert_allclose(lines.path[..., -1], np.broadcast_to(heights[:, None], (5, 7)), atol=1e-5)
    np.testing.assert_array_equal(lines.path[0, :, :-1], x)


def test_back_from_q_to_p():
    network, state = flow()
    x = draw()
    there = sampling.transport(state, RECIPE, network, x)
    back = sampling.transport(state, RECIPE, network, there.end[:, :-1], reverse=True)
    np.testing.assert_array_equal(there.num_evaluations, 48)  # the default: 24 steps of midpoint
    np.testing.assert_array_equal(back.end[:, -1], 0.0)
    # second order, 24 steps of at most 0.26: a step errs by about |A h|^3 / 6 = 1e-4
    np.testing.assert_allclose(there.end[:, :-1], x @ expm(A * GAP).T, atol=3e-3)
    np.testing.assert_allclose(back.end[:, :-1], x, atol=5e-3)


def test_algorithm_2_is_euler_with_step_dz():
    network, state = flow()
    x = draw()
    lines = sampling.transport(state, RECIPE, network, x, stepping=fixed("euler", step=0.25))
    expected = np.linalg.matrix_power(np.eye(2) + 0.25 * A, 16)
    np.testing.assert_allclose(lines.end[:, :-1], x @ expected.T, atol=1e-5)  # rounding of 16 steps
    np.testing.assert_array_equal(lines.num_evaluations, 16)


def test_by_arc_length_it_ends_at_the_same_places():
    network, state = flow()
    x = draw()
    field, stepping = sampling.learned_field(network, training.ema_params(state)), adaptive(rtol=1e-5)
    lines = to_height(field, jnp.c_[x, jnp.zeros(len(x))], GAP, stepping=stepping)
    assert lines.arrived.all()
    np.testing.assert_allclose(lines.end[:, :-1], x @ expm(A * GAP).T, atol=5e-4)  # steps of error 1e-5
    back = to_height(field, lines.end, 0.0, stepping=stepping)
    np.testing.assert_allclose(back.end[:, :-1], x, atol=1e-3)


def test_batches_and_labels_keep_rows_together_and_compile_one_shape():
    traces = []
    network, state = flow(traces)
    x, labels = draw(), np.array([0, 1, 2, 2, 1, 0, 1])
    whole = sampling.transport(state, RECIPE, network, x, cond=labels, save=3)
    traces.clear()
    parts = sampling.transport(state, RECIPE, network, x, cond=labels, save=3, batch_size=3)
    assert set(traces) == {(3, 3)}
    for name in ("end", "path", "arrived", "num_evaluations"):
        # the same sums, perhaps in another order
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-5)
    bent = np.linalg.solve(A, (expm(A * GAP) - np.eye(2)).sum(axis=1))
    expected = x @ expm(A * GAP).T + SHIFT[labels][:, None] * bent
    np.testing.assert_allclose(whole.end[:, :-1], expected, atol=5e-3)  # second order, as above

    count = len(traces)
    newer = state._replace(ema=-state.ema)
    other = sampling.transport(newer, RECIPE, network, x[::-1], cond=labels, save=3, batch_size=3)
    assert len(traces) == count  # new parameters, samples and labels: nothing is compiled again
    assert not np.allclose(other.end, parts.end, atol=0.1)


def test_fewer_samples_than_a_batch_compile_its_shape_too():
    traces = []
    network, state = flow(traces)
    for count in (7, 4):
        x = draw()[:count]
        whole = sampling.transport(state, RECIPE, network, x, save=3)
        traces.clear()
        padded = sampling.transport(state, RECIPE, network, x, save=3, batch_size=8)
        assert set(traces) == ({(8, 3)} if count == 7 else set())
        for name in ("end", "path", "arrived", "num_evaluations"):
            # the same sums, perhaps in another order
            np.testing.assert_allclose(getattr(padded, name), getattr(whole, name), atol=1e-5)


def test_a_real_network_serves():
    network = networks.mlp(2, gap=GAP, width=8, depth=1)
    state = training.init_state(jax.random.key(1), network, training.adam())
    params = jax.tree.map(lambda leaf: leaf + 0.3, state.ema)
    field = sampling.learned_field(network, params)
    points = jnp.asarray(np.c_[draw(), np.linspace(0, GAP, 7)], jnp.float32)
    np.testing.assert_array_equal(field(points), network.apply(params, points))
    lines = sampling.transport(state._replace(ema=params), RECIPE, network, draw(), stepping=fixed(steps=4))
    assert lines.arrived.all()
    still = sampling.transport(
        state, RECIPE, network, draw(), stepping=fixed(steps=4)
    )  # a fresh network is the zero field
    assert not still.arrived.any()
    np.testing.assert_array_equal(still.end[:, :-1], draw())


def test_a_recipe_with_a_random_start_uses_the_key():
    network, state = flow()

    def start(key, x, reverse):
        return jnp.concatenate([x + jax.random.normal(key, x.shape), jnp.zeros((len(x), 1))], axis=1)

    recipe = RECIPE._replace(start=start)
    ends = [
        np.asarray(
            sampling.transport(
                state, recipe, network, draw(), stepping=fixed(steps=2), key=jax.random.key(k)
            ).end
        )
        for k in (0, 0, 1)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not np.allclose(ends[0], ends[2], atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros(3, np.float32)}, r"x must have shape \[n, D\]"),
        ({"x": np.full((2, 2), np.nan, np.float32)}, "x holds 4 NaN"),
        ({"x": np.zeros((2, 2), np.uint8)}, "x must hold floating-point numbers"),
        ({"cond": np.zeros(3, int)}, r"one label per sample, shape \(7,\), got \(3,\)"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1"),
        ({"stepping": "midpoint"}, "stepping must be what lines.fixed or lines.adaptive returns"),
    ],
)
def test_bad_input_is_named(change, message):
    network, state = flow()
    arguments = {"x": draw(), **change}
    with pytest.raises(ValueError, match=message):
        sampling.transport(state, RECIPE, network, arguments.pop("x"), **arguments)
