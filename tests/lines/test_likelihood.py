"""Likelihoods: linear fields, whose lines and densities are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from jax.scipy.stats import norm

from efm_jax import fields
from efm_jax.lines import fixed, likelihood

A = np.array([[0.3, -1.1, 0.2], [0.7, -0.2, 0.0], [-0.4, 0.5, 0.6]])


def linear(scale, points):
    """`E_x / E_z = A x` at any length of the field."""
    return scale * jnp.concatenate(
        [points[:, :-1] @ jnp.asarray(A.T, jnp.float32), 1 + 0 * points[:, -1:]], axis=1
    )


def standard(x):
    return norm.logpdf(x).sum(axis=1)


def samples(num=20):
    return np.random.default_rng(0).standard_normal((num, 3)).astype(np.float32)


def flowed(x, span):
    """The density to which `dx/dz = A x` carries a standard normal law."""
    flow = scipy.linalg.expm(A * (span[1] - span[0]))
    return scipy.stats.multivariate_normal(np.zeros(3), flow @ flow.T).logpdf(x)


@pytest.mark.parametrize("span", [(0.0, 1.5), (2.0, 1.0)])
def test_a_linear_flow_gives_its_normal_law(span):
    found = likelihood.log_prob(jax.tree_util.Partial(linear, 3.0), samples(), standard, span=span)
    assert found.arrived.all()
    # the tolerance of the lines, 1e-5 a step over some tens of steps
    np.testing.assert_allclose(found.log_prob, flowed(samples(), span), atol=2e-4)
    back = scipy.linalg.expm(-A * (span[1] - span[0]))
    np.testing.assert_allclose(found.origin, samples() @ back.T, atol=2e-4)


def test_hutchinson_has_no_bias_and_one_dimension_needs_one_probe():
    exact = flowed(samples(4), (0.0, 1.0))
    x = np.tile(samples(4), (500, 1))
    key = jax.random.key(0)
    field = jax.tree_util.Partial(linear, 1.0)
    found = likelihood.log_prob(
        field, x, standard, span=(0.0, 1.0), key=key, probes=2, stepping=fixed("heun", 20)
    )
    guesses = np.asarray(found.log_prob).reshape(500, 4)
    # the off-diagonal parts of A are what varies: their spread, over sqrt(500) independent lines
    error = np.abs(guesses.mean(0) - exact)
    assert (error < 4 * guesses.std(0) / np.sqrt(500)).all()
    assert guesses.std() > 0.05
    # xi^2 = 1: in one dimension the estimate is the divergence itself
    flat = lambda p: jnp.concatenate([jnp.sin(p[:, :1]), 1 + 0 * p[:, 1:]], axis=1)  # noqa: E731
    one = likelihood.log_prob(flat, x[:8, :1], standard, span=(0.0, 1.0))
    guess = likelihood.log_prob(flat, x[:8, :1], standard, span=(0.0, 1.0), key=key)
    np.testing.assert_allclose(guess.log_prob, one.log_prob, atol=1e-5)


def test_the_density_adds_up_to_one():
    x = np.linspace(-9, 9, 2001, dtype=np.float32)[:, None]
    bend = lambda p: jnp.concatenate([jnp.sin(2 * p[:, :1]) + 0.3, 1 + 0 * p[:, 1:]], axis=1)  # noqa: E731
    found = likelihood.log_prob(bend, x, standard, span=(0.0, 1.0))
    # the trapezoid rule on a smooth density that dies within the range; lines to 1e-5
    assert np.trapezoid(np.exp(found.log_prob), x[:, 0]) == pytest.approx(1, abs=2e-4)


def test_lines_that_turn_back_have_no_density():
    turn = lambda p: jnp.concatenate([0 * p[:, :1], p[:, 1:] - 0.5 * (p[:, :1] > 0)], axis=1)  # noqa: E731
    x = jnp.array([[-1.0], [1.0]])
    found = likelihood.log_prob(turn, x, standard, span=(0.25, 1.0))
    assert found.arrived.tolist() == [True, False]
    assert np.isfinite(found.log_prob[0])
    assert np.isnan(found.log_prob[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((0, 3), np.float32)}, r"x must have shape \[n, D\]"),
        ({"x": np.full((2, 3), np.nan, np.float32)}, "NaN or infinite"),
        ({"span": (1.0, 1.0)}, "span must name two heights"),
        ({"span": (0.0, np.inf)}, r"span\[1\] must be a finite number"),
        ({"probes": 2}, "needs key="),
        ({"key": jax.random.PRNGKey(0), "probes": 0}, "probes must be a whole number >= 1"),
        ({"prior": norm.logpdf}, r"one log-density for each .*got \(20, 3\)"),
    ],
)
def test_bad_input_is_refused_with_the_mend(change, message):
    given = {"x": samples(), "prior": standard, "span": (0.0, 1.0)} | change
    with pytest.raises(ValueError, match=message):
        likelihood.log_prob(
            jax.tree_util.Partial(linear, 1.0),
            given.pop("x"),
            given.pop("prior"),
            stepping=fixed(steps=2),
            **given,
        )


@pytest.mark.slow
def test_on_the_chain_it_is_the_density_in_closed_form():
    rng = np.random.default_rng(3)
    x, y = (jnp.asarray(rng.standard_normal((5, 2)), jnp.float32) for _ in range(2))
    gap, low, high = 2.0, 0.5, 1.25
    samples = jnp.asarray(1.5 * rng.standard_normal((16, 2)), jnp.float32)

    def density(points, z):
        return fields.log_density_path(jnp.c_[points, jnp.full(len(points), z)], x, y, gap)

    found = likelihood.log_prob(
        fields.chain_fn(x, y, gap),
        samples,
        lambda p: density(p, low),
        span=(low, high),
    )
    assert found.arrived.all()
    # error control at 1e-5 a step
    np.testing.assert_allclose(found.log_prob, density(samples, high), atol=3e-4)
    assert np.abs(found.log_prob - density(samples, low)).max() > 0.1


@pytest.mark.parametrize("key", [None, jax.random.key(0)])
def test_half_precision_is_computed_in_float32(key):
    x = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float16)

    def field(p):
        return jnp.concatenate([jnp.sin(p[:, :-1]), jnp.ones_like(p[:, -1:])], axis=1)

    half, whole = (
        likelihood.log_prob(field, part, standard, span=(0.3, 1.1), key=key, stepping=fixed(steps=4))
        for part in (x, x.astype(np.float32))
    )
    np.testing.assert_array_equal(half.log_prob, whole.log_prob, strict=True)
    np.testing.assert_array_equal(half.origin, whole.origin, strict=True)
