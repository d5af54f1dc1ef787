"""The U-Net of DDPM and NCSN++, with the height of the point in the place of the diffusion step."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efm_jax._core import checks
from efm_jax.networks import _frame, embedding, layers
from efm_jax.types import Key, Network

__all__ = ["Stage", "UNet", "unet"]


def unet(
    shape: tuple[int, int, int],
    *,
    gap: float,
    scale=1.0,
    width: int = 128,
    multipliers: tuple[int, ...] = (1, 2, 2, 2),
    blocks: int = 4,
    attention: tuple[int, ...] = (16,),
    dropout: float = 0.1,
    num_classes: int | None = None,
    dtype: str = "float32",
    patch: int = 1,
    height: str | float = "linear",
) -> Network:
    """Make a U-Net on flattened pictures between the plates.

    The picture `x / scale` and the relative height `u = z / gap` are all it sees, so gap and range of the data do not
    matter to it. Level l works at resolution `H / (patch 2^l)` with `width * multipliers[l]` channels. It has `blocks`
    residual blocks on the way down and `blocks + 1` on the way up, which also read the activations left by the way
    down. A strided 3x3 convolution halves; repeated pixels and a 3x3 convolution double. In the middle are a residual
    block, self-attention and another residual block. `sinusoidal(u)` goes through two dense layers of `4 width` and
    is added in every block. The last convolution starts at zero, so the network starts as the zero field. It has C + 1
    channels; the last one, averaged over the picture, times sqrt(D + 1) is E_z.

    The defaults are the paper's network: 57,634,180 parameters on (32, 32, 3).

    Args:
        shape: Height, width and channels (H, W, C) of a picture; D = H W C. Height and width must be
            divisible by `patch * 2^(levels - 1)`.
        gap: Distance between the plates.
        scale: What x is divided by, a number > 0 or one per dimension [D].
        width: Channels of the first level, even.
        multipliers: Channels of each level as a multiple of `width`; one entry per level.
        blocks: Residual blocks per level on the way down.
        attention: Resolutions (longer side of the feature map, after `patch`) with self-attention: after each block on
            the way down and after the last on the way up. Resolutions that no level has are passed over.
        dropout: Share of activations zeroed in training, in [0, 1).
        num_classes: Number of classes, or None. Labels are integers in 0 .. num_classes - 1; -1 is the null
            label with an embedding of its own, used also when no `cond` is given.
        dtype: "float32", or "bfloat16" for convolutions and matrix products in half the memory; parameters,
            statistics of norms, softmax and the output stay float32.
        patch: Fold patches of `patch` x `patch` pixels into channels first: 2 makes the network about 4 times cheaper.
        height: "linear", or the height at which logs begin for a single plate at z = 0, see `mlp`; "log" is 1e-3.

    Returns:
        The network. `apply(params, points [n, D+1], key=None, cond=None) -> field [n, D+1]` is deterministic without a
        key; with one, the key draws the dropout. Under `jit` a label out of range gives NaN.

    Raises:
        ValueError: A size does not fit, or an argument of `apply` does not belong to this network.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.networks import unet
        >>> network = unet((8, 8, 1), gap=10.0, width=8, multipliers=(1, 2), blocks=1, attention=(4,))
        >>> params = network.init(jax.random.key(0))
        >>> jax.jit(network.apply)(params, jnp.ones((2, 65))).shape
        (2, 65)

    Source: Ho, Jain, Abbeel (2020), arXiv 2006.11239; Song et al. (2021), arXiv 2011.13456, appendix H; with the extra
    output for E_z: Xu et al. (2022), arXiv 2209.11178; Kolesov et al. (2025), arXiv 2502.02367.
    """
    sizes = _frame.wholes("shape (height, width, channels)", shape, 1, length=3)
    levels = _frame.wholes("multipliers", multipliers, 1)
    if not levels:
        raise ValueError("multipliers must hold at least one number, e.g. (1, 2, 2, 2), got ().")
    if checks.count("width", width, 4) % 2:
        raise ValueError(f"width must be even, got {width}; take {width + 1}.")
    step = checks.count("patch", patch) * 2 ** (len(levels) - 1)
    if sizes[0] % step or sizes[1] % step:
        raise ValueError(
            f"height and width must be divisible by patch * 2^(levels - 1) = {step}, got "
            f"{sizes[0]} x {sizes[1]}; pad or resize the pictures (e.g. 28 to 32), or use fewer multipliers."
        )
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout!r}.")
    checks.choice("dtype", dtype, ("float32", "bfloat16"))
    build = functools.partial(
        UNet,
        sizes,
        width=int(width),
        multipliers=levels,
        blocks=checks.count("blocks", blocks, most=_frame.MOST_LAYERS),
        attention=_frame.wholes("attention", attention, 1),
        dropout=float(dropout),
        num_classes=num_classes,
        dtype=jnp.dtype(dtype),
        patch=int(patch),
    )
    return _frame.frame(build, math.prod(sizes), gap=gap, scale=scale, num_classes=num_classes, height=height)


class UNet(nnx.Module):
    """The module behind `unet`; its arguments are checked there."""

    def __init__(self, shape, *, width, multipliers, blocks, attention, dropout, num_classes, dtype, patch):
        channels = shape[2] * patch**2
        side = max(shape[:2]) // patch
        features = 4 * width
        res = functools.partial(layers.ResidualBlock, embedding=features, dropout=dropout, dtype=dtype)
        att = functools.partial(layers.Attention, dtype=dtype)
        resolutions = [side >> level for level in range(len(multipliers))]

        self.shape, self.patch, self.width, self.last = shape, patch, width, len(multipliers) - 1
        self.num_blocks = 2 + len(multipliers) * (2 * blocks + 1)
        self.height1 = layers.Dense(width, features)
        self.height2 = layers.Dense(features, features)
        self.labels = None if num_classes is None else embedding.Labels(num_classes, features)
        self.stem = layers.Conv(channels, width, dtype=dtype)

        c, left = width, [width]
        self.down, self.halve = nnx.List(), nnx.List()
        for level, (multiplier, resolution) in enumerate(zip(multipliers, resolutions, strict=True)):
            for _ in range(blocks):
                block = res(c, width * multiplier)
                c = width * multiplier
                self.down.append(Stage(block, att(c) if resolution in attention else None))
                left.append(c)
            if level < self.last:
                self.halve.append(layers.Downsample(c, dtype=dtype))
                left.append(c)

        self.middle1, self.middle_attention, self.middle2 = res(c, c), att(c), res(c, c)

        self.up, self.double = nnx.List(), nnx.List()
        for level in reversed(range(len(multipliers))):
            for i in range(blocks + 1):
                block = res(c + left.pop(), width * multipliers[level])
                c = width * multipliers[level]
                self.up.append(
                    Stage(block, att(c) if i == blocks and resolutions[level] in attention else None)
                )
            if level:
                self.double.append(layers.Upsample(c, dtype=dtype))

        self.norm = layers.GroupNorm(c)
        self.end = layers.Conv(c, channels + 1, variance=0.0)

    def __call__(
        self, x: Float[Array, "n d"], u: Float[Array, " n"], labels: Int[Array, " n"] | None, key: Key | None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Return `(f_x, f_z)` at normalized points."""
        keys = itertools.repeat(None) if key is None else iter(jax.random.split(key, self.num_blocks))
        down, up = ([stage.block for stage in stages] for stages in (self.down, self.up))
        every = [*down, self.middle1, self.middle2, *up]
        shifts = iter(layers.shifts(every, nnx.silu(self._embed(u, labels))))

        h = self.stem(layers.space_to_depth(x.reshape(x.shape[0], *self.shape), self.patch))
        left = [h]
        blocks = len(self.down) // (self.last + 1)
        for i, stage in enumerate(self.down):
            h = stage(h, next(shifts), next(keys))
            left.append(h)
            if (i + 1) % blocks == 0 and i + 1 < len(self.down):
                h = self.halve[i // blocks](h)
                left.append(h)

        h = self.middle1(h, next(shifts), next(keys))
        h = self.middle2(self.middle_attention(h), next(shifts), next(keys))

        for i, stage in enumerate(self.up):
            h = stage(jnp.concatenate([h, left.pop()], axis=-1), next(shifts), next(keys))
            if (i + 1) % (blocks + 1) == 0 and i + 1 < len(self.up):
                h = self.double[i // (blocks + 1)](h)

        out = self.end(nnx.silu(self.norm(h)))
        f_x = layers.depth_to_space(out[..., :-1], self.patch)
        return f_x.reshape(x.shape), out[..., -1].mean((1, 2))

    def _embed(self, u, labels):
        e = self.height2(nnx.silu(self.height1(embedding.sinusoidal(u, self.width))))
        return e if self.labels is None or labels is None else e + self.labels(labels)


class Stage(nnx.Module):
    """A residual block and, where wanted, self-attention after it."""

    def __init__(self, block: layers.ResidualBlock, attention: layers.Attention | None):
        self.block, self.attention = block, attention

    def __call__(self, x, shift, key):
        """Apply both."""
        h = self.block(x, shift, key)
        return h if self.attention is None else self.attention(h)
