"""Charges: their positions and how much each carries. The fields of charges are in `fields`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks, dtypes
from efm_jax._core.heights import at_heights
from efm_jax.charges import _images
from efm_jax.types import SamplesP, SamplesQ

__all__ = [
    "Charges",
    "as_charges",
    "as_points_and_charges",
    "at_heights",
    "capacitor",
    "capacitor_chain",
    "check_shapes",
    "plate",
]


class Charges(NamedTuple):
    """Point charges in the ambient space of points `(x, z)`, z last.

    Attributes:
        positions: Where they sit, [n, D+1], in the units of the data.
        charge: How much each carries, signed, [n]; the plates of a capacitor carry +1 and -1 in all.
    """

    positions: Float[Array, "n dim1"]
    charge: Float[Array, " n"]


def check_shapes(positions: tuple[int, ...], charge: tuple[int, ...]) -> None:
    """Raise ValueError if these are not the shapes [n, D+1] and [n] of charges, n >= 1 and D >= 1."""
    if len(positions) != 2 or positions[0] < 1 or positions[1] < 2 or charge != positions[:1]:
        raise ValueError(
            f"charges must be positions [n, D+1] and charge [n] with n >= 1, D >= 1, got shapes {positions} and {charge}; "
            "build them with charges.plate or charges.capacitor."
        )


def as_charges(charges: Charges, *others: Array) -> Charges:
    """Return charges as arrays of one dtype, float32 or wider, which holds the others too, or raise ValueError."""
    positions = checks.floating("charges.positions", charges.positions)
    charge = checks.floating("charges.charge", charges.charge)
    check_shapes(positions.shape, charge.shape)
    dtype = jnp.result_type(positions, charge, *others, jnp.float32)
    return Charges(positions.astype(dtype), charge.astype(dtype))


def as_points_and_charges(points: Array | np.ndarray, charges: Charges) -> tuple[Array, Charges]:
    """Return points [..., D+1] and charges of their dimensions, all of one dtype, or raise ValueError."""
    points = checks.floating("points", points)
    charges = as_charges(charges, points)
    dim1 = charges.positions.shape[1]
    if points.ndim < 1 or points.shape[-1] != dim1:
        raise ValueError(
            f"points must have shape [..., {dim1}], (x, z) with z last, as the charges' positions have, got {points.shape}; "
            "append the height z to samples x."
        )
    return points.astype(charges.charge.dtype), charges


def plate(x: Float[Array, "n dim"], z: float, total: float) -> Charges:
    """Return samples as equal charges on the plate at height `z`.

    `positions_i = (x_i, z)`, `charge_i = total / n`.

    Args:
        x: Samples, [n, D].
        z: Height of the plate, in the units of the data.
        total: Charge of the whole plate, of either sign, shared equally by its samples.

    Raises:
        ValueError: If x is not [n, D] of finite floating-point numbers, z is not finite, or total is not
            finite or is zero.

    Examples:
        >>> import jax.numpy as jnp
        >>> charges = plate(jnp.array([[1.0, 2.0], [3.0, 4.0]]), 0.5, -1.0)
        >>> charges.positions.tolist(), charges.charge.tolist()
        ([[1.0, 2.0, 0.5], [3.0, 4.0, 0.5]], [-0.5, -0.5])

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, section 3: samples are placed on a plate.
    """
    x = checks.samples("x", x)
    z = z if isinstance(z, Tracer) else checks.finite("z", z)
    total = total if isinstance(total, Tracer) else checks.finite("total", total)
    if not isinstance(total, Tracer) and total == 0.0:
        raise ValueError("total must not be 0: a plate without charge has no field;\ngive +1.0 or -1.0.")
    # half precision knows neither 1 / n nor most heights
    x = dtypes.at_least_float32(x)
    return Charges(at_heights(x, jnp.full(len(x), z, x.dtype)), jnp.full(len(x), total / len(x), x.dtype))


def capacitor(x_pos: SamplesP, x_neg: SamplesQ, gap: float) -> Charges:
    """Return two plates: samples of P as positive charges at `z = 0`, then those of Q as negative ones at `z = gap`.

    Each plate carries one unit of charge in total, whatever its number of samples: `+1/n` and `-1/m` per charge.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0, in the units of the data.

    Raises:
        ValueError: If the samples are not [n, D] and [m, D] of finite floating-point numbers with one D, or
            the gap is not a finite number > 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> charges = capacitor(jnp.zeros((1, 2)), jnp.ones((2, 2)), gap=6.0)
        >>> charges.positions.tolist(), charges.charge.tolist()
        ([[0.0, 0.0, 0.0], [1.0, 1.0, 6.0], [1.0, 1.0, 6.0]], [1.0, -0.5, -0.5])

    Source: Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, section 3 and eq. 2.
    """
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    gap = checks.length("gap", gap)
    plates = plate(x_pos, 0.0, 1.0), plate(x_neg, gap, -1.0)
    return jax.tree.map(lambda *sides: jnp.concatenate(sides), *plates)


def capacitor_chain(
    x_pos: SamplesP,
    x_neg: SamplesQ,
    gap: float,
    images: int | None = None,
    *,
    tolerance: float = 1e-4,
    reach: float | None = None,
) -> Charges:
    """Return few charges with the field of an endless row of capacitors: P at heights `2 k gap`, Q at `(2 k + 1) gap`.

    Each plate is a mirror of the whole row. So between z = 0 and z = gap the field of the endless row has
    `E_z(x, 0+) = P(x) / 2`, `E_z(x, gap-) = Q(x) / 2` and `integral E_z dx = 1/2` at every height. So all lines go from
    P to Q, and the transport is exact for every gap.

    The plates with `|k| <= K` are kept, one unit of charge each. M far plates a side for either sign replace all others.
    Their heights and weights are a Gauss rule of the missing ones, so their field inside is right up to polynomials of
    degree 4 M. K and M are the fewest for which the field of one charge and its images is within `tolerance` of the exact
    one, at lateral distances up to the reach. The row is symmetric about z = 0, where E_z is exact; at z = gap it is
    within the tolerance like everywhere else. Two charges high above and below make the row neutral; they add an error of
    a tenth of the tolerance.

    Simply cutting the row off, with or without a smooth window, leaves an error of (spread / K gap)^D instead.

    The charges are copies of P and Q: (2 K + 1) n and 4 M n of them for n samples a plate, in memory and in time.
    `fields.chain` makes no copies and is exact at every distance, but only between the plates.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between neighboring plates, > 0, in the units of the data.
        images: K >= 1; None chooses K for the fewest charges within the tolerance. With K given, the far plates are the
            fewest that reach the tolerance, or the best possible. Needed where the gap is traced: then the reach is K gaps.
        tolerance: Greatest error of the field of one charge and its images, relative to that field. The error of the whole
            field is that share of the sum of the sizes of all such fields.
        reach: Greatest lateral distance between a point and a charge for which that holds. None: twice the greatest
            distance of a sample from the middle, so that it holds anywhere among them. Needed under `jit`. In low D some
            lines loop much further out, at D = 2 a share of about (dipole of P - Q) / distance. Lines lost there can be
            followed again in the field of all images, `fields.chain_fn`.

    Raises:
        ValueError: As `capacitor`. Or images is not a whole number >= 1, tolerance or reach is not > 0, traced samples
            come without a reach, a traced gap comes without images or with a reach, or no row of up to 512 images will do.

    Examples:
        Half-way between one charge and another above it, at D = 1: `cot(pi / 4) / (2 gap)`.

        >>> import jax.numpy as jnp
        >>> from efm_jax.fields import coulomb
        >>> x = jnp.zeros((1, 1))
        >>> field = coulomb(jnp.asarray([0.0, 1.0]), capacitor_chain(x, x, 2.0, tolerance=1e-6, reach=2.0))
        >>> [round(float(e), 5) for e in field.direction * jnp.exp(field.log_magnitude)]
        [0.0, 0.25]

    Source: The chain: "Capacitor chain" abstract, OpenReview VDnHEHyVl5. Gauss rules of discrete measures: Golub and
    Welsch (1969), Math. Comp. 23, 221.
    """
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    gap = checks.length("gap", gap)
    tolerance = checks.positive("tolerance", tolerance)
    images = None if images is None else checks.count("images", images)
    if isinstance(gap, Tracer):
        if images is None or reach is not None:
            raise ValueError(
                "the number of plates follows from reach / gap, and the gap is traced.\nGive images= and leave reach out: "
                "then it reaches as many gaps."
            )
        gaps = float(images)
    elif reach is not None:
        gaps = checks.positive("reach", reach) / gap
    elif isinstance(x_pos, Tracer) or isinstance(x_neg, Tracer):
        if images is None:
            raise ValueError("under jit the spread of the samples is not known: give reach=, or images=.")
        gaps = float(images)
    else:
        sides = np.asarray(x_pos, np.float64), np.asarray(x_neg, np.float64)
        center = 0.5 * (sides[0].mean(0) + sides[1].mean(0))
        farthest = max(float(np.linalg.norm(x - center, axis=1).max()) for x in sides)
        gaps = max(2 * farthest, 0.1 * gap) / gap
    row = _images.chain(x_pos.shape[1], _rounded_up(gaps), tolerance, images)
    plates = [plate(x_pos, float(z) * gap, w) for z, w in zip(*row.even, strict=True)]
    plates += [plate(x_neg, float(z) * gap, -w) for z, w in zip(*row.odd, strict=True)]
    net = float(row.even.weight.sum() - row.odd.weight.sum())
    middle = 0.5 * (x_pos.mean(0) + x_neg.mean(0))
    plates += [plate(middle[None], side * row.counter * gap, -0.5 * net) for side in (1, -1)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *plates)


def _rounded_up(number: float) -> float:
    """Round up to two digits, so that samples of one distribution share their plates."""
    unit = 10.0 ** (np.floor(np.log10(number)) - 1)
    return float(np.ceil(number / unit) * unit)
