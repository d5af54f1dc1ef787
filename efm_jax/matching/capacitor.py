"""Recipes of charges: the samples are the charges of one capacitor, or of an endless chain of them.

These recipes know three targets:

- `direction`: `sqrt(D+1) E / |E|`, bounded by construction.
- `velocity`: `(E_x / E_z, 1)`, with weight `w(z)^2`, `w = 4 z (L - z) / L^2`: the error of `dx/ds` in the clock
  s = logit(z / L), in which velocities stay bounded near the plates. With points from the flux density of the same
  minibatch (`points.flux` of the recipe's kind) the gradient is that of the whole field, without bias, for any number of
  charges. Other points have a bias.
- `robust`: the same with `|dx/ds|` cut to `cut (R^2 + D L^2 / 4)^(1/2) / 4`, R the root mean square distance between
  samples of P and Q. The other term is that of a point from its charge, and a quarter of a way the greatest speed of a
  straight line. It trades a little bias for bounded noise.

With a `frame` each plate of the chain is first moved and scaled by itself, and `robust` cuts only the slow part of the
velocity, `e / (2 L E_z)`, e the D-dimensional Coulomb field of P less Q. Without frames e falls like that of a dipole, the
difference of the means of both plates, and the slow part of the velocity grows like `exp(pi r / L) / r^D` outside the
samples; frames take away the dipole, whitened ones the quadrupole too.

The charges are those of each minibatch, or the same ones at every step, for instance the whole training set. Then the target
is the field itself, at the cost of as many more charges. They are leaves of `draw`, which is a pytree, so that compiled
steps take them as arguments.

Where float32 no longer knows the sign of E_z, that is below 1e-5 |E|, a velocity has no meaning: such points get weight 0,
and `(batch.weight == 0).mean()` is their share.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.heights import on_plates
from efm_jax.charges.far_plates import FRAMES
from efm_jax.charges.plates import Charges, as_charges, capacitor, capacitor_chain
from efm_jax.fields import coulomb
from efm_jax.fields.point_charges import checked_gamma
from efm_jax.matching._frames import in_frames, out_of_frames, slow_velocity
from efm_jax.matching.points import flux, segment
from efm_jax.matching.velocities import slowness
from efm_jax.types import Batch, Field, FieldMatching, Key, Part, PointSampler

__all__ = ["LEAST_SHARE", "TARGETS", "c2fm", "efm"]

TARGETS = ("direction", "velocity", "robust")
LEAST_SHARE = 1e-5
"""Least E_z / |E| at which a velocity is known."""


def efm(
    gap: float,
    *,
    convention: str = "superposed",
    target: str = "direction",
    cut: float = 1.0,
    points: PointSampler | None = None,
    num_points: int | None = None,
    gamma: float | None = None,
    charges: Charges | None = None,
    block_size: int | None = None,
) -> FieldMatching:
    """Electrostatic field matching: regress on the field of a capacitor, the minibatch's own or a given one.

    P's samples are charges of total +1 on z = 0, Q's of total -1 on z = gap. At the supervised points the target is, by
    convention,

    - `superposed`: the total field E, in the form that `target` says;
    - `per_plate`: `sqrt(D+1) (u+ + u-)`, each plate's weighted mean displacement shrunk to `g / (|g| + gamma)` by itself.

    The factor `sqrt(D+1)` of a direction makes the components O(1); lines depend on the direction only.

    Args:
        gap: Distance L between the plates, in units of the data.
        convention: `superposed` or `per_plate`.
        target: `direction`, `velocity` or `robust`, see the head of this module; `per_plate` has a direction only.
        cut: Where `robust` cuts, see there.
        points: Where to supervise; `points.segment()` when None. The flux density of this field is
            `points.flux("two_plates")`.
        num_points: Supervised points per step; as many as rows of x_pos when None. The charges per step are the rows
            of x_pos and x_neg, another number: more charges, less bias of the minibatch direction.
        gamma: Softening of `per_plate`, a length; see `fields.coulomb`.
        charges: Charges of every step, for instance `charges.capacitor` of the whole training set; None makes them of each
            minibatch, which otherwise only says where the points are.
        block_size: Charges per block of the streamed field; see `fields.coulomb`.

    Raises:
        ValueError: `gap` is not positive, `convention`, `target` or `gamma` is unknown or they do not go together,
            `num_points` or `block_size` is not a whole number >= 1, or the charges are not [n, D+1] and [n].

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> recipe = efm(6.0, num_points=16)
        >>> batch = recipe.draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> batch.points.shape, recipe.span
        ((16, 3), (0.0, 6.0))

    Source: Kolesov et al. (2025), "Field matching: an electrostatic paradigm to generate and transfer data",
    arXiv 2502.02367, eq. 2 and Algorithm 1; velocities: docs/concepts/flux_density.md.
    """
    gap = checks.positive("gap", gap)
    checks.choice("convention", convention, ("superposed", "per_plate"))
    checks.choice("target", target, TARGETS)
    cut = checks.positive("cut", cut)
    if convention == "per_plate" and target != "direction":
        raise ValueError(
            f"target={target!r} needs the field of charges; convention='per_plate' is none: take 'superposed'."
        )
    checked_gamma(gamma, convention)
    if num_points is not None:
        checks.count("num_points", num_points)
    if block_size is not None:
        checks.count("block_size", block_size)
    sample = segment() if points is None else checks.made("points", points, "points.segment()")
    field = partial(coulomb, convention=convention, gamma=gamma, block_size=block_size)
    form = "per_plate" if convention == "per_plate" else target
    return _of_charges(gap, capacitor, sample, form, cut, num_points, field, charges)


def c2fm(
    gap: float,
    *,
    target: str = "direction",
    cut: float = 1.0,
    frame: str | None = None,
    points: PointSampler | None = None,
    num_points: int | None = None,
    images: int | None = None,
    reach: float | None = None,
    tolerance: float = 1e-3,
    charges: Charges | None = None,
    block_size: int | None = None,
) -> FieldMatching:
    """Capacitor-chain field matching: regress on the field of charges between endless mirror plates.

    Copies of P at z = 2 k gap and of Q at z = (2 k + 1) gap make `E_z = P / 2` and `Q / 2` on the plates. So no line leaves
    the slab and forward lines carry P to Q exactly, for every gap. `2 E_z` is the density of the samples on their way.
    Most of a sample's way lies near a plate when the gap is small; trace with the clock `clocks.logit`.

    Args:
        gap: Distance L between the plates, in units of the data.
        target: `direction`, `velocity` or `robust`, see the head of this module. With the latter two wrap the network
            by `velocity_network`: their weight leaves the z-part of the field without supervision near the plates.
        cut: Where `robust` cuts, see there.
        frame: Frames in which the plates are the chain's, each by itself: "rms" or "whitened", see `charges.far_plates`.
            The field that is learned is the chain's in these frames, carried to the data by the map of the height z that
            leads from P's frame to Q's. None: the data as they are. See the head of this module for why.
        points: Where to supervise; when None, where lines go: `points.flux("chain")`, with heights by "logit" for
            velocities.
        num_points: Supervised points per step; as many as rows of x_pos when None.
        images: Plates kept on either side, see `charges.capacitor_chain`; None: as few as reach and tolerance need.
        reach: Greatest distance between a point and a charge at which the chain is within the tolerance, in units of
            the data; 8 gaps when neither images nor reach is given.
        tolerance: Greatest relative error of the field of one charge and its images.
        charges: Charges of every step, for instance `charges.capacitor_chain` of the whole training set, all its images
            in memory; None makes them of each minibatch by the three arguments before this one.
        block_size: Charges per block of the streamed field; see `fields.coulomb`.

    Raises:
        ValueError: `gap`, `reach` or `tolerance` is not positive, `target` is unknown, `num_points`, `images` or
            `block_size` is not a whole number >= 1, the charges are not [n, D+1] and [n], or images or reach are given
            with them.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> recipe = c2fm(6.0, target="velocity", num_points=16)
        >>> batch = recipe.draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> batch.target.shape, bool((batch.target[:, -1] == 1).all())
        ((16, 3), True)

    Source: "Capacitor chain" abstract, OpenReview VDnHEHyVl5; points and velocities: docs/concepts/flux_density.md.
    """
    gap = checks.positive("gap", gap)
    checks.choice("target", target, TARGETS)
    cut = checks.positive("cut", cut)
    tolerance = checks.positive("tolerance", tolerance)
    if charges is not None and (images is not None or reach is not None):
        raise ValueError(
            "images and reach say how the charges of a minibatch are placed; give them to charges.capacitor_chain, which "
            "makes the charges that were given."
        )
    if images is not None:
        checks.count("images", images)
    if reach is not None:
        reach = checks.positive("reach", reach)
    elif images is None:
        reach = 8.0 * gap
    if num_points is not None:
        checks.count("num_points", num_points)
    if block_size is not None:
        checks.count("block_size", block_size)
    if points is None:
        points = flux("chain", height="linear" if target == "direction" else "logit")
    sample = checks.made("points", points, "points.flux()")

    if frame is not None:
        checks.choice("frame", frame, FRAMES)
        if target == "direction" or charges is not None:
            raise ValueError(
                f"frame={frame!r} is for velocities of the chain of each minibatch, got target={target!r} and charges "
                f"{'none' if charges is None else 'given'}; leave it out, or take target='robust' and no charges."
            )

    place = partial(capacitor_chain, images=images, tolerance=tolerance, reach=reach)
    field = partial(coulomb, block_size=block_size)
    return _of_charges(gap, place, sample, target, cut, num_points, field, charges, frame)


def _of_charges(
    gap: float,
    place: Callable[..., Charges],
    sample: PointSampler,
    target: str,
    cut: float,
    num_points: int | None,
    field_of: Callable[[Array, Charges], Field],
    charges: Charges | None,
    frame: str | None = None,
) -> FieldMatching:
    """Return the recipe of the field of given charges, or of those that `place(x_pos, x_neg, gap)` makes."""
    charges = None if charges is None else as_charges(charges)

    return FieldMatching(
        jax.tree_util.Partial(
            partial(_draw, gap, place, sample, target, cut, num_points, field_of, frame), charges
        ),
        on_plates(gap),
        (0.0, gap),
    )


def _draw(
    gap,
    place,
    sample,
    target,
    cut,
    num_points,
    field_of,
    frame,
    given: Charges | None,
    key: Key,
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    *,
    part: Part = None,
) -> Batch:
    num_points = num_points or x_pos.shape[0]
    plates = None if frame is None else in_frames(x_pos, x_neg, frame)
    if plates is not None:
        x_pos, x_neg = plates.pos.charges, plates.neg.charges
    where = sample(key, x_pos, x_neg, gap, num_points)
    where = where if part is None else part(where)
    placed = place(x_pos, x_neg, gap) if given is None else given
    unit, log_magnitude = field_of(where, placed)
    if target == "per_plate":
        return Batch(where, unit * jnp.exp(log_magnitude)[:, None], jnp.ones(where.shape[0], where.dtype))
    if target == "direction":
        root = jnp.sqrt(jnp.asarray(where.shape[1], where.dtype))
        return Batch(where, root * unit, jnp.ones(where.shape[0], where.dtype))
    known = unit[:, -1] > LEAST_SHARE
    velocity = unit[:, :-1] / jnp.where(known, unit[:, -1], 1.0)[:, None]
    slow = slowness(where[:, -1], gap)
    if target == "robust":
        most = 0.25 * cut * _travel(x_pos, x_neg, gap)
        unbounded, bounded = velocity, 0.0
        if plates is not None:
            log_e_z = log_magnitude + jnp.log(jnp.where(known, unit[:, -1], 1.0))
            unbounded = slow_velocity(where[:, :-1], x_pos, x_neg, gap, log_e_z)
            bounded = velocity - unbounded
        speed = 0.25 * gap * slow * jnp.sqrt(jnp.sum(unbounded**2, axis=1))  # |dx/ds|
        velocity = bounded + unbounded * jnp.minimum(1.0, most / jnp.maximum(speed, 1e-30))[:, None]
    if plates is not None:
        where, velocity = out_of_frames(plates, gap, where, velocity)
    velocity = jnp.concatenate([velocity, jnp.ones_like(where[:, -1:])], axis=1)
    return Batch(where, velocity, jnp.where(known, slow**2, 0.0))


def _travel(x_pos: Array, x_neg: Array, gap: float) -> Array:
    """Return `(R^2 + D L^2 / 4)^(1/2)`, R the root mean square distance between a sample of P and one of Q."""
    spread = sum(jnp.sum(jnp.var(x, axis=0)) for x in (x_pos, x_neg))
    across = jnp.sum((x_pos.mean(0) - x_neg.mean(0)) ** 2)
    return jnp.sqrt(spread + across + 0.25 * x_pos.shape[1] * gap**2)
