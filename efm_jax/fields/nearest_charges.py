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
from jaxtyping import Array, Float, Int

from efm_jax._core.distances import squared_by_products
from efm_jax.charges.plates import Charges
from efm_jax.fields._sums.differences import squared_distances, squared_lengths
from efm_jax.fields._sums.log_lengths import log_sphere_area
from efm_jax.fields._sums.plates import default_block_size, fold_blocks
from efm_jax.fields.point_charges import coulomb
from efm_jax.types import Field

__all__ = ["Radii", "capturing", "nearest", "radii"]

_BY_DIFFERENCES = 16
"""Dimensions D+1 up to which distances are taken by differences; beyond, by products about the middle."""
_AT_ONCE = 1024


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
    groups = jnp.pad(which, (0, -len(which) % size), mode="edge").reshape(-1, size)
    if isinstance(groups, Tracer) or isinstance(charges.positions, Tracer):
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
    inverse = jnp.where(radius > 0, 1 / jnp.where(radius > 0, radius, 1), jnp.inf) ** 2

    def closer(least, positions, charge):
        positions, inverse = positions[:, :-1], positions[:, -1]
        squared = jnp.where(charge != 0, _squared_or_zero(points, positions), jnp.inf)
        relative = jnp.where(jnp.isinf(inverse), jnp.inf, squared * inverse)
        return jnp.minimum(least[0], squared.min(axis=1)), jnp.minimum(least[1], relative.min(axis=1))

    start = (jnp.full_like(points[:, 0], jnp.inf),) * 2
    block = default_block_size(len(points), len(charges.charge), points.shape[-1])
    rows = jnp.concatenate([charges.positions, inverse[:, None]], axis=1)
    distance, relative = fold_blocks(closer, start, rows, charges.charge, block)
    return jnp.sqrt(distance), jnp.sqrt(relative)


@jax.jit
def capturing(
    points: Float[Array, "p dim1"], charges: Charges, radius: Float[Array, " n"]
) -> Int[Array, " p"]:
    """The charge of least `distance / radius` among those of radius > 0, [p]."""
    inverse = jnp.where(radius > 0, 1 / jnp.where(radius > 0, radius, 1), jnp.inf)

    def some(points):
        relative = jnp.sqrt(_squared_or_zero(points, charges.positions)) * inverse
        return jnp.argmin(jnp.where(radius > 0, relative, jnp.inf), axis=1)

    size = int(np.clip(2**22 // len(radius), 1, len(points)))
    filled = jnp.pad(points, ((0, -len(points) % size), (0, 0)), mode="edge")
    return lax.map(some, filled.reshape(-1, size, points.shape[1])).reshape(-1)[: len(points)]


def _nearest_other(points: Array, charges: Charges) -> tuple[Float[Array, " p"], Float[Array, " p"]]:
    """Distance to the nearest charge at another place, and all charge at this one."""

    def closer(found, positions, charge):
        squared = _squared_or_zero(points, positions)
        least = jnp.where((charge != 0) & (squared > 0), squared, jnp.inf).min(axis=1)
        here = jnp.where(squared > 0, 0, charge).sum(axis=1)
        return jnp.minimum(found[0], least), found[1] + here

    start = jnp.full_like(points[:, 0], jnp.inf), jnp.zeros_like(points[:, 0])
    block = default_block_size(len(points), len(charges.charge), points.shape[-1])
    least, here = fold_blocks(closer, start, charges.positions, charges.charge, block)
    return jnp.sqrt(least), here


def _squared_or_zero(points: Array, positions: Array) -> Float[Array, "p n"]:
    """Squared distances, exact in few dimensions; in many, where they come from products, 0 for all below their rounding.

    Points at one place must count as one, so no positive rounding error may stand for a distance of 0. Fields do not ask for
    that, and take differences where it matters.
    """
    dims = points.shape[1]
    if dims <= _BY_DIFFERENCES:
        return squared_distances(points, positions)
    middle = lax.reduce_precision(positions.mean(axis=0), 8, 11)
    x, a = points - middle, positions - middle
    size = squared_lengths(x)[:, None] + squared_lengths(a)[None, :]
    squared = squared_by_products(x, a, size)
    return jnp.where(squared > 4 * float(jnp.finfo(x.dtype).eps) * size, squared, 0)
