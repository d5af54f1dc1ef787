"""What the networks of features share: convolutions with their batch normalization folded in, and checks of weights."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

PARTS = ("weight", "bias", "running_mean", "running_var")
"""A batch normalization's tensors."""
_EPSILON = 1e-3


class Layer(NamedTuple):
    """One convolution with its normalization: kernel (HWIO, or fewer axes) and bias."""

    kernel: Any
    bias: Any


def folded(tensors: Mapping[str, np.ndarray], conv: str, norm: str) -> Layer:
    """`w' = w g / sqrt(v + 1e-3)`, `b' = beta - m g / sqrt(v + 1e-3)`, in float64; the kernel OIHW as HWIO."""
    gain, shift, mean, variance = (np.asarray(tensors[f"{norm}.{part}"], np.float64) for part in PARTS)
    scale = gain / np.sqrt(variance + _EPSILON)
    kernel = np.asarray(tensors[f"{conv}.weight"], np.float64) * scale[:, None, None, None]
    return Layer(kernel.transpose(2, 3, 1, 0).astype(np.float32), (shift - mean * scale).astype(np.float32))


def convolved(x: jax.Array, layer: Layer, stride: int, padding: str = "SAME") -> jax.Array:
    """Convolve pictures [n, H, W, C] in full float32 and add the bias."""
    h = jax.lax.conv_general_dilated(
        x,
        layer.kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    return h + layer.bias


def check(
    path: str, network: str, tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple], fix: str
) -> None:
    """Raise ValueError unless finite tensors of these names and shapes are there."""
    for name, shape in shapes.items():
        if name not in tensors or tensors[name].shape != shape or not np.isfinite(tensors[name]).all():
            got = tensors[name].shape if name in tensors else "nothing"
            raise ValueError(
                f"{path} does not hold {network}: {name} must be finite with shape {shape}, got {got}; {fix}."
            )
