"""Updates of optimizers that ask for the loss, and an early word about those that ask for more."""

import re
from collections.abc import Callable
from typing import Any

import jax
import optax

from efm_jax.training import _norms
from efm_jax.types import Network

_MISSING = re.compile(r"missing \d+ required keyword-only arguments?: (.*)")


def update_of(optimizer: optax.GradientTransformation, network: Network) -> Callable[..., tuple[Any, Any]]:
    """Return `update(grads, opt_state, params, value=loss)` of any optimizer, which need not want the loss.

    Raises:
        ValueError: If the update needs more than the loss.
    """
    if isinstance(optimizer, optax.MultiSteps):
        # it hands on what it gets, and does not say so by its type
        optimizer = optax.GradientTransformationExtraArgs(optimizer.init, optimizer.update)
    update = optax.with_extra_args_support(optimizer).update
    if not isinstance(optimizer, _norms.Elementwise):
        _check(optimizer.init, update, network)
    return update


def _check(init: Callable, update: Callable, network: Network) -> None:
    params = jax.eval_shape(network.init, jax.random.key(0))
    state = jax.eval_shape(init, params)
    loss = jax.ShapeDtypeStruct((), jax.numpy.float32)
    try:
        with jax.numpy_dtype_promotion("standard"):
            jax.eval_shape(lambda *given: update(*given[:3], value=given[3]), params, state, params, loss)
    except Exception as error:
        # the step itself says what else is wrong; some updates work only inside it, on the axis of its devices
        missing = _MISSING.search(str(error)) if isinstance(error, TypeError) else None
        if missing is None:
            return
        raise ValueError(
            f"optimizer.update needs {missing[1]}, which a training step does not give: it gives value=loss, and that only "
            "to an optax.GradientTransformationExtraArgs.\nTake an optimizer that does not search along a line, e.g. "
            "training.adam()."
        ) from error
