"""The parts of the U-Net: group norm, residual block, self-attention, resampling.

Pictures are [n, H, W, C]. Parameters are float32. Convolutions and matrix products run in `dtype`, statistics
of the norms always in float32. 3x3 convolutions are those of XLA: on CPU they beat every formulation by shifted
slices and matrix products (`benchmarks/network.py`). 1x1 convolutions are matrix products for the same reason.

On CPU, call a jitted training step once per step: in the body of `lax.scan` or `lax.while_loop` XLA runs the gradient
of a convolution about 100 times slower (jax-ml/jax#12868). The network itself is as fast in a loop as outside.

A GPU starts each operation for microseconds: there norms take one pass, dense layers of the embedding are one product, and
biases that meet are added first. Results differ by rounding.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

from efm_jax._core import platforms
from efm_jax.networks._functional import start
from efm_jax.types import Key

__all__ = [
    "Attention",
    "Conv",
    "Dense",
    "Downsample",
    "GroupNorm",
    "ResidualBlock",
    "Upsample",
    "depth_to_space",
    "drop",
    "groups_for",
    "normalize",
    "space_to_depth",
]


class Dense(nnx.Module):
    """An affine map of the last axis; entries of the matrix start with `variance`, 2 / (cin + cout) unless given.

    Source: Glorot, Bengio (2010), eq. 16.
    """

    def __init__(self, cin: int, cout: int, *, variance: float | None = None, dtype=jnp.float32):
        self.kernel = start((cin, cout), 2 / (cin + cout) if variance is None else variance)
        self.bias = start((cout,), 0.0)
        self.dtype = dtype

    def __call__(self, x: Float[Array, "... cin"], more: jax.Array | None = None) -> Float[Array, "... cout"]:
        """Multiply and add in `dtype`; `more` is added to the bias."""
        bias = self.bias[...] if more is None else self.bias[...] + more
        return x.astype(self.dtype) @ self.kernel[...].astype(self.dtype) + bias.astype(self.dtype)


class Conv(nnx.Module):
    """A 3x3 convolution with zero padding; stride 2 pads even sizes below and to the right only."""

    def __init__(
        self, cin: int, cout: int, *, stride: int = 1, variance: float | None = None, dtype=jnp.float32
    ):
        self.kernel = start((3, 3, cin, cout), 2 / (9 * (cin + cout)) if variance is None else variance)
        self.bias = start((cout,), 0.0)
        self.stride, self.dtype = stride, dtype

    def __call__(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h2 w2 cout"]:
        """Convolve in `dtype`."""
        return self.linear(x) + self.bias[...].astype(self.dtype)

    def linear(self, x: Float[Array, "n h w cin"]) -> Float[Array, "n h2 w2 cout"]:
        """Convolve and add no bias."""
        return lax.conv_general_dilated(
            x.astype(self.dtype),
            self.kernel[...].astype(self.dtype),
            (self.stride, self.stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class GroupNorm(nnx.Module):
    """`(1 + gain) (x - mean) / sqrt(var + 1e-6) + bias`, moments over the pixels and the channels of a group.

    The number of groups is the largest divisor of the channels that leaves at least 4 channels a group and
    is at most 32. Statistics go by channel first and by group after, which on CPU is up to twice as fast
    as reducing over a reshaped picture.

    Source: Wu, He (2018), arXiv 1803.08494, section 3.1.
    """

    def __init__(self, channels: int):
        self.gain = start((channels,), 0.0)
        self.bias = start((channels,), 0.0)
        self.groups = groups_for(channels)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Normalize in float32; the result has the dtype of `x`."""
        full = x.astype(jnp.float32)
        if platforms.on_gpu():
            scale, shift = affine(full, 1.0 + self.gain[...], self.bias[...], self.groups)
            return (full * scale + shift).astype(x.dtype)
        normal = normalize(full, self.groups)
        return (normal * (1.0 + self.gain[...]) + self.bias[...]).astype(x.dtype)


class ResidualBlock(nnx.Module):
    """`skip(x) + conv(dropout(swish(norm(conv(swish(norm(x))) + dense(swish(embedding))))))`.

    The second convolution starts at zero, so the block starts as the identity (or a 1x1 convolution where
    the channels change).

    Source: Ho, Jain, Abbeel (2020), arXiv 2006.11239, appendix B.
    """

    def __init__(self, cin: int, cout: int, embedding: int, *, dropout: float, dtype=jnp.float32):
        self.norm1 = GroupNorm(cin)
        self.conv1 = Conv(cin, cout, dtype=dtype)
        self.dense = Dense(embedding, cout, dtype=dtype)
        self.norm2 = GroupNorm(cout)
        self.conv2 = Conv(cout, cout, variance=0.0, dtype=dtype)
        self.skip = None if cin == cout else Dense(cin, cout, dtype=dtype)
        self.dropout = dropout

    def __call__(
        self, x: Float[Array, "n h w cin"], shift: Float[Array, "n cout"], key: Key | None
    ) -> Float[Array, "n h w cout"]:
        """Apply the block; `shift` is that of `shifts`; `key` draws the dropout, None leaves it out."""
        h = nnx.silu(self.norm1(x))
        if platforms.on_gpu():
            # in float32, or XLA would write the broadcast shift down for cuDNN
            h = self.conv1.linear(h)
            h = (h.astype(jnp.float32) + shift[:, None, None, :]).astype(h.dtype)
        else:
            h = self.conv1(h) + shift[:, None, None, :]
        h = drop(nnx.silu(self.norm2(h)), self.dropout, key)
        if self.skip is None or not platforms.on_gpu():
            return self.conv2(h) + (x if self.skip is None else self.skip(x))
        return self.conv2.linear(h) + self.skip(x, self.conv2.bias[...])


def shifts(blocks: Sequence[ResidualBlock], embedding: Float[Array, "n e"]) -> list[Float[Array, "n cout"]]:
    """Return what each block adds to its pictures; `embedding` is after its swish."""
    if not platforms.on_gpu():
        return [block.dense(embedding) for block in blocks]
    kernel = jnp.concatenate([block.dense.kernel[...] for block in blocks], axis=1)
    bias = jnp.concatenate([block.dense.bias[...] + block.conv1.bias[...] for block in blocks])
    dtype = blocks[0].dense.dtype
    together = jnp.matmul(embedding.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32)
    ends = np.cumsum([block.dense.bias[...].size for block in blocks])
    return jnp.split(together + bias, ends[:-1], axis=1)


class Attention(nnx.Module):
    """`x + project(softmax(q k^T / sqrt(C)) v)` over all pixels, one head; the projection starts at zero.

    Source: Ho, Jain, Abbeel (2020), arXiv 2006.11239, appendix B; Vaswani et al. (2017), arXiv 1706.03762, eq. 1.
    """

    def __init__(self, channels: int, *, dtype=jnp.float32):
        self.norm = GroupNorm(channels)
        # q, k and v in one product, each with the variance it would have alone
        self.qkv = Dense(channels, 3 * channels, variance=1 / channels, dtype=dtype)
        self.project = Dense(channels, channels, variance=0.0, dtype=dtype)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Let every pixel look at every other; softmax in float32."""
        n, h, w, c = x.shape
        qkv = self.qkv(self.norm(x)).reshape(n, h * w, 1, 3 * c)
        q, k, v = jnp.split(qkv, 3, axis=-1)
        return x + self.project(jax.nn.dot_product_attention(q, k, v).reshape(n, h, w, c))


class Downsample(nnx.Module):
    """Half the height and width by a 3x3 convolution of stride 2."""

    def __init__(self, channels: int, *, dtype=jnp.float32):
        self.conv = Conv(channels, channels, stride=2, dtype=dtype)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        """Convolve; on even sizes SAME pads below and to the right only."""
        return self.conv(x)


class Upsample(nnx.Module):
    """Double the height and width by repeating pixels, then a 3x3 convolution."""

    def __init__(self, channels: int, *, dtype=jnp.float32):
        self.conv = Conv(channels, channels, dtype=dtype)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        """Repeat and convolve."""
        n, h, w, c = x.shape
        x = jnp.broadcast_to(x[:, :, None, :, None, :], (n, h, 2, w, 2, c))
        return self.conv(x.reshape(n, 2 * h, 2 * w, c))


def normalize(x: Float[Array, "n h w c"], groups: int) -> Float[Array, "n h w c"]:
    """Return `(x - mean) / sqrt(var + 1e-6)` by picture and group of channels."""
    n, _, _, c = x.shape

    def by_group(per_channel):
        mean = per_channel.reshape(n, groups, c // groups).mean(-1, keepdims=True)
        return jnp.broadcast_to(mean, (n, groups, c // groups)).reshape(n, 1, 1, c)

    centered = x - by_group(x.mean((1, 2)))
    return centered * lax.rsqrt(by_group(jnp.square(centered).mean((1, 2))) + 1e-6)


def affine(
    x: Float[Array, "n h w c"], gain: Float[Array, " c"], bias: Float[Array, " c"], groups: int
) -> tuple[Float[Array, "n 1 1 c"], Float[Array, "n 1 1 c"]]:
    """Return `scale, shift` with `normalize(x) gain + bias = scale x + shift`, from one pass over the picture.

    The variance is the mean of squares less the square of the mean, which loses `(mean / deviation)^2` times more digits.
    """
    n, h, w, c = x.shape
    by_channel = (part.sum((1, 2)).reshape(n, groups, -1) for part in (x, jnp.square(x)))
    mean, square = (part[..., None] / (h * w * (c // groups)) for part in _two_sums(*by_channel))
    # broadcast together, so that gradients are summed together
    both = jnp.broadcast_to(jnp.stack([gain, bias]), (n, 2, c)).reshape(n, 2, groups, -1)
    scale = lax.rsqrt(jnp.maximum(square - jnp.square(mean), 0.0) + 1e-6) * both[:, 0]
    shift = both[:, 1] - mean * scale
    return scale.reshape(n, 1, 1, c), shift.reshape(n, 1, 1, c)


@jax.custom_jvp
def _two_sums(
    a: Float[Array, "n g k"], b: Float[Array, "n g k"]
) -> tuple[Float[Array, "n g"], Float[Array, "n g"]]:
    """Sum both over the last axis, in one operation."""
    return lax.reduce((a, b), (0.0, 0.0), lambda one, two: (one[0] + two[0], one[1] + two[1]), (2,))


@_two_sums.defjvp
def _(numbers, tangents):
    return _two_sums(*numbers), tuple(tangent.sum(-1) for tangent in tangents)


def groups_for(channels: int) -> int:
    """Return the largest divisor of `channels` that is at most 32 and at most `channels / 4`; at least 1."""
    return next(g for g in range(max(1, min(32, channels // 4)), 0, -1) if channels % g == 0)


def drop(x: Float[Array, "... c"], rate: float, key: Key | None) -> Float[Array, "... c"]:
    """Zero each entry with probability `rate` and divide the rest by `1 - rate`; the identity without a key.

    Two 16-bit numbers are cut from each random word, which halves the cost of the random numbers; the rate is met to 2^-16.
    """
    if key is None or rate == 0.0:
        return x
    *batch, c = x.shape
    words = jax.random.bits(key, (*batch, (c + 1) // 2), jnp.uint32)
    bits = lax.bitcast_convert_type(words, jnp.uint16).reshape(*batch, -1)[..., :c]
    keep = bits >= np.uint16(round(rate * 2**16))
    return jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)


def space_to_depth(x: Float[Array, "n h w c"], patch: int) -> Float[Array, "n hp wp cpp"]:
    """Fold patches of `patch` x `patch` pixels into channels."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // patch, patch, w // patch, patch, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h // patch, w // patch, patch * patch * c)


def depth_to_space(x: Float[Array, "n hp wp cpp"], patch: int) -> Float[Array, "n h w c"]:
    """Undo `space_to_depth`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, patch, patch, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, h * patch, w * patch, c // patch**2)
