"""Reflow pairs samples with the ends of a trained field's own lines, for a second training with straighter lines.

The pairs go to a recipe that keeps them, `matching.cfm(gap, coupling=couplings.given(), width=widths.constant(1e-3))`; no
recipe of its own is needed. A line of the first field and its end are taken as they are. What the second field learns is
where the first one carries samples, by way of straight lines as far as these do not cross. The bias of the first field's
ends stays.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from efm_jax._core import checks
from efm_jax.lines.stepping import Stepping
from efm_jax.sampling import _transport as sampling
from efm_jax.training.state import TrainState
from efm_jax.types import FieldMatching, Key, Network

__all__ = ["LinePairs", "pairs"]


class LinePairs(NamedTuple):
    """Starts and ends of lines, row by row.

    Attributes:
        x_pos: On the plate of P, [k, D].
        x_neg: On the plate of Q, [k, D].
        lost: Lines that did not arrive, which are left out.
    """

    x_pos: Float32[np.ndarray, "k dim"]
    x_neg: Float32[np.ndarray, "k dim"]
    lost: int


def pairs(
    state: TrainState,
    recipe: FieldMatching,
    network: Network,
    x: Float32[Array | np.ndarray, "n dim"],
    *,
    reverse: bool = False,
    key: Key | None = None,
    stepping: Stepping | None = None,
    batch_size: int | None = None,
) -> LinePairs:
    """Follow the lines of a trained field from samples and pair these with the ends.

    Deterministic: the same again from the same state and samples. `datasets.from_pairs(x_pos, x_neg)` makes sources of the
    pairs whose batches keep them.

    Args:
        state: A trained state.
        recipe: The recipe it was trained on; its lines must start in the samples themselves.
        network: The network it belongs to.
        x: Samples of P, or of Q when `reverse`, [n, D].
        reverse: Follow lines from Q to P: the ends on Q's plate are then data, those on P's the field's.
        key: For recipes that want one.
        stepping: See `sampling.transport`.
        batch_size: See `sampling.transport`.

    Returns:
        The pairs, in the order of `x`, without those of lines that did not arrive.

    Raises:
        ValueError: The recipe starts its lines at random points, as `pfgm` with extra dimensions does, or no line arrived.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax import matching, networks, training
        >>> from efm_jax.fields import widths
        >>> from efm_jax.matching import couplings
        >>> from efm_jax.datasets import from_pairs
        >>> recipe, network = matching.cfm(), matching.flow_network(networks.mlp(2, gap=1.0, width=8, depth=1))
        >>> state = training.init_state(jax.random.key(0), network, training.adam())
        >>> found = pairs(state, recipe, network, jnp.zeros((5, 2)))
        >>> source_pos, source_neg = from_pairs(found.x_pos, found.x_neg)
        >>> second = matching.cfm(coupling=couplings.given(), width=widths.constant(1e-3))
        >>> found.x_neg.shape, found.lost, source_neg.paired
        ((5, 2), 0, True)

    Source: Liu, Gong, Liu (2022), "Flow straight and fast", arXiv 2209.03003, Algorithm 1.
    """
    x = np.asarray(checks.samples("x", x), np.float32)
    at = jax.random.key(0) if key is None else key
    first = [np.asarray(recipe.start(at, jnp.asarray(x[:1]), side))[:, :-1] for side in (False, True)]
    if not all(np.array_equal(start, x[:1]) for start in first):
        raise ValueError(
            "reflow needs lines that start in the samples.\n"
            "Those of this recipe (pfgm) start at random points; train efm, c2fm, ifm or cfm first."
        )
    lines = sampling.transport(
        state, recipe, network, x, reverse=reverse, key=key, stepping=stepping, batch_size=batch_size
    )
    end = np.asarray(lines.end)[:, :-1]
    there = np.asarray(lines.arrived) & np.isfinite(end).all(1)
    if not there.any():
        raise ValueError(
            f"none of {len(x)} lines arrived, so there are no pairs.\n"
            "Train the first field longer, or follow its lines with more steps."
        )
    start, end = x[there], end[there].astype(np.float32)
    return LinePairs(*((end, start) if reverse else (start, end)), lost=int((~there).sum()))
