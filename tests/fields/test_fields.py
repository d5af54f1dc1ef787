import jax
import jax.numpy as jnp
import numpy as np
import pytest
from field_cases import DIMS, cases, segment
from reference import coulomb as reference_coulomb
from reference import error_over_tolerance

from efm_jax.charges.plates import Charges, capacitor
from efm_jax.fields import coulomb, field_fn
from efm_jax.fields._sums.products import by_products
from efm_jax.fields.point_charges import mean_displacement
from efm_jax.fields.streamed import streamed_field

field = jax.jit(coulomb, static_argnames=("convention", "gamma", "block_size", "certified"))


def worst_errors(dim: int, count: int, num_points: int, convention: str = "superposed") -> dict[str, float]:
    """Worst error over its tolerance, per case; charges of 0 give all cases one shape, to compile once."""
    worst = {}
    for case in cases(dim, count, num_points):
        empty = max(5 * count, 8) - len(case.charge)
        charges = Charges(
            np.pad(case.positions, ((0, empty), (0, 0)), mode="edge"), np.pad(case.charge, (0, empty))
        )
        out = field(case.points, charges, convention=convention)
        truth = reference_coulomb(case.points, case.positions, case.charge, convention)
        worst[case.name] = float(error_over_tolerance(out, truth).max())
    return worst


def check_accuracy(dim: int, count: int, num_points: int, convention: str) -> None:
    worst = worst_errors(dim, count, num_points, convention)
    name = max(worst, key=worst.get)
    print(
        f"D = {dim}, {count} charges a plate, {convention}: worst error / tolerance {worst[name]:.3f} ({name})"
    )
    assert worst[name] <= 1, worst


@pytest.mark.optimized  # the digits that users get
@pytest.mark.parametrize(
    ("dim", "count", "num_points", "convention"),
    [
        pytest.param(1, 64, 32, "superposed", marks=pytest.mark.slow),
        pytest.param(2, 64, 32, "superposed", marks=pytest.mark.smoke),
        (3, 300, 16, "superposed"),
        (3, 64, 16, "per_plate"),
        (32, 16, 16, "superposed"),
        (784, 16, 16, "superposed"),
        (784, 4, 8, "per_plate"),
        (3072, 4, 8, "superposed"),
    ],
)
def test_float32_is_accurate_on_every_kind_of_case(dim, count, num_points, convention):
    check_accuracy(dim, count, num_points, convention)


@pytest.mark.slow
@pytest.mark.parametrize("convention", ["superposed", "per_plate"])
@pytest.mark.parametrize("count", [1, 64, 4096])
@pytest.mark.parametrize("dim", DIMS)
def test_float32_is_accurate_on_the_whole_battery(dim, count, convention):
    check_accuracy(dim, count, 4 if dim * count > 10**7 else 16, convention)


def random_capacitor(dim=3, count=20, seed=0, gap=6.0):
    rng = np.random.default_rng(seed)
    x, y = (rng.standard_normal((count, dim)).astype(np.float32) for _ in range(2))
    points = segment(rng, x, y, gap, 8).astype(np.float32)
    return points, capacitor(x, y, gap)


def test_products_are_trusted_beside_charges():
    """What makes them fast there too: the nearest charges go by differences, the others lose next to nothing."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 784)).astype(np.float32)
    plate = np.c_[x, np.zeros(300, np.float32)]
    aside = rng.standard_normal((16, 785))
    points = plate[:16] + 1e-3 * aside / np.linalg.norm(aside, axis=1, keepdims=True)
    sums = jax.jit(by_products)(points.astype(np.float32), plate, np.full(300, 1 / 300, np.float32))
    # half a unit for each of D+1 powers of r, and a few more
    assert (sums.doubt <= 60e-9 * 800 * np.linalg.norm(sums.vector, axis=1)).all()


@pytest.mark.slow
@pytest.mark.parametrize(("convention", "sizes"), [("superposed", (1, 7, 39, 1000)), ("per_plate", (7,))])
def test_the_block_size_does_not_matter(convention, sizes):
    """Both conventions combine the same sums of blocks, and what is summed again with more care has blocks of its own."""
    points, charges = random_capacitor(dim=20)
    whole = field(points, charges, convention=convention)
    for size in sizes:
        blocks = field(points, charges, convention=convention, block_size=size, certified=False)
        # reassociated float32 sums of well-conditioned terms
        np.testing.assert_allclose(blocks.direction, whole.direction, atol=3e-6)
        np.testing.assert_allclose(blocks.log_magnitude, whole.log_magnitude, atol=1e-5)


@pytest.mark.smoke
def test_a_lone_charge_exerts_no_force_on_itself():
    charges = Charges(jnp.array([[1.0, 2.0, 0.0]]), jnp.array([1.0]))
    on_it = coulomb(charges.positions, charges)
    np.testing.assert_array_equal(on_it.direction, np.zeros((1, 3)))
    assert on_it.log_magnitude[0] == -np.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p, c: coulomb(p[:, :-1], c),
            r"points must have shape \[\.\.\., 4\].*got \(8, 3\).*append the height",
        ),
        (lambda p, c: coulomb(p.astype(int), c), r"points must hold floating-point numbers, got dtype int"),
        (
            lambda p, c: coulomb(p, Charges(c.positions, c.charge[:-1])),
            r"charges must be .*\(40, 4\) and \(39,\)",
        ),
        (lambda p, c: coulomb(p, Charges(c.positions[:0], c.charge[:0])), r"n >= 1"),
        (
            lambda p, c: coulomb(p, c, convention="both"),
            r"convention must be one of 'superposed', 'per_plate', got",
        ),
        (lambda p, c: coulomb(p, c, gamma=1.0), r"gamma shrinks the plates of convention=\"per_plate\" only"),
        (lambda p, c: coulomb(p, c, convention="per_plate", gamma=-1.0), r"gamma must be >= 0, got -1.0"),
        (lambda p, c: coulomb(p, c, block_size=0), r"block_size must be a whole number >= 1, got 0"),
        (lambda p, c: coulomb(p, c, block_size=2.5), r"block_size must be a whole number >= 1, got 2.5"),
        (lambda p, c: field_fn(c, convention="both"), r"convention must be one of"),
        (lambda p, c: field_fn(c, gamma=1.0), r"gamma shrinks the plates of convention=\"per_plate\" only"),
        (lambda p, c: field_fn(c, block_size=0), r"block_size must be a whole number >= 1, got 0"),
        (
            lambda p, c: field_fn(Charges(c.positions, c.charge[:-1])),
            r"charges must be .*\(40, 4\) and \(39,\)",
        ),
    ],
)
def test_bad_input_is_refused_with_a_fix(call, message):
    with pytest.raises(ValueError, match=message):
        call(*random_capacitor())


@pytest.mark.parametrize("dim", [2, 100])
def test_the_field_holds_where_squares_overflow(dim):
    x, y = np.random.default_rng(dim).standard_normal((2, 8, dim)).astype(np.float32)
    inside = np.c_[x + 0.1, np.full(8, 0.5)].astype(np.float32)
    near = field(inside, capacitor(x, y, 1.0))
    for unit in (1e-10, 1e19, 1e25, 1e35):
        far = field(inside * np.float32(unit), capacitor(x * np.float32(unit), y * np.float32(unit), unit))
        # coordinates rounded anew
        np.testing.assert_allclose(far.direction, near.direction, atol=1e-5)
        np.testing.assert_allclose(
            far.log_magnitude, near.log_magnitude - dim * np.log(unit), rtol=1e-6, atol=1e-4
        )


def test_the_shrinkage_is_a_length_where_squares_overflow():
    x, y = np.random.default_rng(0).standard_normal((2, 8, 2)).astype(np.float32)
    inside = np.c_[x + 0.1, np.full(8, 0.5)].astype(np.float32)
    shrunk = {"convention": "per_plate", "certified": False}
    near = coulomb(inside, capacitor(x, y, 1.0), gamma=0.5, **shrunk)
    plain = coulomb(inside, capacitor(x, y, 1.0), **shrunk)
    assert np.abs(near.log_magnitude - plain.log_magnitude).min() > 0.1
    for unit in (1e19, 1e30):
        far = [np.float32(unit) * part for part in (inside, x, y)]
        found = coulomb(far[0], capacitor(far[1], far[2], unit), gamma=0.5 * unit, **shrunk)
        # coordinates rounded anew
        np.testing.assert_allclose(found.direction, near.direction, atol=1e-5)
        np.testing.assert_allclose(found.log_magnitude, near.log_magnitude, atol=1e-5)


@pytest.mark.slow
def test_in_float64_sums_by_products_are_trusted_to_their_own_digits_only():
    """In a tight cluster far from the middle products lose up to 1e-9 of the field: enough for float32 alone."""
    rng = np.random.default_rng(0)
    center = 50 * np.sign(rng.standard_normal((2, 100)))
    x = center[np.arange(16) % 2] + 1e-2 * rng.standard_normal((16, 100))
    with jax.enable_x64(True):
        charges = capacitor(jnp.asarray(x), jnp.asarray(x[::-1]), 1.0)
        points = np.c_[center[np.arange(4) % 2] + 1e-2 * rng.standard_normal((4, 100)), np.full(4, 1e-2)]
        found = coulomb(points, charges)
        positions = np.asarray(charges.positions)
    exact = reference_coulomb(points, positions, charges.charge)
    # the same float64 differences, and half a rounding for each of D+1 powers of a distance, 1e-14
    np.testing.assert_allclose(found.direction, exact.direction, atol=1e-12)


def test_plates_from_the_host_are_summed_in_float64_where_their_samples_are():
    x, points = np.array([[0.1, 0.2], [0.3, 0.1]]), np.array([[0.2, 0.2, 0.7]], np.float32)
    with jax.enable_x64(True):
        field = streamed_field(points, [(x, 0.0, 1.0), (x[:1], 1.0, -1.0)])
        assert field.direction.dtype == np.float64
    positions = np.r_[np.c_[x, np.zeros(2)], [[*x[0], 1.0]]]
    exact = reference_coulomb(points.astype(np.float64), positions, np.array([0.5, 0.5, -1.0]))
    np.testing.assert_allclose(field.direction, exact.direction, atol=1e-14)  # a few roundings of float64


def test_options_of_a_field_function_may_be_numbers_of_arrays():
    points, charges = random_capacitor()
    plain = field_fn(charges, convention="per_plate", gamma=5.0, block_size=16)
    arrays = field_fn(charges, convention="per_plate", gamma=jnp.float32(5), block_size=np.int64(16))
    assert (arrays.func, hash(arrays.func)) == (plain.func, hash(plain.func))  # so compiled lines are shared
    np.testing.assert_array_equal(arrays(points), plain(points))
    none = field_fn(charges, convention="per_plate")
    assert field_fn(charges, convention="per_plate", gamma=np.float32(0)).func == none.func


@pytest.mark.parametrize("dim", [2, 100])
def test_the_mean_displacement_on_a_charge_is_that_from_the_others(dim):
    x = jnp.asarray(np.random.default_rng(dim).standard_normal((6, dim)), jnp.float32)
    on_them = jnp.pad(x[:2], ((0, 0), (0, 1)))
    mean, length = mean_displacement(on_them, x, 1)
    for k in range(2):
        others = mean_displacement(on_them[k : k + 1], jnp.delete(x, k, axis=0), 1)
        np.testing.assert_allclose(mean[k], others[0][0], rtol=1e-5, atol=1e-6)  # sums in another order
        np.testing.assert_allclose(length[k], others[1][0], rtol=1e-5)
    # all charges at one place: none is left
    alone = mean_displacement(on_them[:1], jnp.tile(x[:1], (3, 1)), 1)
    assert not alone[0].any()
    assert not alone[1].any()


def test_the_mean_displacement_has_a_gradient_on_a_charge():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 2)), jnp.float32)
    point = jnp.pad(x[:1], ((0, 0), (0, 1)))

    def length(point, x):
        return jnp.sum(mean_displacement(point, x, 1)[1])

    of_point, of_x = jax.grad(length, argnums=(0, 1))(point, x)
    expected = jax.grad(length, argnums=(0, 1))(point, x[1:])
    np.testing.assert_allclose(of_point, expected[0], rtol=1e-4, atol=1e-5)  # sums in another order
    np.testing.assert_allclose(of_x[1:], expected[1], rtol=1e-4, atol=1e-5)
    assert not of_x[0].any()
    for part in jax.grad(length, argnums=(0, 1))(point, x[:1]):
        assert not part.any()
