"""Recipes: what a method is, as a value holding pure functions.

A recipe turns one minibatch of both plates into supervised points and targets, says where lines start, and between
which heights they run. Training, integration and metrics never ask which recipe they serve.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax import _checks
from efm_jax._types import Batch, FieldMatching, Key
from efm_jax.charges import capacitor
from efm_jax.fields import coulomb
from efm_jax.points import PointLaw, segment


def efm(
    gap: float,
    *,
    convention: str = "superposed",
    points: PointLaw | None = None,
    num_points: int | None = None,
    gamma: float | None = None,
    block_size: int | None = None,
) -> FieldMatching:
    """Electrostatic field matching: regress on the field of the minibatch's own capacitor.

    P's samples are charges of total +1 on z = 0, Q's of total -1 on z = gap. At the supervised points the target is

    - `superposed`: `sqrt(D+1) E / |E|`, the direction of the total field;
    - `per_plate`: `sqrt(D+1) (u+ + u-)`, each plate's weighted mean displacement shrunk to `g / (|g| + gamma)` by itself.

    The factor `sqrt(D+1)` makes the components O(1); lines depend on the direction only.

    Args:
        gap: Distance L between the plates, in units of the data.
        convention: `superposed` or `per_plate`.
        points: Where to supervise; `points.segment()` when None.
        num_points: Supervised points per step; as many as rows of x_pos when None. The charges per step are the rows
            of x_pos and x_neg, another number: more charges, less bias of the minibatch field.
        gamma: Softening of `per_plate`, a length; see `fields.coulomb`.
        block_size: Charges per block of the streamed field; see `fields.coulomb`.

    Returns:
        The recipe.

    Raises:
        ValueError: `gap` is not positive, `convention` is unknown, or `num_points` is not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> recipe = efm(6.0, num_points=16)
        >>> batch = recipe.draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> batch.points.shape, recipe.span
        ((16, 3), (0.0, 6.0))

    Source: Kolesov et al. (2025), "Field matching: an electrostatic paradigm to generate and transfer data",
    arXiv 2502.02367, eq. 2 and Algorithm 1.
    """
    gap = _checks.positive("gap", gap)
    _checks.choice("convention", convention, ("superposed", "per_plate"))
    if num_points is not None and num_points < 1:
        raise ValueError(f"num_points must be at least 1 or None, got {num_points}.")
    law = segment() if points is None else points

    def draw(key: Key, x_pos: Float[Array, "n dim"], x_neg: Float[Array, "m dim"]) -> Batch:
        where = law(key, x_pos, x_neg, gap, num_points or x_pos.shape[0])
        field = coulomb(
            where, capacitor(x_pos, x_neg, gap), convention=convention, gamma=gamma, block_size=block_size
        )
        if convention == "superposed":
            target = jnp.sqrt(jnp.asarray(where.shape[1], where.dtype)) * field.direction
        else:
            target = field.direction * jnp.exp(field.log_magnitude)[:, None]
        return Batch(where, target, jnp.ones(where.shape[0], where.dtype))

    return FieldMatching(draw, _start_on_plates(gap), (0.0, gap))


def _start_on_plates(gap: float):
    def start(key: Key, x: Float[Array, "n dim"], reverse: bool = False) -> Float[Array, "n dim1"]:
        del key
        height = jnp.full((x.shape[0], 1), gap if reverse else 0.0, x.dtype)
        return jnp.concatenate([x, height], axis=1)

    return start
