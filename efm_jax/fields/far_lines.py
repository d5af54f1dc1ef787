"""Lines from one of two plates far apart to the charges of the other, in the coordinates of `fields.far_plates`."""

from functools import lru_cache, partial
from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from efm_jax._core import checks
from efm_jax._core.distances import unit_of_squares
from efm_jax.charges.far_plates import FarPlates
from efm_jax.fields._sums.differences import squared_lengths
from efm_jax.fields._sums.far_plate import by_angle, length_by_flux, squared_to_charges
from efm_jax.fields._sums.plates import default_block_size

__all__ = ["FarLines", "far_lines"]


class FarLines(NamedTuple):
    """Field lines from one of two far plates to the other.

    Attributes:
        end: Where each line ends, [n, D], in the units of the data: on a charge, or between some where it passes so near to
            both that the last step cannot tell.
        partner: Index of the charge nearest to the end, [n].
        path: `(x~, theta)` along the lines, [k, n, D+1], theta from `first` to pi - `first`, in the frame of the plate that
            is nearer; None without `save`.
    """

    end: Float[Array, "n dim"]
    partner: Int[Array, " n"]
    path: Float[Array, "k n dim1"] | None


def far_lines(
    plates: FarPlates,
    x: Float[Array, "n dim"],
    *,
    extra: int | None = None,
    reverse: bool = False,
    steps: int = 20,
    first: float = 0.01,
    towards: Float[Array, "n dim"] | None = None,
    stretch: bool = False,
    save: bool = False,
    groups: tuple[Int[Array, " n"], Int[Array, " m"]] | None = None,
    block_size: int | None = None,
    mesh: Mesh | None = None,
) -> FarLines:
    """Follow the lines that start at x on one plate to the charges of the other, exactly but for the steps.

    The angles of a plate's steps grow by a constant factor from `first` to pi/2; each step is a midpoint step, so that a
    line takes `4 steps` evaluations, and one for its end. All lines arrive.

    Args:
        plates: `charges.far_plates(x_pos, x_neg)`.
        x: Where lines start, [n, D], in the units of the data: charges of the plate, or other samples of it.
        extra: K as in `far_plate`; None, the limit, carries the least mass to and fro.
        reverse: Go from Q to P.
        steps: Steps of each plate.
        first: Angle at which lines start and end; small compared with the spread of the thinnest direction of the data, in
            units of the frame, and of lines by the flux with K = 1 with the distance between neighbors among the charges.
        towards: Directions tau in which lines leave the plate, [n, D], see `directions`; None: upright, the cheapest.
        stretch: Multiply the directions between the plates by one number, so that the median of their lengths is that of
            the flux. An upright line is the middle of its charge's lines. In many dimensions its direction is therefore
            too short, and ends crowd on few charges; stretched, they reach nearly all that random ones would.
        save: Keep the way.
        groups: Whole numbers, the group of each x and of each charge of the other plate: lines end in their own. The
            charges of the first plate have the groups of x, and must then be x.
        block_size: Charges summed at a time; None chooses by the number of points.
        mesh: Devices: charges are split along its axis "charges", lines along "points"; it may have one of them. Neither
            number has to be a multiple of the number of devices.

    Raises:
        ValueError: Shapes do not fit, a number is out of range, or the mesh has neither axis.

    Examples:
        In one dimension the order of the samples is kept.

        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import far_plates
        >>> x, y = jnp.array([[0.0], [1.0], [5.0]]), jnp.array([[30.0], [10.0], [20.0]])
        >>> far_lines(far_plates(x, y), x).partner.tolist()
        [1, 2, 0]

    Source: docs/concepts/far_plates.md. In the Gaussian limit these are the probability-flow lines of two diffusions, and
    the map is that of dual diffusion bridges: Su et al. (2022), arXiv 2203.08382.
    """
    near, far = (plates.neg, plates.pos) if reverse else (plates.pos, plates.neg)
    x, _ = checks.both_plates(x, near.charges, ("x", "the charges of the plate"))
    extra = None if extra is None else checks.count("extra", extra)
    steps, first = checks.count("steps", steps), first_angle(first)
    charges_over, points_over = _axes(mesh)
    if block_size is None:
        rows = -(-len(x) // (mesh.shape[points_over] if mesh and points_over else 1))
        block_size = default_block_size(rows, max(len(near.charges), len(far.charges)), x.shape[1])
    towards = jnp.zeros_like(x) if towards is None else checks.samples("towards", towards)
    if towards.shape != x.shape:
        raise ValueError(f"towards must have the shape of x, {x.shape}, got {towards.shape}.")
    wanted, got = [(len(x),), (len(far.charges),)], [np.shape(group) for group in groups or ()]
    if groups is not None and (got != wanted or len(x) != len(near.charges)):
        raise ValueError(
            f"groups must hold one whole number for each x and each charge of the other plate, {wanted[0]} and {wanted[1]}, "
            f"got {' and '.join(map(str, got))};\nx must be the {len(near.charges)} charges of their plate."
        )
    dtype = jnp.result_type(x, near.charges, far.charges, towards)
    x, towards, near_charges, far_charges = (
        part.astype(dtype) for part in (x, towards, near.charges, far.charges)
    )
    start = jnp.cos(first) * near.inside(x) + jnp.sin(first) * towards
    block_size = checks.count("block_size", block_size)
    length = length_by_flux(x.shape[1], extra, 0.5) if stretch else None
    marks = None if groups is None else _counted(*groups)
    members = None if marks is None else (marks[0], marks[0], marks[1])
    policy = (length, extra, steps, save, block_size)
    if mesh is None:
        mean, path = _follow(start, first, near_charges, far_charges, members, *policy)
        partner = _nearest(mean, far_charges, marks)
    else:
        split = _split(mesh, charges_over, points_over, policy)
        mean, partner, path = split(start, first, near_charges, far_charges, members)
    return FarLines(far.outside(mean), partner, path)


def first_angle(first: float) -> float:
    """Return the angle at which lines start and end, or raise ValueError."""
    first = checks.positive("first", first)
    if not first < pi / 2:
        raise ValueError(f"first must be an angle below pi/2, got {first}; 0.01 is common.")
    return first


def _counted(*groups: Int[Array, " n"]) -> tuple[Int[Array, " n"], ...]:
    """Groups numbered from 0 in their order: sums mark a charge by its group's number in the type of the samples."""
    ordered = jnp.sort(jnp.concatenate([jnp.asarray(group) for group in groups]))
    first = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.diff(ordered) != 0])
    number = jnp.cumsum(first, dtype=jnp.int32)
    return tuple(number[jnp.searchsorted(ordered, jnp.asarray(group))] for group in groups)


def _axes(mesh: Mesh | None) -> tuple[str | None, str | None]:
    names = () if mesh is None else mesh.axis_names
    if mesh is not None and not {"charges", "points"} & set(names):
        raise ValueError(f'the mesh must have an axis named "charges" or "points", got {names}.')
    return "charges" if "charges" in names else None, "points" if "points" in names else None


@lru_cache
def _split(mesh: Mesh, charges_over: str | None, points_over: str | None, policy: tuple):
    """`_follow` and `_nearest` over the devices of a mesh, compiled."""
    parts = [1 if axis is None else mesh.shape[axis] for axis in (charges_over, points_over)]

    def share(x, first, near, far, members):
        mean, path = _follow(x, first, near, far, members, *policy, charges_over, points_over)
        return mean, _nearest(mean, far, (members[0], members[2]), charges_over), path

    by_charge, by_point = PartitionSpec(charges_over), PartitionSpec(points_over)
    save = policy[3]
    sharded = jax.shard_map(
        share,
        mesh=mesh,
        in_specs=(by_point, PartitionSpec(), by_charge, by_charge, (by_point, by_charge, by_charge)),
        out_specs=(by_point, by_point, PartitionSpec(None, points_over) if save else None),
        check_vma=False,  # sums begin with zeros that are the same on all devices
    )

    def filled(values, parts, fill=None):
        missing = -len(values) % parts
        if fill is None:
            return jnp.pad(values, ((0, missing), (0, 0)), mode="edge")
        return jnp.pad(values, (0, missing), constant_values=fill)

    def whole(x, first, near, far, members):
        if members is None:
            members = tuple(jnp.zeros(len(rows), jnp.int32) for rows in (x, near, far))
        # a charge of group -1 is felt by none, a line of group -2 feels none
        marks = zip(members, (parts[1], parts[0], parts[0]), (-2, -1, -1), strict=True)
        mean, partner, path = sharded(
            filled(x, parts[1]),
            first,
            filled(near, parts[0]),
            filled(far, parts[0]),
            tuple(filled(jnp.asarray(group), part, fill) for group, part, fill in marks),
        )
        return mean[: len(x)], partner[: len(x)], None if path is None else path[:, : len(x)]

    return jax.jit(whole)


@partial(
    jax.jit,
    static_argnames=("length", "extra", "steps", "save", "block_size", "charges_over", "points_over"),
)
def _follow(
    x, first, near, far, members, length, extra, steps, save, block_size, charges_over=None, points_over=None
) -> tuple[Array, Array | None]:
    """The mean charge that each line ends on, and the way.

    `members` are the groups of the lines, of the charges of `near` and of those of `far`.
    """
    angles = first * (0.5 * pi / first) ** jnp.linspace(0.0, 1.0, steps + 1, dtype=x.dtype)

    def field(x, angle, charges, groups):
        angle = jnp.broadcast_to(angle, x.shape[:1])
        velocity, mean, _ = by_angle(x, angle, charges, groups, extra, block_size, charges_over)
        return velocity, mean

    def through(charges, groups, x, angles):
        def velocity(x, angle):
            return field(x, angle, charges, groups)[0]

        def step(x, ends):
            begin, end = ends
            half = 0.5 * (end - begin)
            new = x + 2 * half * velocity(x + half * velocity(x, begin), begin + half)
            return new, new if save else None

        return lax.scan(step, x, (angles[:-1], angles[1:]))

    own, other = (None, None) if members is None else ((members[0], group) for group in members[1:])
    start = x
    x, up = through(near, own, x, angles)
    if length is not None:
        unit = unit_of_squares(x.shape[1], x)
        lengths = jnp.sqrt(squared_lengths(x / unit)) * unit
        if points_over is not None and members is not None:
            lengths = jnp.where(members[0] < 0, jnp.nan, lengths)
            lengths = lax.all_gather(lengths, points_over, tiled=True)
        median = jnp.nanmedian(lengths)
        x = x * jnp.where(median > 0, length / jnp.where(median > 0, median, 1.0), 1.0)
    x, down = through(far, other, x, angles[::-1])
    _, mean = field(x, first, far, other)
    if not save:
        return mean, None
    theta = jnp.concatenate([angles, pi - angles[-2::-1]])
    path = jnp.concatenate([start[None], *(part for part in (up, down) if part is not None)])
    return mean, jnp.concatenate(
        [path, jnp.broadcast_to(theta[:, None, None], (*path.shape[:2], 1))], axis=-1
    )


@partial(jax.jit, static_argnames="charges_over")
def _nearest(x: Array, charges: Array, groups, charges_over: str | None = None) -> Array:
    """Index of the nearest charge, of the point's own group."""

    def one(row):
        x, group = row
        squared = squared_to_charges(x[None], charges)[0]
        felt = True if groups is None else groups[1] == group
        squared = jnp.where(felt, squared, jnp.inf)
        index = jnp.argmin(squared)
        return index, squared[index]

    group = jnp.zeros(len(x), jnp.int32) if groups is None else groups[0]
    index, squared = lax.map(one, (x, group), batch_size=256)
    if charges_over is None:
        return index
    index = index + lax.axis_index(charges_over) * len(charges)
    return lax.pmin(jnp.where(squared == lax.pmin(squared, charges_over), index, 2**31 - 1), charges_over)
