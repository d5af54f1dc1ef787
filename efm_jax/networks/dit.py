"""A transformer on patches of pictures, with the height of the point in the place of the diffusion step."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from efm_jax._core import checks
from efm_jax.networks import _frame, embedding, layers
from efm_jax.types import Key, Network

__all__ = ["SIZES", "DiT", "dit"]

SIZES = {"S": (384, 12), "B": (768, 12), "L": (1024, 24)}
"""Width and depth of the paper's sizes; a head has 64 channels in each."""
_FEATURES = 256  # of the height's embedding, as in the paper


def dit(
    shape: tuple[int, int, int],
    *,
    gap: float,
    scale=1.0,
    width: int = 384,
    depth: int = 12,
    patch: int = 2,
    num_classes: int | None = None,
    dtype: str = "float32",
    height: str | float = "linear",
) -> Network:
    """Make a diffusion transformer on flattened pictures between the plates.

    Patches of `patch` x `patch` pixels of `x / scale` become vectors of `width` numbers, with fixed sines and cosines of
    their places added. `depth` blocks of self-attention and a perceptron follow. Height `u = z / gap` and label scale,
    shift and gate each block (adaLN-zero). Blocks start as the identity and the network as the zero field. The output has
    C + 1 channels; the last one, averaged over the picture, times sqrt(D + 1) is E_z.

    Args:
        shape: Height, width and channels (H, W, C) of a picture; D = H W C.
        gap: Distance between the plates.
        scale: What x is divided by, a number > 0 or one per dimension [D].
        width: Channels of a patch, a multiple of 4. `SIZES` has those of the paper.
        depth: Blocks.
        patch: Side of a patch; height and width must be divisible by it.
        num_classes: Number of classes, or None; labels as for `unet`.
        dtype: "float32", or "bfloat16" for products and what lies between blocks.
        height: See `mlp`.

    Returns:
        The network. `apply(params, points [n, D+1], key=None, cond=None) -> field [n, D+1]`; the key changes nothing.

    Raises:
        ValueError: A size does not fit, or an argument of `apply` does not belong to this network.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.networks import dit
        >>> network = dit((8, 8, 1), gap=10.0, width=16, depth=1)
        >>> jax.jit(network.apply)(network.init(jax.random.key(0)), jnp.ones((2, 65))).shape
        (2, 65)

    Source: Peebles, Xie (2023), arXiv 2212.09748, section 3.2 and table 1.
    """
    sizes = _frame.wholes("shape (height, width, channels)", shape, 1, length=3)
    patch = checks.count("patch", patch)
    if sizes[0] % patch or sizes[1] % patch:
        raise ValueError(
            f"height and width must be divisible by patch = {patch}, got {sizes[0]} x {sizes[1]}; take another patch, or "
            "pad or resize the pictures."
        )
    if checks.count("width", width, 4) % 4:
        raise ValueError(f"width must be a multiple of 4, got {width}; take {width + 4 - width % 4}.")
    heads = max(width // 64, 1)
    if width % heads:
        raise ValueError(f"width must be a multiple of its {heads} heads, got {width}; take {64 * heads}.")
    checks.choice("dtype", dtype, ("float32", "bfloat16"))
    build = functools.partial(
        DiT,
        sizes,
        width=int(width),
        depth=checks.count("depth", depth, most=_frame.MOST_LAYERS),
        heads=heads,
        patch=patch,
        num_classes=num_classes,
        dtype=jnp.dtype(dtype),
    )
    return _frame.frame(build, math.prod(sizes), gap=gap, scale=scale, num_classes=num_classes, height=height)


class DiT(nnx.Module):
    """The module behind `dit`; its arguments are checked there."""

    def __init__(self, shape, *, width, depth, heads, patch, num_classes, dtype):
        channels = shape[2]
        self.shape, self.patch, self.dtype = shape, patch, dtype
        self.inward = layers.Dense(channels * patch**2, width, dtype=dtype)
        self.height1, self.height2 = layers.Dense(_FEATURES, width), layers.Dense(width, width)
        self.labels = None if num_classes is None else embedding.Labels(num_classes, width)
        self.blocks = nnx.List([Block(width, heads, dtype=dtype) for _ in range(depth)])
        self.modulation = layers.Dense(width, 2 * width, variance=0.0)
        self.outward = layers.Dense(width, (channels + 1) * patch**2, variance=0.0)

    def __call__(
        self, x: Float[Array, "n d"], u: Float[Array, " n"], labels: Int[Array, " n"] | None, key: Key | None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Return `(f_x, f_z)` at normalized points."""
        e = self.height2(nnx.silu(self.height1(embedding.sinusoidal(u, _FEATURES))))
        if self.labels is not None and labels is not None:
            e = e + self.labels(labels)
        e = nnx.silu(e)
        h = self.inward(layers.space_to_depth(x.reshape(-1, *self.shape), self.patch))
        n, rows, columns, width = h.shape
        h = (h + _places(rows, columns, width)).astype(self.dtype).reshape(n, rows * columns, width)
        for block in self.blocks:
            h = block(h, e)
        shift, scale = jnp.split(self.modulation(e)[:, None], 2, axis=-1)
        out = self.outward(_normal(h) * (1.0 + scale) + shift).reshape(n, rows, columns, -1)
        out = layers.depth_to_space(out, self.patch)
        return out[..., :-1].reshape(x.shape), out[..., -1].mean((1, 2))


class Block(nnx.Module):
    """Attention and a perceptron, each scaled, shifted and gated by the embedding; the block starts as the identity."""

    def __init__(self, width: int, heads: int, *, dtype):
        self.modulation = layers.Dense(width, 6 * width, variance=0.0)
        self.qkv = layers.Dense(width, 3 * width, variance=1 / width, dtype=dtype)
        self.project = layers.Dense(width, width, dtype=dtype)
        self.wide = layers.Dense(width, 4 * width, dtype=dtype)
        self.narrow = layers.Dense(4 * width, width, dtype=dtype)
        self.heads = heads

    def __call__(self, h: Float[Array, "n t w"], e: Float[Array, "n w"]) -> Float[Array, "n t w"]:
        """Apply the block; `e` is after its swish."""
        n, tokens, width = h.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(self.modulation(e)[:, None], 6, axis=-1)
        qkv = self.qkv(_normal(h) * (1.0 + scale1) + shift1).reshape(n, tokens, 3 * self.heads, -1)
        q, k, v = jnp.split(qkv, 3, axis=2)
        seen = jax.nn.dot_product_attention(q, k, v).reshape(n, tokens, width)
        h = h + (gate1 * self.project(seen)).astype(h.dtype)
        inner = nnx.gelu(self.wide(_normal(h) * (1.0 + scale2) + shift2))
        return h + (gate2 * self.narrow(inner)).astype(h.dtype)


def _normal(h: Float[Array, "... w"]) -> Float[Array, "... w"]:
    """Layer norm without parameters, in float32."""
    h = h.astype(jnp.float32)
    centered = h - h.mean(-1, keepdims=True)
    return centered * jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-6)


def _places(rows: int, columns: int, width: int) -> Float[np.ndarray, "rows columns width"]:
    """Sines and cosines of row and column, half of the channels each."""
    frequency = 1e-4 ** (np.arange(width // 4) / (width // 4))

    def of(count: int) -> np.ndarray:
        angle = np.arange(count)[:, None] * frequency
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)

    row, column = of(rows)[:, None], of(columns)[None]
    return np.concatenate([np.broadcast_to(x, (rows, columns, width // 2)) for x in (row, column)], axis=-1)
