"""Choose where field lines start, so that every line carries the same flux.

`from_charges` puts points on small spheres around charges, in random directions: near a charge its field is radial, so a
uniform direction is a uniform share of the charge's flux. `from_samples` puts fresh samples of a plate just above or just
below it, by the flux rule. The field jumps by the plate's density, and that density is divided between both sides as
the field's normal component is. Launches are made outside `jit`; the lines that follow are compiled.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from efm_jax._core import checks, dtypes
from efm_jax._core.trees import as_pytree
from efm_jax.charges.plates import Charges, as_charges
from efm_jax.fields.nearest_charges import Radii, radii
from efm_jax.types import Field, Key

__all__ = ["Launch", "from_charges", "from_samples", "spacing"]

_ROUNDINGS = 64


class Launch(NamedTuple):
    """Where lines start.

    Attributes:
        points: The first point of each line, [n, D+1], off the charge or plate.
        origin: Number of the charge or sample it leaves from, [n].
        up: Whether it leaves toward greater z, [n].
    """

    points: Float[Array, "n dim1"]
    origin: Int[Array, " n"]
    up: Bool[Array, " n"]


def from_charges(
    key: Key,
    charges: Charges,
    num_lines: int,
    *,
    reverse: bool = False,
    height: float | None = None,
    hemisphere: str = "both",
    draws: str = "even",
    distance: float = 0.05,
) -> Launch:
    r"""Launch lines from point charges in uniform directions: exact by flux.

    A charge q sends `|q|` of flux out, equally in all directions of the sphere $S^D$. A line starts at $\tilde x_i + r
    (u + \delta)$, u uniform, at a distance r so small that the charge's own field rules there. Here r is the given share of
    the charge's own radius $a$, which is the distance to its nearest neighbor or the distance where its own field has
    fallen to the field F of the others, whichever is less. What F has bent a line by on its first bit of way is

    $$\delta = \frac{F - (F \cdot u) u}{D\, |q| / (S_D r^D)}$$

    to first order [from flux through the cap of a sphere: a uniform F adds $|F| V_D (r \sin\theta)^D$ to the charge's
    flux through the cap of angle $\theta$ about F], so that the error is of second order in $(r/a)^D$.

    Args:
        key: PRNG key.
        charges: Positions [m, D+1] and signed charges [m].
        num_lines: How many lines.
        reverse: From negative charges, to be followed against the field.
        height: Launch from the charges at this height only; None for all of the sign.
        hemisphere: "both", or only "up" or "down": for a field mirrored in the plate, as a capacitor chain's, whose
            upper half stays above.
        draws: "even": each charge is chosen in proportion to `|q|`, and of n lines either `floor(n p)` or `ceil(n p)`
            leave from a charge of share p, in random order: less variance. "independent": independent draws.
        distance: Distance from the charge as a share of its own radius; not below 64 roundings of its coordinates.

    Raises:
        ValueError: If a shape or option is not as said above, no charge of that sign is at that height, or the call is
            made inside `jit`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> charges = capacitor(jnp.asarray([[0.0], [1.0]]), jnp.asarray([[0.0], [1.0]]), gap=2.0)
        >>> launch = from_charges(jax.random.key(0), charges, 6, hemisphere="up")
        >>> sorted(launch.origin.tolist()), bool((launch.points[:, 1] > 0).all())
        ([0, 0, 0, 1, 1, 1], True)

    Source: Kolesov et al. (2025), arXiv 2502.02367, Theorem 3.1 (lines by flux); the launch is derived here.
    """
    charges = _known(charges)
    num_lines = checks.count("num_lines", num_lines)
    checks.choice("hemisphere", hemisphere, ("both", "up", "down"))
    checks.choice("draws", draws, ("even", "independent"))
    distance = checks.positive("distance", distance)
    if distance >= 1.0:
        raise ValueError(
            f"distance must be below 1, got {distance!r}: it is a share of the radius of a charge's own field."
        )
    charge = np.asarray(charges.charge, np.float64) * (-1.0 if reverse else 1.0)
    chosen = charge > 0
    if height is not None:
        heights = np.asarray(charges.positions, np.float64)[:, -1]
        chosen &= np.abs(heights - checks.finite("height", height)) <= 1e-6 * np.abs(heights).max()
    if not chosen.any():
        raise ValueError(
            f"charges must hold a {'negative' if reverse else 'positive'} charge to launch from"
            f"{'' if height is None else f' at height {height!r}'}; got {len(charge)} charges at heights "
            f"{np.unique(np.asarray(charges.positions)[:, -1])[:6].tolist()}."
        )
    key_draw, key_order, key_way = jax.random.split(key, 3)
    (candidates,) = np.nonzero(chosen)
    key_order, key_mix = jax.random.split(key_order)
    candidates = candidates[np.asarray(jax.random.permutation(key_order, len(candidates)))]
    at = np.asarray(jax.random.uniform(key_draw, (num_lines,)), np.float64)
    if draws == "even":  # one draw shifts equal strata of the cumulative charge
        at = (np.asarray(jax.random.permutation(key_mix, num_lines)) + at[0]) / num_lines
    share = np.cumsum(charge[candidates])
    picked = candidates[np.minimum(np.searchsorted(share, at * share[-1]), len(candidates) - 1)]

    used, place = np.unique(picked, return_inverse=True)
    near = jax.tree.map(lambda values: values[place], radii(charges, jnp.asarray(used)))
    side = {"both": 0.0, "up": 1.0, "down": -1.0}[hemisphere]
    numbers = distance, -1.0 if reverse else 1.0, side
    return Launch(*_leave(key_way, charges.positions, jnp.asarray(picked), near, numbers))


@jax.jit
def _leave(key: Key, positions: Array, picked: Array, near: Radii, numbers) -> tuple[Array, Array, Array]:
    """Points just off the picked charges in random directions, those charges, and which of the points are above them."""
    distance, sign, side = numbers
    position = positions[picked]
    dims = position.shape[1]
    way = jax.random.normal(key, position.shape, position.dtype)
    way /= jnp.linalg.norm(way, axis=1, keepdims=True)
    way = way.at[:, -1].set(jnp.where(side == 0, way[:, -1], side * jnp.abs(way[:, -1])))
    own = jnp.where(jnp.isfinite(near.own_radius), near.own_radius, 1.0)
    floor = _ROUNDINGS * jnp.finfo(position.dtype).eps * jnp.max(jnp.abs(position), axis=1)
    radius = jnp.maximum(distance * own, floor)
    # the others' field over the charge's own at that radius
    pull = jnp.minimum(jnp.exp((dims - 1) * jnp.log(radius / near.field_radius)), 0.5)
    pull = (sign * pull)[:, None] * near.others.direction
    bent = way + (pull - jnp.sum(pull * way, axis=1, keepdims=True) * way) / (dims - 1)
    bent /= jnp.linalg.norm(bent, axis=1, keepdims=True)
    return position + radius[:, None] * bent, picked, bent[:, -1] > 0


def from_samples(
    key: Key,
    field: Callable[[Float[Array, "n dim1"]], Float[Array, "n dim1"] | Field],
    x: Float[Array, "n dim"],
    *,
    height: float = 0.0,
    offset: float,
    reverse: bool = False,
) -> Launch:
    r"""Launch one line from each sample of a smooth plate, up or down by the flux rule.

    At a plate of density P the field's normal component jumps, $E_z(0+) - E_z(0-) = P$. Lines that come up through
    the plate from below continue above it, and likewise downwards; only what is new is divided. A line from a sample leaves
    upward with probability

    $$\begin{cases} 1 & E_z(0-) > 0 \\ 0 & E_z(0+) < 0 \\ E_z(0+) / (E_z(0+) - E_z(0-)) & \text{else.} \end{cases}$$

    Where the field is known by direction only, $u = E / |E|$, the ratio of both sides still follows: the tangential
    component is continuous ($\operatorname{curl} E = 0$: its circulation round a flat loop through the plate vanishes),
    so $|E(0+)|\, |u_x(0+)| = |E(0-)|\, |u_x(0-)|$ and

    $$\frac{E_z(0+)}{E_z(0-)} = \frac{u_z(0+)\, |u_x(0-)|}{u_z(0-)\, |u_x(0+)|}.$$

    Where both tangential components are lost in rounding, both sides count as equally strong.

    Args:
        key: PRNG key.
        field: Points [n, D+1] to vectors [n, D+1] of which only the direction counts, as a learned field or
            `fields.field_fn`; or to a `Field`, whose magnitudes are then used, as `fields.coulomb`.
        x: Samples of the plate, [n, D].
        height: Height z of the plate.
        offset: Distance from the plate at which the field is looked at and lines begin, > 0. For the field of point
            charges it must be well above their spacing (three times `spacing(charges)`), below which the field is that
            of single charges and not of a plate; for a learned field, where it has learned the jump: 1 % of the gap.
        reverse: Lines that run against the field, from a negative plate.

    Raises:
        ValueError: If a shape or value is not as said above.

    Examples:
        A plate of density 1 in an outer field of 1/4 upwards: 3/4 above, 1/4 below.

        >>> import jax, jax.numpy as jnp
        >>> def field(p):
        ...     up = jnp.where(p[:, 1] > 0, 0.75, -0.25)
        ...     return jnp.stack([jnp.full_like(up, 0.1), up], axis=1)
        >>> launch = from_samples(jax.random.key(0), field, jnp.zeros((2000, 1)), offset=0.01)
        >>> bool(abs(launch.up.mean() - 0.75) < 0.03)
        True

    Source: Kolesov et al. (2025), arXiv 2502.02367, Theorem 3.1; the probabilities are derived here.
    """
    x = checks.samples("x", x)
    x = dtypes.at_least_float32(x)  # half precision loses the offset
    offset = checks.positive("offset", offset)
    height = checks.finite("height", height)
    sign = -1.0 if reverse else 1.0
    column = jnp.full((len(x), 1), height, x.dtype)
    above, below = (jnp.concatenate([x, column + side * offset], axis=1) for side in (1.0, -1.0))
    (up, strength_up), (down, strength_down) = _sides(field, above), _sides(field, below)
    if strength_up is None or strength_down is None:
        across = [jnp.linalg.norm(u[:, :-1], axis=1) for u in (up, down)]
        known = jnp.minimum(*across) > 1e-6
        ratio = jnp.where(known, across[1] / jnp.where(known, across[0], 1.0), 1.0)
    else:
        ratio = jnp.exp(strength_up - strength_down)
    plus, minus = sign * ratio * up[:, -1], sign * down[:, -1]
    jump = jnp.maximum(plus, 0) - jnp.minimum(minus, 0)
    probability = jnp.where(jump > 0, jnp.maximum(plus, 0) / jnp.where(jump > 0, jump, 1), 0.5)
    probability = jnp.where(minus > 0, 1.0, probability)
    goes_up = jax.random.uniform(key, (len(x),)) < probability
    return Launch(jnp.where(goes_up[:, None], above, below), jnp.arange(len(x)), goes_up)


def spacing(charges: Charges) -> float:
    """Return the median over charges of the distance to the nearest other one, in units of the positions.

    Args:
        charges: Positions [n, D+1] and signed charges [n], at two places at least.

    Raises:
        ValueError: If all charges are at one place, or the call is made inside `jit`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.charges import plate
        >>> spacing(plate(jnp.asarray([[0.0], [0.5], [1.0], [1.5]]), 0.0, 1.0))
        0.5
    """
    charges = _known(charges)
    (there,) = np.nonzero(np.asarray(charges.charge))
    found = float(np.median(radii(charges, jnp.asarray(there)).neighbor)) if len(there) else np.inf
    if not np.isfinite(found):
        raise ValueError("charges must be at two places at least to have a spacing, got all at one.")
    return found


def _sides(field, points: Array) -> tuple[Array, Array | None]:
    """Unit vectors, and the log of the magnitude where it is known."""
    # inside someone's jit the function may hold that trace's values: no cache of ours may keep it
    shown = field(points) if isinstance(points, Tracer) else _evaluated(as_pytree(field), points)
    vector = shown.direction if isinstance(shown, Field) else jnp.asarray(shown)
    if vector.shape != points.shape:
        raise ValueError(
            f"field must return one vector [D+1] for each point: {points.shape} for these points, got {vector.shape}."
        )
    if isinstance(shown, Field):
        return vector, shown.log_magnitude
    largest = jnp.max(jnp.abs(vector), axis=1, keepdims=True)
    vector = vector / jnp.where(largest > 0, largest, 1)
    length = jnp.linalg.norm(vector, axis=1, keepdims=True)
    return vector / jnp.where(length > 0, length, 1), None


@jax.jit
def _evaluated(field, points: Array):
    return field(points)


def _known(charges: Charges) -> Charges:
    if isinstance(charges.positions, Tracer) or isinstance(charges.charge, Tracer):
        raise ValueError(
            "launches are made outside jit, where the charges are known; trace the lines inside it."
        )
    return as_charges(charges)
