"""Embeddings of the relative height `u = z / gap`, 0 on the plate of P and 1 on that of Q, and of labels."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from efm_jax.networks._functional import start

__all__ = ["Labels", "fourier", "sinusoidal"]


def sinusoidal(u: Float[Array, " n"], size: int) -> Float[Array, "n size"]:
    """Return sines and cosines of `1000 u` at geometric frequencies from 1 down to 1e-4, as DDPM embeds its steps.

    `[sin(1000 u w_k), cos(1000 u w_k)]`, `w_k = 10^(-4 k / (K - 1))`, `K = size / 2`. The finest feature
    turns once in du = 2 pi / 1000, so heights as close as 1e-3 of the gap stay apart. The coarsest is
    nearly linear in u over the whole gap and a few gaps beyond it.

    Args:
        u: Relative heights, [n].
        size: Number of features, even and >= 4.

    Examples:
        >>> import jax.numpy as jnp
        >>> [[round(float(v), 3) for v in row] for row in sinusoidal(jnp.array([0.0, 0.001]), 4)]
        [[0.0, 0.0, 1.0, 1.0], [0.841, 0.0, 0.54, 1.0]]

    Source: Ho, Jain, Abbeel (2020), arXiv 2006.11239, appendix B; Vaswani et al. (2017), arXiv 1706.03762, sec. 3.5.
    """
    half = size // 2
    frequency = np.exp(-np.log(1e4) * np.arange(half) / (half - 1)).astype(np.float32)
    angle = 1000.0 * u[:, None] * frequency
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def fourier(u: Float[Array, " n"], octaves: int) -> Float[Array, "n features"]:
    """Return the centered height and `octaves` octaves of its sines and cosines.

    `[2u - 1, sin(pi 2^k u), cos(pi 2^k u)]`, k = 0 .. octaves - 1: low frequencies only, so that a small
    network stays smooth in u.

    Args:
        u: Relative heights, [n].
        octaves: Number of frequencies, >= 0.

    Examples:
        >>> import jax.numpy as jnp
        >>> [round(float(v), 3) for v in fourier(jnp.array([0.25]), 1)[0]]
        [-0.5, 0.707, 0.707]

    Source: Tancik et al. (2020), arXiv 2006.10739, positional encoding.
    """
    angle = np.pi * u[:, None] * 2.0 ** np.arange(octaves, dtype=np.float32)
    return jnp.concatenate([2.0 * u[:, None] - 1.0, jnp.sin(angle), jnp.cos(angle)], axis=-1)


class Labels(nnx.Module):
    """One learned vector for each class and one, the last, for the null label.

    Entries start with variance 1/16, about what the height's embedding has at the start.
    """

    def __init__(self, num_classes: int, size: int):
        self.rows = start((num_classes + 1, size), 1 / 16)

    def __call__(self, labels: Int[Array, " n"]) -> Float[Array, "n size"]:
        """Look the labels up; a row that does not exist gives NaN."""
        return jnp.take(self.rows[...], labels, axis=0, mode="fill")
