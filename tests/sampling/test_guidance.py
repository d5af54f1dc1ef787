"""Guidance: velocities extrapolate, whatever the lengths of fields; where noise is Gaussian that is guidance of scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import matching, sampling, training
from efm_jax.lines import fixed, trace
from efm_jax.sampling.guidance import guided
from efm_jax.types import Network

GAP = 3.0
RNG = np.random.default_rng(0)
CLASSES = [(RNG.normal(size=(12, 2)) * 0.5 + side).astype(np.float32) for side in ([-2, 0], [2, 0.5])]
P = RNG.normal(size=(24, 2)).astype(np.float32)


def exact(x_neg):
    """The field of P and these samples of Q as charges, by Coulomb's sum as it is written (quick to compile)."""

    def field(points):
        total = 0.0
        for x, z, sign in ((P, 0.0, 1.0), (x_neg, GAP, -1.0)):
            apart = points[:, None] - jnp.asarray(np.c_[x, np.full(len(x), z)], jnp.float32)
            total += sign * jnp.mean(apart / jnp.linalg.norm(apart, axis=2, keepdims=True) ** 3, axis=1)
        return total

    return jax.jit(field)


FIELDS, NULL = [exact(x) for x in CLASSES], exact(np.concatenate(CLASSES))
POINTS = np.c_[RNG.normal(size=(9, 2)), RNG.uniform(0.5, 2.5, 9)].astype(np.float32)


def slopes(vectors):
    vectors = np.asarray(vectors, np.float64)
    return vectors[:, :-1] / vectors[:, -1:]


@pytest.mark.parametrize("g", [-1.0, 0.3, 2.0, 7.5])
def test_velocities_extrapolate(g):
    of_class, null = slopes(FIELDS[1](POINTS)), slopes(NULL(POINTS))
    got = guided(FIELDS[1](POINTS), NULL(POINTS), g)
    # float32 vectors, a few roundings each, of slopes up to some tens
    np.testing.assert_allclose(slopes(got), null + g * (of_class - null), rtol=2e-5, atol=1e-4)
    assert (got[:, -1] > 0).all()


def test_lengths_of_the_fields_do_not_matter():
    longer = [lambda p: FIELDS[0](p) * (1e-3 + p[:, :1] ** 2), lambda p: NULL(p) * jnp.exp(5.0 * p[:, 1:2])]
    tiny = [lambda p: 1e-15 * FIELDS[0](p), lambda p: 1e-20 * NULL(p)]
    expected = slopes(guided(FIELDS[0](POINTS), NULL(POINTS), 3.0))
    for pair in (longer, tiny):  # float32 roundings; plain products of the last are below 1e-38
        np.testing.assert_allclose(
            slopes(guided(*(field(POINTS) for field in pair), 3.0)), expected, rtol=1e-4, atol=1e-4
        )


def test_where_both_fields_go_down_so_does_the_guided_one():
    of_class, null = FIELDS[0](POINTS), NULL(POINTS)
    np.testing.assert_array_equal(guided(-of_class, -null, 2.0), -guided(of_class, null, 2.0))


def test_nought_and_one_ask_the_network_once():
    start = np.c_[P, np.full(24, 0.05)].astype(np.float32)

    def ends(field):
        return np.asarray(trace(field, start, 0.98 * GAP, stepping=fixed("midpoint", 20, clock="linear")).end)

    def learned(guidance, of_class, without):
        both = Network(
            lambda key: (),
            lambda params, points, *, key=None, cond=None: jnp.where(
                cond[:, None] == 0, of_class(points), without(points)
            ),
        )
        return sampling.learned_field(both, (), cond=jnp.zeros(24, int), guidance=guidance)

    def not_asked(points):
        return jnp.full_like(points, jnp.nan)

    plain = {"class": ends(FIELDS[0]), "null": ends(NULL)}
    # the same sums, compiled in two programs: rounding of 20 steps
    tight = dict(rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ends(learned(1.0, FIELDS[0], not_asked)), plain["class"], **tight)
    np.testing.assert_allclose(ends(learned(0.0, not_asked, NULL)), plain["null"], **tight)
    # the unconditional field sends lines both ways, that of class 0 to its own side but for those that come in from far out
    assert (plain["class"][:, 0] < 0.5).mean() > 0.75 > 0.6 > (plain["null"][:, 0] < 0.5).mean()


def test_for_gaussian_noise_it_is_classifier_free_guidance_of_scores():
    """Flow matching from N(0, 1) to a mixture, in closed form: float64 velocities of conditional means, and scores."""
    mean, spread, g = np.array([-1.5, 2.0]), np.array([0.4, 0.7]), 3.0
    x, t = np.linspace(-3, 3, 25), 0.6

    def of(classes):
        """Velocity `E[x1 - x0 | x]` and score of the law of `(1 - t) x0 + t x1`."""
        m, variance = t * mean[classes], (t * spread[classes]) ** 2 + (1 - t) ** 2
        density = np.exp(-0.5 * (x[:, None] - m) ** 2 / variance) / np.sqrt(variance)
        share = density / density.sum(1, keepdims=True)
        pull = (x[:, None] - m) / variance
        end = mean[classes] + t * spread[classes] ** 2 * pull
        begin = (1 - t) * pull
        return (share * (end - begin)).sum(1), -(share * pull).sum(1)

    (of_class, score), (null, null_score) = of([1]), of([0, 1])

    def field(velocity):
        return jnp.asarray(np.c_[velocity, np.ones_like(x)], jnp.float32)

    got = slopes(guided(field(of_class), field(null), g))[:, 0]
    guided_score = null_score + g * (score - null_score)
    expected = (x + (1 - t) * guided_score) / t  # v = (x + (1 - t) s) / t, s the score
    np.testing.assert_allclose((x + (1 - t) * score) / t, of_class, atol=1e-12)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)  # float32


def apply(params, points, *, key=None, cond=None):
    """A small network with a row for each of two classes and one for none; its field goes up."""
    field = jnp.sin(points @ params["w"]) + params["rows"][cond]
    return jnp.concatenate([field[:, :-1], 0.5 + jnp.abs(field[:, -1:])], axis=1)


NETWORK = Network(
    lambda key: {
        "w": jax.random.normal(key, (3, 3)),
        "rows": jnp.asarray([[1.0, 0, 0], [0, 2, 0], [0, 0, 3]]),
    },
    apply,
    num_classes=2,
)


def test_a_network_is_asked_with_and_without_its_labels():
    network, params = NETWORK, NETWORK.init(jax.random.key(0))
    cond = jnp.asarray([0, 1, -1, 1, 0, 0, 1, -1, 0])
    of_class, null = (network.apply(params, POINTS, cond=c) for c in (cond, jnp.full(9, -1)))
    learned = lambda g: sampling.learned_field(network, params, cond=cond, guidance=g)(POINTS)  # noqa: E731
    np.testing.assert_array_equal(learned(1.0), of_class)
    np.testing.assert_array_equal(learned(0.0), null)
    v, v_null = slopes(of_class), slopes(null)
    # float32 products of other shapes
    np.testing.assert_allclose(slopes(learned(2.5)), v_null + 2.5 * (v - v_null), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(slopes(learned(2.5))[[2, 7]], v_null[[2, 7]], rtol=1e-4, atol=1e-5)


def test_another_scale_compiles_nothing_anew():
    calls = []

    def watching(params, points, *, key=None, cond=None):
        calls.append(points.shape)
        return apply(params, points, cond=cond)

    watched, recipe = NETWORK._replace(apply=watching), matching.efm(GAP)
    state = training.init_state(jax.random.key(0), watched, training.adam())

    def move(g):
        labels = np.ones(5, int)
        return sampling.transport(
            state, recipe, watched, P[:5], cond=labels, guidance=g, stepping=fixed(steps=2), batch_size=3
        )

    first = move(2.0)
    assert calls[-1] == (6, 3)  # both labels of three points
    count = len(calls)
    second = move(4.0)
    assert len(calls) == count
    assert not np.allclose(first.end, second.end, atol=1e-3)
    np.testing.assert_array_equal(first.num_evaluations, 4)


def test_guidance_without_labels_or_sense_is_refused():
    network, params = NETWORK, NETWORK.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"guidance=2.0 needs cond, the class labels"):
        sampling.learned_field(network, params, guidance=2.0)
    with pytest.raises(ValueError, match="guidance must be a finite number, got nan"):
        sampling.learned_field(network, params, cond=jnp.zeros(3, int), guidance=float("nan"))
