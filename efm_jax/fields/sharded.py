"""The field of charges that lie on several devices: each sums over its own, then the sums are added.

A device's sums over a plate are relative to its own nearest charge, at distance r. The least r of all devices (pmin) becomes
the common one, and the rescaled sums add up (psum), as the maxima and sums of a streamed softmax do. The added sums decide
which points are summed again with more care, so all devices agree. Each redoes as many groups of points as the one that
needs most, so none waits for a sum in which another does not take part.
"""

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.distances import unit_of_squares
from efm_jax.charges.plates import Charges, as_points_and_charges, check_shapes
from efm_jax.fields._sums.combine_plates import (
    Plates,
    both_signs,
    checked_gamma,
    combination,
    field_by,
    in_unit_one,
    ways_of_summing,
)
from efm_jax.fields._sums.double_float import DoubleFloat, pulls, settled, sum_over_first
from efm_jax.fields._sums.plates import (
    PlateSums,
    Summation,
    by_differences,
    default_block_size,
    rescaled,
    streamed,
)
from efm_jax.types import Field

__all__ = ["sharded_field", "split_charges"]


def sharded_field(
    points: Float[Array | np.ndarray, "*batch dim1"],
    charges: Charges,
    mesh: Mesh,
    *,
    charges_over: str | None = "charges",
    points_over: str | None = None,
    convention: str = "superposed",
    gamma: float | None = None,
    block_size: int | None = None,
    certified: bool = True,
) -> Field:
    """Return the electric field of charges split over the devices of a mesh, as accurate as `fields.coulomb`.

    Along `charges_over` every device sums over its share of the charges; along `points_over` it evaluates its share of the
    points. The sums over charges are added between devices, in log space. Neither number has to be a multiple of the number
    of devices: charges of 0 and copies of the last point fill up. Devices exchange O(points x D) numbers, however many
    charges there are. Differentiable in points, positions and charges.

    Args:
        points: Where to evaluate, (x, z) with z last, [..., D+1].
        charges: Positions [n, D+1] and signed charges [n]. NumPy arrays, memory-mapped ones too, are read share by share,
            so no device ever holds more than its own; to use charges often, place them once by `split_charges`.
        mesh: The devices, e.g. `jax.make_mesh((4, 2), ("charges", "points"), axis_types=(AxisType.Auto,) * 2)`.
        charges_over: Axis of the mesh along which charges are split; None: every device has all.
        points_over: Axis of the mesh along which points are split; None: every device has all.
        convention: "superposed" or "per_plate", as in `fields.coulomb`.
        gamma: Shrinkage length of `per_plate`, as in `fields.coulomb`.
        block_size: Charges visited at a time on each device. None chooses for the number of points there.
        certified: As in `fields.coulomb`.

    Returns:
        `Field(direction [..., D+1], log_magnitude [...])`, split over `points_over`.

    Raises:
        ValueError: As `fields.coulomb` does; or the mesh has no such axis, or one that is not `AxisType.Auto`, or the two
            are the same.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jax.sharding import AxisType
        >>> from efm_jax.charges import capacitor
        >>> mesh = jax.make_mesh((jax.device_count(),), ("charges",), axis_types=(AxisType.Auto,))
        >>> charges = capacitor(jnp.zeros((1, 2)), jnp.zeros((1, 2)), gap=6.0)
        >>> between = sharded_field(jnp.array([0.0, 0.0, 3.0]), charges, mesh)
        >>> [round(float(e), 6) for e in between.direction * jnp.exp(between.log_magnitude)]  # 2 / (4 pi 3^2)
        [0.0, 0.0, 0.017684]

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, eq. 2; the merging of sums is that of the
    streamed softmax of Milakov and Gimelshein (2018), arXiv 1805.02867.
    """
    gamma = checked_gamma(gamma, convention)
    if block_size is not None:
        checks.count("block_size", block_size)
    _check_axes(mesh, charges_over=charges_over, points_over=points_over)
    if not all(isinstance(part, jax.Array) for part in charges):
        charges = split_charges(charges, mesh, over=charges_over)
    points, charges = as_points_and_charges(points, charges)
    flat = points.reshape(-1, points.shape[-1])
    program = _program(mesh, charges_over, points_over, convention, block_size, certified)
    field = program(flat, charges, jnp.asarray(gamma, flat.dtype))
    return Field(field.direction.reshape(points.shape), field.log_magnitude.reshape(points.shape[:-1]))


def split_charges(charges: Charges, mesh: Mesh, *, over: str | None = "charges") -> Charges:
    """Put charges on the devices of a mesh, a share on each, filled up with charges of 0.

    Args:
        charges: Positions [n, D+1] and signed charges [n]; of NumPy arrays, memory-mapped ones too, each host reads
            the shares of its own devices only.
        mesh: The devices.
        over: Axis of the mesh along which to split; None puts all of them on each device.

    Returns:
        Charges as `sharded_field` and `fields.coulomb` take them.

    Raises:
        ValueError: The charges are not [n, D+1] and [n], or not of a floating dtype; or the mesh has no such axis.

    Examples:
        >>> import jax, numpy as np
        >>> from jax.sharding import AxisType
        >>> mesh = jax.make_mesh((jax.device_count(),), ("charges",), axis_types=(AxisType.Auto,))
        >>> charges = split_charges(Charges(np.ones((3, 2), np.float32), np.ones(3, np.float32)), mesh)
        >>> float(charges.charge.sum()), charges.positions.sharding.spec[0]
        (3.0, 'charges')
    """
    _check_axes(mesh, over=over)
    positions, charge = (part if hasattr(part, "shape") else np.asarray(part, np.float32) for part in charges)
    check_shapes(positions.shape, charge.shape)
    sharding = NamedSharding(mesh, PartitionSpec(over))
    total = _divisible(len(charge), 1 if over is None else mesh.shape[over])
    if isinstance(positions, jax.Array) or isinstance(charge, jax.Array):
        return jax.device_put(_filled(Charges(jnp.asarray(positions), jnp.asarray(charge)), total), sharding)

    def placed(name, values, fill):
        if not jnp.issubdtype(np.asarray(values[:1]).dtype, jnp.floating):
            checks.floating(name, np.asarray(values[:1]))

        def rows(index):
            first, last, _ = index[0].indices(total)
            part = np.asarray(values[first : min(last, len(values))])
            missing = last - first - len(part)
            return np.concatenate([part, np.repeat(fill, missing, axis=0)]).astype(part.dtype, copy=False)

        return jax.make_array_from_callback((total, *np.shape(values)[1:]), sharding, rows)

    last = np.asarray(positions[len(charge) - 1 : len(charge)])
    return Charges(
        placed("charges.positions", positions, last),
        placed("charges.charge", charge, np.zeros(1, np.asarray(charge[:1]).dtype)),
    )


@lru_cache
def _program(
    mesh: Mesh,
    charges_over: str | None,
    points_over: str | None,
    convention: str,
    block_size: int | None,
    certified: bool,
) -> Callable[[Array, Charges, Array], Field]:
    """The field as one compiled program over all devices, kept by its options."""
    axes = tuple(axis for axis in (charges_over, points_over) if axis is not None)

    def most(count):
        return lax.pmax(count, axes) if axes else count

    def share(points, charges, gamma, unit):
        size = block_size or default_block_size(len(points), len(charges.charge), points.shape[-1])
        fast, *slow = ways_of_summing(points.shape[-1], size, certified, unit)
        ways = [_added(way, charges, charges_over) for way in (fast, *slow[:-1])]
        if certified:
            ways.append(_added_in_double_floats(size, charges, charges_over, unit))
        return field_by(ways, points / unit, combination(convention, gamma / unit), most)

    split = jax.shard_map(
        share,
        mesh=mesh,
        in_specs=(PartitionSpec(points_over), PartitionSpec(charges_over), PartitionSpec(), PartitionSpec()),
        out_specs=PartitionSpec(points_over),
        check_vma=False,  # scans of the kernel begin with zeros that are the same on all devices
    )

    def whole(points, charges, gamma):
        count = len(points)
        if count == 0:
            return Field(points, points[:, 0])
        parts = 1 if points_over is None else mesh.shape[points_over]
        points = jnp.pad(points, ((0, _divisible(count, parts) - count), (0, 0)), mode="edge")
        parts = 1 if charges_over is None else mesh.shape[charges_over]
        charges = _filled(charges, _divisible(len(charges.charge), parts))
        unit = unit_of_squares(points.shape[-1], points, charges.positions)
        field = in_unit_one(split(points, charges, gamma, unit), unit, convention)
        return jax.tree.map(lambda values: values[:count], field)

    return jax.jit(whole)


def _added(way: Summation, charges: Charges, axis: str | None) -> Callable[[Array], Plates]:
    """Both plates' sums over the charges of all devices along the axis."""
    here = both_signs(way, charges)

    def of_all(sums: PlateSums) -> PlateSums:
        if axis is None:
            return sums
        reference = lax.pmin(lax.stop_gradient(sums.reference), axis)
        sums = rescaled(sums, reference)
        vector, weight = lax.psum((sums.vector, sums.weight), axis)
        return PlateSums(vector, weight, reference, lax.psum(lax.stop_gradient(sums.doubt), axis))

    def sum_both(points):
        plus, minus = here(points)
        return of_all(plus), of_all(minus)

    return sum_both


def _added_in_double_floats(
    block_size: int, charges: Charges, axis: str | None, unit: Array
) -> Callable[[Array], Plates]:
    """As `_added`, with all digits of what cancels between the charges of one device and of another."""
    plain = _added(streamed(by_differences, block_size, unit), charges, axis)

    def sum_both(points):
        plates = plain(points)

        def one_sign(plate):
            sign, reference = plate
            charge = jnp.maximum(sign * charges.charge, 0)
            return pulls(points, charges.positions, charge, reference, unit=unit)

        references = jnp.stack([sums.reference for sums in plates])
        exact = lax.map(one_sign, (jnp.array([1, -1], points.dtype), references))
        if axis is not None:
            exact = sum_over_first(DoubleFloat(*lax.all_gather(tuple(exact), axis)))
        plus, minus = (
            settled(sums, DoubleFloat(*(digits[side] for digits in exact)))
            for side, sums in enumerate(plates)
        )
        return plus, minus

    return sum_both


def _filled(charges: Charges, total: int) -> Charges:
    """Up to `total` charges, those added being 0."""
    missing = total - len(charges.charge)
    return Charges(
        jnp.pad(charges.positions, ((0, missing), (0, 0)), mode="edge"), jnp.pad(charges.charge, (0, missing))
    )


def _divisible(count: int, parts: int) -> int:
    return -(-count // parts) * parts


def _check_axes(mesh: Mesh, **axes: str | None) -> None:
    named = {name: axis for name, axis in axes.items() if axis is not None}
    for name, axis in named.items():
        if axis not in mesh.axis_names:
            raise ValueError(
                f"{name} must be an axis of the mesh, one of {', '.join(map(repr, mesh.axis_names))}, or None, got "
                f"{axis!r}."
            )
        kind = mesh.axis_types[mesh.axis_names.index(axis)]
        if kind != AxisType.Auto:
            raise ValueError(
                f"the mesh's axis {axis!r} must be of AxisType.Auto, got {kind};\nmake the mesh by "
                "jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * len(names))."
            )
    if len(set(named.values())) < len(named):
        raise ValueError(
            f"charges and points must be split over different axes of the mesh, got {named};\n"
            "a mesh of one axis splits one of them: give None for the other."
        )
