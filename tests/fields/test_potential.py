"""The potential: its gradient is the field, its values those of a float64 sum, its levels those of images."""

from math import lgamma, log, pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.charges.plates import Charges, capacitor, plate
from efm_jax.fields import coulomb, potential


def some_charges(dim, seed=0):
    rng = np.random.default_rng([seed, dim])
    x, y = rng.standard_normal((7, dim)), 1 + rng.standard_normal((9, dim))
    return capacitor(x.astype(np.float32), y.astype(np.float32), 2.0)


def by_float64(points, charges):
    """(sum of terms, sum of their sizes) of `q / ((D-1) S_D r^(D-1))`, both times `(D-1) S_D r_least^(D-1)`; its log."""
    points, positions, charge = (np.asarray(a, np.float64) for a in (points, *charges))
    dim = points.shape[1] - 1
    r = np.linalg.norm(points[:, None] - positions, axis=2)
    if dim == 1:
        terms = -charge * np.log(r) / (2 * pi)
        return terms.sum(1), np.abs(terms).sum(1), np.zeros(len(points))
    least = r.min(1)
    terms = charge * (least[:, None] / r) ** (dim - 1)
    log_area = log(2) + 0.5 * (dim + 1) * log(pi) - lgamma(0.5 * (dim + 1))
    return terms.sum(1), np.abs(terms).sum(1), -log(dim - 1) - log_area - (dim - 1) * np.log(least)


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 784, 3072])
def test_values_are_those_of_a_float64_sum(dim):
    charges = some_charges(dim)
    rng = np.random.default_rng(1)
    points = np.c_[rng.standard_normal((12, dim)), np.linspace(-1, 3, 12)].astype(np.float32)
    total, size, scale = by_float64(points, charges)
    phi = potential(points, charges, block_size=5)
    told = np.abs(total) > 1e-4 * size
    assert told.sum() > 9
    np.testing.assert_array_equal(np.asarray(phi.sign)[told], np.sign(total)[told])
    # roundings of r^2 times (D - 1) / 2, of terms that may cancel; and of a log of size D
    allowed = 2e-4 + (1e-6 + 2e-7 * dim) * size / np.abs(total) + 1e-6 * np.abs(scale)
    error = np.abs(np.asarray(phi.log_magnitude, np.float64) - np.log(np.abs(total)) - scale)
    assert (error < allowed)[told].all()


@pytest.mark.parametrize("dim", [1, 2, 64])
@pytest.mark.parametrize("far", [1e19, 1e25, 1e30])
def test_values_hold_where_squares_overflow(dim, far):
    rng = np.random.default_rng(dim)
    x, points = (rng.standard_normal((8, d)).astype(np.float32) for d in (dim, dim + 1))
    x[0], points[0] = far, 2 * far
    charges = plate(x, 0.0, -1.0)
    total, _, scale = by_float64(points, charges)
    phi = potential(points, charges)
    np.testing.assert_array_equal(phi.sign, np.sign(total))
    # as above; the terms do not cancel
    np.testing.assert_allclose(
        phi.log_magnitude, np.log(np.abs(total)) + scale, rtol=2e-6, atol=2e-5 * (dim + 10)
    )


@pytest.mark.parametrize("dim", [1, 2, 3, 32])
def test_the_field_is_minus_its_gradient(dim):
    charges = some_charges(dim)
    rng = np.random.default_rng(2)
    points = jnp.asarray(np.c_[0.7 * rng.standard_normal((5, dim)), np.linspace(0.4, 1.6, 5)], jnp.float32)
    # the charges are few and do not cancel: the fast sums are as good, and compile faster
    field = coulomb(points, charges, certified=False)

    def relative(points):
        phi = potential(points, charges)
        return (phi.sign * jnp.exp(phi.log_magnitude - field.log_magnitude)).sum()

    # the gradient sums the same terms as the field: float32 roundings, times D + 1 of the power
    np.testing.assert_allclose(-jax.jit(jax.grad(relative))(points), field.direction, atol=3e-6 * (dim + 10))


def test_two_opposite_charges_have_a_plane_of_zero_and_a_sphere_of_images():
    charges = Charges(jnp.asarray([[0.0, 0.0, 0.0], [0.0, 0.0, 4.0]]), jnp.asarray([1.0, -1.0]))
    middle = potential(jnp.asarray([[3.0, -1.0, 2.0], [0.0, 0.5, 2.0]]), charges)
    np.testing.assert_array_equal(middle.sign, [0.0, 0.0])
    assert np.isneginf(np.asarray(middle.log_magnitude)).all()
    # +1 at 4 and -1/2 at 1: zero on the sphere of radius 2 about the origin (Apollonius; Thomson's image)
    charges = Charges(jnp.asarray([[0.0, 0.0, 4.0], [0.0, 0.0, 1.0]]), jnp.asarray([1.0, -0.5]))
    inside = potential(jnp.asarray([[0.0, 0.0, 1.9], [1.9, 0.0, 0.0]]), charges)
    outside = potential(jnp.asarray([[0.0, 0.0, 2.1], [2.1, 0.0, 0.0]]), charges)
    assert inside.sign.tolist() == [-1.0, -1.0]
    assert outside.sign.tolist() == [1.0, 1.0]


def test_on_a_charge_the_potential_is_that_of_the_others_and_shapes_stay():
    charges = plate(np.array([[0.0, 0.0], [0.0, 2.0]], np.float32), 0.0, 2.0)
    phi = potential(np.zeros((2, 1, 3), np.float32), charges)
    assert phi.sign.shape == (2, 1)
    # 1 / (4 pi 2)
    np.testing.assert_allclose(np.exp(phi.log_magnitude), 1 / (8 * pi), rtol=1e-6)
    alone = potential(np.zeros(3, np.float32), plate(np.zeros((1, 2), np.float32), 0.0, 1.0))
    assert float(alone.sign) == 0.0
    assert float(alone.log_magnitude) == -np.inf
    assert np.isnan(float(potential(np.full(3, np.nan, np.float32), charges).log_magnitude))
    gradient = jax.grad(lambda p: potential(p, charges).log_magnitude)(jnp.zeros(3))
    np.testing.assert_allclose(gradient, [0.0, 0.5, 0.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: potential(np.zeros((2, 2), np.float32), c), r"points must have shape \[..., 3\].*got \(2, 2\)"),
        (lambda c: potential(np.zeros((2, 3), int), c), r"points must hold floating-point"),
        (lambda c: potential(np.zeros((2, 3), np.float32), c, block_size=0), r"block_size must be a whole number"),
        (lambda c: potential(np.zeros((2, 3), np.float32), c._replace(charge=c.charge[:1])), r"charges must be positions"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call(plate(np.zeros((2, 2), np.float32), 0.0, 1.0))
