"""Two strips of uniform charge in the plane (D = 1): a smooth field with plates of finite size, in closed form."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np


class Strips(NamedTuple):
    """+1 spread over p at z = 0, -1 over q at z = gap. A pytree of numbers, callable as a field."""

    gap: float = 2.0
    p: tuple[float, float] = (-1.0, 1.0)
    q: tuple[float, float] = (0.5, 3.0)

    def __call__(self, points):
        return self.field(points, jnp)

    def field(self, points, lib=np):
        """`E_x - i E_z = log((w - a) / (w - b)) / (2 pi (b - a))` with w = x + i z, exact far away too."""
        x, z = points[:, 0], points[:, 1]

        def one(low, high, z):
            to_low, to_high = (x - low) ** 2 + z**2, (x - high) ** 2 + z**2
            more = (high - low) * (2 * x - low - high) / to_high
            log_ratio = lib.where(
                lib.abs(more) < 0.5, lib.log1p(lib.clip(more, -0.6, 0.6)), lib.log(to_low / to_high)
            )
            angle = lib.arctan2((high - low) * z, z**2 + (x - low) * (x - high))
            return lib.stack([0.5 * log_ratio, angle], axis=1) / (2 * np.pi * (high - low))

        return one(*self.p, z) - one(*self.q, z - self.gap)
