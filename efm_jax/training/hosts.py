"""Several hosts as one: processes under `jax.distributed` that take every step, and every decision, together.

Process 0 keeps the run folder; the others need none. What only one process knows (a signal, the clock, an error on the
disk) is told to all before any of them acts on it, for a process that waits for one that has left waits for ever.
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
from efm_jax.training import _placing
from efm_jax.training.devices import AXIS, data_mesh

T = TypeVar("T")

AUTO = "auto"
"""The coordinator's address where jax finds it out itself."""
_PATIENCE = 30  # seconds that a process waits at its end for others, which may have died


def join(
    coordinator: str | None = None, processes: int | None = None, process_index: int | None = None
) -> None:
    """Make this process one of several that train together; to be called before anything is computed.

    Args:
        coordinator: `HOST:PORT` of process 0, reachable from all; `auto` on a cluster that jax knows (SLURM, Open MPI,
            Kubernetes, Cloud TPU), which then gives the other two as well. None: this process is alone.
        processes: How many there are.
        process_index: Which of them this is, from 0.

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
    jax.distributed.initialize(
        None if coordinator == AUTO else coordinator,
        processes,
        process_index,
        shutdown_timeout_seconds=_PATIENCE,
    )


def meeting(devices: int | None = None) -> Mesh | None:
    """The mesh of a run: of how many devices, over all hosts.

    Args:
        devices: How many; 0 for all there are; None for one, or for all where there are several hosts.

    Returns:
        The mesh; None for one device on one host, which needs none.

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
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def wait(what: str = "all hosts") -> None:
    """Go on when all processes have come here."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(what)


def global_rows(local: np.ndarray, mesh: Mesh, n: int, *, axis: str = AXIS) -> jax.Array:
    """An array of n rows split over the mesh, of which this process has those of `local_rows`."""
    where = NamedSharding(mesh, P(axis))
    return jax.make_array_from_process_local_data(where, local, (n, *local.shape[1:]))


def local_rows(mesh: Mesh, n: int, *, axis: str = AXIS) -> slice:
    """Which of n rows, split over the mesh, this process's devices hold.

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
    """What a run asks of its hosts.

    Attributes:
        first: Whether this one writes the files.
        rows: `rows(n)`: which rows of a batch to draw here; None for all.
        spread: `spread(rows, n)`: a batch over all devices, from this host's rows.
        poll: `poll(wish)`: the largest wish of all hosts (0 for none); with several, that of the poll before.
        agreed: `agreed(wish)`: likewise, but at once.
        everyones: `everyones(text)`: the texts of all hosts, in order.
        on_first: `on_first(work)`: the work done by process 0, its result there; if it fails, all hosts raise.
        given: `given(state)`: the state of process 0.
        fetched: `fetched(state)`: a state that process 0 can read whole, of no use to the others.
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
    """The crew of a run on this mesh.

    Raises:
        ValueError: If there are several processes and no mesh.
    """
    if jax.process_count() == 1:
        return Crew(
            first=True,
            rows=lambda n: None,
            spread=lambda rows, n: rows,
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
        fetched=_placing.fetched,
    )


class _Poll:
    """The largest wish among hosts: a sum of one number a device, on its way while the device works."""

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
