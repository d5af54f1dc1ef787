"""What to expect of hardware that is not at hand, from flops and bytes.

    python -m benchmarks.roofline

Nothing is compiled or run: products of this package's own field and of the paper's network are counted as they are asked
for. A training step has three times those of a forward pass. `bytes` are the least that can be moved: each product reads
its operands and writes its result once, all else (norms, activations, dropout) being part of that; and a step passes
`STATE_PASSES` times over arrays of the parameters' size. Transfers from the host and between devices are left out.

A step takes no less than its flops at the device's peak rate and no less than its bytes at the bandwidth of its memory:
`bound_ms` is the greater of the two, as if the one were hidden behind the other entirely. Nothing reaches it: `typical_ms`
is the bound over an efficiency of 40 %, an assumption that large convolutional networks meet on these devices or miss by
less than twice. The field is float32 throughout: on the v5e six bfloat16 passes, on the H100 outside the tensor cores. Peak
rates are the vendors', dense.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks import _counts, _rows
from efm_jax.models import build
from efm_jax.models.configs import EFM, Run

PAPER = Run(recipe=EFM(gap=500.0, charges=1024, num_points=64, noise=1.0, coupling="independent"))
"""The paper's CIFAR-10 run; its network is the default one."""
SHAPE, DIM = (32, 32, 3), 32 * 32 * 3
EVALUATIONS = 48
"""Of the network for a sample: `transport`'s default, 24 midpoint steps."""
EFFICIENCY = 0.4
STATE_PASSES = 13
"""Parameters read forward and backward, gradient written, read for its norm and by Adam; four arrays (parameters, two
moments, average) read and written."""


class Device(NamedTuple):
    """A device and one way of multiplying.

    Attributes:
        name: What it is.
        precision: How the network's products are taken.
        dtype: The network's dtype, in which its values move.
        network: Flops a second of the network's products.
        field: Flops a second of the field's products.
        bandwidth: Bytes a second to and from memory.
    """

    name: str
    precision: str
    dtype: str
    network: float
    field: float
    bandwidth: float


DEVICES = (
    Device("TPU v5e", "bfloat16", "bfloat16", 197e12, 197e12 / 6, 819e9),
    Device("TPU v5e", "float32, one bfloat16 pass (jax's default)", "float32", 197e12, 197e12 / 6, 819e9),
    Device("TPU v5e", "float32, six passes", "float32", 197e12 / 6, 197e12 / 6, 819e9),
    Device("H100 SXM", "bfloat16", "bfloat16", 989e12, 67e12, 3.35e12),
    Device("H100 SXM", "float32 as TF32 (jax's default)", "float32", 494e12, 67e12, 3.35e12),
    Device("H100 SXM", "float32", "float32", 67e12, 67e12, 3.35e12),
)


class Work(NamedTuple):
    """What one step, or one batch of samples, needs at least.

    Attributes:
        what: "train" or "sample".
        pictures: Points of the step, or samples.
        network_flops: In the network's products.
        field_flops: In the field's.
        bytes: Read and written.
    """

    what: str
    pictures: int
    network_flops: int
    field_flops: int
    bytes: int


def main() -> None:
    """Write the rows for training and sampling on each device."""
    work = {dtype: (training(dtype), sampling(dtype)) for dtype in ("bfloat16", "float32")}
    rows = [expect(device, work[device.dtype][part]) for part in (0, 1) for device in DEVICES]
    for row in rows:
        print(row)
    counted = {dtype: [part._asdict() for part in parts] for dtype, parts in work.items()}
    print(_rows.write("roofline", rows, counted=counted, efficiency=EFFICIENCY, paper_steps=PAPER.steps))


def training(dtype: str, run: Run = PAPER, shape: tuple[int, ...] = SHAPE) -> Work:
    """A training step on one device."""
    points, charges = run.recipe.num_points, run.recipe.charges
    forward, parameters = _network(dtype, run, shape)
    exact = _field(points, charges, math.prod(shape))
    moved = 3 * _bytes(forward) + STATE_PASSES * 4 * parameters + _bytes(exact)
    return Work("train", points, 3 * _flops(forward), _flops(exact), moved)


def sampling(
    dtype: str, run: Run = PAPER, shape: tuple[int, ...] = SHAPE, evaluations: int = EVALUATIONS
) -> Work:
    """As many samples as a training step has points."""
    forward, _ = _network(dtype, run, shape)
    return Work(
        "sample", run.recipe.num_points, evaluations * _flops(forward), 0, evaluations * _bytes(forward)
    )


def expect(device: Device, work: Work) -> dict[str, Any]:
    """Milliseconds, and pictures a second from the assumed efficiency to the bound.

    Examples:
        >>> slow = Device("slow", "float32", "float32", network=3e12, field=1e12, bandwidth=1e9)
        >>> row = expect(slow, Work("train", 64, network_flops=3 * 10**12, field_flops=10**12, bytes=10**9))
        >>> row["products_ms"], row["bytes_ms"], row["bound_ms"], row["pictures_per_s"]
        (2000.0, 1000.0, 2000.0, [12.8, 32.0])
    """
    field = work.field_flops / device.field
    products = work.network_flops / device.network + field
    moved = work.bytes / device.bandwidth
    bound = max(products, moved)
    both = [bound / EFFICIENCY, bound]
    row = {
        "what": work.what,
        "device": device.name,
        "precision": device.precision,
        "pictures": work.pictures,
        "field_ms": 1e3 * field,
        "products_ms": 1e3 * products,
        "bytes_ms": 1e3 * moved,
        "bound_ms": 1e3 * bound,
        "typical_ms": 1e3 * bound / EFFICIENCY,
        "pictures_per_s": [work.pictures / seconds for seconds in both],
    }
    if work.what == "train":
        row["paper_hours"] = [PAPER.steps * seconds / 3600 for seconds in both]
    return {name: _digits(value) for name, value in row.items()}


def _network(dtype: str, run: Run, shape: tuple[int, ...]) -> tuple[list[_counts.Product], int]:
    """Products of a forward pass, and the number of parameters."""
    network = build.network(replace(run, network=replace(run.network, dtype=dtype)), shape)
    params = jax.eval_shape(network.init, jax.random.key(0))
    where = jax.ShapeDtypeStruct((run.recipe.num_points, math.prod(shape) + 1), jnp.float32)
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    return _counts.products(network.apply, params, where), parameters


def _field(points: int, charges: int, dim: int) -> list[_counts.Product]:
    """Two products a plate: distances, weights times charges."""

    def both_plates(where, x_pos, x_neg):
        for plate in (x_pos, x_neg):
            weights = where @ plate.T
            where = weights @ plate
        return where

    def shape(*sizes):
        return jax.ShapeDtypeStruct(sizes, jnp.float32)

    return _counts.products(both_plates, shape(points, dim + 1), *[shape(charges, dim + 1)] * 2)


def _flops(products: list[_counts.Product]) -> int:
    return sum(product.flops for product in products)


def _bytes(products: list[_counts.Product]) -> int:
    return sum(product.bytes for product in products)


def _digits(value: Any) -> Any:
    if isinstance(value, list):
        return [_digits(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
