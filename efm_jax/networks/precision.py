"""At which precision a network multiplies."""

import contextlib
from functools import partial
from typing import Any

import jax

from efm_jax._core import checks
from efm_jax.types import Network

__all__ = ["PRECISIONS", "at_precision"]

PRECISIONS = ("default", "high", "highest")


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


def _apply(apply: Any, precision: str, *arguments: Any, **more: Any) -> Any:
    asked = contextlib.nullcontext() if precision == "default" else jax.default_matmul_precision(precision)
    with asked:
        return apply(*arguments, **more)
