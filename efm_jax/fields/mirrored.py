"""The chain's field as a function of points at any height, as line tracing takes it."""

from functools import lru_cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax import _checks
from efm_jax._types import FieldFn
from efm_jax.fields.endless_chain import chain


def chain_fn(
    x_pos: Float[Array, "n dim"], x_neg: Float[Array, "m dim"], gap: float, *, tolerance: float = 1e-5
) -> FieldFn:
    """The endless chain's field as a function of points: unit directions, at every height.

    Both plates are mirrors: `E_x(x, -z) = E_x(x, z)`, `E_z(x, -z) = -E_z(x, z)`, and all has the period `2 gap`, so a point
    at any height is folded into the slab.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].
        gap: Distance L between the plates, > 0.
        tolerance: As in `chain`.

    Returns:
        A function from points [k, D+1] to unit vectors [k, D+1]: a pytree of the samples, so that chains of one gap and
        equal shapes share their compiled lines.

    Raises:
        ValueError: As `chain` does.

    Example:
        >>> import jax.numpy as jnp
        >>> field = chain_fn(jnp.zeros((1, 1)), jnp.zeros((1, 1)), 1.0)
        >>> field(jnp.array([[0.0, 0.25], [0.0, 1.75]])).tolist()
        [[0.0, 1.0], [0.0, -1.0]]

    Source:
        The chain: "Capacitor chain" abstract, OpenReview VDnHEHyVl5.
    """
    x_pos, x_neg = _checks.samples("x_pos", x_pos), _checks.samples("x_neg", x_neg)
    return jax.tree_util.Partial(_folded(_checks.positive("gap", gap), tolerance), x_pos, x_neg)


@lru_cache
def _folded(gap: float, tolerance: float):
    """One function object for each gap, by which compiled lines are kept."""

    def field(x_pos, x_neg, points):
        height = jnp.mod(points[:, -1], 2 * gap)
        upright = height <= gap
        height = jnp.where(upright, height, 2 * gap - height)
        inside = jnp.concatenate([points[:, :-1], height[:, None]], axis=1)
        direction = chain(inside, x_pos, x_neg, gap, tolerance=tolerance).direction
        return direction.at[:, -1].multiply(jnp.where(upright, 1, -1).astype(direction.dtype))

    return field
