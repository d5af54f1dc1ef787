"""The state of a training run between two steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int
from typing_extensions import TypeAliasType

from efm_jax._core import checks, dtypes, trees
from efm_jax.types import Key, Network, Params

__all__ = ["Place", "Step", "StepInfo", "TrainState", "ema_params", "init_state"]


class TrainState(NamedTuple):
    """All that a run needs to continue.

    Attributes:
        params: The network's parameters.
        ema: The moving average of the parameters, in float32 or better; read it with `ema_params`.
        opt_state: The optimizer's state.
        step: Steps attempted so far, skipped ones included.
        key: The run's key; step `t` draws from `fold_in(key, t)`.
        skipped: Steps skipped so far because their loss, gradient or update was not finite.
        skipped_in_row: Steps skipped since the last one that was not.
    """

    params: Params
    ema: Params
    opt_state: Any
    step: Int[Array, ""]
    key: Key
    skipped: Int[Array, ""]
    skipped_in_row: Int[Array, ""]


class StepInfo(NamedTuple):
    """The result of one step.

    Attributes:
        loss: The loss before the update.
        grad_norm: Euclidean norm of the whole gradient, before any clipping.
        finite: Whether the step was taken; if not, parameters, average and optimizer are as before it.
    """

    loss: Float[Array, ""]
    grad_norm: Float[Array, ""]
    finite: Bool[Array, ""]


Step = TypeAliasType("Step", Callable[..., tuple[TrainState, StepInfo]])
"""`step(state, x_pos [n, D], x_neg [m, D], cond=None) -> (state, StepInfo)`."""

Place = TypeAliasType("Place", Callable[[TrainState], TrainState])
"""Puts a state on the devices."""


def init_state(
    key: Key, network: Network, optimizer: optax.GradientTransformation, *, params: Params | None = None
) -> TrainState:
    """Make the state of a run at step 0, its average equal to its parameters.

    Args:
        key: Seeds the parameters and the whole run.
        network: The network to train.
        optimizer: An optax transformation that `make_train_step` takes, e.g. `adam()`.
        params: The first parameters, e.g. those of another run; None draws new ones.

    Raises:
        ValueError: If an argument is not as described above, if the network has no parameters or parameters that are not
            floating-point numbers, or if `params` do not belong to this network.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> from efm_jax.training import adam
        >>> line = Network(lambda key: {"a": jnp.ones(2)}, lambda params, points, **_: params["a"] * points)
        >>> state = init_state(jax.random.key(0), line, adam())
        >>> int(state.step), ema_params(state)["a"].tolist()
        (0, [1.0, 1.0])
    """
    checks.network(network)
    checks.has("optimizer", optimizer, ("init", "update"), "training.adam()")
    param_key, run_key = jax.random.split(checks.key("key", key))
    if params is not None:
        apart = trees.difference(trees.leaves(jax.eval_shape(network.init, param_key)), trees.leaves(params))
        if apart:
            raise ValueError(
                f"params do not belong to this network: {apart}; build the network as in the other run."
            )
    begun: Params = network.init(param_key) if params is None else params
    arrays = jax.tree.leaves(begun)
    unfit = [
        str(leaf)
        for leaf, array in zip(trees.leaves(begun), arrays, strict=True)
        if not jnp.issubdtype(jnp.result_type(array), jnp.floating)
    ]
    if unfit or not arrays:
        raise ValueError(
            f"network.init must return a tree of floating-point arrays, got {unfit or 'no arrays at all'}; "
            "keep constants inside network.apply."
        )
    state = TrainState(
        params=begun,
        ema=jax.tree.map(dtypes.at_least_float32, begun),
        opt_state=optimizer.init(begun),
        step=jnp.zeros((), jnp.int32),
        key=run_key,
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_row=jnp.zeros((), jnp.int32),
    )
    # A donated buffer must not be shared by two leaves, and a weak type would cost a second compilation.
    return jax.tree.map(_fresh, state)


def ema_params(state: TrainState) -> Params:
    """Return the averaged parameters for sampling, in the dtypes of the parameters.

    Args:
        state: A state at any step; before the first one the average is the parameters themselves.

    Raises:
        ValueError: If a training step has reused the memory of the state.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> from efm_jax.training import adam
        >>> network = Network(lambda key: jnp.ones(2, jnp.bfloat16), lambda params, points, **_: points)
        >>> ema_params(init_state(jax.random.key(0), network, adam())).dtype.name
        'bfloat16'
    """
    check_alive(state)
    return jax.tree.map(lambda mean, leaf: mean.astype(leaf.dtype), state.ema, state.params)


def check_alive(state: TrainState) -> None:
    """Raise ValueError if a step has taken the memory of the state."""
    count = getattr(state, "step", None)
    if isinstance(count, jax.Array) and not isinstance(count, Tracer) and count.is_deleted():
        raise ValueError(
            "a training step has reused the memory of this state; use the state that the step returned: "
            "state, info = step(state, x_pos, x_neg)."
        )


def _fresh(leaf) -> jax.Array:
    if trees.is_key(leaf):
        return jnp.copy(leaf)
    leaf = jnp.asarray(leaf)
    return jnp.array(leaf, dtype=leaf.dtype, copy=True)
