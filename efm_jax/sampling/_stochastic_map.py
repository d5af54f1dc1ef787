"""The theorem's stochastic map of fresh samples."""

import numpy as np
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax.lines import launches, whole_space
from efm_jax.lines.stepping import Stepping
from efm_jax.lines.whole_space import EndedLines
from efm_jax.types import FieldFn, Key


def stochastic_map(
    key: Key,
    field: FieldFn,
    x: Float[Array | np.ndarray, "n dim"],
    gap: float,
    *,
    reverse: bool = False,
    offset: float | None = None,
    stepping: Stepping | None = None,
    max_length: float | None = None,
    region: float | None = None,
    at_once: int | None = None,
    save: int | None = None,
) -> EndedLines:
    r"""Carry samples to the other plate by the stochastic map T of the theorem: forward and backward lines.

    Each sample leaves its plate to one side or the other with the probability of the flux rule
    (`launches.from_samples`), and its line is followed anywhere in space, round the outside and through the plates, until
    it meets the other plate where the field's two sides point at each other (`whole_space.to_plate`). For the field of P
    and Q the ends are distributed as Q, whatever the gap; `transport` goes forward only, which is another, biased map.

    The field must be right outside the slab too: half the lines or more leave it. A network trained between the plates
    only is wrong there; `points.box(bulge=4.0, beyond=3.0)` teaches it there, in low dimensions.

    Args:
        key: PRNG key: to which side lines leave.
        field: The field, [n, D+1] to [n, D+1], any positive scale: `learned_field(network, params)`, or exact,
            `fields.field_fn(charges)`.
        x: Samples of P, or of Q when `reverse`, [n, D].
        gap: Distance L between the plates.
        reverse: From Q to P, against the field.
        offset: Distance from a plate at which its two sides are looked at; None: 1 % of the gap. For a field of point
            charges, three times `launches.spacing` or more.
        stepping: `lines.adaptive(...)`, see `whole_space.to_plate`.
        max_length: Length after which a line has not arrived; None for no bound.
        region: Distance from the middle beyond which a line has not arrived, see `whole_space.to_plate`.
        at_once: Lines under way at once, see `whole_space.to_plate`; None: all, row i of the field's points being sample i.
        save: Points to keep along each line.

    Returns:
        The lines in the order of `x`, with the reason for each that did not arrive.

    Raises:
        ValueError: A shape or option is not as said above.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.charges import capacitor
        >>> from efm_jax.fields import field_fn
        >>> grid = jnp.linspace(-1.0, 1.0, 101)[:, None]
        >>> field = field_fn(capacitor(grid, grid + 1.0, gap=1.0), certified=False)
        >>> lines = stochastic_map(jax.random.key(0), field, 0.5 * grid[::25], 1.0, offset=0.06)
        >>> lines.arrived.all().item(), bool((abs(lines.end[:, 0] - 1.0) < 1.1).all())
        (True, True)

    Source: Kolesov et al. (2025), arXiv 2502.02367, Theorem 3.1; the probabilities are derived, see
    `launches.from_samples`.
    """
    x = checks.samples("x", x)
    gap = checks.positive("gap", gap)
    offset = 1e-2 * gap if offset is None else checks.positive("offset", offset)
    height = gap if reverse else 0.0
    launch = launches.from_samples(key, field, x, height=height, offset=offset, reverse=reverse)
    return whole_space.to_plate(
        field,
        launch.points,
        gap,
        offset=offset,
        reverse=reverse,
        stepping=stepping,
        max_length=max_length,
        region=region,
        at_once=at_once,
        save=save,
    )
