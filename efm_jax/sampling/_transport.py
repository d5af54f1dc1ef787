"""Carry samples along the lines of a learned field, from plate to plate."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efm_jax._core import checks
from efm_jax.lines.stepping import Stepping, chosen, fixed
from efm_jax.lines.tracing import FIX, follow, warn_of_lost
from efm_jax.matching import classes
from efm_jax.sampling.guidance import guided
from efm_jax.training.state import TrainState, ema_params
from efm_jax.types import FieldFn, FieldLines, FieldMatching, Key, Network, Params


def learned_field(
    network: Network, params: Params, *, cond: Int[Array, " n"] | None = None, guidance: float = 1.0
) -> FieldFn:
    """Return a network's field as a function of points, as line tracing takes it.

    `p -> f(p; params)`, deterministic (no dropout). The function is a pytree of its arrays: two fields of one network
    differ only in numbers and share their compiled lines.

    Args:
        network: The network.
        params: Its parameters, e.g. `training.ema_params(state)`.
        cond: Class labels [n], row by row those of the points, -1 for no class; None for none.
        guidance: Scale g of guidance, `v = v_null + g (v_cond - v_null)` of the lines' velocities, see
            [efm_jax.sampling.guidance][]. 1 is the field of the labels, 0 that of the null label; any other asks the
            network twice for each point, in one batch.

    Raises:
        ValueError: There is guidance without labels.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.networks import mlp
        >>> network = mlp(2, gap=6.0, width=8, depth=1)
        >>> field = learned_field(network, network.init(jax.random.key(0)))
        >>> field(jnp.zeros((5, 3))).shape
        (5, 3)
    """
    checks.network(network)
    guidance = checks.finite("guidance", guidance)
    if cond is None:
        if guidance != 1.0:
            raise ValueError(
                f"guidance={guidance!r} needs cond, the class labels [n]: guidance goes toward a class."
            )
        return jax.tree_util.Partial(network.apply, params)
    cond = jnp.asarray(cond)
    apply = jax.tree_util.Partial(network.apply, params)
    if guidance in (0.0, 1.0):
        return jax.tree_util.Partial(
            network.apply, params, cond=cond if guidance else jnp.full_like(cond, -1)
        )
    return jax.tree_util.Partial(_with_and_without, apply, cond, jnp.float32(guidance))


def transport(
    state: TrainState,
    recipe: FieldMatching,
    network: Network,
    x: Float[Array | np.ndarray, "n dim"],
    *,
    reverse: bool = False,
    key: Key | None = None,
    cond: Int[Array | np.ndarray, " n"] | None = None,
    guidance: float = 1.0,
    stepping: Stepping | None = None,
    batch_size: int | None = None,
    save: int | None = None,
) -> FieldLines:
    """Carry samples from one plate to the other along the lines of a trained field.

    `dx/dz = f_x / f_z` from the recipe's first height to its last, or back when `reverse`: Algorithm 2 of the paper
    with `stepping=lines.fixed("euler", step=dz)`. The parameters are the moving average of the state.

    The default, midpoint with 24 steps in the clock `z = gap sin^2(pi u / 2)`, spends 48 evaluations a line, and steps
    near the plates are short, where the direction of the field turns fastest. docs/evidence/few_steps.md compares it
    with other solvers at equal cost. With error control the batch waits for its hardest line.

    Args:
        state: A trained state.
        recipe: The recipe it was trained on: it places the samples and knows the heights.
        network: The network it belongs to.
        x: Samples of P, or of Q when `reverse`, [n, D].
        reverse: Follow the lines from Q to P.
        key: For recipes whose start is random; those of the capacitor do not use it.
        cond: Class labels [n], -1 for no class.
        guidance: Scale of guidance toward the labels, see `learned_field`; an evaluation of the field is then two of the
            network.
        stepping: `lines.fixed(...)`, `lines.adaptive(...)`, or what `grids.place` returns; None: `fixed()`, midpoint with
            24 steps in the sine clock.
        batch_size: Lines traced at once; fewer samples and the last batch are padded, so one shape is compiled. None for
            all at once.
        save: Points to keep along each line, see `lines.trace`.

    Raises:
        ValueError: A shape or option is not as said above, the network was made with another gap than the recipe, or
            there are labels and the network ignores them.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax import lines, matching, networks, training
        >>> recipe, network = matching.efm(6.0), networks.mlp(2, gap=6.0, width=8, depth=1)
        >>> state = training.init_state(jax.random.key(0), network, training.adam())
        >>> found = transport(state, recipe, network, jnp.zeros((5, 2)), stepping=lines.fixed(steps=4))
        >>> found.end.shape, found.path is None
        ((5, 3), True)

    Source: Kolesov et al. (2025), arXiv 2502.02367, Algorithm 2.
    """
    x = checks.samples("x", x)
    checks.network(network)
    checks.one_gap(network.gap, max(recipe.span), "recipe")
    count = x.shape[0]  # a symbol where the sampler is exported for any number
    if cond is not None and np.shape(cond) != (count,):
        raise ValueError(f"cond must hold one label per sample, shape ({count},), got {np.shape(cond)}.")
    if cond is not None:
        classes.check_takes_labels(network)
    stepping = chosen(stepping, fixed())
    params = ema_params(state)
    points = recipe.start(jax.random.key(0) if key is None else key, x, reverse)

    def part(rows) -> FieldLines:
        labels = None if cond is None else jnp.asarray(cond)[rows]
        return follow(
            learned_field(network, params, cond=labels, guidance=guidance),
            points[rows],
            recipe.span[0] if reverse else recipe.span[1],
            stepping=stepping,
            save=save,
        )

    size = None if batch_size is None else checks.count("batch_size", batch_size)
    if size is None or size == count:
        lines = part(slice(None))
        warn_of_lost(lines.arrived, FIX)
        return lines
    parts = []
    for i in range(0, count, size):
        # whole parts are slices, which samples that are split over devices stay split through
        rows = slice(i, i + size) if i + size <= count else jnp.minimum(jnp.arange(i, i + size), count - 1)
        lines, real = part(rows), min(size, count - i)
        path = None if lines.path is None else lines.path[:, :real]
        parts.append(FieldLines(lines.end[:real], path, lines.arrived[:real], lines.num_evaluations[:real]))
    end, paths, arrived, evaluations = zip(*parts, strict=True)
    path = None if save is None else jnp.concatenate(paths, axis=1)
    lines = FieldLines(jnp.concatenate(end), path, jnp.concatenate(arrived), jnp.concatenate(evaluations))
    warn_of_lost(lines.arrived, FIX)
    return lines


def _with_and_without(apply: Callable[..., Array], cond: Array, scale: Array, points: Array) -> Array:
    both = jnp.concatenate([cond, jnp.full_like(cond, -1)])
    field, null = jnp.split(apply(jnp.concatenate([points, points]), cond=both), 2)
    return guided(field, null, scale)
