"""Where lines through the whole space arrive: at a charge, on a plate whose two sides meet, or at a height."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efm_jax._core.bisection import bisect
from efm_jax.fields.nearest_charges import capturing, nearest
from efm_jax.lines._arc_length import Followed, Rules, Step, follow, in_groups
from efm_jax.lines._steps import ARRIVED, LEFT, RUNNING, STUCK, check_field, choose_rows
from efm_jax.lines.stepping import SOLVERS


class Ended(NamedTuple):
    """Lines as they ended: see `whole_space.EndedLines`."""

    end: Float[Array, "n dim1"]
    path: Float[Array, "k n dim1"]
    charge: Int[Array, " n"]
    reason: Int[Array, " n"]
    length: Float[Array, " n"]
    num_evaluations: Int[Array, " n"]
    t: Float[Array, " n"]
    """Length scales run through, by which `save` counts."""


class _NearCharges(NamedTuple):
    scale: Float[Array, " n"]


class _BetweenPlates(NamedTuple):
    scale: Float[Array, " n"]
    side: Int[Array, " n"]


class _BelowHeight(NamedTuple):
    scale: Float[Array, " n"]
    start: Float[Array, "n dim1"]
    to: Float[Array, " n"]
    along: Float[Array, " n"]


def to_charges(field, points, charges, reach, numbers, **policy) -> Ended:
    """Lines of `field` to the charges that capture them."""
    check_field(field, points)
    numbers = {name: jnp.asarray(value, points.dtype) for name, value in numbers.items()}
    counts = (charges.charge != 0)[:, None]
    low = jnp.min(jnp.where(counts, charges.positions, jnp.inf), axis=0)
    high = jnp.max(jnp.where(counts, charges.positions, -jnp.inf), axis=0)
    middle = 0.5 * (low + high)
    # a charge alone has no extent: then the starts give the measure
    extent = jnp.maximum(0.5 * _length(high - low), jnp.max(_length(points - middle)))
    region = jnp.where(jnp.isnan(numbers["region"]), 1e5 * extent, numbers["region"])

    def rate(points, around):
        return _unit(field(points), points.dtype) * numbers["sign"]

    def settle(before, after, between, around):
        distance, relative = nearest(after, charges, reach)
        status = jnp.where(_length(after - middle) > region, LEFT, RUNNING)
        status = jnp.where(relative < 1, ARRIVED, status)
        return Step(jnp.ones_like(distance), after, status, _NearCharges(distance))

    def first(rows):
        return _NearCharges(nearest(points[rows], charges, reach)[0])

    around = in_groups(first, len(points), max(policy["slots"], 1024))
    done = _run(Rules(rate, settle, cuts=False), points, around, numbers, **policy)
    arrived = done.status == ARRIVED
    charge = jnp.where(arrived, capturing(done.end, charges, reach), -1)
    return _ended(done, points, jnp.where(arrived[:, None], charges.positions[charge], done.end), charge)


to_charges_jit = jax.jit(to_charges, static_argnames=("solver", "max_steps", "slots"))


def to_plate(field, points, numbers, **policy) -> Ended:
    """Lines of `field` to the plate on which it ends."""
    check_field(field, points)
    numbers = {name: jnp.asarray(value, points.dtype) for name, value in numbers.items()}
    gap, offset, sign = numbers["gap"], numbers["offset"], numbers["sign"]
    floors, ceilings = jnp.stack([-jnp.inf, 0.0, gap]), jnp.stack([0.0, gap, jnp.inf])
    middle = jnp.mean(points, axis=0).at[-1].set(0.5 * gap)
    extent = jnp.maximum(gap, jnp.max(_length(points - middle)))
    region = jnp.where(jnp.isnan(numbers["region"]), 1e4 * extent, numbers["region"])
    target = jnp.where(sign < 0, 0, 1)

    def rate(points, around):
        """The field on this side of the plates, and its even continuation past them."""
        low, high = floors[around.side] + offset, ceilings[around.side] - offset
        held = points.at[:, -1].set(jnp.clip(points[:, -1], low, high))
        return _unit(field(held), points.dtype) * sign

    def scale(points):
        return jnp.sqrt(gap**2 + _length(points - middle) ** 2)

    def settle(before, after, between, around):
        z = after[:, -1]
        up, down = z >= ceilings[around.side], z <= floors[around.side]
        status = jnp.where(_length(after - middle) > region, LEFT, RUNNING)
        plain = Step(jnp.ones_like(z), after, status, _BetweenPlates(scale(after), around.side))

        def met():
            height = jnp.where(up, ceilings[around.side], floors[around.side])
            height = jnp.where(jnp.isfinite(height), height, after[:, -1])
            share, there = _meet(between, jnp.where(up, 1.0, -1.0), height)
            beyond = jnp.where(up, around.side + 1, around.side - 1)
            behind = rate(there, _BetweenPlates(around.scale, jnp.clip(beyond, 0, 2)))[:, -1]
            # NaN ends the line here too, for the next step to be lost
            crosses = jnp.where(up, behind > 0, behind < 0) | jnp.isnan(behind)
            plate = jnp.where(up, around.side, around.side - 1)
            status = jnp.where(crosses, RUNNING, jnp.where(plate == target, ARRIVED, STUCK))
            side = jnp.where(crosses, beyond, around.side)
            new = Step(share, there, status, _BetweenPlates(scale(there), side))
            return choose_rows(up | down, new, plain)

        return jax.lax.cond(jnp.any(up | down), met, lambda: plain)

    z = points[:, -1]
    side = (z >= 0).astype(jnp.int32) + (z >= gap).astype(jnp.int32)
    # on a plate the line starts on the side it is sent to
    for height, above in ((0.0, 1), (gap, 2)):
        risen = rate(points, _BetweenPlates(z, jnp.full_like(side, above)))[:, -1]
        side = jnp.where((z == height) & ~(risen > 0), above - 1, side)
    around = _BetweenPlates(scale(points), side)
    done = _run(Rules(rate, settle, cuts=True), points, around, numbers, **policy)
    return _ended(done, points, done.end, jnp.full((len(points),), -1))


to_plate_jit = jax.jit(to_plate, static_argnames=("solver", "max_steps", "slots"))


def to_height(field, points, to, numbers, **policy) -> Ended:
    """Lines of `field` to where they first meet a height."""
    check_field(field, points)
    numbers = {name: jnp.asarray(value, points.dtype) for name, value in numbers.items()}
    to = jnp.broadcast_to(jnp.asarray(to, points.dtype), points.shape[:1])
    side = jnp.sign(to - points[:, -1])
    along = jnp.where(jnp.isnan(numbers["sign"]), side, numbers["sign"])
    middle = jnp.mean(points, axis=0)
    extent = jnp.max(jnp.abs(to - points[:, -1]) + _length(points - middle))
    region = jnp.where(jnp.isnan(numbers["region"]), 1e4 * extent, numbers["region"])

    def rate(points, around):
        return _unit(field(points), points.dtype) * around.along[:, None]

    def moved(points, around):
        """What is around lines that are at these points now."""
        gap = jnp.abs(around.to - around.start[:, -1])
        gap = jnp.where(gap > 0, gap, 1.0)
        far = jnp.sqrt(gap**2 + _length(points - around.start) ** 2)
        # half of this, the longest step, goes just past the plate: beyond it the field is turned about
        near = 2.2 * jnp.sqrt((around.to - points[:, -1]) ** 2 + (0.02 * gap) ** 2)
        return around._replace(scale=far * near / (far + near))

    def settle(before, after, between, around):
        rising = jnp.sign(around.to - around.start[:, -1])
        met = rising * (after[:, -1] - around.to) >= 0
        status = jnp.where(_length(after - middle) > region, LEFT, RUNNING)
        status = jnp.where(met, ARRIVED, status)

        def cut():
            share, there = _meet(between, rising, around.to)
            return jnp.where(met, share, 1.0), jnp.where(met[:, None], there, after)

        share, end = jax.lax.cond(jnp.any(met), cut, lambda: (jnp.ones_like(rising), after))
        return Step(share, end, status, moved(end, around))

    around = moved(points, _BelowHeight(side, points, to, along))
    # lines start near charges, whose distance the scale does not know
    rules = Rules(rate, settle, cuts=False, first=1e-2)
    done = _run(rules, points, around, numbers, **policy)
    return _ended(done, points, done.end, jnp.full((len(points),), -1))


to_height_jit = jax.jit(to_height, static_argnames=("solver", "max_steps", "slots"))


def _meet(between, rising: Array, height: Array) -> tuple[Array, Array]:
    """Share of the step up to a height that it passes, and the point there."""

    def short(theta):
        return ~(rising * (between(theta)[:, -1] - height) >= 0)

    _, theta = bisect(short, jnp.zeros_like(height), jnp.ones_like(height), 24)
    return theta, between(theta).at[:, -1].set(height)


def _run(rules, points, around, numbers, *, solver, max_steps, slots) -> Followed:
    return follow(
        rules,
        points,
        around,
        SOLVERS[solver](),
        rtol=numbers["rtol"],
        atol=numbers["atol"],
        greatest_step=numbers["greatest_step"],
        max_steps=max_steps,
        max_length=numbers["max_length"],
        slots=slots,
        save=numbers["save"],
    )


def _ended(done: Followed, start: Array, end: Array, charge: Array) -> Ended:
    path = done.path.swapaxes(0, 1)
    if len(path):
        path = path.at[0].set(start).at[-1].set(end)
    length = done.length + _length(end - done.end)
    return Ended(end, path, charge, done.status, length, done.evaluations, done.t)


def _unit(field: Array, dtype) -> Array:
    # scaled first: the square of a large or small field leaves the range of float32
    field = field / jnp.max(jnp.abs(field), axis=1, keepdims=True)
    return (field / _length(field)[:, None]).astype(dtype)


def _length(vectors: Array) -> Array:
    return jnp.sqrt(jnp.sum(vectors * vectors, axis=-1))
