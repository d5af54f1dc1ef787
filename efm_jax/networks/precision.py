"""At which precision a network multiplies, and how it is written for a platform."""

import contextlib
from functools import partial
from typing import Any

import jax

from efm_jax._core import checks
from efm_jax.networks import layers
from efm_jax.types import Network

__all__ = ["GPUS", "PRECISIONS", "at_precision", "on_platform"]

PRECISIONS = ("default", "high", "highest")
GPUS = ("gpu", "cuda", "rocm")
"""Names of a GPU's platform."""


def at_precision(network: Network, precision: str) -> Network:
    """Make the same network with its products at a precision.

    Products of float32 numbers are float32 on a CPU, whatever is asked for. By "default" a GPU may round their operands to
    TF32 (10 bits), a TPU to bfloat16 (7 bits); "high" is TF32 on a GPU and three bfloat16 passes on a TPU; "highest" is
    float32 everywhere. Gradients multiply as the network does.

    Args:
        network: Any network; parameters stay as they are.
        precision: "default", "high" or "highest". "default" leaves it to `jax.default_matmul_precision`.

    Raises:
        ValueError: There is no such precision.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax import networks
        >>> network = at_precision(networks.unet((8, 8, 1), gap=1.0, width=8, multipliers=(1,), blocks=1), "highest")
        >>> program = jax.make_jaxpr(network.apply)(network.init(jax.random.key(0)), jnp.ones((1, 65)))
        >>> "Precision.HIGHEST" in str(program), "Precision.DEFAULT" in str(program)
        (True, False)
    """
    checks.choice("precision", precision, PRECISIONS)
    return network._replace(apply=partial(_apply, network.apply, precision))


def on_platform(network: Network, platform: str) -> Network:
    """Make the same network as it runs fastest there: for a GPU in few large operations. Results differ by rounding."""
    if platform not in GPUS:
        return network
    return network._replace(apply=partial(_grouped, network.apply))


def _grouped(apply: Any, *arguments: Any, **more: Any) -> Any:
    token = layers.GROUPED.set(True)
    try:
        return apply(*arguments, **more)
    finally:
        layers.GROUPED.reset(token)


def _apply(apply: Any, precision: str, *arguments: Any, **more: Any) -> Any:
    asked = contextlib.nullcontext() if precision == "default" else jax.default_matmul_precision(precision)
    with asked:
        return apply(*arguments, **more)
