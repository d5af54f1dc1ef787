"""The exact field as physics: Gauss, no sources and no whirls off the charges, symmetries, limits, another code."""

from math import gamma, pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coulomb as reference_coulomb

from efm_jax.charges.plates import Charges, capacitor
from efm_jax.fields import coulomb

log_field = jax.jit(coulomb)


def vectors(points, charges):
    """E as vectors, where float32 holds them."""
    field = log_field(jnp.asarray(points, jnp.float32), charges)
    return np.asarray(field.direction * jnp.exp(field.log_magnitude)[:, None], np.float64)


def some_capacitor(dim, count=5, gap=3.0, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((count, dim)), 1 + rng.standard_normal((count + 2, dim))
    return capacitor(x.astype(np.float32), y.astype(np.float32), gap)


def sphere(dim1):
    """Nodes on the unit sphere of R^dim1 and weights that add up to its area, dim1 = 2, 3, 4."""
    angles = (np.arange(400) + 0.5) * 2 * pi / 400
    circle = np.c_[np.cos(angles), np.sin(angles)]
    if dim1 == 2:
        return circle, np.full(400, 2 * pi / 400)
    lower, weights = (circle[::8], np.full(50, 2 * pi / 50)) if dim1 == 3 else sphere3()
    u, w = np.polynomial.legendre.leggauss(40)
    # x_last = cos t; the area element is sin(t)^(dim1-2) dt on the sphere below
    theta, w = 0.5 * pi * (u + 1), 0.5 * pi * w * np.sin(0.5 * pi * (u + 1)) ** (dim1 - 2)
    nodes = np.concatenate([np.c_[np.sin(t) * lower, np.full(len(lower), np.cos(t))] for t in theta])
    return nodes, np.concatenate([wt * weights for wt in w])


def sphere3():
    angles = (np.arange(40) + 0.5) * 2 * pi / 40
    u, w = np.polynomial.legendre.leggauss(20)
    nodes = [np.c_[np.sqrt(1 - c * c) * np.c_[np.cos(angles), np.sin(angles)], np.full(40, c)] for c in u]
    return np.concatenate(nodes), np.repeat(w * 2 * pi / 40, 40)


@pytest.mark.parametrize("dim", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_flux_through_a_closed_surface_is_the_enclosed_charge(dim):
    charges = some_capacitor(dim)
    nodes, weights = sphere(dim + 1)
    area = 2 * pi ** ((dim + 1) / 2) / gamma((dim + 1) / 2)
    assert weights.sum() == pytest.approx(area, rel=1e-10)
    positions = np.asarray(charges.positions, np.float64)
    # around all, around P alone (a large sphere whose top lies between the plates), around none
    surfaces = [
        (positions.mean(0), 40.0),
        (np.r_[np.zeros(dim), -18.5], 20.0),
        (positions.mean(0) + 30.0, 10.0),
    ]
    enclosed = [0.0, 1.0, 0.0]
    for (center, radius), charge in zip(surfaces, enclosed, strict=True):
        away = np.abs(np.linalg.norm(positions - center, axis=1) - radius)
        assert away.min() > 1.0
        e = vectors(center + radius * nodes, charges)
        flux = (weights * radius**dim * (e * nodes).sum(1)).sum()
        # the integrand is as smooth as (radius / distance)^D: the nodes resolve it to 1e-3 at a distance of 1, and
        # to float32 rounding when the charges are far from the surface
        assert flux == pytest.approx(charge, abs=2e-5 if away.min() > 5 else 2e-2)


@pytest.mark.parametrize("dim", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_one_charge_alone_sends_out_its_charge(dim):
    nodes, weights = sphere(dim + 1)
    # one charge, and others of 0 so that the program of the flux above serves
    charges = Charges(jnp.zeros((12, dim + 1)), jnp.zeros(12).at[0].set(-0.7))
    # radius 1/2 about a point off the charge: a wrong power of r shows at once
    center = np.full(dim + 1, 0.1)
    e = vectors(center + 0.5 * nodes, charges)
    flux = (weights * 0.5**dim * (e * nodes).sum(1)).sum()
    assert flux == pytest.approx(-0.7, abs=2e-5)


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
def test_no_divergence_and_no_curl_off_the_charges(dim):
    charges = some_capacitor(dim)
    rng = np.random.default_rng(1)
    points = np.c_[rng.standard_normal((6, dim)), rng.uniform(0.8, 2.2, 6)].astype(np.float32)

    @jax.jit  # one program for all points and axes
    def slope(along):
        def relative(points):
            field = coulomb(points, charges, certified=False)  # of certified sums: see the next test
            return (
                field.direction
                * jnp.exp(field.log_magnitude - jax.lax.stop_gradient(field.log_magnitude))[:, None]
            )

        return jax.jvp(relative, (jnp.asarray(points),), (jnp.broadcast_to(along, points.shape),))[1]

    for jacobian in np.stack([slope(along) for along in jnp.eye(dim + 1)], axis=-1):
        size = np.abs(jacobian).max()
        # the terms cancel D+1 of a kind: float32 roundings times a few
        assert abs(np.trace(jacobian)) < 3e-5 * size * (dim + 1)
        assert np.abs(jacobian - jacobian.T).max() < 3e-5 * size * (dim + 1)
        assert size > 0.01


@pytest.mark.parametrize("dim", [2, 32, 784])
def test_the_gradient_is_that_of_a_float64_reference(dim):
    charges = some_capacitor(dim)
    rng = np.random.default_rng(2)
    point = np.r_[0.5 * rng.standard_normal(dim), 1.3].astype(np.float32)
    along = rng.standard_normal(dim + 1)
    along /= np.linalg.norm(along)
    slope = jax.jit(lambda p, v: jax.jvp(lambda p: tuple(coulomb(p[None], charges)), (p,), (v,))[1])(
        jnp.asarray(point), jnp.asarray(along, jnp.float32)
    )
    step = 1e-5
    ends = [reference_coulomb(point.astype(np.float64)[None] + s * step * along, *charges) for s in (1, -1)]
    # central differences in float64: error about step^2 times (D/r)^3 beside float32 roundings times D
    direction = (ends[0].direction - ends[1].direction)[0] / (2 * step)
    log_magnitude = (ends[0].log_magnitude - ends[1].log_magnitude)[0] / (2 * step)
    assert np.abs(np.asarray(slope[0][0]) - direction).max() < 1e-5 * dim + 2e-3 * np.abs(direction).max()
    assert float(slope[1][0]) == pytest.approx(log_magnitude, rel=1e-3, abs=1e-5 * dim)


@pytest.mark.parametrize("convention", ["superposed", "per_plate"])
def test_gradients_are_finite_near_far_and_on_a_charge(convention):
    charges = some_capacitor(3)
    at = charges.positions[0]
    points = jnp.stack([at, at + 1e-4, at + 1e4, at + jnp.asarray([0.0, 0.0, 0.0, 1.0])])

    def total(points, positions):
        field = coulomb(points, Charges(positions, charges.charge), convention=convention)
        return field.direction.sum() + field.log_magnitude.sum()

    for gradient in jax.jit(jax.grad(total, argnums=(0, 1)))(points, charges.positions):
        assert bool(jnp.isfinite(gradient).all())


def arrays_within(jaxpr):
    """Every array that an equation makes, on whatever level."""
    for equation in jaxpr.eqns:
        yield from (variable.aval for variable in equation.outvars)
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda each: hasattr(each, "eqns")
        ):
            if hasattr(value, "eqns"):
                yield from arrays_within(getattr(value, "jaxpr", value))


def test_gradients_keep_no_charges_for_groups_of_points_or_blocks():
    charges = some_capacitor(80, count=10_000)
    points = jnp.zeros((256, 81))  # sixteen groups that may be summed again

    def total(points):
        field = coulomb(points, charges, block_size=500)
        return field.direction.sum() + field.log_magnitude.sum()

    largest = max(array.size for array in arrays_within(jax.make_jaxpr(jax.grad(total))(points).jaxpr))
    # a copy that the choice of a way keeps; what is held of a block at a time is smaller
    assert largest <= charges.positions.size


def test_rotation_translation_and_conjugation():
    rng = np.random.default_rng(3)
    charges = some_capacitor(4)
    points = rng.standard_normal((10, 5)).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0].astype(np.float32)
    shift = np.asarray([4.0, -2.0, 1.0, 8.0, -16.0], np.float32)
    e = vectors(points, charges)
    size = np.abs(e).max()
    turned = vectors(points @ turn.T, charges._replace(positions=charges.positions @ turn.T))
    # rounding of rotated and shifted coordinates: a few 1e-6 relative, times D + 1
    np.testing.assert_allclose(turned, e @ turn.T, atol=5e-5 * size)
    moved = vectors(points + shift, charges._replace(positions=charges.positions + shift))
    np.testing.assert_allclose(moved, e, atol=5e-5 * size)
    conjugate = vectors(points, charges._replace(charge=-charges.charge))
    # the same sums with plus and minus exchanged: only their order of rounding differs
    np.testing.assert_allclose(conjugate, -e, atol=1e-6 * size)


def test_between_wide_plates_the_field_is_uniform():
    side = np.linspace(-20, 20, 161)
    plate = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2).astype(np.float32)
    charges = capacitor(plate, plate, 1.0)
    points = np.c_[np.random.default_rng(4).uniform(-0.5, 0.5, (20, 2)), np.linspace(0.4, 0.6, 20)]
    e = vectors(points, charges)
    density = 1.0 / (40.25**2)
    # E = density for two infinite plates; what the edges at 20 gaps lack is 2 gap / (pi half-side) of it, about 3 %
    np.testing.assert_allclose(e[:, 2] / density, 1.0, atol=0.05)
    assert np.abs(e[:, :2]).max() < 0.01 * density


def test_in_three_dimensions_it_is_the_field_of_another_code():
    from jaxfmm import eval_potential_direct

    charges = some_capacitor(2, count=40)
    rng = np.random.default_rng(5)
    points = np.c_[rng.standard_normal((30, 2)), rng.uniform(0.5, 2.5, 30)].astype(np.float32)
    other = np.asarray(
        eval_potential_direct(charges.positions, charges.charge, jnp.asarray(points), field=True)
    )
    e = vectors(points, charges)
    # both sum in float32; the other code leaves out or includes 1 / 4 pi by convention, which is fitted as 1 or 4 pi
    scale = 4 * pi if np.abs(other).max() > 5 * np.abs(e).max() else 1.0
    np.testing.assert_allclose(other / scale, e, atol=1e-5 * np.abs(e).max())


@pytest.mark.optimized  # memory of the program that users get
def test_memory_does_not_grow_with_the_charges():
    count, dim1 = 16384, 785
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, dim1), (count, dim1), (count,))]
    compiled = jax.jit(lambda p, x, q: coulomb(p, Charges(x, q), block_size=256)).lower(*shapes).compile()
    # streamed over blocks of 256: not even a fourth of one copy of the charges, never points x charges x D
    assert compiled.memory_analysis().temp_size_in_bytes < 4 * count * dim1 / 4
