"""What to expect of hardware that is not at hand, from flops and bytes.

    python -m benchmarks.roofline

A step takes no less than its flops at the device's peak rate, and no less than its bytes at the bandwidth of its memory:
`bound_ms` is the greater of the two, as if the one were hidden behind the other entirely. Nothing reaches it: `typical_ms`
is the bound over an efficiency of 40 %, an assumption that large convolutional networks meet on these devices or miss by
less than twice. Transfers from the host and between devices are left out.

Flops are those of this package's own network (products of a forward pass, three times that to train) and field (two
products a plate), counted by formula; bytes are what the program compiled for a v5e accesses (`benchmarks/tpu.py`), which
stand in for those of the H100 too. The field is float32 throughout: on the v5e six bfloat16 passes, on the H100 outside
the tensor cores. Peak rates are the vendors', dense.
"""

import json
from typing import Any, NamedTuple

from benchmarks import _rows

EFFICIENCY = 0.4
PAPER_STEPS = 1_000_000


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


def main() -> None:
    """Write the rows for training and sampling on each device."""
    rows = json.loads((_rows.RESULTS / "tpu_v5e.json").read_text())["rows"]
    compiled = {(row["what"], row["dtype"]): row for row in rows}
    rows = [
        expect(device, compiled[what, device.dtype]) for what in ("train", "sample") for device in DEVICES
    ]
    for row in rows:
        print(row)
    print(_rows.write("roofline", rows, efficiency=EFFICIENCY, paper_steps=PAPER_STEPS))


def expect(device: Device, compiled: dict[str, Any]) -> dict[str, Any]:
    """Seconds and pictures a second, from a row of `tpu_v5e.json`.

    Example:
        >>> step = {"what": "train", "points": 64, "bytes_accessed": 1e9}
        >>> step["ideal_flops"] = {"field": 1e12, "network": 3e12}
        >>> row = expect(Device("slow", "float32", "float32", 3e12, 1e12, 1e9), step)
        >>> row["products_ms"], row["bytes_ms"], row["bound_ms"], row["pictures_per_s"]
        (2000.0, 1000.0, 2000.0, [12.8, 32.0])
    """
    train = compiled["what"] == "train"
    pictures = compiled["points" if train else "lines"]
    flops = compiled["ideal_flops"]
    field = flops["field"] / device.field
    products = flops["network"] / device.network + field
    moved = compiled["bytes_accessed"] / device.bandwidth
    bound = max(products, moved)
    both = [bound / EFFICIENCY, bound]
    row = {
        "what": compiled["what"],
        "device": device.name,
        "precision": device.precision,
        "pictures": pictures,
        "field_ms": 1e3 * field,
        "products_ms": 1e3 * products,
        "bytes_ms": 1e3 * moved,
        "bound_ms": 1e3 * bound,
        "typical_ms": 1e3 * bound / EFFICIENCY,
        "pictures_per_s": [pictures / seconds for seconds in both],
    }
    if train:
        row["paper_hours"] = [PAPER_STEPS * seconds / 3600 for seconds in both]
    return {name: _digits(value) for name, value in row.items()}


def _digits(value: Any) -> Any:
    if isinstance(value, list):
        return [_digits(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
