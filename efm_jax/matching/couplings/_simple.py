"""Couplings that do not look where the samples are."""

import jax
import jax.numpy as jnp

from efm_jax.matching.couplings._pairing import checked, in_turn, none_without
from efm_jax.types import LabeledCoupling


def independent() -> LabeledCoupling:
    """Pair samples at random: `i ~ U{0..n-1}`, `j ~ U{0..m-1}`, independent of each other.

    With labels: i uniform among the rows that have a partner, j uniform among the rows of i's label.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x, labels = jnp.zeros((4, 2)), jnp.array([0, 1, 1, 2])
        >>> i, j = independent()(jax.random.key(0), x, x, 50, labels=(labels, labels))
        >>> i.shape, bool((labels[i] == labels[j]).all())
        ((50,), True)
    """
    return _independent


def _independent(key, x_pos, x_neg, num_pairs, *, labels=None):
    key_i, key_j = jax.random.split(key)
    if labels is None:
        return (
            jax.random.randint(key_i, (num_pairs,), 0, x_pos.shape[0]),
            jax.random.randint(key_j, (num_pairs,), 0, x_neg.shape[0]),
        )
    labels_pos, labels_neg = checked(labels, x_pos, x_neg)
    by_label = jnp.argsort(labels_neg)
    first, past = (
        jnp.searchsorted(labels_neg[by_label], labels_pos, side=side) for side in ("left", "right")
    )
    paired = past > first
    rows = jnp.argsort(~paired)
    i = rows[jax.random.randint(key_i, (num_pairs,), 0, paired.sum())]
    j = by_label[jax.random.randint(key_j, (num_pairs,), first[i], past[i])]
    return none_without(paired.any(), i, j)


def given() -> LabeledCoupling:
    """Pair row k of P with row k of Q: the pairs that the data come in.

    For data that is paired, and for a plan solved once for a whole training set (`whole_plan`). Pairs are drawn without
    replacement, all of them again for more pairs than rows. Labels change nothing.

    Returns:
        The coupling; it takes as many rows of P as of Q.

    Raises:
        ValueError: When called with different numbers of rows.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> i, j = given()(jax.random.key(0), jnp.zeros((4, 2)), jnp.zeros((4, 2)), 3)
        >>> i.shape, bool((i == j).all())
        ((3,), True)
    """
    return _given


def _given(key, x_pos, x_neg, num_pairs, *, labels=None):
    del labels
    size = x_pos.shape[0]
    if size != x_neg.shape[0]:
        raise ValueError(
            f"given pairs are row by row, so both plates must have as many rows, got {size} and {x_neg.shape[0]}."
        )
    i = in_turn(key, jnp.ones(size, bool), num_pairs)
    return i, i
