"""The gap under `jit`, `vmap` and `grad`: derivatives against differences, and the values of a known gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import fields, lines
from efm_jax.charges import capacitor, capacitor_chain
from efm_jax.fields.widths import ramped
from efm_jax.lines import tracing
from efm_jax.types import Field

FIELDS = {
    "coulomb": lambda points, x, y, gap: fields.coulomb(points, capacitor(x, y, gap), certified=False),
    "chain": fields.chain,
    "chain_fn": lambda points, x, y, gap: Field(fields.chain_fn(x, y, gap)(points), points[:, 0]),
    "interaction": fields.interaction,
    "official": lambda *scene: fields.interaction(*scene, law="official", width=ramped(1.0, rate=4.0)),
}


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("coulomb", 3),
        ("chain", 1),
        ("chain_fn", 1),
        pytest.param("chain", 2, marks=pytest.mark.slow),
        ("interaction", 3),
        ("official", 3),
    ],
)
def test_the_gap_may_be_traced(name, dim):
    rng = np.random.default_rng(dim)
    x, y, places = (jnp.asarray(rng.standard_normal((5, dim)), jnp.float32) for _ in range(3))
    height = jnp.asarray(rng.uniform(0.2, 0.8, (5, 1)), jnp.float32)

    def scalar(gap):
        field = FIELDS[name](jnp.concatenate([places, height * gap], axis=1), x, y, gap)
        return jnp.sum(field.log_magnitude) + jnp.sum(field.direction[:, -1])

    step = 2.0**-5
    gaps = 2.0 + step * jnp.arange(-2, 3)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(scalar)))(gaps)
    assert float(value[2]) == pytest.approx(float(scalar(2.0)), rel=1e-5)
    by_difference = (8 * (value[3] - value[1]) - (value[4] - value[0])) / (12 * step)
    # float32 differences of values of about 10: 1e-6 / step
    assert float(slope[2]) == pytest.approx(float(by_difference), rel=1e-3, abs=1e-3)


def test_a_gap_that_is_known_is_checked():
    x = jnp.zeros((1, 1))
    for call in (
        capacitor,
        capacitor_chain,
        fields.chain_fn,
        lambda *s: fields.chain(x, *s),
        lambda *s: fields.interaction(jnp.zeros((1, 2)), *s),
    ):
        with pytest.raises(ValueError, match="must"):
            call(x, x, -1.0)


def test_the_plates_of_a_chain_move_with_a_traced_gap():
    x, y = np.random.default_rng(0).standard_normal((2, 3, 2))
    step = 2.0**-20
    with jax.enable_x64(True):
        gaps = jnp.asarray([0.5, 2.0])
        traced = jax.jit(jax.vmap(lambda gap: capacitor_chain(x, y, gap, 2)))(gaps)
        moves = jax.jit(jax.vmap(jax.jacfwd(lambda gap: capacitor_chain(x, y, gap, 2))))(gaps)
        for k, gap in enumerate(gaps.tolist()):
            known, above, below = (
                capacitor_chain(x, y, g, 2, reach=2 * g) for g in (gap, gap + step, gap - step)
            )
            # heights of up to some thousand gaps, to a few float64 roundings
            jax.tree.map(lambda a, b, k=k: np.testing.assert_allclose(a[k], b, rtol=1e-14), traced, known)
            by_difference = (above.positions - below.positions) / (2 * step)
            np.testing.assert_allclose(moves.positions[k], by_difference, atol=1e-5)
            assert not moves.charge[k].any()


@pytest.mark.parametrize("gap", [0.1, 0.7, 3.0])
def test_a_number_of_images_makes_one_chain_whichever_argument_is_traced(gap):
    """3 x 0.1 / 0.1 is more than 3 in floating point, and was rounded up to 3.1."""
    x, y = jnp.zeros((1, 2)), jnp.ones((1, 2))
    of_samples = jax.jit(lambda x, y: capacitor_chain(x, y, gap, images=3))(x, y)
    of_gap = jax.jit(lambda gap: capacitor_chain(x, y, gap, images=3))(gap)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), of_samples, of_gap)


def test_a_chain_of_a_traced_gap_needs_its_number_of_images():
    x = jnp.zeros((1, 2))
    for options in ({}, {"images": 2, "reach": 3.0}):
        with pytest.raises(ValueError, match="Give images= and leave reach out"):
            jax.jit(lambda gap, options=options: capacitor_chain(x, x, gap, **options).positions)(1.0)


def test_chains_of_other_gaps_share_their_compiled_lines():
    x, start = jnp.zeros((2, 1)), jnp.asarray([[0.1, 0.01], [0.3, 0.01]])
    sizes = []
    for gap in (1.0, 2.0):
        lines.trace(fields.chain_fn(x, x, gap), start, 0.9 * gap, stepping=lines.fixed(steps=4))
        sizes.append(tracing._trace_jit._cache_size())
    assert sizes[0] == sizes[1]
