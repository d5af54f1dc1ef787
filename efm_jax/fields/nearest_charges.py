"""The nearest charge of a point, and the radius within which a charge's own field is the stronger one.

A charge q, with all others at the same place, has the stronger field up to a certain distance. There `|q| / (S_D r^D)`
falls to the field F of the rest, or its nearest neighbor sits. On a sphere of a share s of that radius the field of the
others is at most about `s^D` of the charge's own. So all lines cross it outwards (or inwards). A line that leaves such
a sphere of a positive charge started at the charge; one that enters that of a negative charge ends on it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from efm_jax._core.distances import unit_of_squares
from efm_jax.charges.plates import Charges
from efm_jax.fields._sums.differences import squared_distances
from efm_jax.fields._sums.log_lengths import log_sphere_area
from efm_jax.fields._sums.plates import default_block_size, fold_blocks
from efm_jax.fields._sums.products import about_middle
from efm_jax.fields.point_charges import coulomb
from efm_jax.types import Field

__all__ = ["Radii", "capturing", "nearest", "radii"]

_BY_DIFFERENCES = 16
"""Dimensions D+1 up to which distances are taken by differences; beyond, by products about the middle."""
_AT_ONCE = 1024
_ROUNDING = 16
"""Bound on the error of a product's squared distance, in eps of `|x|^2 + |a|^2`; measured up to 5, for D to 12,288."""


class Radii(NamedTuple):
    """The own radius of each of k charges, and what it follows from.

    Attributes:
        neighbor: Distance to the nearest charge at another place, [k]; inf where there is none.
        others: Field of the charges at other places, [k].
        field_radius: Distance at which the charge's own field has fallen to that of the others, [k]; inf where that
            vanishes.
        own_radius: Distance up to which the charge's own field is the stronger one, the lesser of both, [k].
    """

    neighbor: Float[Array, " k"]
    others: Field
    field_radius: Float[Array, " k"]
    own_radius: Float[Array, " k"]


def radii(charges: Charges, which: Int[Array, " k"]) -> Radii:
    """The own radii of the charges with these indices, among all charges."""
    # groups whose size depends on the charges alone: compiled once for them
    size = min(_AT_ONCE, len(charges.charge))
    groups = _padded(which, size)
    if isinstance(groups, Tracer) or isinstance(charges.positions, Tracer) or len(groups) == 0:
        found = lax.map(lambda group: _some(charges, group), groups)
    else:
        parts = [_some(charges, group) for group in groups]
        found = jax.tree.map(lambda *values: jnp.stack(values), *parts)
    return jax.tree.map(lambda values: values.reshape(-1, *values.shape[2:])[: len(which)], found)


@jax.jit
def _some(charges: Charges, which: Int[Array, " k"]) -> Radii:
    dims = charges.positions.shape[1]
    points = charges.positions[which]
    neighbor, own = _nearest_other(points, charges)
    others = coulomb(points, charges)
    log_own = jnp.log(jnp.abs(own)) - log_sphere_area(dims - 1)
    field_radius = jnp.exp((log_own - others.log_magnitude) / (dims - 1))
    return Radii(neighbor, others, field_radius, jnp.minimum(neighbor, field_radius))


def nearest(
    points: Float[Array, "p dim1"], charges: Charges, radius: Float[Array, " n"]
) -> tuple[Array, Array]:
    """Distance to the nearest charge, and the least of `distance / radius`, both [p].

    Charges of 0 are passed over; a radius of 0 stands for a charge that captures nothing.
    """
    unit = unit_of_squares(points.shape[1], points, charges.positions)
    points = points / unit

    def closer(least, rows, charge):
        positions, radius = rows[:, :-1] / unit, rows[:, -1]
        squared = _squared_or_zero(points, positions, charge != 0)
        relative = _over_radius(squared, radius)
        return jnp.minimum(least[0], squared.min(axis=1)), jnp.minimum(least[1], relative.min(axis=1))

    start = (jnp.full_like(points[:, 0], jnp.inf),) * 2
    block = default_block_size(len(points), len(charges.charge), points.shape[-1])
    rows = jnp.concatenate([charges.positions, radius[:, None]], axis=1)
    distance, relative = fold_blocks(closer, start, rows, charges.charge, block)
    return jnp.sqrt(distance) * unit, relative * unit


@jax.jit
def capturing(
    points: Float[Array, "p dim1"], charges: Charges, radius: Float[Array, " n"]
) -> Int[Array, " p"]:
    """The charge of least `distance / radius` among those of radius > 0, [p]."""
    unit = unit_of_squares(points.shape[1], points, charges.positions)
    positions = charges.positions / unit

    def some(points):
        return jnp.argmin(_over_radius(_squared_or_zero(points, positions, radius > 0), radius), axis=1)

    size = int(np.clip(2**22 // len(radius), 1, max(len(points), 1)))
    return lax.map(some, _padded(points / unit, size)).reshape(-1)[: len(points)]


def _nearest_other(points: Array, charges: Charges) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    """Distance to the nearest charge at another place, and all charge at this one."""
    unit = unit_of_squares(points.shape[1], points, charges.positions)
    points = points / unit

    def closer(found, positions, charge):
        squared = _squared_or_zero(points, positions / unit, charge != 0)
        least = jnp.where(squared > 0, squared, jnp.inf).min(axis=1)
        here = jnp.where(squared > 0, 0, charge).sum(axis=1)
        return jnp.minimum(found[0], least), found[1] + here

    start = jnp.full_like(points[:, 0], jnp.inf), jnp.zeros_like(points[:, 0])
    block = default_block_size(len(points), len(charges.charge), points.shape[-1])
    least, here = fold_blocks(closer, start, charges.positions, charges.charge, block)
    return jnp.sqrt(least) * unit, here


def _over_radius(squared: Float[Array, "p n"], radius: Float[Array, " n"]) -> Float[Array, "p n"]:
    """`distance / radius`, inf where the radius is 0 or has no inverse; not by its square, which underflows."""
    captures = radius >= float(jnp.finfo(radius.dtype).tiny)
    inverse = 1 / jnp.where(captures, radius, 1)
    return jnp.where(captures, jnp.sqrt(squared) * inverse, jnp.inf)


def _squared_or_zero(points: Array, positions: Array, counts: Bool[Array, " n"]) -> Float[Array, "p n"]:
    """Squared distances, inf to charges that do not count.

    They are exact in few dimensions; in many, where they come from products, 0 for all below their rounding. Points at one
    place must count as one, so no positive rounding error may stand for a distance of 0. Fields do not ask for that, and
    take differences where it matters.
    """
    if points.shape[1] <= _BY_DIFFERENCES:
        squared = squared_distances(points, positions)
    else:
        _, _, size, squared = about_middle(points, positions, counts.astype(points.dtype))
        squared = jnp.where(squared > _ROUNDING * float(jnp.finfo(points.dtype).eps) * size, squared, 0)
    return jnp.where(counts, squared, jnp.inf)


def _padded(rows: Array, size: int) -> Array:
    """Rows in groups of one size, the last one filled up with its last row."""
    missing = ((0, -len(rows) % size),) + ((0, 0),) * (rows.ndim - 1)
    return jnp.pad(rows, missing, mode="edge" if len(rows) else "constant").reshape(-1, size, *rows.shape[1:])
