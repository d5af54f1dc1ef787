r"""Place few steps along the lines of a field where its pilot lines bend.

A solver of order p makes, on a step of length h in the parameter s of a clock, an error of about
$C h^{p+1} |x^{(p+1)}(s)|$. An error made at s has grown by the end of the lines as their spread has, exactly so where
$dx/ds$ is affine in x and the same in all directions. The sum over k steps is least where each makes the same error, which
is for nodes of the density

$$\rho(s) \propto \Big(\operatorname{mean} |x^{(p+1)}(s)|\ \frac{\mathrm{spread}(1)}{\mathrm{spread}(s)}\Big)^{1/(p+1)}.$$

Derivatives are differences over the intervals of a fine grid of pilot lines: what bends on a shorter scale counts with its
mean there. The rule is one of many short steps. With few of them a solver that knows the rate at the beginning of a step
must not leave a bend by a long one, so the density is also smeared by a part of a step. Which clock's parameter, how much
smearing, or equal steps serve best is found by following the pilot lines once with each. The nearest to their fine ends
is taken.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efm_jax import lines
from efm_jax._core import checks
from efm_jax._core.trees import as_pytree
from efm_jax.lines import Stepping, clocks
from efm_jax.lines.tracing import follow
from efm_jax.sampling._transport import learned_field
from efm_jax.training.state import TrainState, ema_params
from efm_jax.types import FieldFn, FieldMatching, Key, Network

__all__ = [
    "EVEN",
    "ORDERS",
    "SMEARED",
    "Along",
    "Pilots",
    "density",
    "equidistribute",
    "pilot_lines",
    "pilots",
    "place",
]

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "ab2": 2, "bosh3": 3}
"""Solvers that fixed grids are placed for, and their orders."""

EVEN = 0.1
"""Share of the density that is spread evenly: no step is longer than 1 / EVEN equal ones."""

SMEARED = (0.0, 0.25, 0.5, 1.0)
"""Widths over which a density is smeared, in equal steps."""

Along = str | clocks.Clock | tuple[str | clocks.Clock, ...]
"""A clock, or several to choose from."""


class Pilots(NamedTuple):
    """Finely stepped lines of a field from a few points.

    Attributes:
        field: The field.
        points: Where the lines start, [n, D+1].
        to: Height at which they end.
        clocks: The clocks in whose parameter they were followed.
        paths: For each clock the lines that arrive, at m + 1 equal steps of its parameter, [m+1, k, D].
        rates: `dx/ds` there.
        ends: Where the lines of the first clock end, [n, D], NaN for those that do not arrive.
    """

    field: FieldFn
    points: Float[Array, "n dim1"]
    to: float
    clocks: tuple[str | clocks.Clock, ...]
    paths: list[Float[np.ndarray, "m1 k dim"]]
    rates: list[Float[np.ndarray, "m1 k dim"]]
    ends: Float[np.ndarray, "n dim"]


def pilots(
    state: TrainState,
    recipe: FieldMatching,
    network: Network,
    x: Float[Array | np.ndarray, "n dim"],
    *,
    reverse: bool = False,
    key: Key | None = None,
    along: Along = ("linear", "sine", "logit"),
    resolution: int = 64,
) -> Pilots:
    """Follow pilot lines of a trained field: `pilot_lines` from samples, by the averaged parameters.

    Args:
        state: A trained state.
        recipe: The recipe it was trained on.
        network: The network it belongs to.
        x: Samples of P, or of Q when `reverse`, [n, D]; some 32 to 256 of them, not those that are scored.
        reverse: For lines from Q to P.
        key: For recipes whose start is random.
        along: See `pilot_lines`; of recipes whose lines come from far above, "log".
        resolution: See `pilot_lines`.

    Raises:
        ValueError: See `pilot_lines`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax import matching, networks, sampling, training
        >>> recipe, network = matching.cfm(), matching.flow_network(networks.mlp(2, gap=1.0, width=8, depth=1))
        >>> state = training.init_state(jax.random.key(0), network, training.adam())
        >>> x = jax.random.normal(jax.random.key(1), (16, 2))
        >>> stepping = place(pilots(state, recipe, network, x, along="sine"), 4, solver="euler")
        >>> sampling.transport(state, recipe, network, x, stepping=stepping).num_evaluations.max().item()
        4
    """
    x = checks.samples("x", x)
    checks.one_gap(network.gap, max(recipe.span), "recipe")
    points = recipe.start(jax.random.key(0) if key is None else key, x, reverse)
    field = learned_field(network, ema_params(state))
    to = recipe.span[0] if reverse else recipe.span[1]
    return pilot_lines(field, points, to, along=along, resolution=resolution)


def pilot_lines(
    field: FieldFn,
    points: Float[Array, "n dim1"],
    to: float,
    *,
    along: Along = ("linear", "sine", "logit"),
    resolution: int = 64,
) -> Pilots:
    """Follow a few lines of a field finely, by midpoint: `2 resolution + 1` evaluations for each clock.

    Args:
        field: The field, [n, D+1] to [n, D+1], as `lines.trace` takes it.
        points: Where the lines start, [n, D+1].
        to: Height at which they end.
        along: Clocks in whose parameter steps may be placed; lines of the others are compared with the ends of the first.
        resolution: Steps of the fine lines.

    Raises:
        ValueError: An option is not as said above, or by one of the clocks no line arrives.

    Examples:
        >>> import jax.numpy as jnp
        >>> field = lambda p: jnp.stack([2 * p[:, 1], jnp.ones(len(p))], axis=1)
        >>> pilot_lines(field, jnp.zeros((1, 2)), 6.0, along="linear").ends.tolist()  # x = z^2
        [[36.0]]
    """
    points, resolution = checks.starts(points), checks.count("resolution", resolution)
    chosen = along if isinstance(along, tuple) else (along,)
    if not chosen:
        raise ValueError("along must name one clock at least, got none; 'linear' is height itself.")
    field, paths, rates, ends = as_pytree(field), [], [], np.zeros(0)
    for clock in chosen:
        x, g = (
            np.asarray(a, np.float64)
            for a in _fine(field, points, to, as_pytree(clocks.named(clock)), resolution)
        )
        sound = np.logical_and.reduce(np.isfinite(np.concatenate([x, g])), axis=(0, 2))
        if not sound.any():
            raise ValueError(
                f"none of {len(points)} pilot lines arrives by the clock {clock!r}.\n"
                "The field must point up (E_z > 0) along them, from the first height to the last."
            )
        ends = ends if paths else np.where(sound[:, None], x[-1], np.nan)
        paths.append(x[:, sound])
        rates.append(g[:, sound])
    return Pilots(field, points, to, chosen, paths, rates, ends)


def place(pilots: Pilots, steps: int, *, solver: str = "midpoint") -> Stepping:
    """Place the steps of a solver where the pilot lines bend.

    For each clock the pilots are followed with equal nodes and with those of the density, smeared by each of `SMEARED`. Of
    the grids by which the fewest fail to arrive, the one that ends nearest to the fine lines, in the mean over pilots,
    is returned. On these it is never worse than equal steps in any of the clocks. That costs five times
    the evaluations of the steps for each clock.

    Args:
        pilots: The pilot lines.
        steps: Number of steps: evaluations are as many for "euler" and "ab2", twice as many for "midpoint" and "heun".
        solver: "euler", "midpoint", "heun", "ab2" or "bosh3".

    Returns:
        The stepping for `lines.trace` or `sampling.transport`: the solver's steps in a grid, its clock.

    Raises:
        ValueError: The solver is another, or `steps` is not a whole number >= 1.

    Examples:
        Lines that jump in a thin layer: four steps are spent about it.

        >>> import jax, jax.numpy as jnp
        >>> def field(p):
        ...     return jnp.stack([jnp.cosh((p[:, 1] - 0.5) / 0.05) ** -2 / 0.05, jnp.ones(len(p))], 1)
        >>> stepping = place(pilot_lines(field, jnp.zeros((1, 2)), 1.0, along="linear"), 4)
        >>> bool((jnp.abs(stepping.clock.shares[1:-1] - 0.5) < 0.2).all())
        True

    Source: equidistribution of the local error, e.g. Ascher, Mattheij, Russell, Numerical Solution of Boundary Value
        Problems for ODEs (1995), sec. 9.1.
    """
    steps, solver = checks.count("steps", steps), checks.choice("solver", solver, tuple(ORDERS))
    found = {}
    for clock, x, g in zip(pilots.clocks, pilots.paths, pilots.rates, strict=True):
        rho = density(x, g, ORDERS[solver])
        smeared = [equidistribute(_smeared(rho, width / steps), steps) for width in SMEARED]
        for nodes in (np.linspace(0.0, 1.0, steps + 1), *(smeared if steps > 1 else ())):
            stepping = lines.fixed(solver, clock=clocks.grid(nodes, clock))
            coarse = follow(pilots.field, pilots.points, pilots.to, stepping=stepping)
            apart = np.linalg.norm(np.asarray(coarse.end)[:, :-1] - pilots.ends, axis=1)
            arrived = np.asarray(coarse.arrived) & np.isfinite(apart)
            lost = int((np.isfinite(pilots.ends).all(axis=1) & ~arrived).sum())
            found.setdefault((lost, float(apart[arrived].mean()) if arrived.any() else np.inf), stepping)
    return found[min(found)]


def density(
    x: Float[np.ndarray, "m1 k dim"], g: Float[np.ndarray, "m1 k dim"], order: int
) -> Float[np.ndarray, " m"]:
    """Return how densely the steps of a solver should lie, from fine lines: the formula in the head of this module.

    Args:
        x: Lines at m + 1 equal steps of a parameter from 0 to 1.
        g: `dx/ds` there.
        order: Order p of the solver, from 1 to m.

    Returns:
        The density on each of m equal intervals of [0, 1], its mean 1; a share `EVEN` of it is the same everywhere.

    Raises:
        ValueError: There are too few steps for the order.

    Examples:
        A line `x = s^2`: its second derivative is the same everywhere.

        >>> s = np.linspace(0.0, 1.0, 5)[:, None, None]
        >>> density(s**2, 2 * s, 1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    parts = len(x) - 1
    if not 1 <= order <= parts:
        raise ValueError(f"order must be from 1 to the {parts} steps of the fine lines, got {order!r}.")
    middle = (np.arange(parts) + 0.5) / parts
    bend = np.linalg.norm(np.diff(g, n=order, axis=0), axis=-1).mean(1)
    bend = np.interp(middle, (np.arange(len(bend)) + 0.5 * order) / parts, bend)
    spread = np.linalg.norm(x - x.mean(1, keepdims=True), axis=-1).mean(1)
    if spread.all():
        bend *= spread[-1] / np.interp(middle, np.linspace(0.0, 1.0, len(spread)), spread)
    rho = bend ** (1.0 / (order + 1))
    return (1.0 - EVEN) * rho / rho.mean() + EVEN if rho.mean() > 0 else np.ones(parts)


def equidistribute(density: Float[np.ndarray, " m"], steps: int) -> Float[np.ndarray, " k1"]:
    """Return the nodes from 0 to 1 between which the density has equal shares: `int_0^{s_j} rho = j / k int_0^1 rho`.

    Args:
        density: The density on m equal intervals of [0, 1], >= 0, not zero everywhere.
        steps: Number k of steps.

    Raises:
        ValueError: The density is negative, not finite or zero, or `steps` is not a whole number >= 1.

    Examples:
        >>> equidistribute(np.array([3.0, 1.0]), 2).round(3).tolist()
        [0.0, 0.333, 1.0]
    """
    steps, density = checks.count("steps", steps), np.asarray(density, np.float64)
    if density.ndim != 1 or not np.isfinite(density).all() or (density < 0).any() or not density.any():
        raise ValueError(
            "density must hold finite numbers >= 0, [m], one of them positive, got "
            f"{'shape ' + str(density.shape) if density.ndim != 1 else density.tolist()}."
        )
    risen = np.concatenate([[0.0], np.cumsum(density)])
    nodes = np.interp(np.arange(steps + 1) / steps * risen[-1], risen, np.linspace(0.0, 1.0, len(risen)))
    nodes[0], nodes[-1] = 0.0, 1.0
    return nodes


def _smeared(rho: np.ndarray, width: float) -> np.ndarray:
    """Means of a density with weights `exp(-|s - t| / width)`."""
    if width == 0.0:
        return rho
    middle = (np.arange(len(rho)) + 0.5) / len(rho)
    weight = np.exp(-np.abs(middle[:, None] - middle) / width)
    return weight @ rho / weight.sum(1)


@partial(jax.jit, static_argnames="resolution")
def _fine(field, points, to, clock, resolution):
    """Lines by midpoint, [m+1, n, D], and their rates at the nodes."""
    start, step = points[:, -1], 1.0 / resolution
    to = jnp.broadcast_to(jnp.asarray(to, points.dtype), start.shape)
    ones = jnp.ones_like(start)

    def at(u, x):
        return lines.rate(field, clock, start, to, u * ones, ones, x)

    def advance(x, j):
        g = at(j * step, x)
        return x + step * at((j + 0.5) * step, x + 0.5 * step * g), (x, g)

    end, (x, g) = jax.lax.scan(advance, points[:, :-1], jnp.arange(resolution))
    return jnp.concatenate([x, end[None]]), jnp.concatenate([g, at(1.0, end)[None]])
