"""The gap under `jit`, `vmap` and `grad`: derivatives against differences, and the values of a known gap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import fields
from efm_jax.charges import capacitor
from efm_jax.fields.widths import ramped

FIELDS = {
    "coulomb": lambda points, x, y, gap: fields.coulomb(points, capacitor(x, y, gap), certified=False),
    "chain": fields.chain,
    "interaction": fields.interaction,
    "official": lambda *scene: fields.interaction(*scene, law="official", width=ramped(1.0, rate=4.0)),
}


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("coulomb", 3),
        ("chain", 1),
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
        lambda *s: fields.chain(x, *s),
        lambda *s: fields.interaction(jnp.zeros((1, 2)), *s),
    ):
        with pytest.raises(ValueError, match="must"):
            call(x, x, -1.0)
