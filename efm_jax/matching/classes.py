"""Class labels in training: minibatches of one class each, and the labels of their points."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from efm_jax._core import checks
from efm_jax.charges.plates import Charges
from efm_jax.types import Batch, Network, Part

__all__ = ["by_class", "check_takes_labels", "checked", "labels_of_points"]


def by_class(draw: Callable[..., Batch], groups: int) -> Callable[..., Batch]:
    """Return the draw of `groups` minibatches, each from its own equal share of consecutive rows of both plates.

    Charges, pairs and points of one group do not depend on another's. Row `k * groups + g` of the batch is point k of
    group g, so that an equal share of the rows holds points of all groups. One group is the draw itself.

    Raises:
        ValueError: The draw holds charges of its own, which are of all classes; or, when it is called, the rows of a plate
            are no multiple of the groups.
    """
    held = jax.tree.leaves(draw, is_leaf=lambda leaf: isinstance(leaf, Charges))
    if any(isinstance(leaf, Charges) for leaf in held):
        raise ValueError(
            "this recipe holds charges of its own, which are of all classes, so labels cannot choose among them; make it "
            "with charges=None, so that the charges are those of each minibatch."
        )
    if groups == 1:
        return draw
    # a pytree, whose arrays compiled code takes as arguments
    return jax.tree_util.Partial(functools.partial(_drawn, groups), draw)


def labels_of_points(cond: jax.Array, num_points: int) -> jax.Array:
    """Return the label of each point that `by_class` drew."""
    return jnp.tile(cond, num_points // len(cond))


def checked(cond: Any) -> jax.Array:
    """Return the labels of a step's groups, [g], or raise ValueError."""
    cond = jnp.asarray(checks.native(cond))
    if cond.ndim != 1 or len(cond) == 0 or not jnp.issubdtype(cond.dtype, jnp.integer):
        raise ValueError(
            "cond must hold one whole number for each group of rows, -1 for no class, shape [groups], got shape "
            f"{cond.shape} and dtype {cond.dtype}; samples of one class come together, see datasets.batch(labels=...)."
        )
    return cond.astype(jnp.int32)


def check_takes_labels(network: Network) -> None:
    """Raise ValueError if the network takes no class labels."""
    if network.num_classes is None:
        raise ValueError(
            "the network takes no class labels: its num_classes is None.\n"
            "Make it with num_classes=... (networks.mlp, networks.unet, types.Network), or leave the labels out."
        )


def _drawn(groups: int, draw: Callable[..., Batch], key, x_pos, x_neg, *, part: Part = None) -> Batch:
    for name, x in (("x_pos", x_pos), ("x_neg", x_neg)):
        if len(x) % groups:
            raise ValueError(
                f"the {len(x)} rows of {name} must be a multiple of the {groups} labels of the step, whose groups share "
                "them equally; take more rows or fewer labels."
            )

    def one(args) -> Batch:
        if part is None or "part" in inspect.signature(draw).parameters:
            return draw(*args) if part is None else draw(*args, part=part)
        return Batch(*(part(rows) for rows in draw(*args)))

    shares = (x.reshape(groups, -1, x.shape[1]) for x in (x_pos, x_neg))
    # one after another: what a draw decides by its numbers (which points to sum again) stays a decision
    batches = lax.map(one, (jax.random.split(key, groups), *shares))
    return jax.tree.map(lambda rows: jnp.swapaxes(rows, 0, 1).reshape(-1, *rows.shape[2:]), batches)
