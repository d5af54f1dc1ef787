"""White noise that the devices draw by themselves: nothing is made on the host, and nothing goes over."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from efm_jax.datasets.arrays import Noise
from efm_jax.training.devices import AXIS


def drawn(
    noise: Noise, seed: int, side: int, step: int, n: int, *, mesh: Mesh | None
) -> Float[Array, "n dim"]:
    """Draw batch number `step` of one side, split over the mesh. Row r depends on (seed, side, step, r) alone."""
    key = jax.random.key(seed)
    for number in (side, step):
        key = jax.random.fold_in(key, number)
    if mesh is None:
        return _rows(noise, n, key, 0)
    where = NamedSharding(mesh, P(AXIS))
    parts = []
    for device, index in where.addressable_devices_indices_map((n, noise.dim)).items():
        held = range(n)[index[0]] if index else range(n)
        parts.append(_rows(noise, len(held), jax.device_put(key, device), held.start))
    return jax.make_array_from_single_device_arrays((n, noise.dim), where, parts)


@partial(jax.jit, static_argnums=(0, 1))
def _rows(noise: Noise, count: int, key, first):
    keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(count))
    return noise.std * jax.vmap(lambda own: jax.random.normal(own, (noise.dim,), jnp.float32))(keys)
