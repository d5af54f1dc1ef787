"""How devices share one training step: each supervises its own part of the same points.

Every device draws the points of the whole batch from the same key, which costs next to nothing, and evaluates the field
at its own rows only. So a batch means the same on any number of devices.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from efm_jax.types import Batch, Key

Draw = Callable[..., Batch]


class DataParallel(NamedTuple):
    """What one device does in a step."""

    # `draw(recipe's draw, key, x_pos, x_neg) -> Batch`, the device's part of the batch
    draw: Callable[[Draw, Key, jax.Array, jax.Array], Batch]
    key: Callable[[Key], Key]  # from the step's key to the network's key on this device
    mean: Callable[[Any], Any]  # the mean over devices of a tree of arrays


def single_device() -> DataParallel:
    """One device does the whole step."""
    return DataParallel(
        lambda draw, key, x_pos, x_neg: draw(key, x_pos, x_neg), lambda key: key, lambda tree: tree
    )


def mapped(axis_name: str) -> DataParallel:
    """A step under `jax.pmap`, or a `jax.shard_map` that checks no replication: each device brings a part of the samples."""

    def draw(draw, key, x_pos, x_neg):
        x_pos, x_neg = (lax.all_gather(x, axis_name, tiled=True) for x in (x_pos, x_neg))
        return _own_rows(draw, key, x_pos, x_neg, axis_name)

    def own_key(key):
        return jax.random.fold_in(key, lax.axis_index(axis_name))

    return DataParallel(draw, own_key, lambda tree: lax.pmean(tree, axis_name))


def on_mesh(mesh: Mesh, axis: str) -> DataParallel:
    """A jitted step on a mesh: `shard_map` splits the supervision, the compiler splits the rest after its points."""
    own_draw, replicated = mapped(axis).draw, P()

    def draw(draw, key, x_pos, x_neg):
        divided = jax.shard_map(
            lambda *args: own_draw(*args),
            mesh=mesh,
            in_specs=(replicated, replicated, P(axis), P(axis)),
            out_specs=P(axis),
            check_vma=False,
        )
        return divided(draw, key, x_pos, x_neg)

    return single_device()._replace(draw=draw)


def _own_rows(draw: Draw, key: Key, x_pos: jax.Array, x_neg: jax.Array, axis_name: str) -> Batch:
    def part(rows):
        count = lax.axis_size(axis_name)
        if len(rows) % count:
            raise ValueError(
                f"the {len(rows)} points of a step must be a multiple of the {count} devices that share them; change "
                "num_points, or take another number of devices."
            )
        size = len(rows) // count
        return lax.dynamic_slice_in_dim(rows, lax.axis_index(axis_name) * size, size)

    if "part" in inspect.signature(draw).parameters:
        return draw(key, x_pos, x_neg, part=part)
    return Batch(*(part(rows) for rows in draw(key, x_pos, x_neg)))
