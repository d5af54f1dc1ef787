"""The field of plates infinitely far apart, and its lines, in stereographic coordinates.

With the gap L going to infinity and the data fixed, the field near each plate is that of its own charges. A line of P's
plate tends to a direction `tau = lim x / z`. Between the plates the field is a dipole's, whose lines leave P under the
direction in which they reach Q. Half of the flux of every charge goes up, so that tau has one distribution, whatever the
charges are. So the map "follow the line up to its tau, then down from tau to the charges of Q" carries P to Q with forward
lines only.

The height is an angle, `theta = arctan z` in (0, pi/2), and the place is `x~ = cos(theta) x`: both plates and the infinite
space between them lie in reach. `extra = K` is the number of extra dimensions in which charges repel each other: 1 is
Coulomb's law in D+1 dimensions; None, infinitely many of them, is the Gaussian limit.
"""

from functools import lru_cache, partial
from math import lgamma, log, pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int
from scipy import stats

from efm_jax._core import checks
from efm_jax._core.distances import squared_by_products, unit_of_squares
from efm_jax.charges.far_plates import FarPlates
from efm_jax.fields._sums.differences import long_sum, squared_distances, squared_lengths
from efm_jax.fields._sums.plates import MANY_DIMENSIONS, default_block_size, fold_blocks
from efm_jax.fields._sums.products import nearest_first
from efm_jax.types import Key

__all__ = ["FarField", "FarLines", "directions", "far_lines", "far_plate"]


class FarField(NamedTuple):
    """The field of one plate at points `(x~, theta)`.

    Attributes:
        velocity: `d x~ / d theta` of the line, [p, D].
        mean: Where the flux comes from: the mean of the charges, each by its share of the flux, [p, D].
        log_density: Log of the density of the flux that leaves the plate upwards, in x~; its integral is 1, [p].
    """

    velocity: Float[Array, "p dim"]
    mean: Float[Array, "p dim"]
    log_density: Float[Array, " p"]


class FarLines(NamedTuple):
    """Field lines from one of two far plates to the other.

    Attributes:
        end: Where each line ends, [n, D], in the units of the data: on a charge, or between some where it passes so near to
            both that the last step cannot tell.
        partner: Index of the charge nearest to the end, [n].
        path: `(x~, theta)` along the lines, [k, n, D+1], theta from 0 to pi, in the frame of the plate that is nearer; None
            without `save`.
    """

    end: Float[Array, "n dim"]
    partner: Int[Array, " n"]
    path: Float[Array, "k n dim1"] | None


def far_plate(
    points: Float[Array, "p dim"],
    angle: Float[Array, "*p"] | float,
    charges: Float[Array, "n dim"],
    *,
    extra: int | None = 1,
    block_size: int | None = None,
) -> FarField:
    r"""Return the field of one plate of equal charges at stereographic coordinates.

    $$\frac{d\tilde x}{d\theta} = \frac{\cos\theta\, \tilde x - m}{\sin\theta}, \qquad m = \frac{\sum_i w_i y_i}{\sum_i w_i},
    \qquad w_i = \Big(1 + \frac{|\tilde x - \cos\theta\, y_i|^2}{K \sin^2\theta}\Big)^{-(D+K)/2},$$

    `exp(-|x~ - cos(theta) y_i|^2 / (2 sin(theta)^2))` in the limit. No component of the field is divided by, and the mean m
    stays among the charges. Sums run over blocks of charges, in memory O(points x block).

    Args:
        points: `x~`, [p, D].
        angle: `theta`, in (0, pi/2], of all points or of each.
        charges: Places y of the charges in the frame of their plate, [n, D].
        extra: K >= 1; None for the limit of many.
        block_size: Charges summed at a time; None chooses by the number of points.

    Returns:
        The field; NaN where a traced angle is outside (0, pi/2].

    Raises:
        ValueError: Shapes do not fit, a known angle is outside (0, pi/2], or extra or block_size is not a whole number >= 1.

    Examples:
        One charge: lines are straight, and the velocity is that of `x~ = cos(theta) y + sin(theta) tau`.

        >>> import jax.numpy as jnp
        >>> field = far_plate(jnp.array([[1.0]]), jnp.pi / 2, jnp.array([[3.0]]))
        >>> round(float(field.velocity[0, 0]), 5), float(field.mean[0, 0])
        (-3.0, 3.0)

    Source: docs/concepts/far_plates.md; one plate with K extra dimensions: Xu et al. (2023), arXiv 2302.04265, eq. 4.
    """
    points, charges = checks.both_plates(points, charges)
    extra = None if extra is None else checks.count("extra", extra)
    if block_size is None:
        block_size = default_block_size(len(points), len(charges), points.shape[1])
    block_size = checks.count("block_size", block_size)
    if not isinstance(angle, Tracer):
        known = np.asarray(angle)
        outside = known[~_is_angle(known)]
        if len(outside):
            raise ValueError(
                f"angle must lie in (0, pi/2].\n{len(outside)} of {known.size} do not, e.g. {outside[0]}; a height "
                "z > 0 has the angle arctan(z)."
            )
    angle = jnp.broadcast_to(jnp.asarray(angle, points.dtype), points.shape[:1])
    field = _far_plate(points, angle, charges, None, extra, block_size)
    inside = _is_angle(angle)
    return FarField(*(jnp.where(inside.reshape(-1, *[1] * (part.ndim - 1)), part, jnp.nan) for part in field))


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
    line takes `4 steps` evaluations. All lines arrive.

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
        groups: Numbers of the group of each x and of each charge of the other plate, all >= 0: lines end in their own. The
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
    x, _ = checks.both_plates(x, near.charges)
    extra = None if extra is None else checks.count("extra", extra)
    steps, first = checks.count("steps", steps), checks.positive("first", first)
    if not first < pi / 2:
        raise ValueError(f"first must be an angle below pi/2, got {first}; 0.01 is common.")
    charges_over, points_over = _axes(mesh)
    if block_size is None:
        rows = -(-len(x) // (mesh.shape[points_over] if mesh and points_over else 1))
        block_size = default_block_size(rows, max(len(near.charges), len(far.charges)), x.shape[1])
    towards = jnp.zeros_like(x) if towards is None else checks.both_plates(towards, x)[0]
    start = jnp.cos(first) * near.inside(x) + jnp.sin(first) * towards
    block_size = checks.count("block_size", block_size)
    length = _length(x.shape[1], extra, 0.5) if stretch else None
    members = None if groups is None else (groups[0], groups[0], groups[1])
    policy = (length, extra, steps, save, block_size)
    if mesh is None:
        mean, path = _follow(start, first, near.charges, far.charges, members, *policy)
        partner = _nearest(mean, far.charges, groups)
    else:
        split = _split(mesh, charges_over, points_over, policy)
        mean, partner, path = split(start, first, near.charges, far.charges, members)
    return FarLines(far.outside(mean), partner, path)


def directions(
    key: Key, shape: tuple[int, ...], *, extra: int | None = None, cut: float | None = None
) -> Float[Array, "n dim"]:
    """Draw directions tau of lines by their flux: Student's with K degrees of freedom, in the limit normal.

    Args:
        key: PRNG key.
        shape: (n, D).
        extra: K >= 1; None for the limit of many.
        cut: Quantile of the lengths to which longer ones are shortened; None keeps all.

    Examples:
        >>> import jax
        >>> directions(jax.random.key(0), (4, 2)).shape
        (4, 2)
    """
    key_normal, key_length = jax.random.split(key)
    tau = jax.random.normal(key_normal, shape)
    if extra is not None:
        tau = tau / jnp.sqrt(2 * jax.random.gamma(key_length, 0.5 * extra, shape[:1]) / extra)[:, None]
    if cut is None:
        return tau
    length = jnp.sqrt(squared_lengths(tau))
    return tau * jnp.minimum(1.0, _length(shape[1], extra, cut) / length)[:, None]


def _is_angle(angle):
    """Whether angles lie in (0, pi/2], up to a rounding of pi/2 in float32."""
    return (angle > 0) & (angle <= (1 + 1e-6) * pi / 2)


class _Sums(NamedTuple):
    """Sums over charges relative to the nearest one, at the squared distance `nearest`."""

    nearest: Array
    weight: Array
    vector: Array


def _axes(mesh: Mesh | None) -> tuple[str | None, str | None]:
    names = () if mesh is None else mesh.axis_names
    if mesh is not None and not {"charges", "points"} & set(names):
        raise ValueError(f'the mesh must have an axis named "charges" or "points", got {names}.')
    return "charges" if "charges" in names else None, "points" if "points" in names else None


@partial(jax.jit, static_argnames=("extra", "block_size", "charges_over"))
def _far_plate(points, angle, charges, groups, extra, block_size, charges_over=None) -> FarField:
    dim = points.shape[1]
    # at pi/2 rounding may leave a cosine of either sign or none
    cos, sin = jnp.maximum(jnp.cos(angle), jnp.finfo(points.dtype).eps), jnp.sin(angle)
    x = points / cos[:, None]
    length = unit_of_squares(dim, x, charges)
    if charges_over is not None:
        length = lax.pmax(length, charges_over)
    x = x / length
    # in units of which |x - y|^2 is the exponent
    unit = jnp.maximum((sin / cos / length) ** 2, float(jnp.finfo(x.dtype).tiny))

    def log_ratio(squared, nearest):
        """The log weight of a charge over that of one at the distance `nearest`."""
        nearest = jnp.where(jnp.isinf(nearest), 0.0, nearest)
        felt = jnp.isfinite(squared)
        more = jnp.where(felt, squared, 0.0) - nearest
        # the two may have been rounded apart; derivatives are those of the difference
        more = more - lax.stop_gradient(jnp.minimum(more, 0.0))
        if extra is None:
            ratio = -more / (2 * unit[:, None])
        else:
            ratio = -0.5 * (dim + extra) * jnp.log1p(more / (extra * unit[:, None] + nearest))
        return jnp.where(felt, ratio, -jnp.inf)

    def add_block(sums, position, part):
        position = position / length
        squared = _squared(x, position)
        felt = part != 0 if groups is None else part == groups[0][:, None] + 1
        squared = jnp.where(felt, squared, jnp.inf)
        found = lax.stop_gradient(jnp.min(squared, axis=1))
        weights = jnp.exp(log_ratio(squared, found[:, None]))
        products = jnp.matmul(weights, position, precision=lax.Precision.HIGHEST)
        return merged(sums, _Sums(found, long_sum(weights), products))

    def merged(one, other):
        nearest = jnp.minimum(one.nearest, other.nearest)
        a, b = (jnp.exp(log_ratio(sums.nearest[:, None], nearest[:, None])) for sums in (one, other))
        vector = one.vector * a + other.vector * b
        return _Sums(nearest, one.weight * a[:, 0] + other.weight * b[:, 0], vector)

    zero = jnp.zeros_like(x[:, 0])
    none = _Sums(jnp.full_like(zero, jnp.inf), zero, jnp.zeros_like(x))
    marks = jnp.ones(len(charges), x.dtype) if groups is None else (groups[1] + 1).astype(x.dtype)
    sums = fold_blocks(add_block, none, charges, marks, block_size)
    if charges_over is not None:
        nearest = lax.pmin(lax.stop_gradient(sums.nearest), charges_over)
        here = merged(sums, none._replace(nearest=nearest))
        sums = _Sums(nearest, *lax.psum((here.weight, here.vector), charges_over))
    mean = length * sums.vector / jnp.maximum(sums.weight, jnp.finfo(x.dtype).tiny)[:, None]
    velocity = (cos[:, None] * points - mean) / sin[:, None]
    nearest = jnp.where(jnp.isinf(sums.nearest), 0.0, sums.nearest)
    if extra is None:
        alone = jnp.maximum(-nearest / (2 * unit), float(jnp.finfo(x.dtype).min))
    else:
        ratio = nearest / (extra * unit)
        logs = jnp.log(jnp.where(nearest > 0, nearest, 1.0)) - jnp.log(extra * unit)
        alone = -0.5 * (dim + extra) * jnp.where(jnp.isinf(ratio), logs, jnp.log1p(ratio))
    log_density = jnp.log(sums.weight / len(charges)) + alone - dim * jnp.log(sin) - _log_norm(dim, extra)
    return FarField(velocity, mean, log_density)


def _log_norm(dim: int, extra: int | None) -> float:
    """Log of the integral of the weights over all directions."""
    if extra is None:
        return 0.5 * dim * log(2 * pi)
    return 0.5 * dim * log(extra * pi) + lgamma(0.5 * extra) - lgamma(0.5 * (dim + extra))


def _length(dim: int, extra: int | None, share: float) -> float:
    """A quantile of |tau| of the flux."""
    if extra is None:
        return float(np.sqrt(stats.chi2.ppf(share, dim)))
    return float(np.sqrt(dim * stats.f.ppf(share, dim, extra)))


def _squared(x: Array, charges: Array) -> Array:
    """Squared distances: by differences, in many dimensions by products but for the two nearest charges."""
    if x.shape[1] < MANY_DIMENSIONS:
        return squared_distances(x, charges)
    squared = squared_by_products(x, charges)
    nearest, _, _ = nearest_first(lax.stop_gradient(squared), jnp.ones(len(charges), bool))
    exact = squared_lengths(x[:, None, :] - charges[nearest])
    index = jnp.arange(len(charges))
    for k in range(nearest.shape[1]):
        squared = jnp.where(index == nearest[:, k, None], exact[:, k, None], squared)
    return jnp.maximum(squared, 0.0)


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
        return _far_plate(x, angle, charges, groups, extra, block_size, charges_over)

    def through(charges, groups, x, angles):
        def velocity(x, angle):
            return field(x, angle, charges, groups).velocity

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
    mean = field(x, first, far, other).mean
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
        squared = _squared(x[None], charges)[0]
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
