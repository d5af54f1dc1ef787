"""Training on several hosts: processes under `jax.distributed` take every step, and every decision, together.

Process 0 keeps the run folder; the others need none. When one process learns something alone (a signal, the clock, an
error on the disk), all processes learn it before any of them acts. A process that waits for one that has left waits
forever.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from efm_jax._core import trees
from efm_jax.training import _placement
from efm_jax.training._watch import on_abort, watch
from efm_jax.training.devices import AXIS, data_mesh

__all__ = ["AUTO", "Crew", "crew", "first", "global_rows", "join", "local_rows", "meeting", "wait", "watch"]

T = TypeVar("T")

AUTO = "auto"
"""Coordinator: jax finds the address itself."""
_HEARTBEAT = 40  # seconds after which jax ends the processes that have lost one, where `watch` has not
_JOINING = 60  # seconds that a process waits at its start for the others
_PATIENCE = 30  # seconds that a process waits at its end for others, which may have died


def join(
    coordinator: str | None = None, processes: int | None = None, process_index: int | None = None
) -> None:
    """Make this process one of several that train together; call it before any computation.

    Where they have not all joined within a minute, it ends with a line that says so.

    Args:
        coordinator: `HOST:PORT` of process 0, reachable from all; `auto` on a cluster that jax knows (SLURM, Open MPI,
            Kubernetes, Cloud TPU), which then gives the other two as well. None: this process is alone.
        processes: The number of processes.
        process_index: The index of this process, from 0.

    Raises:
        ValueError: If the three do not go together.

    Examples:
        >>> join()  # alone
        >>> join("localhost:1234", 2)
        Traceback (most recent call last):
        ...
        ValueError: coordinator 'localhost:1234' needs processes and process_index, got 2 and None; or take 'auto'.
    """
    if coordinator is None:
        if processes not in (None, 1) or process_index not in (None, 0):
            raise ValueError(
                f"processes = {processes} and process_index = {process_index} need a coordinator: HOST:PORT of process 0, "
                "or 'auto' on a cluster that jax knows."
            )
        return
    if coordinator != AUTO:
        if processes is None or process_index is None:
            raise ValueError(
                f"coordinator {coordinator!r} needs processes and process_index, got {processes} and {process_index}; or "
                "take 'auto'."
            )
        if not 0 <= process_index < processes:
            raise ValueError(
                f"process_index must be from 0 to {processes - 1} for {processes} processes, got {process_index}."
            )
    if jax.distributed.is_initialized():
        return
    # jax does not raise: it aborts
    settle = on_abort(
        lambda: (
            f"not all {processes or 'processes'} joined at {coordinator} within {_JOINING} s.\nCheck that each was started "
            "with its own process_index, that process 0 is alive, and that its HOST:PORT is reachable from all hosts."
        )
    )
    try:
        jax.distributed.initialize(
            None if coordinator == AUTO else coordinator,
            processes,
            process_index,
            initialization_timeout=_JOINING,
            heartbeat_timeout_seconds=_HEARTBEAT,
            shutdown_timeout_seconds=_PATIENCE,
        )
    finally:
        settle()


def meeting(devices: int | None = None) -> Mesh | None:
    """Make the mesh of a run over the devices of all hosts.

    Args:
        devices: The number of devices; 0 for all; None for one, or for all where there are several hosts.

    Returns:
        The mesh; None for one device on one host.

    Raises:
        ValueError: If there are not as many devices, or a host would be left without its own.

    Examples:
        >>> meeting() is None
        True
    """
    alone = jax.process_count() == 1
    if devices is None:
        devices = 1 if alone else 0
    if alone and devices == 1:
        return None
    mesh = data_mesh(devices or None)
    if not alone and mesh.size != jax.device_count():
        raise ValueError(
            f"devices must be all {jax.device_count()} of the {jax.process_count()} hosts, got {devices}; leave it out, "
            "or start fewer processes."
        )
    return mesh


def first() -> bool:
    """Return whether this process writes the files and prints."""
    return jax.process_index() == 0


def wait(what: str = "all hosts") -> None:
    """Wait until all processes have called this."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def global_rows(local: np.ndarray, mesh: Mesh, n: int, *, axis: str = AXIS) -> jax.Array:
    """Make an array of n rows split over the mesh, from the rows `local_rows` of each process.

    Raises:
        ValueError: If the mesh has no such axis, or it is not of `AxisType.Auto`.
    """
    _placement.check_axis(mesh, axis)
    where = NamedSharding(mesh, P(axis))
    return jax.make_array_from_process_local_data(where, local, (n, *local.shape[1:]))


def local_rows(mesh: Mesh, n: int, *, axis: str = AXIS) -> slice:
    """Return which of n rows, split over the mesh, the devices of this process hold.

    Raises:
        ValueError: If they are not next to each other; `data_mesh` orders devices so that they are.
    """
    held = NamedSharding(mesh, P(axis)).addressable_devices_indices_map((n,))
    rows = sorted({row for index in held.values() if index is not None for row in range(n)[index[0]]})
    if rows != list(range(rows[0], rows[-1] + 1)):
        raise ValueError(
            "the mesh must have the devices of each host next to each other along the axis; build it by data_mesh()."
        )
    return slice(rows[0], rows[-1] + 1)


class Crew(NamedTuple):
    """What a run does together with the other hosts; on one host, nothing.

    Attributes:
        first: Whether this host writes the files.
        rows: `rows(n)`: which rows of a batch this host draws; None for all.
        spread: `spread(rows, n)`: the batch over all devices, from the rows of each host.
        poll: `poll(wish)`: the largest wish of all hosts (0 for none); with several hosts, the result of the poll before.
        agreed: `agreed(wish)`: the same, but of this very call.
        everyones: `everyones(text)`: the texts of all hosts, in order.
        on_first: `on_first(work)`: process 0 does the work and has its result; if it fails, all hosts raise.
        given: `given(state)`: the state of process 0.
        fetched: `fetched(state)`: a state that process 0 can read whole; the others cannot use it.
    """

    first: bool
    rows: Callable[[int], slice | None]
    spread: Callable[[np.ndarray, int], Any]
    poll: Callable[[int], int]
    agreed: Callable[[int], int]
    everyones: Callable[[str], list[str]]
    on_first: Callable[[Callable[[], Any]], Any]
    given: Callable[[Any], Any]
    fetched: Callable[[Any], Any]


def crew(mesh: Mesh | None) -> Crew:
    """Make the crew of a run on this mesh.

    Raises:
        ValueError: If there are several processes and no mesh.
    """
    if jax.process_count() == 1:
        return Crew(
            first=True,
            rows=lambda n: None,
            spread=lambda rows, n: jax.device_put(rows) if mesh is None else global_rows(rows, mesh, n),
            poll=lambda wish: wish,
            agreed=lambda wish: wish,
            everyones=lambda text: [text],
            on_first=lambda work: work(),
            given=lambda state: state,
            fetched=lambda state: state,
        )
    if mesh is None:
        raise ValueError(
            f"{jax.process_count()} processes need a mesh over all their devices; pass mesh=parallel.data_mesh()."
        )
    poll = _Poll(mesh)
    return Crew(
        first=first(),
        rows=lambda n: local_rows(mesh, n),
        spread=lambda rows, n: global_rows(rows, mesh, n),
        poll=poll,
        agreed=poll.now,
        everyones=_everyones,
        on_first=_on_first,
        given=lambda state: jax.tree.map(_of_first, state),
        fetched=_placement.fetch,
    )


class _Poll:
    """The largest wish among hosts: a maximum over devices that is computed while the devices train."""

    def __init__(self, mesh: Mesh):
        self._mesh, self._asked = mesh, None
        self._largest = jax.jit(jnp.max, out_shardings=NamedSharding(mesh, P()))

    def __call__(self, wish: int) -> int:
        answer, self._asked = self._asked, self._ask(wish)
        return 0 if answer is None else int(answer)

    def now(self, wish: int) -> int:
        return int(self._ask(wish))

    def _ask(self, wish: int) -> jax.Array:
        where = NamedSharding(self._mesh, P(self._mesh.axis_names))
        return self._largest(
            jax.make_array_from_callback((self._mesh.size,), where, lambda index: np.full(1, wish, np.int32))
        )


def _everyones(text: str) -> list[str]:
    from jax.experimental import multihost_utils

    data = np.frombuffer(text.encode(), np.uint8)
    sizes = np.ravel(multihost_utils.process_allgather(np.array([len(data)], np.int32)))
    padded = np.pad(data, (0, int(sizes.max()) - len(data) + 1))
    gathered = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [bytes(row[:size]).decode() for row, size in zip(gathered, sizes, strict=True)]


def _on_first(work: Callable[[], T]) -> T | None:
    result, error = None, None
    if first():
        try:
            result = work()
        except Exception as caught:
            error = caught
    told = json.loads(
        _everyones(json.dumps(None if error is None else f"{type(error).__name__}: {error}"))[0]
    )
    if error is not None:
        raise error
    if told is not None:
        raise ValueError(f"process 0 could not go on: {told}")
    return result


def _of_first(leaf: Any) -> Any:
    """Process 0's numbers bit for bit, in this host's memory."""
    from jax.experimental import multihost_utils

    if trees.is_key(leaf):
        return jax.random.wrap_key_data(_of_first(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
    here = np.asarray(leaf)
    if here.size == 0:
        return here
    raw = np.frombuffer(here.tobytes(), np.uint8)  # a sum over hosts is exact for bytes, but not for -0.0
    return np.asarray(multihost_utils.broadcast_one_to_all(raw)).view(here.dtype).reshape(here.shape)
