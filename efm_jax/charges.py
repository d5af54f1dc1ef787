"""Charges: where they sit and how much they carry. Geometry is data; Coulomb's law is in `fields`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax import _checks


class Charges(NamedTuple):
    """Point charges in the ambient space of points `(x, z)`, z last.

    Attributes:
        positions: Where they sit, [n, D+1], in the units of the data.
        charge: How much each carries, signed, [n]; the plates of a capacitor carry +1 and -1 in all.
    """

    positions: Float[Array, "n dim1"]
    charge: Float[Array, " n"]


def plate(x: Float[Array, "n dim"], z: float, total: float) -> Charges:
    """Samples as equal charges on the plate at height `z`.

    `positions_i = (x_i, z)`, `charge_i = total / n`.

    Args:
        x: Samples, [n, D].
        z: Height of the plate, in the units of the data.
        total: Charge of the whole plate, of either sign, shared equally by its samples.

    Returns:
        The n charges of the plate.

    Raises:
        ValueError: If x is not [n, D] of finite floating-point numbers, z is not finite, or total is not
            finite or is zero.

    Example:
        >>> import jax.numpy as jnp
        >>> charges = plate(jnp.array([[1.0, 2.0], [3.0, 4.0]]), 0.5, -1.0)
        >>> charges.positions.tolist(), charges.charge.tolist()
        ([[1.0, 2.0, 0.5], [3.0, 4.0, 0.5]], [-0.5, -0.5])

    Source:
        Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, section 3: samples are placed on a
        plate.
    """
    x = _checks.samples("x", x)
    z = _checks.finite("z", z)
    total = _checks.finite("total", total)
    if total == 0.0:
        raise ValueError("total must not be 0: a plate without charge has no field; give +1.0 or -1.0.")
    height = jnp.full((len(x), 1), z, x.dtype)
    return Charges(jnp.concatenate([x, height], axis=1), jnp.full(len(x), total / len(x), x.dtype))


def capacitor(x_pos: Float[Array, "n dim"], x_neg: Float[Array, "m dim"], gap: float) -> Charges:
    """Two plates: samples of P as positive charges at `z = 0`, samples of Q as negative charges at `z = gap`.

    Each plate carries one unit in all, whatever its number of samples: `+1/n` and `-1/m` a charge.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0, in the units of the data.

    Returns:
        The n + m charges, positive ones first.

    Raises:
        ValueError: If the samples are not [n, D] and [m, D] of finite floating-point numbers with one D, or
            the gap is not a finite number > 0.

    Example:
        >>> import jax.numpy as jnp
        >>> charges = capacitor(jnp.zeros((1, 2)), jnp.ones((2, 2)), gap=6.0)
        >>> charges.positions.tolist(), charges.charge.tolist()
        ([[0.0, 0.0, 0.0], [1.0, 1.0, 6.0], [1.0, 1.0, 6.0]], [1.0, -0.5, -0.5])

    Source:
        Kolesov, Manukhov, Palyulin, Korotin (2025), arXiv 2502.02367, section 3 and eq. 2.
    """
    x_pos, x_neg = _checks.samples("x_pos", x_pos), _checks.samples("x_neg", x_neg)
    if x_pos.shape[1] != x_neg.shape[1]:
        raise ValueError(
            f"x_pos and x_neg must have the same number of dimensions D, got {x_pos.shape} and {x_neg.shape}; "
            "flatten pictures of one shape on both plates."
        )
    gap = _checks.positive("gap", gap)
    plates = plate(x_pos, 0.0, 1.0), plate(x_neg, gap, -1.0)
    return jax.tree.map(lambda *sides: jnp.concatenate(sides), *plates)
