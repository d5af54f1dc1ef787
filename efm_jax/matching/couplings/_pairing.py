"""What couplings share: labels that fit, and pairs taken in turn."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Int

from efm_jax.types import Key, Labels, Pairs


def in_turn(key: Key, usable: Bool[Array, " n"], num: int) -> Int[Array, " k"]:
    """Return `num` of the usable indices in random order, all of them before one comes again."""
    order = jax.random.permutation(key, usable.shape[0])
    order = order[jnp.argsort(~usable[order])]
    return order[jnp.arange(num) % jnp.maximum(usable.sum(), 1)]


def none_without(any_pair: Bool[Array, ""], i: Int[Array, " k"], j: Int[Array, " k"]) -> Pairs:
    """Return the pairs; -1 where there is none to make."""
    return jnp.where(any_pair, i, -1), jnp.where(any_pair, j, -1)


def checked(labels: Labels, x_pos: Array, x_neg: Array) -> Labels:
    """Return labels that fit the samples, at least one of them on both sides, or raise ValueError."""
    sizes = x_pos.shape[0], x_neg.shape[0]
    shapes = [np.shape(part) for part in labels] if isinstance(labels, tuple | list) else [np.shape(labels)]
    if shapes != [(n,) for n in sizes]:
        raise ValueError(
            f"labels must be a pair (labels_pos [{sizes[0]}], labels_neg [{sizes[1]}]), one whole number for each "
            f"sample, got shapes {shapes}."
        )
    pos, neg = (part if isinstance(part, jax.Array) else np.asarray(part) for part in labels)
    if not (jnp.issubdtype(pos.dtype, jnp.integer) and jnp.issubdtype(neg.dtype, jnp.integer)):
        raise ValueError(
            f"labels must be whole numbers, got dtypes {pos.dtype} and {neg.dtype}; number the classes, e.g. by "
            "np.unique(classes, return_inverse=True)[1] over both sides."
        )
    if not isinstance(pos, Tracer) and not isinstance(neg, Tracer) and not np.isin(pos, neg).any():
        raise ValueError(
            f"labels must have a value in common for a pair to join, got {np.unique(pos)[:5]}... and "
            f"{np.unique(neg)[:5]}...; number the classes of both sides alike, or draw larger minibatches."
        )
    return jnp.asarray(pos), jnp.asarray(neg)
