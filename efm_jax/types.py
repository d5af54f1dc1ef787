"""The words every room shares: arrays with shapes, and the values passed between rooms."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

Key: TypeAlias = PRNGKeyArray | UInt32[Array, "2"]
Params: TypeAlias = Any
"""A pytree of arrays."""

FieldFn: TypeAlias = Callable[[Float[Array, "n dim1"]], Float[Array, "n dim1"]]
"""Points `(x, z)` to field vectors `(E_x, E_z)`; lines follow the direction, so any positive scale will do."""


class Field(NamedTuple):
    """A field in log space: `E = direction * exp(log_magnitude)`.

    Attributes:
        direction: Unit vectors, [..., D+1], z last; zero where the field vanishes.
        log_magnitude: Natural log of |E|, [...]; -inf where the field vanishes.
    """

    direction: Float[Array, "*batch dim1"]
    log_magnitude: Float[Array, "*batch"]


class Network(NamedTuple):
    """A network as a pair of pure functions.

    Attributes:
        init: `init(key) -> params`.
        apply: `apply(params, points [n, D+1], *, key=None, cond=None) -> field [n, D+1]`. With a key the network
            runs in training mode (dropout drawn from that key); without one it is deterministic. `cond` holds
            integer class labels [n], -1 being the null label; None means no labels at all.
        gap: Height that it sees as 1, so that of the last plate; None for a network that does not say.
    """

    init: Callable[[Key], Params]
    apply: Callable[..., Float[Array, "n dim1"]]
    gap: float | None = None


class Batch(NamedTuple):
    """What one training step regresses on: `loss = mean_k weight_k |f(points_k) - target_k|^2 / (D+1)`.

    Attributes:
        points: Where the field is supervised, [k, D+1].
        target: The field wanted there, [k, D+1].
        weight: Weight of each point, [k].
    """

    points: Float[Array, "k dim1"]
    target: Float[Array, "k dim1"]
    weight: Float[Array, " k"]


Part: TypeAlias = Callable[[Float[Array, "k dim1"]], Float[Array, "j dim1"]] | None
"""Chooses rows of the points: those that one device supervises."""


class FieldMatching(NamedTuple):
    """A recipe: what a method is, as a value.

    Attributes:
        draw: `draw(key, x_pos [n, D], x_neg [m, D]) -> Batch`: supervision from one minibatch of both plates. One that
            takes a keyword `part` evaluates the field only at the points that `part(points)` leaves, so that devices
            can share the work; of others each device evaluates all and keeps its share.
        start: `start(key, x [n, D], reverse) -> points [n, D+1]`: samples placed where their lines begin, on the
            plate of P, or on the plate of Q when `reverse`.
        span: Heights `(z of P, z of Q)` between which lines run.
    """

    draw: Callable[..., Batch]
    start: Callable[..., Float[Array, "n dim1"]]
    span: tuple[float, float]


class FieldLines(NamedTuple):
    """Field lines as they ended.

    Attributes:
        end: Where each line ended, [n, D+1]: on the plate where `arrived`, else the last place where all was well.
        path: Points along each line, [k, n, D+1], the first its start and the last its end; None if not asked for.
        arrived: Whether the line reached the plate, [n].
        num_evaluations: Field evaluations spent on each line while it was under way, [n]. The batch runs until its
            last line is done, so it costs `max(num_evaluations)` evaluations of all n lines.
    """

    end: Float[Array, "n dim1"]
    path: Float[Array, "k n dim1"] | None
    arrived: Bool[Array, " n"]
    num_evaluations: Int[Array, " n"]
