"""The capacitor pulled apart: each plate by itself, in coordinates of its own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks, dtypes
from efm_jax._core.distances import unit_of_squares

__all__ = ["FRAMES", "FarPlates", "Plate", "far_plates"]

FRAMES = ("rms", "whitened")
"""Scales of a plate: its rms deviation per dimension, or the square root of its covariance."""


class Plate(NamedTuple):
    """The charges of one plate in its frame, `sample = mean + charge @ scale`.

    Attributes:
        charges: [n, D], of mean 0 and, all dimensions together, mean square D.
        mean: [D].
        scale: Symmetric, [D, D]; of the rms frame a number, [].
    """

    charges: Float[Array, "n dim"]
    mean: Float[Array, " dim"]
    scale: Float[Array, "*scale"]

    def inside(self, x: Float[Array, "k dim"]) -> Float[Array, "k dim"]:
        """Samples in the plate's frame."""
        away = x - self.mean
        return away / self.scale if self.scale.ndim == 0 else jnp.linalg.solve(self.scale, away.T).T

    def outside(self, y: Float[Array, "k dim"]) -> Float[Array, "k dim"]:
        """Points of the frame as samples."""
        if self.scale.ndim == 0:
            return self.mean + self.scale * y
        return self.mean + jnp.matmul(y, self.scale, precision=jax.lax.Precision.HIGHEST)


class FarPlates(NamedTuple):
    """Two plates infinitely far apart.

    Attributes:
        pos: The plate of P.
        neg: The plate of Q.
    """

    pos: Plate
    neg: Plate


def far_plates(
    x_pos: Float[Array, "n dim"], x_neg: Float[Array, "m dim"], *, frame: str = "rms"
) -> FarPlates:
    """Return the capacitor whose gap is infinite, the data staying as they are.

    Between plates far apart the field is that of a dipole, whose lines leave one plate in the directions in which they reach
    the other. Each plate is then alone with its samples, in a frame of its own: `(x - mean) / scale`.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        frame: "rms", one scale for all dimensions, or "whitened", the square root of the covariance: for data
            stretched in some directions, of fewer dimensions than samples.

    Raises:
        ValueError: The samples are not [n, D] and [m, D], the frame is unknown, or a set has no spread.

    Examples:
        >>> import jax.numpy as jnp
        >>> plates = far_plates(jnp.array([[0.0], [2.0]]), jnp.array([[0.0], [8.0]]))
        >>> plates.pos.charges.tolist(), float(plates.neg.scale)
        ([[-1.0], [1.0]], 4.0)
    """
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    checks.choice("frame", frame, FRAMES)
    return FarPlates(*(_plate(name, x, frame) for name, x in (("x_pos", x_pos), ("x_neg", x_neg))))


def _plate(name: str, x: Array, frame: str) -> Plate:
    # a mean of equal samples may be rounded
    equal = not isinstance(x, Tracer) and bool((np.asarray(x) == np.asarray(x)[0]).all())
    x = dtypes.at_least_float32(x)
    mean = x.mean(0)
    unit = unit_of_squares(x.size, x)
    away = (x - mean) / unit
    scale = jnp.sqrt(jnp.mean(away**2)) * unit
    if equal or (not isinstance(scale, Tracer) and not scale > 0):
        raise ValueError(
            f"{name} has no spread: a plate needs two different samples, got {len(x)} at one place."
        )
    if frame == "whitened":
        covariance = jnp.matmul(away.T, away, precision=jax.lax.Precision.HIGHEST) / len(x)
        values, vectors = jnp.linalg.eigh(covariance)
        # a direction without spread keeps a thousandth of the whole
        roots = jnp.maximum(jnp.sqrt(jnp.maximum(values, 0)) * unit, 1e-3 * scale)
        scale = jnp.matmul(vectors * roots, vectors.T, precision=jax.lax.Precision.HIGHEST)
    return Plate(Plate(x, mean, scale).inside(x), mean, scale)
