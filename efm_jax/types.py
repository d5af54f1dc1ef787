"""The values that modules pass to each other, and the names of their array types.

Shapes: D dimensions of a sample, `dim1 = D + 1` of a point `(x, z)` between the plates. The aliases print by their names in
`help()`; their values are in `Alias.__value__`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32
from typing_extensions import TypeAliasType

__all__ = [
    "Batch",
    "Coupling",
    "Field",
    "FieldFn",
    "FieldLines",
    "FieldMatching",
    "Key",
    "LabeledCoupling",
    "Labels",
    "Network",
    "Pairs",
    "Params",
    "Part",
    "PointSampler",
    "Points",
    "SamplesP",
    "SamplesQ",
]

Key = TypeAliasType("Key", PRNGKeyArray | UInt32[Array, "2"])
"""A PRNG key of JAX, new style or old."""

Params: TypeAlias = Any
"""A pytree of arrays."""

Points = TypeAliasType("Points", Float[Array, "n dim1"])
"""Points `(x, z)` between the plates, [n, D+1], or one vector `(E_x, E_z)` for each of them."""

SamplesP = TypeAliasType("SamplesP", Float[Array | np.ndarray, "n dim"])
"""Samples of P, [n, D]."""

SamplesQ = TypeAliasType("SamplesQ", Float[Array | np.ndarray, "m dim"])
"""Samples of Q, [m, D]."""

Pairs = TypeAliasType("Pairs", tuple[Int[Array, " k"], Int[Array, " k"]])
"""Rows `(i, j)` of the k pairs that a coupling makes: i of P's samples, j of Q's."""

Labels = TypeAliasType("Labels", tuple[Int[Array, " n"], Int[Array, " m"]])
"""One whole number for each sample of P and each of Q."""

Part = TypeAliasType("Part", Callable[[Float[Array, "k dim1"]], Float[Array, "j dim1"]] | None)
"""Chooses rows of the points: those that one device supervises."""


@runtime_checkable
class FieldFn(Protocol):
    """A field as a function. Lines follow its direction, so any positive scale will do."""

    def __call__(self, points: Float[Array, "n dim1"], /) -> Float[Array, "n dim1"]:
        """Return the vectors `(E_x, E_z)` at the points `(x, z)`."""
        ...


@runtime_checkable
class Coupling(Protocol):
    """Chooses which sample of P is paired with which sample of Q."""

    def __call__(
        self, key: Key, x_pos: Float[Array, "n dim"], x_neg: Float[Array, "m dim"], num_pairs: int, /
    ) -> Pairs:
        """Return the rows `(i, j)` of `num_pairs` pairs."""
        ...


@runtime_checkable
class LabeledCoupling(Protocol):
    """A `Coupling` that can keep to equal labels; every coupling of `matching.couplings` is one."""

    def __call__(
        self,
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        num_pairs: int,
        /,
        *,
        labels: Labels | None = None,
    ) -> Pairs:
        """Return the rows `(i, j)` of `num_pairs` pairs."""
        ...


@runtime_checkable
class PointSampler(Protocol):
    """Draws the points at which a network is supervised."""

    def __call__(
        self,
        key: Key,
        x_pos: Float[Array, "n dim"],
        x_neg: Float[Array, "m dim"],
        gap: float,
        num_points: int,
        /,
    ) -> Float[Array, "k dim1"]:
        """Return `num_points` points, their heights inside (0, gap) unless the sampler says otherwise."""
        ...


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
        num_classes: Number of class labels that `apply` takes as `cond`; None for a network without labels.
    """

    init: Callable[[Key], Params]
    apply: Callable[..., Float[Array, "n dim1"]]
    gap: float | None = None
    num_classes: int | None = None


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


class FieldMatching(NamedTuple):
    """A recipe: a method as a value that holds pure functions.

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
        path: Points along each line, [k, n, D+1], the first its start and the last its end; None without `save`.
        arrived: Whether the line reached the plate, [n].
        num_evaluations: Field evaluations spent on each line while it was under way, [n]. The batch runs until its
            last line is done, so it costs `max(num_evaluations)` evaluations of all n lines.
    """

    end: Float[Array, "n dim1"]
    path: Float[Array, "k n dim1"] | None
    arrived: Bool[Array, " n"]
    num_evaluations: Int[Array, " n"]
