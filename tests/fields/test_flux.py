"""Flux as a tool: Gauss's law on spheres, boxes and patches, in low D by quadrature and in high D at random."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.charges.plates import capacitor, plate
from efm_jax.fields import Surface, box, chain, coulomb, flux, log_sphere_area, patch, random_sphere, sphere
from efm_jax.types import Field


def some_charges(dim, gap=4.0):
    rng = np.random.default_rng(dim)
    x, y = rng.uniform(-0.5, 0.5, (5, dim)), rng.uniform(-0.5, 0.5, (7, dim))
    return capacitor(x.astype(np.float32), y.astype(np.float32), gap)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_flux_through_closed_surfaces_is_the_enclosed_charge(dim):
    # the fast sums alone err by a few 1e-7 of the charge, and compile faster; spheres are padded to the size of boxes
    field = jax.jit(partial(coulomb, charges=some_charges(dim), certified=False))
    middle = jnp.zeros(dim + 1)
    nodes = {1: 64, 2: 32, 3: 20}[dim]
    side, up = np.r_[np.full(dim, 2.0), 2.0], np.r_[np.zeros(dim), 4.0]
    surfaces = {
        "P by a sphere": (sphere(middle, 2.0, nodes=nodes), 1.0),
        "both by a sphere": (sphere(middle.at[-1].set(2.0), 6.0, nodes=nodes), 0.0),
        "P by a box": (box(-side, side, nodes=nodes), 1.0),
        "Q by a box": (box(up - side, up + side, nodes=nodes), -1.0),
        "none by a box": (box(up + side, up + 2 * side, nodes=nodes), 0.0),
    }
    most = max(len(surface.points) for surface, _ in surfaces.values())

    def in_one_shape(points):
        found = field(jnp.pad(points, ((0, most - len(points)), (0, 0)), mode="edge"))
        return jax.tree.map(lambda values: values[: len(points)], found)

    for name, (surface, charge) in surfaces.items():
        through = flux(in_one_shape, surface)
        # nodes resolve what is as smooth as (size / distance)^D to 1e-5; the rest is float32
        assert float(through.value) == pytest.approx(charge, abs=5e-5), name
        assert float(through.standard_error) == 0.0


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_areas_normals_and_moments(dim):
    ball = sphere(jnp.arange(dim + 1.0), 1.5, nodes=12)
    area = np.exp(log_sphere_area(dim)) * 1.5**dim
    weight = np.exp(np.asarray(ball.log_weight, np.float64))
    assert weight.sum() == pytest.approx(area, rel=1e-6)
    # the mean of n n^T over a sphere is I / (D + 1)
    normals = np.asarray(ball.normals, np.float64)
    np.testing.assert_allclose(
        (weight * normals.T) @ normals, area * np.eye(dim + 1) / (dim + 1), atol=1e-5 * area
    )
    lower, upper = np.arange(dim + 1.0), np.arange(dim + 1.0) + np.arange(1, dim + 2)
    block = box(lower, upper, nodes=4)
    weight = np.exp(np.asarray(block.log_weight, np.float64))
    # the flux of x through a closed surface is D + 1 times its volume
    through = (weight * (np.asarray(block.points) * np.asarray(block.normals)).sum(1)).sum()
    assert through == pytest.approx((dim + 1) * np.prod(upper - lower), rel=1e-5)


def test_a_patch_sees_the_solid_angle():
    field = partial(coulomb, charges=plate(np.zeros((1, 2), np.float32), 0.0, 1.0), certified=False)
    # one face of the cube about the charge takes a sixth; from any axis, with its normal up that axis
    for axis, at, sign in ((-1, 1.0, 1), (2, -1.0, -1), (0, 1.0, 1), (1, -1.0, -1)):
        face = patch(np.array([-1.0, -1.0]), np.array([1.0, 1.0]), at, axis=axis, nodes=12)
        assert float(flux(field, face).value) == pytest.approx(sign / 6, abs=1e-5)


def test_half_of_the_chain_passes_every_plane():
    rng = np.random.default_rng(3)
    x, y = (rng.uniform(-1, 1, (6, 1)).astype(np.float32) for _ in range(2))
    through = jax.jit(lambda plane: flux(lambda p: chain(p, x, y, 1.5), plane))
    for share in (0.1, 0.6):
        plane = patch(np.array([-8.0]), np.array([8.0]), share * 1.5, nodes=600)
        # beyond 8 there is exp(-pi 7 / 1.5), 4e-7
        assert float(through(plane).value) == pytest.approx(0.5, abs=2e-5)


@pytest.mark.parametrize("dim", [3, 784])
def test_random_spheres_tell_the_flux_and_their_error(dim):
    rng = np.random.default_rng(4)
    x = (rng.standard_normal((6, dim)) / np.sqrt(dim)).astype(np.float32)
    charges = plate(x, 0.0, 0.7)
    # |E| on the sphere varies as exp(sqrt(D) / radius): about 0.3
    radius = 3.0 * np.sqrt(dim)
    center = jnp.zeros(dim + 1)
    field = jax.jit(partial(coulomb, charges=charges, certified=False))

    def fluxes(center, count):
        spheres = (random_sphere(jax.random.key(k), center, radius, 400) for k in range(count))
        found = [flux(field, surface) for surface in spheres]
        return (np.array([float(v) for v in part]) for part in zip(*found, strict=True))

    values, errors = fluxes(center, 12)
    assert errors.max() < 0.02
    # twelve independent deviations in units of their standard errors: chi-square below its 99.9 % point
    assert (((values - 0.7) / errors) ** 2).sum() < 32.9
    # and their spread is what was told, within the 99.9 % band of 11 degrees of freedom
    assert 0.29 < values.std(ddof=1) / np.sqrt((errors**2).mean()) < 1.7
    # no charge inside: 10 x 400 points, so that the program of the spheres above serves
    values, errors = fluxes(center.at[0].set(2.5 * radius), 10)
    assert abs(values.mean()) < 5 * np.sqrt((errors**2).sum()) / 10 + 1e-6


def test_the_error_of_a_random_surface_is_unbiased_for_two_points():
    def upward(points):
        return Field(jnp.zeros_like(points).at[:, -1].set(1.0), jnp.zeros(len(points)))

    # the terms are their weights, 3 and 1: a sum of two has the standard error |3 - 1|
    normals = jnp.asarray([[0.0, 1.0], [0.0, 1.0]])
    surface = Surface(jnp.zeros((2, 2)), normals, jnp.log(jnp.asarray([3.0, 1.0])), True)
    found = flux(upward, surface)
    np.testing.assert_allclose([found.value, found.standard_error], [4.0, 2.0], rtol=1e-6)
    assert float(flux(upward, surface._replace(random=False)).standard_error) == 0.0
    one = Surface(*(part[:1] for part in surface[:3]), True)
    assert float(flux(upward, one).standard_error) == np.inf


FIELD = partial(coulomb, charges=plate(np.zeros((1, 2), np.float32), 0.0, 1.0), certified=False)
CORNER = np.zeros(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sphere(jnp.zeros(3), 0.0), r"radius must be a finite number > 0"),
        (lambda: sphere(jnp.zeros((2, 3)), 1.0), r"center must have shape \[D\+1\].*got \(2, 3\)"),
        (lambda: sphere(jnp.zeros(10), 1.0), r"take fewer nodes, or random_sphere"),
        (lambda: sphere(jnp.zeros(3), 1.0, nodes=0), r"nodes must be a whole number >= 1"),
        (lambda: random_sphere(jax.random.key(0), jnp.zeros(1), 1.0, 5), r"center must have shape"),
        (lambda: random_sphere(jax.random.key(0), jnp.zeros(3), 1.0, 0), r"num_points must be a whole"),
        (lambda: patch(CORNER, CORNER, 0.0), r"lower < upper everywhere"),
        (lambda: patch(CORNER, CORNER + 1, np.nan), r"at must be a finite number"),
        (lambda: patch(CORNER, CORNER + 1, 0.0, axis=3), r"axis must be one of the 3 coordinates"),
        (lambda: box(CORNER, np.ones(3)), r"of one shape"),
        (lambda: box(CORNER[:1], np.ones(1)), r"a box has corners \[D\+1\]"),
        (lambda: flux(lambda p: FIELD(p).direction, sphere(jnp.zeros(3), 1.0)), r"must return a Field"),
        (lambda: flux(FIELD, Surface(jnp.zeros((2, 3)), jnp.zeros((1, 3)), jnp.zeros(2))), r"a surface has points"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "made", [sphere, lambda center, radius: random_sphere(jax.random.key(0), center, radius, 9)]
)
def test_the_radius_may_be_traced(made):
    """The area of a sphere is 4 pi r^2, and its derivative 8 pi r."""

    def area(radius):
        return jnp.exp(made(jnp.zeros(3), radius).log_weight).sum()

    got, slope = jax.jit(jax.value_and_grad(area))(1.5)
    np.testing.assert_allclose([got, slope], [4 * np.pi * 1.5**2, 8 * np.pi * 1.5], rtol=1e-5)
    points = jax.jacfwd(lambda radius: made(jnp.zeros(3), radius).points)(1.5)
    np.testing.assert_allclose(points, made(jnp.zeros(3), 1.5).normals, atol=1e-6)
