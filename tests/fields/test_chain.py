"""The capacitor chain: its few plates, its endless field, its density path, against sums in float64 and its own laws."""

from functools import partial
from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chain_reference import by_bessel, by_elementary, by_images, pair, sphere_area
from chain_reference import chain as reference_chain
from reference import coulomb as reference_coulomb

from efm_jax import fields
from efm_jax.charges import _images
from efm_jax.charges.plates import capacitor_chain
from efm_jax.fields._chain import slab

GAP = 1.75  # exact in float32, so that gap - z is


def clouds(dim, count=24, apart=2.0, seed=0):
    """Samples of P and Q, and points among them at heights 2 % to 98 % of the gap."""
    rng = np.random.default_rng([seed, dim])
    x = rng.standard_normal((count, dim))
    y = rng.standard_normal((count + 3, dim)) + apart / np.sqrt(dim)
    t = np.linspace(0.02, 0.98, 40)[:, None]
    middle = (1 - t) * x[rng.integers(0, count, 40)] + t * y[rng.integers(0, count, 40)]
    points = np.c_[middle + 0.1 * rng.standard_normal((40, dim)), GAP * t]
    return tuple(a.astype(np.float32) for a in (points, x, y))


def vectors(field):
    return (
        np.asarray(field.direction, np.float64)
        * np.exp(np.asarray(field.log_magnitude, np.float64))[..., None]
    )


def few(points, charges):
    """The field of the charges of a chain, as they are in float32, summed in float64."""
    field = reference_coulomb(points, charges.positions, charges.charge)
    return field.direction * np.exp(field.log_magnitude)[:, None]


def test_the_three_float64_references_agree():
    rho, z = np.array([1.0, 2.0, 5.0])[:, None], np.linspace(0.1, 0.9, 5) * GAP
    for dim in (1, 2, 3, 8):
        for one, other in zip(by_images(rho, z, GAP, dim), by_bessel(rho, z, GAP, dim), strict=True):
            # D = 1 converges slowest: the rest of 2,000 images by an integral is good to 1e-12
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    for one, other in zip(by_elementary(rho, z, GAP), by_bessel(rho, z, GAP, 1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_kernels_of_the_slab_against_their_series():
    z = np.array([1e-3, 0.1, 0.49, 0.51, 0.9, 0.999])[:, None]
    time = np.geomspace(1e-3, 20, 30)
    m = np.arange(1, 200)[:, None, None]
    waves = np.exp(-0.5 * (m * pi) ** 2 * time)
    stay = 0.5 + (np.cos(m * pi * z) * waves).sum(0)
    leave = (m * pi * np.sin(m * pi * z) * waves).sum(0)
    scale = 0.5 * z**2 / time
    shape = np.broadcast_shapes(z.shape, time.shape)
    arguments = [jnp.asarray(np.broadcast_to(a, shape), jnp.float32) for a in (z, time)]
    told = (stay > 1e-12) & (leave > 1e-12)  # what float64 leaves of an alternating sum at short times
    assert told.sum() > 120
    for kernel, value in ((slab.log_stay, stay), (slab.log_leave, leave / np.sin(pi * z))):
        log = np.asarray(kernel(*arguments), np.float64) - scale
        # float32 inputs move the exponents, up to 30, by a few 1e-6
        np.testing.assert_allclose(log[told], np.log(value[told]), atol=2e-5)


@pytest.mark.parametrize("dim", [1, *(pytest.param(d, marks=pytest.mark.slow) for d in (2, 3, 8))])
def test_the_endless_field_of_one_charge_in_both_of_its_parts(dim):
    rho, z = np.meshgrid(
        [1e-3, 0.1, 0.5, 1.0, 2.5, 6.0, 16.0], np.array([1e-4, 0.1, 0.5, 0.99, 0.9999]) * GAP
    )
    points = np.zeros((rho.size, dim + 1), np.float32)
    points[:, 0], points[:, -1] = rho.ravel(), z.ravel()
    # Q far away, in the second direction or far off: its field is the same float64 sum's
    x, y = np.zeros((1, dim)), np.full((1, dim), 20.0)
    e, _ = reference_chain(points, x, y, GAP)
    args = (jnp.asarray(points), jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), GAP)
    log_density = np.asarray(fields.log_density_path(*args, tolerance=1e-6))
    # E_z in its own right, e^-30 of E_x at rho = 16: float32 rounds the exponent pi rho / gap to a few 1e-6
    np.testing.assert_allclose(log_density, np.log(2 * e[:, -1]), atol=1e-5)
    velocity = np.asarray(fields.chain_velocity(*args, tolerance=1e-6))
    expected = e[:, :-1] / e[:, -1:]
    size = np.linalg.norm(expected, axis=1, keepdims=True)
    assert size.max() > 1e6
    lateral = np.linalg.norm(e[:, :-1], axis=1)
    canceled = (pair(20 * np.sqrt(dim), 0.5 * GAP, GAP, dim)[0] + lateral) / lateral
    # rounding is that of either plate's part; with one lateral dimension far fields cancel exactly and are exact
    allowed = 2e-5 + (0 if dim == 1 else 2e-6 * canceled)
    assert (np.abs(velocity - expected).max(1) < allowed * size[:, 0]).all()


@pytest.mark.parametrize(
    ("dim", "gap"),
    [
        pytest.param(dim, gap, marks=() if dim == 1 or (dim, gap) == (8, 1.7) else pytest.mark.slow)
        for dim in (1, 2, 3, 8)
        for gap in (0.4, 1.7, 20.0)
    ],
)
def test_field_and_images_against_float64_sums(dim, gap):
    points, x, y = clouds(dim)
    points[:, -1] *= gap / GAP
    e, size = reference_chain(points, x, y, gap)
    endless = vectors(fields.chain(points, x, y, gap))
    # the tolerance 1e-5, of all terms' sizes, and float32 roundings
    assert (np.linalg.norm(endless - e, axis=1) < 1e-5 * size).all()
    for tolerance in (1e-3, 1e-5):
        images = few(points, capacitor_chain(x, y, gap, tolerance=tolerance))
        error = np.linalg.norm(images - e, axis=1) / size
        assert error.max() < tolerance + 2e-6


@pytest.mark.parametrize(
    ("dim", "gap"),
    [(64, 2.0), *(pytest.param(*c, marks=pytest.mark.slow) for c in ((784, 10.0), (784, 2.0), (3072, 3.0)))],
)
def test_field_and_images_agree_in_high_dimensions(dim, gap):
    points, x, y = clouds(dim, count=12)
    points = points[::4]
    points[:, -1] *= gap / GAP
    charges = capacitor_chain(x, y, gap)
    field = fields.chain(points, x, y, gap)
    images = reference_coulomb(points, charges.positions, charges.charge)
    direction = np.linalg.norm(np.asarray(field.direction, np.float64) - images.direction, axis=1)
    # float32 roundings of r^2 times D/2 sway the weights; and of logs of size D
    assert (direction < (1e-5 + 2e-7 * dim) * images.kappa).all()
    log_z = images.log_magnitude + np.log(images.direction[:, -1])
    np.testing.assert_allclose(field.log_magnitude, images.log_magnitude, atol=2e-4 + 4e-7 * dim)
    log_density = np.asarray(fields.log_density_path(points, x, y, gap))
    assert np.abs(log_density).max() > 50
    np.testing.assert_allclose(log_density, np.log(2) + log_z, atol=1e-3 + 4e-7 * dim)
    # the nearest images do: 13 copies of P or Q at most, at a reach of some ten gaps
    assert len(charges.charge) <= 13 * 15 + 2


@pytest.mark.parametrize("dim", [1, 2, 3, 8, 64, 784])
def test_the_stated_error_of_the_plates_holds_and_few_do(dim):
    rng = np.random.default_rng(dim)
    for reach, most in ((0.5, 17), (3.0, 21), (10.0, 31)):
        for tolerance in (1e-2, 1e-5):
            row = _images.chain(dim, reach, tolerance)
            assert row.error <= tolerance
            assert len(row.even.height) + len(row.odd.height) <= most
            np.testing.assert_array_equal(np.sort(row.even.height), np.sort(-row.even.height))
            if dim > 8:
                continue
            rho, z = reach * rng.uniform(0.01, 1, 200), rng.uniform(0, 1, 200)
            for height, heights in ((z, row.even), (1 - z, row.odd._replace(height=1 - row.odd.height))):
                e = np.stack(pair(rho, height, 1.0, dim))
                lift = height[:, None] - heights.height
                power = heights.weight * (rho[:, None] ** 2 + lift**2) ** (-0.5 * (dim + 1))
                found = np.stack([rho * power.sum(1), (lift * power).sum(1)])
                error = np.linalg.norm(found / sphere_area(dim) - e, axis=0) / np.linalg.norm(e, axis=0)
                # found on 17 heights and the widest distances; everywhere within, up to the grid
                assert error.max() < 1.1 * tolerance


@pytest.mark.parametrize("counts", [(41, 7), (83, 1), (48, 60)])
def test_at_d_1_plates_of_unequal_counts_cancel_far_out(counts):
    """The mean sides of 41 and of 7 charges are equal far out, though 41 (1 / 41) is not 1 in float32."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((n, 1)).astype(np.float32) for n in counts)
    points = np.stack(np.meshgrid([-9.0, -6.0, 4.0, 6.0, 9.0], [0.25, 0.5, 0.75]), axis=-1).reshape(-1, 2)
    points = points.astype(np.float32)
    exact, _ = reference_chain(points, x, y, 1.0)
    found = jax.jit(fields.chain, static_argnums=3)(points, x, y, 1.0)
    way = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    # exp(-pi 9) of the field is left there; float32 places that far out turn the direction by their rounding times pi
    np.testing.assert_allclose(found.direction, way, atol=2e-5)
    np.testing.assert_allclose(found.log_magnitude, np.log(np.linalg.norm(exact, axis=1)), atol=2e-5)


def test_far_plates_beat_every_window():
    """At D = 2 and 21 plates: a row cut off, with half charge on its ends, with a binomial window; and the far plates."""
    rho, z = np.meshgrid(np.geomspace(0.05, 3, 20), np.linspace(0.02, 0.98, 9))
    worst = {}
    for name, ends in (("cut", [1.0, 1.0]), ("half", [1.0, 0.5]), ("binomial", [0.75, 0.25])):
        weight = np.ones(21)
        weight[[0, -1]], weight[[1, -2]] = ends[1], ends[0]
        k = np.arange(-10, 11)[weight > 0]
        worst[name] = 0.0
        for parity, height in ((0, z), (1, 1 - z)):
            row = k % 2 == parity
            e = np.stack(pair(rho, height, 1.0, 2))
            lift = height[..., None] - (k[row] if parity == 0 else 1 - k[row])
            power = weight[row] * (rho[..., None] ** 2 + lift**2) ** -1.5
            found = np.stack([rho * power.sum(-1), (lift * power).sum(-1)]) / (4 * pi)
            worst[name] = max(worst[name], (np.hypot(*(found - e)) / np.hypot(*e)).max())
    far = _images.chain(2, 3.0, 1e-6)
    assert len(far.even.height) + len(far.odd.height) == 21
    # the lateral field of all that is cut off stays, whatever the window: about (3 / 10)^2
    assert all(0.05 < error < 0.2 for error in worst.values())
    assert far.error < 1e-5 * min(worst.values())


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
def test_the_plates_are_mirror_images_and_neutral(dim):
    _, x, y = clouds(dim)
    charges = capacitor_chain(x, y, GAP)
    total = float(np.abs(charges.charge).sum())
    # float32 sums of some hundred charges
    assert abs(float(charges.charge.sum())) < 2e-6 * total
    points = np.c_[np.random.default_rng(0).standard_normal((20, dim)), np.linspace(-0.9, 0.9, 20) * GAP]
    mirrored = points * np.r_[np.ones(dim), -1]
    one, other = (few(p, charges) for p in (points, mirrored))
    # heights and charges of either side are the same floats: nothing but float64 rounding is left
    np.testing.assert_allclose(one[:, :-1], other[:, :-1], atol=1e-11 * np.abs(one).max())
    np.testing.assert_allclose(one[:, -1], -other[:, -1], atol=1e-11 * np.abs(one).max())


@pytest.mark.parametrize("dim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_period_and_mirror_at_the_other_plate(dim):
    _, x, y = clouds(dim)
    charges = capacitor_chain(x, y, GAP, tolerance=1e-6, reach=25.0)
    rng = np.random.default_rng(1)
    points = np.c_[
        rng.standard_normal((40, dim)), rng.uniform(0.1, 0.9, 40) * GAP
    ]  # shapes of `clouds`: compiled once
    e = vectors(fields.chain(points.astype(np.float32), x, y, GAP))
    size = reference_chain(points, x, y, GAP)[1][:, None]
    images = [
        (points + np.r_[np.zeros(dim), 2 * GAP], np.ones(dim + 1)),
        (points - np.r_[np.zeros(dim), 2 * GAP], np.ones(dim + 1)),
        (points * np.r_[np.ones(dim), -1] + np.r_[np.zeros(dim), 2 * GAP], np.r_[np.ones(dim), -1]),
    ]
    for places, sign in images:
        shifted = few(places, charges) * sign
        # heights up to 3 gaps, where fewer images are on one side: still far inside the row of this reach
        assert (np.abs(shifted - e) < 2e-5 * size).all()


def test_plate_values_are_half_of_p_and_of_q():
    """At height h over a fine grid of charges, 2 E_z is P smeared by a Cauchy law of scale h; the mirror adds the rest."""
    grid = (np.arange(4000) + 0.5) / 4000
    from scipy.special import ndtri

    x, y = ndtri(grid)[:, None].astype(np.float32), (0.5 * ndtri(grid) + 1.5)[:, None].astype(np.float32)
    at = np.linspace(-1.5, 2.5, 9)
    h = 0.02  # far above the spacing of the charges, 6e-4 in the middle
    for height, mean, width in ((h, 0.0, 1.0), (2.0 - h, 1.5, 0.5)):
        points = np.c_[at, np.full(9, height)].astype(np.float32)
        path = np.exp(np.asarray(fields.log_density_path(points, x, y, 2.0)))
        density = np.exp(-0.5 * ((at - mean) / width) ** 2) / (width * np.sqrt(2 * pi))
        images = few(points[::4], capacitor_chain(x, y, 2.0))[:, -1]
        # smearing by h changes a density of this width by about 2 h / width^2 of its greatest value
        np.testing.assert_allclose(path, density, atol=2 * h / width**2)
        np.testing.assert_allclose(2 * images, path[::4], atol=1e-4)


@pytest.mark.parametrize("dim", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_density_has_mass_one_at_every_height(dim):
    _, x, y = clouds(dim, count=5)
    step = 0.02 if dim == 1 else 0.1
    side = np.arange(-9, 11, step)
    grid = np.stack(np.meshgrid(*[side] * dim), -1).reshape(-1, dim)
    for share in (0.1, 0.5, 0.85):
        points = np.c_[grid, np.full(len(grid), share * GAP)].astype(np.float32)
        mass = np.exp(np.asarray(fields.log_density_path(points, x, y, GAP))).sum() * step**dim
        # equal steps: exp(-2 pi h / step) with h >= 0.17, 2e-5 of the mass; tails beyond exp(-pi 6 / 1.7), 2e-5
        assert mass == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("dim", [1, 2])
def test_no_line_in_a_thousand_leaks(dim):
    """What leaves P upwards and does not pass a plane, at the default tolerance: flux of the few images' field."""
    _, x, y = clouds(dim, count=5)
    positions, charge = (np.asarray(a, np.float64) for a in capacitor_chain(x, y, GAP, reach=14.0))
    side = np.arange(-10, 12, 0.1)
    grid = np.stack(np.meshgrid(*[side] * dim), -1).reshape(-1, dim)
    for share in (0.3, 0.5, 0.7):
        e_z = np.zeros(len(grid))
        for position, q in zip(positions, charge, strict=True):
            lift = share * GAP - position[-1]
            e_z += q * lift * (((grid - position[:-1]) ** 2).sum(1) + lift**2) ** (-0.5 * (dim + 1))
        through = e_z.sum() * 0.1**dim / sphere_area(dim)
        # one half goes up from P, one half arrives at Q; equal steps err by exp(-2 pi 0.5 / 0.1)
        assert 2 * through == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("dim", [1, *(pytest.param(d, marks=pytest.mark.slow) for d in (2, 8))])
def test_the_field_is_free_of_sources_and_its_gradients_are_right(dim):
    points, x, y = clouds(dim, count=6)
    points = jnp.asarray(points[5:35:10])
    references = fields.chain(points, x, y, GAP).log_magnitude

    def scaled(points):
        field = fields.chain(points, x, y, GAP, tolerance=1e-6)
        return field.direction * jnp.exp(field.log_magnitude - references)[:, None]

    def slope(along):
        return jax.jvp(scaled, (points,), (jnp.broadcast_to(along, points.shape),))[1]

    for jacobian in np.asarray(jax.jit(jax.vmap(slope))(jnp.eye(dim + 1)), np.float64).swapaxes(0, 1):
        size = np.abs(jacobian).max()
        # the gradient's terms cancel among D+1 of them: float32 roundings times a few, and the tolerance
        assert abs(np.trace(jacobian)) < 5e-5 * size * np.sqrt(dim + 1)
        assert np.abs(jacobian - jacobian.T).max() < 1e-4 * size
    gradient = jax.grad(lambda p: fields.log_density_path(p, x, y, GAP).sum())(points)
    step = 1e-4
    for axis in range(dim + 1):
        shift = step * np.eye(dim + 1)[axis]
        ends = (np.asarray(points, np.float64) + s * shift for s in (1, -1))
        up, down = (np.log(reference_chain(p, x, y, GAP)[0][:, -1]) for p in ends)
        # central differences in float64 err by step^2; float32 by 1e-5 of the largest slope
        np.testing.assert_allclose(gradient[:, axis], (up - down) / (2 * step), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_on_plates_and_charges_the_field_is_that_of_the_others():
    x, y = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32), np.array([[0.0, 2.0]], np.float32)
    points = np.array([[0.0, 0.0, 0.0], [0.5, 0.3, 0.0], [0.2, 0.2, 1.0], [0.0, 2.0, 1.0]], np.float32)
    more = np.array([[np.nan, 0.0, 0.5], [0.0, 0.0, 1.5]], np.float32)  # not a number, and outside the slab

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def traced(points):
        field = fields.chain(points, x, y, 1.0)
        return field.log_magnitude[:3].sum(), field

    (_, field), gradient = traced(np.concatenate([points, more]))
    images = few(points, capacitor_chain(x, y, 1.0, tolerance=1e-6))
    # on the plates E_z is zero; on the other plate the images' own to the tolerance
    np.testing.assert_array_equal(np.asarray(field.direction[:4, -1]), np.zeros(4))
    np.testing.assert_allclose(vectors(field)[:4], images, atol=2e-5)
    assert np.isnan(field.log_magnitude).tolist() == [False, False, False, False, True, True]
    # but for the lone charge of Q, at whose place its plate has no field to change
    assert bool(jnp.isfinite(gradient[:3]).all())
    on_plates = np.array([[0.3, 0.0], [1.0, 1.0]], np.float32)
    assert np.isneginf(np.asarray(fields.log_density_path(on_plates, x[:, :1], y[:, :1], 1.0))).all()


def test_no_points_shapes_and_blocks_of_points():
    flat, *samples = clouds(1)
    assert fields.chain(flat[:0], *samples, GAP).direction.shape == (0, 2)
    assert fields.chain_velocity(flat[0], *samples, GAP).shape == (1,)
    assert fields.log_density_path(flat[0], *samples, GAP).shape == ()
    points, x, y = clouds(2)
    one = fields.chain(points.reshape(4, 10, 3), x, y, GAP)
    assert one.direction.shape == (4, 10, 3)


GOOD = np.zeros((4, 2), np.float32)
INSIDE = np.full((1, 3), 0.5, np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: capacitor_chain(GOOD, GOOD, 0.0), r"gap must be a finite number > 0, got 0.0"),
        (lambda: capacitor_chain(GOOD, GOOD, 1.0, 0), r"images must be a whole number >= 1, got 0"),
        (lambda: capacitor_chain(GOOD, GOOD, 1.0, tolerance=0.0), r"tolerance must be a finite number > 0"),
        (lambda: capacitor_chain(GOOD, GOOD, 1.0, reach=-1.0), r"reach must be a finite number > 0"),
        (lambda: capacitor_chain(GOOD, GOOD[:, :1], 1.0), r"same number of dimensions"),
        (lambda: capacitor_chain(GOOD, GOOD, 1e-4, reach=10.0), r"widen the gap"),
        (lambda: jax.jit(lambda x: capacitor_chain(x, x, 1.0))(GOOD), r"under jit .* give reach="),
        (lambda: fields.chain(INSIDE, GOOD, GOOD, -1.0), r"gap must be a finite number > 0"),
        (lambda: fields.chain(INSIDE, GOOD, GOOD, 0.4), r"between the plates.*1 do not"),
        (lambda: fields.chain(-INSIDE, GOOD, GOOD, 1.0), r"between the plates.*1 do not"),
        (
            lambda: fields.chain(INSIDE[:, :2], GOOD, GOOD, 1.0),
            r"points must have shape \[..., 3\].*got \(1, 2\)",
        ),
        (lambda: fields.chain(INSIDE, GOOD * np.nan, GOOD, 1.0), r"x_pos holds 8 NaN"),
        (lambda: fields.chain_velocity(INSIDE, GOOD, GOOD[:, :1], 1.0), r"same number of dimensions"),
        (lambda: fields.log_density_path(INSIDE, GOOD, GOOD, 1.0, tolerance=-1.0), r"tolerance must be"),
        (lambda: fields.chain_fn(GOOD, GOOD, 1.0, tolerance=-1.0), r"tolerance must be"),
        (lambda: fields.chain_fn(GOOD, GOOD[:, :1], 1.0), r"same number of dimensions"),
        (lambda: fields.log_density_path(INSIDE.astype(int), GOOD, GOOD, 1.0), r"points must hold floating"),
    ],
)
def test_bad_input_is_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_tolerance_of_a_chain_s_function_may_be_a_number_of_an_array():
    chains = [fields.chain_fn(GOOD, GOOD, 1.0, tolerance=t) for t in (2.0**-10, jnp.float32(2.0**-10))]
    assert len({one.func for one in chains}) == 1  # equal, so that compiled lines are shared


def test_chains_under_jit_with_reach_or_images():
    _, x, y = clouds(2)
    inside = jax.jit(lambda x, y: capacitor_chain(x, y, GAP, reach=5.0))(x, y)
    outside = capacitor_chain(x, y, GAP, reach=5.0)
    # the middle and each share are computed in another order of operations at most
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), inside, outside)
    assert jax.jit(lambda x, y: capacitor_chain(x, y, GAP, 2).charge)(x, y).shape[0] > 2


def test_outside_the_slab_the_field_is_mirrored():
    _, x, y = clouds(2)
    field = fields.chain_fn(x, y, GAP)
    rng = np.random.default_rng(5)
    at = rng.standard_normal((40, 2))
    below = np.c_[at, -GAP * rng.uniform(0.1, 0.9, 40)].astype(np.float32)
    images = few(below, capacitor_chain(x, y, GAP, tolerance=1e-6))
    images = images / np.linalg.norm(images, axis=1, keepdims=True)
    # the row of images is its own mirror in z = 0; both to the tolerance of its other half
    np.testing.assert_allclose(field(jnp.asarray(below)), images, atol=1e-4)
    above = np.c_[below[:, :-1], below[:, -1:] + 2 * GAP]
    np.testing.assert_allclose(field(jnp.asarray(above)), images, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [2, pytest.param(16, marks=pytest.mark.slow)])
def test_a_sample_far_away_on_either_plate_takes_its_share_only(dim):
    rng = np.random.default_rng(dim)
    x, y = (rng.standard_normal((8, dim)).astype(np.float32) for _ in range(2))
    points = np.c_[rng.standard_normal((4, dim)), [0.1, 0.5, 0.9, 0.0]].astype(np.float32)
    alone = fields.chain(points, x[1:], y[1:], 1.0)
    slope = np.asarray(fields.chain_velocity(points, x[1:], y[1:], 1.0))[:3]
    for far in (1e6, 1e8, 1e12, 1e20, 1e30):
        x[0], y[0] = far, -far
        field = fields.chain(points, x, y, 1.0)
        # the tolerance of the sum over images, 1e-5 of a charge's own field, for fourteen charges that partly cancel
        np.testing.assert_allclose(field.direction, alone.direction, atol=1e-4)
        np.testing.assert_allclose(
            field.log_magnitude, alone.log_magnitude + np.log(7 / 8), rtol=1e-5, atol=1e-4
        )
        found = np.asarray(fields.chain_velocity(points, x, y, 1.0))[:3]
        np.testing.assert_allclose(found, slope, rtol=1e-3, atol=1e-4 * np.abs(slope).max())


@pytest.mark.parametrize("dim", [1, 2, pytest.param(16, marks=pytest.mark.slow)])
def test_far_out_one_wave_is_left(dim):
    """`p = 2 pi sin(pi z) (2 pi)^(-D/2) 2 (pi / rho)^(D/2-1) K_(D/2-1)(pi rho)`, by Hankel's expansion."""
    x = np.zeros((1, dim), np.float32)
    for rho in (3e3, 2e4, 1e8, 1e12, 1e20, 1e30):
        points = np.zeros((3, dim + 1), np.float32)
        points[:, 0], points[:, -1] = rho, [0.3, 0.5, 0.9]
        order = abs(0.5 * dim - 1)
        u = np.pi * float(np.float32(rho))
        log_bessel = 0.5 * np.log(np.pi / (2 * u)) - u + np.log1p((4 * order**2 - 1) / (8 * u))
        log_wave = (
            np.log(np.pi)
            + 2 * np.log(2)
            - 0.5 * dim * np.log(2 * np.pi)
            + (0.5 * dim - 1) * np.log(np.pi / rho)
        )
        log_p = log_wave + log_bessel + np.log(np.sin(np.pi * points[:, -1]))
        # float32 of the height of the peak
        found = fields.log_density_path(points, x, x, 1.0)
        np.testing.assert_allclose(found, log_p, rtol=3e-7, atol=1e-3)
        assert np.isfinite(fields.chain_velocity(points, x, x + 1, 1.0)).all()
        assert np.isfinite(fields.chain(points, x, x + 1, 1.0).direction).all()
