"""Lines are differentiable, in both modes: finite differences in float64, closed forms, memory of one state a step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, A, starts

from efm_jax import fields, matching, networks, sampling, training
from efm_jax.charges.plates import Charges
from efm_jax.lines import adaptive, fixed, trace
from efm_jax.lines.likelihood import log_prob
from efm_jax.training.state import ema_params

QUICK = [fixed("midpoint", 6), fixed("ab2", 6), fixed("euler", step=0.3), adaptive("bosh3", rtol=1e-3)]
LONG = [
    *(fixed(solver, 6) for solver in ("euler", "heun", "bosh3", "tsit5", "dopri5")),
    adaptive(clock="linear"),
    fixed("midpoint", 300),
]


def bent_field(matrix, points):
    """Nonlinear in x, and its z-part differs from line to line."""
    x, z = points[:, :-1], points[:, -1:]
    return jnp.concatenate([jnp.sin(x @ matrix.T) + z, 1.0 + 0.3 * jnp.cos(x[:, :1])], axis=1)


def directional(f, at, along, step):
    """Derivative of f by differences of fourth order."""

    def near(k):
        return float(f(*(a + k * step * b for a, b in zip(at, along, strict=True))))

    return (8 * (near(1) - near(-1)) - (near(2) - near(-2))) / (12 * step)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stepping", [*QUICK, *(pytest.param(stepping, marks=pytest.mark.slow) for stepping in LONG)]
)
def test_gradients_of_ends_are_those_of_finite_differences(stepping):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        at = jnp.asarray(A), jnp.asarray(starts(n=3), jnp.float64).at[:, -1].add(0.05), jnp.float64(GAP)
        along = tuple(jnp.asarray(rng.normal(size=np.shape(a))) for a in at)
        weight = jnp.asarray(rng.normal(size=(3, 3)))

        @jax.jit
        def f(matrix, points, to):
            found = trace(jax.tree_util.Partial(bent_field, matrix), points, to, stepping=stepping, save=3)
            return jnp.sum(weight * (found.end + found.path[1]))

        forward = float(jax.jvp(f, at, along)[1])
        backward = jax.grad(f, argnums=(0, 1, 2))(*at)
        backward = sum(float(jnp.sum(g * v)) for g, v in zip(backward, along, strict=True))
        exact = directional(f, at, along, 1e-4)
    assert abs(forward - backward) < 1e-10 * (1 + abs(forward))
    # steps that follow the error change with the point, by their tolerance: the derivative leaves that out
    assert abs(forward - exact) < (1e-8 if stepping.is_fixed else 2e-2) * (1 + abs(exact)), (forward, exact)


def circle(x, z, gap, to):
    """Where the line of a plane dipole through (x, z) meets a height: on the circle through both charges."""
    c = (x**2 + z**2 - gap * z) / (2 * x)
    return c + jnp.sqrt(c**2 + to * (gap - to))


@pytest.mark.parametrize(
    "stepping",
    [pytest.param(one, marks=pytest.mark.slow) for one in (fixed("dopri5", 40), adaptive(rtol=1e-8))],
)
def test_gradients_of_the_dipoles_lines_by_place_and_gap(stepping):
    """Charges, start and height move with the gap: the whole is differentiated, compiled and vectorized over it."""
    with jax.enable_x64(True):

        def end(x, gap):
            charges = Charges(jnp.asarray([[0.0, 0.0], [0.0, gap]]), jnp.asarray([1.0, -1.0]))
            field = fields.field_fn(charges)
            return trace(field, jnp.asarray([[x, 0.3 * gap]]), 0.6 * gap, stepping=stepping).end[0, 0]

        x, gaps = jnp.float64(0.4), jnp.asarray([2.0, 3.0])
        found = jax.jit(jax.vmap(jax.value_and_grad(end, argnums=(0, 1)), in_axes=(None, 0)))(x, gaps)
        pushed = jax.jvp(lambda g: end(x, g), (gaps[0],), (jnp.ones(()),))[1]
        exact = jax.vmap(
            jax.value_and_grad(lambda x, gap: circle(x, 0.3 * gap, gap, 0.6 * gap), argnums=(0, 1)),
            in_axes=(None, 0),
        )(x, gaps)
    # the tolerance of some hundred steps
    np.testing.assert_allclose(jax.tree.leaves(found), jax.tree.leaves(exact), rtol=2e-6)
    np.testing.assert_allclose(pushed, exact[1][1][0], rtol=2e-6)


def test_a_lost_line_does_not_spoil_the_gradient_of_the_others():
    def field(scale, points):
        up = jnp.where(points[:, :1] > 1.0, -1.0, 1.0)
        return jnp.concatenate([jnp.full_like(up, scale), up], axis=1)

    points = jnp.asarray([[0.0, 0.0], [2.0, 0.0]])

    def mean(scale, stepping):
        found = trace(jax.tree_util.Partial(field, scale), points, 1.0, stepping=stepping)
        return jnp.sum(jnp.where(found.arrived, found.end[:, 0], 0.0))

    for stepping in (fixed("heun", 4, clock="linear"), adaptive(clock="linear")):
        slope = jax.jit(jax.grad(mean), static_argnums=1)(0.5, stepping)
        np.testing.assert_allclose(slope, 1.0, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("key", [None, jax.random.key(0)])
def test_the_gradient_of_a_log_density_is_in_closed_form(key):
    """`v = a x / (1 + z)` from 0 to h scales by s = (1 + h)^a: log p(x) = log N(x / s) - D log s."""

    def spread(a, p):
        return jnp.concatenate([a * p[:, :-1], 1.0 + p[:, -1:]], axis=1)

    def normal(x):
        return jax.scipy.stats.norm.logpdf(x).sum(axis=1)

    x = jnp.asarray([[0.5, -1.0], [2.0, 0.1]])

    def found(a, x, h):
        return log_prob(jax.tree_util.Partial(spread, a), x, normal, span=(0.0, h), key=key).log_prob.sum()

    def exact(a, x, h):
        return jnp.sum(normal(x * (1.0 + h) ** -a) - 2 * a * jnp.log1p(h))

    for got, expected in zip(
        *(jax.grad(f, argnums=(0, 1, 2))(jnp.float32(0.7), x, 1.0) for f in (found, exact)), strict=True
    ):
        # the tolerance of a step, 1e-5, times some twenty steps
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_gradients_go_through_transport():
    recipe = matching.cfm(gap=1.0)
    network = matching.flow_network(networks.mlp(2, gap=1.0, width=8, depth=1))
    state = training.init_state(jax.random.key(0), network, training.adam())
    x = jnp.asarray(starts(n=3)[:, :2])

    def f(params, x):
        moved = state._replace(params=params, ema=params)
        return jnp.sum(sampling.transport(moved, recipe, network, x, stepping=fixed(steps=4)).end[:, :2] ** 2)

    at = ema_params(state), x
    along = jax.tree.map(lambda a: jax.random.normal(jax.random.key(a.size), a.shape), at)
    backward = jax.tree.map(jnp.vdot, jax.grad(f, argnums=(0, 1))(*at), along)
    forward = jax.jvp(f, at, along)[1]
    np.testing.assert_allclose(sum(jax.tree.leaves(backward)), forward, rtol=1e-4)
    moved = [f(*jax.tree.map(lambda a, b, s=s: a + s * b, at, along)) for s in (-1e-2, 1e-2)]
    np.testing.assert_allclose((moved[1] - moved[0]) / 2e-2, forward, rtol=2e-2)  # float32


def test_a_step_costs_the_memory_of_one_state():
    """Not of what the field holds while it is evaluated."""
    width, points = 2048, jnp.zeros((8, 3))

    def field(weight, points):
        hidden = jnp.tanh(points[:, :1] * weight)
        flat = jnp.mean(jnp.sin(hidden) * hidden, axis=1, keepdims=True)
        return jnp.concatenate([flat, flat, jnp.ones_like(flat)], axis=1)

    def temporaries(steps):
        def f(weight):
            found = trace(jax.tree_util.Partial(field, weight), points, GAP, stepping=fixed(steps=steps))
            return found.end.sum()

        compiled = jax.jit(jax.grad(f)).lower(jnp.ones(width)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    one_evaluation = 8 * width * 4
    # up to 256 steps: two levels of 16 states each, and the residuals of a step or two
    assert temporaries(256) < 20 * one_evaluation
    assert temporaries(256) < temporaries(16) + 2 * one_evaluation
