"""Batches that the devices make by themselves: white noise, and 8-bit pictures that they hold; nothing of it goes over."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax.datasets import Source
from efm_jax.datasets.arrays import Levels, Noise, scaled
from efm_jax.datasets.source import Choice, chosen
from efm_jax.training.devices import AXIS

__all__ = ["Make", "drawn", "held_bytes", "makers"]

_GIB = 2**30


@runtime_checkable
class Make(Protocol):
    """Makes a batch on the devices."""

    def __call__(self, seed: int, side: int, step: int, labels: Any, /) -> Float[Array, "n dim"]:
        """Make batch number `step` of one side, by class where there are labels."""
        ...


def makers(
    pair: Sequence[Source], sizes: Sequence[int], mesh: Mesh | None, *, noise: bool, held: int
) -> tuple[Make | None, Make | None]:
    """For each side what makes its batches on the devices; None where the host does.

    Args:
        pair: The training sets of P and Q.
        sizes: Rows of a batch of each.
        mesh: Devices that share a batch; None for one.
        noise: Whether white noise is drawn there.
        held: Bytes of pictures that each device may hold. Their batches are those of the host bit for bit.
    """
    found: list[Make | None] = []
    for source, n in zip(pair, sizes, strict=True):
        draw, make = source.draw, None
        if noise and isinstance(draw, Noise):
            make = partial(drawn, draw, n, mesh)
        elif isinstance(draw, Choice) and isinstance(draw.read, Levels):
            there = getattr(
                draw.read.images, "nbytes", None
            )  # None of pictures that are decoded when they are drawn
            if there is not None and there <= held:
                held -= there
                make = _read(source, draw.read, n, mesh)
        found.append(make)
    return found[0], found[1]


def held_bytes(gib: float | None) -> int:
    """Bytes of pictures that each device may hold: by default 1 GiB, and none on a CPU, which has them already.

    Raises:
        ValueError: The number is negative or not finite.

    Examples:
        >>> held_bytes(0.5)
        536870912
    """
    if gib is None:
        return 0 if jax.default_backend() == "cpu" else _GIB
    if not checks.finite("parallel.device_data", gib) >= 0:
        raise ValueError(f"parallel.device_data is a number of GiB >= 0, got {gib}.")
    return int(gib * _GIB)


def drawn(
    noise: Noise, n: int, mesh: Mesh | None, seed: int, side: int, step: int, labels: Any = None
) -> Float[Array, "n dim"]:
    """Draw batch number `step` of one side, split over the mesh. Row r depends on (seed, side, step, r) alone."""
    key = jax.random.key(seed)
    for number in (side, step):
        key = jax.random.fold_in(key, number)
    parts = [
        _drawn(noise, len(rows), jax.device_put(key, device), rows.start) for device, rows in _shares(n, mesh)
    ]
    return _whole(parts, n, mesh)


def _read(source: Source, levels: Levels, n: int, mesh: Mesh | None) -> Make:
    """Put the pictures on each device of this host; a batch is then read there."""
    table = scaled(np.arange(256, dtype=np.uint8))  # float32 as the host rounds it
    there = {device: jax.device_put((table, levels.images), device) for device, _ in _shares(n, mesh)}

    def make(seed: int, side: int, step: int, labels: Any) -> Float[Array, "n dim"]:
        rows = chosen(source, seed, side, step, n, labels=labels)
        parts = [
            _looked_up(*there[device], *(part[share.start : share.stop] for part in rows))
            for device, share in _shares(n, mesh)
        ]
        return _whole(parts, n, mesh)

    return make


def _shares(n: int, mesh: Mesh | None) -> Iterator[tuple[Any, range]]:
    """Each device of this host, and its rows of n."""
    if mesh is None:
        yield jax.devices()[0], range(n)
        return
    for device, index in NamedSharding(mesh, P(AXIS)).addressable_devices_indices_map((n,)).items():
        yield device, range(n)[index[0]] if index else range(n)


def _whole(parts: list[jax.Array], n: int, mesh: Mesh | None) -> jax.Array:
    if mesh is None:
        return parts[0]
    where = NamedSharding(mesh, P(AXIS))
    return jax.make_array_from_single_device_arrays((n, parts[0].shape[1]), where, parts)


@partial(jax.jit, static_argnums=(0, 1))
def _drawn(noise: Noise, count: int, key, first):
    keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(count))
    return noise.std * jax.vmap(lambda own: jax.random.normal(own, (noise.dim,), jnp.float32))(keys)


@jax.jit
def _looked_up(table, images, index, mirrored=None):
    rows = images[index]
    if mirrored is not None:
        rows = jnp.where(mirrored[:, None, None, None], rows[:, :, ::-1], rows)
    return table[rows].reshape(len(index), -1)
