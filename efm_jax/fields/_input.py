"""Points and charges as the fields take them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from efm_jax._core import checks
from efm_jax.charges.plates import Charges


def checked(points: Array | np.ndarray, charges: Charges) -> tuple[Array, Charges]:
    """Return points [..., D+1] and charges of their dimensions, both of one dtype, or raise ValueError."""
    points = checks.floating("points", points)
    positions = checks.floating("charges.positions", charges.positions)
    charge = checks.floating("charges.charge", charges.charge)
    if (
        positions.ndim != 2
        or positions.shape[0] < 1
        or positions.shape[1] < 2
        or charge.shape != positions.shape[:1]
    ):
        raise ValueError(
            "charges must be positions [n, D+1] and charge [n] with n >= 1, D >= 1, got shapes "
            f"{positions.shape} and {charge.shape}; build them with charges.plate or charges.capacitor."
        )
    if points.ndim < 1 or points.shape[-1] != positions.shape[1]:
        raise ValueError(
            f"points must have shape [..., {positions.shape[1]}], (x, z) with z last, as the charges' positions "
            f"have, got {points.shape}; append the height z to samples x."
        )
    dtype = jnp.result_type(points, positions, charge, jnp.float32)
    return points.astype(dtype), Charges(positions.astype(dtype), charge.astype(dtype))
