"""Bisection: find where a condition that holds at the first end of a bracket stops holding."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


def bisect(
    before: Callable[[Float[Array, "*n"]], Bool[Array, "*n"]],
    first: Float[Array, "*n"],
    last: Float[Array, "*n"],
    halvings: int,
) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
    """Halve brackets (first, last), in either order: `before` holds at their first ends and not at their last."""

    def halve(_, bracket):
        first, last = bracket
        middle = 0.5 * (first + last)
        still = before(middle)
        return jnp.where(still, middle, first), jnp.where(still, last, middle)

    return lax.fori_loop(0, halvings, halve, (first, last))


def bisect_number(
    before: Callable[[float], bool], first: float, last: float, halvings: int
) -> tuple[float, float]:
    """`bisect` for one number on the host, in float64."""
    for _ in range(halvings):
        middle = 0.5 * (first + last)
        first, last = (middle, last) if before(middle) else (first, middle)
    return first, last
