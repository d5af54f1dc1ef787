"""The training step: supervision from a recipe, one update, a moving average of the parameters.

    loss = mean_k weight_k |f(points_k) - target_k|^2 / (D+1)

A `TrainState` is all that a run needs to continue: together with the data of the coming steps it fixes the
result bit for bit. The step counter includes skipped steps, so it alone gives the position in the data and the
randomness of a step.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from efm_jax._core import checks, dtypes, trees
from efm_jax.matching import classes
from efm_jax.training import _data_parallel, _norms, _updates
from efm_jax.training.state import Step, StepInfo, TrainState, check_alive
from efm_jax.types import Batch, FieldMatching, Network

__all__ = ["make_train_step"]


def make_train_step(
    recipe: FieldMatching,
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float = 0.9999,
    axis_name: str | None = None,
) -> Step:
    """Make the training step: draw supervision, take the gradient, update, average.

    The rows of `x_pos` and `x_neg` are the charges of the step; the recipe sets the number of supervised points. The
    moving average after update `t = 0, 1, ...` is

        ema <- d_t ema + (1 - d_t) params,   d_t = min(ema_decay, (1 + t)/(10 + t)),

    so its weights always add up to one, and the weight of the initial parameters after T updates is `T! 9!/(T+9)!`
    (while `d_t < ema_decay`): no correction is needed. If the loss, gradient or update of a step is not finite, the step
    keeps parameters, average and optimizer state and counts as skipped.

    Args:
        recipe: The recipe, from `efm_jax.matching`. Arrays that its `draw` holds, as a `jax.tree_util.Partial`
            (a whole training set of charges), are arguments of the compiled step, not constants in it.
        network: The network; it runs in training mode, with its own key for dropout.
        optimizer: The transformation that `init_state` got. One that asks for the loss, e.g. `optax.polyak_sgd()`, gets
            that of the step.
        ema_decay: Decay of the moving average, in [0, 1).
        axis_name: The name of the mapped axis, for a step that the caller maps (`jax.pmap`;
            `jax.shard_map(check_vma=False)`). Each device then brings its part of the samples; together they are the
            charges on every device. Each device supervises its part of the points that one device alone would draw; loss
            and gradient are means over devices. Each device draws its own dropout. See `parallel.pmap_step`, and
            `parallel.data_parallel_step` for `jax.jit`.

    Returns:
        `step(state, x_pos [n, D], x_neg [m, D], cond=None) -> (state, StepInfo)`, jitted. The step donates its
        input state: write `state, info = step(state, ...)` and do not use the old `state` again. With an `axis_name`, a
        plain function.

        `cond` [g] are class labels, -1 for none. The rows of both plates come in g equal groups of consecutive rows; group
        i holds samples of class `cond[i]`, or of all classes where `cond[i]` is -1. Each group is a minibatch of its own:
        `recipe.draw` is called on it, with its own number of points, and the network gets the label at these points.
        `datasets.batch(labels=...)` draws such rows and `datasets.draw_labels` such labels; see docs/how_to/conditions.md.

    Raises:
        ValueError: If `ema_decay` is out of range, the optimizer asks for more than the loss, e.g. to search along a line,
            or another argument is not as described above. By the step: if shapes do not fit together, the points cannot be
            shared equally, or the state belongs to another network or optimizer or was used before. With labels: if the
            network ignores them, the recipe holds charges of its own, or the number of rows is no multiple of the number of
            labels.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.training import adam, init_state
        >>> from efm_jax.types import Batch, FieldMatching, Network
        >>> line = Network(lambda key: {"a": jnp.ones(2)}, lambda params, points, **_: params["a"] * points)
        >>> def draw(key, x_pos, x_neg):
        ...     points = jax.random.normal(key, (64, 2))
        ...     return Batch(points, 3.0 * points, jnp.ones(64))
        >>> optimizer = adam(0.1, warmup=0)
        >>> step = make_train_step(FieldMatching(draw, None, (0.0, 1.0)), line, optimizer)
        >>> state = init_state(jax.random.key(0), line, optimizer)
        >>> for _ in range(100):
        ...     state, info = step(state, jnp.zeros((8, 1)), jnp.ones((8, 1)))
        >>> [round(float(a), 1) for a in state.params["a"]]
        [3.0, 3.0]

    References:
        Algorithm 1 of Kolesov et al., 2025, arXiv 2502.02367.
    """
    parallel = _data_parallel.single_device() if axis_name is None else _data_parallel.mapped(axis_name)
    step = step_function(recipe, network, optimizer, parallel, ema_decay=ema_decay)
    return step if axis_name is not None else BoundStep(jax.jit(step.function, donate_argnums=1), step.draw)


def step_function(
    recipe: FieldMatching,
    network: Network,
    optimizer: optax.GradientTransformation,
    parallel: _data_parallel.DataParallel,
    *,
    ema_decay: float,
) -> "BoundStep":
    """Make the step of `make_train_step` for one way to share its work, not compiled."""
    checks.has("recipe", recipe, ("draw",), "matching.efm(gap=6.0)")
    checks.network(network)
    checks.has("optimizer", optimizer, ("init", "update"), "training.adam()")
    checks.one_gap(network.gap, max(recipe.span), "recipe")
    if not 0.0 <= ema_decay < 1.0:
        raise ValueError(
            f"ema_decay must be in [0, 1), got {ema_decay!r}; 0.9999 averages over about 10,000 steps."
        )
    update = _updates.update_of(optimizer, network)

    def step(
        draw: Callable[..., Batch], state: TrainState, x_pos, x_neg, cond=None
    ) -> tuple[TrainState, StepInfo]:
        x_pos, x_neg = map(dtypes.at_least_float32, checks.both_plates(x_pos, x_neg))
        _check_state(state, network, optimizer)
        if cond is not None:
            cond = classes.checked(cond)
            classes.check_takes_labels(network)
            draw = classes.by_class(draw, len(cond))
        draw_key, network_key = jax.random.split(jax.random.fold_in(state.key, state.step))
        with jax.named_scope("field"):
            batch = parallel.draw(draw, draw_key, x_pos, x_neg)
        _check_batch(batch, x_pos.shape[1])
        given = {} if cond is None else {"cond": classes.labels_of_points(cond, len(batch.points))}

        def loss_of(params):
            with jax.named_scope("network"):
                field = network.apply(params, batch.points, key=parallel.key(network_key), **given)
            if field.shape != batch.points.shape:
                raise ValueError(
                    f"network.apply must return one field vector for each point, {batch.points.shape}, got "
                    f"{field.shape}; build the network for D = {x_pos.shape[1]} (its output has D+1 parts)."
                )
            square = jnp.sum((field.astype(batch.target.dtype) - batch.target) ** 2, axis=-1)
            return jnp.mean(batch.weight * square) / batch.points.shape[-1]

        loss, grads = parallel.mean(jax.value_and_grad(loss_of)(state.params))
        grad_norm = _norms.norm(grads)
        # optax raises decays to whole powers
        with jax.named_scope("optimizer"), jax.numpy_dtype_promotion("standard"):
            updates, opt_state = update(grads, state.opt_state, state.params, value=loss)
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        if not isinstance(optimizer, _norms.FiniteUpdates):
            finite &= jnp.isfinite(_norms.norm(updates))
        params = optax.apply_updates(state.params, updates)
        taken = (state.step - state.skipped).astype(jnp.float32)
        rest = 1.0 - jnp.minimum(ema_decay, (1.0 + taken) / (10.0 + taken))
        ema = jax.tree.map(lambda mean, new: mean + rest * (new.astype(mean.dtype) - mean), state.ema, params)

        def kept(new, old):
            return jax.tree.map(lambda a, b: jnp.where(finite, _cast(a, b.dtype), b), new, old)

        new_state = TrainState(
            params=kept(params, state.params),
            ema=kept(ema, state.ema),
            opt_state=kept(opt_state, state.opt_state),
            step=state.step + 1,
            key=state.key,
            skipped=state.skipped + (~finite).astype(state.skipped.dtype),
            skipped_in_row=jnp.where(finite, 0, state.skipped_in_row + 1),
        )
        return new_state, StepInfo(loss, grad_norm, finite)

    return BoundStep(step, trees.as_pytree(recipe.draw))


class BoundStep:
    """A step and the `draw` of its recipe, whose arrays are arguments of each call.

    Attributes:
        function: `function(draw, state, x_pos, x_neg, cond) -> (state, StepInfo)`, jitted or not.
        draw: A pytree that draws batches.
    """

    def __init__(self, function: Any, draw: Callable[..., Batch]):
        self.function, self.draw = function, draw

    def __call__(self, state: TrainState, x_pos, x_neg, cond=None) -> tuple[TrainState, StepInfo]:
        """One step."""
        check_alive(state)
        # leaves of a list would each be an argument of the compiled step
        x_pos, x_neg = (
            checks.native(x) if hasattr(x, "dtype") else checks.floating(name, x)
            for name, x in (("x_pos", x_pos), ("x_neg", x_neg))
        )
        return self.function(self.draw, state, x_pos, x_neg, cond)

    def lower(self, state, x_pos, x_neg, cond=None):
        """Lower a jitted step for these arguments, or their shapes."""
        return self.function.lower(self.draw, state, x_pos, x_neg, cond)

    def _cache_size(self) -> int:
        return self.function._cache_size()


def _cast(leaf, dtype) -> jax.Array:
    return leaf if trees.is_key(leaf) else jnp.asarray(leaf).astype(dtype)


def _check_state(state: TrainState, network: Network, optimizer: optax.GradientTransformation) -> None:
    params = jax.eval_shape(network.init, state.key)
    for what, part, wanted in (
        ("params", state.params, params),
        ("opt_state", state.opt_state, jax.eval_shape(optimizer.init, params)),
    ):
        apart = trees.difference(trees.leaves(wanted), trees.leaves(part))
        if apart:
            raise ValueError(
                f"state.{what} does not belong to this {'network' if what == 'params' else 'optimizer'}: {apart}; "
                "make the state by init_state(key, network, optimizer) with the same two values."
            )


def _check_batch(batch: Batch, dim: int) -> None:
    points, target, weight = (jnp.shape(part) for part in batch)
    if len(points) != 2 or points[0] == 0 or points[1] != dim + 1 or target != points or weight != points[:1]:
        raise ValueError(
            f"recipe.draw must return points [k, {dim + 1}], target [k, {dim + 1}] and weight [k] for "
            f"samples of D = {dim}, got {points}, {target} and {weight}."
        )
