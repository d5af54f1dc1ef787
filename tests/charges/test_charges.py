import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.charges.plates import capacitor, plate
from efm_jax.fields import coulomb


def test_a_plate_shares_its_charge_equally_at_its_height():
    x = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    charges = plate(x, 2.5, -3.0)
    np.testing.assert_array_equal(charges.positions[:, :-1], x)
    np.testing.assert_array_equal(charges.positions[:, -1], np.full(7, 2.5))
    np.testing.assert_array_equal(charges.charge, np.full(7, np.float32(-3.0 / 7)))


@pytest.mark.smoke
def test_a_capacitor_carries_one_unit_on_each_plate_whatever_the_counts():
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((n, 2)).astype(np.float32) for n in (5, 9))
    charges = capacitor(x, y, 6.0)
    np.testing.assert_array_equal(charges.positions[:, :-1], np.concatenate([x, y]))
    np.testing.assert_array_equal(charges.positions[:, -1], np.r_[np.zeros(5), np.full(9, 6.0)])
    positive = np.asarray(charges.charge) > 0
    np.testing.assert_array_equal(positive, np.arange(14) < 5)
    # float32 sums of five and nine equal numbers: one rounding each
    assert float(charges.charge[:5].sum()) == pytest.approx(1.0, abs=3e-7)
    assert float(charges.charge[5:].sum()) == pytest.approx(-1.0, abs=3e-7)


def test_half_precision_samples_keep_their_unit_of_charge_and_the_height_of_their_plate():
    x = jnp.ones((3, 2), jnp.bfloat16)
    charges = capacitor(x, x, 500.3)
    np.testing.assert_array_equal(charges.charge, np.float32([1 / 3] * 3 + [-1 / 3] * 3))
    np.testing.assert_array_equal(charges.positions[3:, -1], np.float32(500.3))


def test_charges_are_made_under_jit_and_carry_gradients():
    x, y = jnp.ones((3, 2)), jnp.zeros((4, 2))
    inside, outside = jax.jit(lambda x, y: capacitor(x, y, 6.0))(x, y), capacitor(x, y, 6.0)
    jax.tree.map(np.testing.assert_array_equal, inside, outside)
    gradient = jax.grad(lambda x: (capacitor(x, y, 6.0).positions ** 2).sum())(x)
    np.testing.assert_array_equal(gradient, 2 * np.ones((3, 2)))


GOOD = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: capacitor(np.zeros(4, np.float32), GOOD, 1.0),
            r"x_pos must have shape \[n, D\].*got \(4,\)",
        ),
        (lambda: capacitor(GOOD, np.zeros((0, 2), np.float32), 1.0), r"x_neg must have shape .*got \(0, 2\)"),
        (
            lambda: capacitor(GOOD, np.zeros((4, 3), np.float32), 1.0),
            r"same number of dimensions.*\(4, 2\).*\(4, 3\)",
        ),
        (
            lambda: capacitor(GOOD, GOOD.astype(np.uint8), 1.0),
            r"x_neg must hold floating-point.*uint8.*astype",
        ),
        (lambda: capacitor(GOOD, GOOD * np.nan, 1.0), r"x_neg holds 8 NaN or infinite"),
        (lambda: capacitor(GOOD, GOOD, 0.0), r"gap must be a finite number > 0, got 0.0"),
        (lambda: capacitor(GOOD, GOOD, -1.0), r"gap must be a finite number > 0, got -1.0"),
        (lambda: capacitor(GOOD, GOOD, np.inf), r"gap must be a finite number > 0, got inf"),
        (lambda: plate(GOOD, np.nan, 1.0), r"z must be a finite number, got nan"),
        (lambda: plate(GOOD, 0.0, np.inf), r"total must be a finite number, got inf"),
        (lambda: plate(GOOD, 0.0, 0.0), r"total must not be 0"),
    ],
)
def test_bad_charges_are_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_total_may_be_traced():
    """The field is linear in it: its derivative is the field of one unit."""
    x, point = jnp.zeros((1, 2)), jnp.array([0.0, 0.0, 2.0])

    def height(total):
        field = coulomb(point, plate(x, 0.0, total))
        return field.direction[2] * jnp.exp(field.log_magnitude)

    got, slope = jax.jit(jax.value_and_grad(height))(-3.0)
    unit = 1 / (4 * np.pi * 2.0**2)
    np.testing.assert_allclose([got, slope], [-3 * unit, unit], rtol=1e-5)
