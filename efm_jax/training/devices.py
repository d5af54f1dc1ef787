"""The training step over many devices: the same losses and parameters as on one, to rounding.

A batch means the same on any number of devices: its samples, points and targets follow from the seed and the step alone.
Each device holds a part of the samples, gathers those of all devices, which are the charges, and supervises its part of
the points. Losses and gradients are means over all points, summed in another order than on one device: results differ by
the rounding of these sums and of products of other shapes.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from efm_jax.training import _data_parallel, _placement
from efm_jax.training.state import Place, Step, StepInfo, TrainState, init_state
from efm_jax.training.step import BoundStep, step_function
from efm_jax.types import FieldMatching, Network

__all__ = ["AXIS", "data_mesh", "data_parallel_step", "pmap_step"]

AXIS = "data"
"""Name of the mesh axis that a batch is split over."""


def data_mesh(devices: int | Sequence | None = None) -> Mesh:
    """Make a mesh with one axis, `data`, to split batches over.

    Devices come in the order of hosts, so that the rows of a batch that one host holds are next to each other.

    Args:
        devices: The number of devices of all hosts, or a list of devices; None for all.

    Raises:
        ValueError: If there are fewer devices, or none are given.

    Examples:
        >>> dict(data_mesh(1).shape)
        {'data': 1}
    """
    if devices is None or isinstance(devices, int | np.integer):
        there = jax.devices()
        count = len(there) if devices is None else int(devices)
        if not 1 <= count <= len(there):
            raise ValueError(
                f"devices must be between 1 and {len(there)}, the number of {there[0].platform} devices, got {count}; "
                "on a CPU, set JAX_NUM_CPU_DEVICES=8 for eight devices."
            )
        devices = there[:count]
    if not len(devices):
        raise ValueError("devices must hold one device at least, got none.")
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), (AXIS,), axis_types=(AxisType.Auto,))


def data_parallel_step(
    recipe: FieldMatching,
    network: Network,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    axis: str = AXIS,
    ema_decay: float = 0.9999,
    shard_state: bool = False,
) -> tuple[Step, Place]:
    """Make the training step under `jax.jit` on a mesh, its batch split over one axis.

    Every device evaluates the field and the network at its own part of the points. Randomness, dropout included, is that
    of `training.make_train_step`.

    Args:
        recipe: The recipe; arrays that it holds are put on every device once.
        network: The network.
        optimizer: The optax transformation.
        mesh: The devices, e.g. `data_mesh()`; of all hosts, where `jax.distributed` runs.
        axis: The mesh axis to split batches over.
        ema_decay: Decay of the moving average.
        shard_state: Split parameters, average and optimizer state over the same axis, each array along its longest
            dimension that divides by the number of devices. Arrays with less than 1024 numbers for each device stay
            whole. Each step then gathers the parameters: less memory, more traffic.

    Returns:
        `(step, place)`. `place(state)` puts a state, the same on every host, on the mesh.
        `step(state, x_pos [n, D], x_neg [m, D], cond=None) -> (state, StepInfo)` is that of `training.make_train_step`.
        Samples are NumPy arrays on one host and global arrays (`hosts.global_rows`) on several. `cond`, the labels of the
        groups of all rows, is the same NumPy array on each host.

    Raises:
        ValueError: As `training.make_train_step`, if the mesh has no such axis or it is not of `AxisType.Auto`, or, by the
            step, if samples or points do not divide by the number of devices.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax import matching, networks, training
        >>> network, optimizer = networks.mlp(2, gap=1.0, width=8), training.adam(1e-3)
        >>> step, place = data_parallel_step(matching.cfm(), network, optimizer, data_mesh())
        >>> state = place(training.init_state(jax.random.key(0), network, optimizer))
        >>> state, info = step(state, jnp.zeros((16, 2)), jnp.ones((16, 2)))
        >>> int(state.step), bool(info.finite)
        (1, True)
    """
    _placement.check_axis(mesh, axis)
    parallel = _data_parallel.on_mesh(mesh, axis)
    step = step_function(recipe, network, optimizer, parallel, ema_decay=ema_decay)
    like = jax.eval_shape(lambda: init_state(jax.random.key(0), network, optimizer))
    home = _placement.split(like, mesh, axis) if shard_state else _placement.replicated(like, mesh)
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P(axis))
    jitted = jax.jit(
        step.function,
        in_shardings=(whole, home, rows, rows, whole),
        out_shardings=(home, whole),
        donate_argnums=1,
    )
    draw = _placement.put(step.draw, _placement.replicated(step.draw, mesh))
    return _Shared(jitted, draw, mesh.shape[axis]), lambda state: _placement.put(state, home)


def pmap_step(
    recipe: FieldMatching,
    network: Network,
    optimizer: optax.GradientTransformation,
    *,
    devices: Sequence | None = None,
    ema_decay: float = 0.9999,
) -> tuple[Step, Place]:
    """Make the training step under `jax.pmap`: one copy of the state on each device, a new first axis for the devices.

    Prefer `data_parallel_step`, which needs no axis of devices in arrays and can split the state. Here each device draws
    its own dropout: the masks differ from those on one device, with the same distribution.

    Args:
        recipe: The recipe.
        network: The network.
        optimizer: The optax transformation.
        devices: The devices of one host; None for all of them.
        ema_decay: Decay of the moving average.

    Returns:
        `(step, place)`. `place(state)` makes the copies; `jax.tree.map(lambda copies: copies[0], state)` undoes it.
        `step(state, x_pos [n, D], x_neg [m, D], cond=None)` takes whole batches and splits them over the devices.

    Raises:
        ValueError: As `training.make_train_step`, and by the step, if samples or points do not divide by the number
            of devices.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax import matching, networks, training
        >>> network, optimizer = networks.mlp(2, gap=1.0, width=8), training.adam(1e-3)
        >>> step, place = pmap_step(matching.cfm(), network, optimizer)
        >>> state = place(training.init_state(jax.random.key(0), network, optimizer))
        >>> state, info = step(state, jnp.zeros((16, 2)), jnp.ones((16, 2)))
        >>> state.step.tolist() == [1] * jax.local_device_count()
        True
    """
    devices = list(jax.local_devices() if devices is None else devices)
    count = len(devices)
    made = step_function(recipe, network, optimizer, _data_parallel.mapped(AXIS), ema_decay=ema_decay)
    copies = NamedSharding(Mesh(np.array(devices), (AXIS,)), P(AXIS))

    def place(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: _placement.replicate(leaf, copies, count), tree)

    mapped = jax.pmap(made.function, AXIS, in_axes=(0, 0, 0, 0, None), devices=devices, donate_argnums=1)

    def step(draw, state, x_pos, x_neg, cond):
        shares = (np.reshape(x, (count, -1, *np.shape(x)[1:])) for x in (x_pos, x_neg))
        state, info = mapped(draw, state, *shares, cond)
        return state, jax.tree.map(lambda copies: copies[0], info)

    return _Shared(step, place(made.draw), count), place


class _Shared(BoundStep):
    """A step that `count` devices share."""

    def __init__(self, function: Any, draw: Any, count: int):
        super().__init__(function, draw)
        self._count = count

    def __call__(self, state: TrainState, x_pos, x_neg, cond=None) -> tuple[TrainState, StepInfo]:
        """One step."""
        for name, x in (("x_pos", x_pos), ("x_neg", x_neg)):
            check_share(f"the {np.shape(x)[0]} rows of {name}", np.shape(x)[0], self._count)
        return super().__call__(state, x_pos, x_neg, cond)


def check_division(
    recipe: FieldMatching, mesh: Mesh, num_pos: int, num_neg: int, dim: int, *, groups: int = 1
) -> None:
    """Raise ValueError unless the charges and points of a step can be shared equally among the devices of a mesh.

    In a step with labels the rows come in `groups`, and the points of each group are shared.
    """
    _placement.check_axis(mesh, AXIS)
    count = mesh.shape[AXIS]
    check_share(f"the {num_pos} positive charges of a step", num_pos, count)
    check_share(f"the {num_neg} negative charges of a step", num_neg, count)
    x_pos, x_neg = (
        jax.ShapeDtypeStruct((n, dim), np.float32) for n in (num_pos // groups, num_neg // groups)
    )
    batch = jax.eval_shape(recipe.draw, jax.random.key(0), x_pos, x_neg)
    of = "a step" if groups == 1 else "each class of a step"
    check_share(f"the {len(batch.weight)} points of {of}", len(batch.weight), count)


def check_share(what: str, size: int, count: int) -> None:
    """Raise ValueError unless `count` devices can share `size` rows equally."""
    if size % count:
        raise ValueError(
            f"{what} must be a multiple of the {count} devices that share them; take {size - size % count or count} or "
            f"{size + count - size % count} of them, or another number of devices."
        )
