"""Hours that the presets of the paper take on hardware that is not at hand, from flops and bytes.

    python -m benchmarks.paper_hours

Counted, bounded and assumed as in `benchmarks.roofline`, for each preset's own network, pictures, points and charges: a
training step is at least its products at the device's peak rate, or its bytes at the bandwidth of its memory; the typical
time is that bound over an efficiency of 40 %. Hours are those of all steps of the preset on one device, and of
`PICTURES` pictures by its own sampler, from the one to the other. Left out is the host: `batch_MB` is what a step is given,
and `noise_ms`, measured here, what one thread takes to draw the white noise of a step.
"""

import math
import time
from typing import Any

from benchmarks import _rows, roofline
from benchmarks.roofline import Device
from efm_jax.datasets import batch, open_source
from efm_jax.models.configs import Run
from efm_jax.models.presets import PRESETS

SHAPES = {
    "paper-cmnist": (32, 32, 3),
    "paper-translation": (32, 32, 3),
    "paper-cifar10": (32, 32, 3),
    "paper-celeba64": (64, 64, 3),
}
PICTURES = 50_000
"""As many as FID is taken on."""

DEVICES = (
    *(device for device in roofline.DEVICES if "six passes" not in device.precision),
    Device("TPU v4", "bfloat16", "bfloat16", 275e12, 275e12 / 6, 1.2e12),
    Device("TPU v4", "float32, one bfloat16 pass (jax's default)", "float32", 275e12, 275e12 / 6, 1.2e12),
    Device("TPU v5p", "bfloat16", "bfloat16", 459e12, 459e12 / 6, 2.765e12),
    Device("TPU v5p", "float32, one bfloat16 pass (jax's default)", "float32", 459e12, 459e12 / 6, 2.765e12),
    Device("A100 SXM, 80 GB", "bfloat16", "bfloat16", 312e12, 19.5e12, 2.039e12),
    Device("A100 SXM, 80 GB", "float32 as TF32 (jax's default)", "float32", 156e12, 19.5e12, 2.039e12),
    Device("A100 SXM, 80 GB", "float32", "float32", 19.5e12, 19.5e12, 2.039e12),
)
"""Peaks are the vendors', dense; a TPU's float32 field is six bfloat16 passes, a GPU's is outside its tensor cores."""


def main() -> None:
    """Write the rows of every preset on every device."""
    rows, counted = [], {}
    for name, shape in SHAPES.items():
        run = PRESETS[name][1]
        work = {dtype: works(run, shape, dtype) for dtype in ("bfloat16", "float32")}
        counted[name] = {dtype: [part._asdict() for part in parts] for dtype, parts in work.items()}
        rows += [expect(name, run, shape, device, *work[device.dtype]) for device in DEVICES]
    for row in rows:
        print(row)
    print(
        _rows.write(
            "paper_hours",
            rows,
            counted=counted,
            efficiency=roofline.EFFICIENCY,
            pictures=PICTURES,
            noise_ms={name: noise_ms(PRESETS[name][1], shape) for name, shape in SHAPES.items()},
            devices=[device._asdict() for device in DEVICES],
        )
    )


def noise_ms(run: Run, shape: tuple[int, ...]) -> float | None:
    """Least time of one thread for the white noise of a step; None where P is data."""
    if run.data.source != "noise":
        return None
    source, times = open_source("noise:" + "x".join(map(str, shape))), []
    for step in range(5):
        began = time.thread_time()
        batch(source, 0, 0, step, run.recipe.charges)
        times.append(1e3 * (time.thread_time() - began))
    return _digits(min(times))


def works(run: Run, shape: tuple[int, ...], dtype: str) -> tuple[roofline.Work, roofline.Work]:
    """A training step, and a batch of samples by the run's own solver (one evaluation a step: Euler)."""
    return (
        roofline.training(dtype, run, shape),
        roofline.sampling(dtype, run, shape, evaluations=run.sampling.steps),
    )


def expect(
    name: str,
    run: Run,
    shape: tuple[int, ...],
    device: Device,
    step: roofline.Work,
    sample: roofline.Work,
) -> dict[str, Any]:
    """Hours of one preset on one device, from the bound to the assumed efficiency.

    Examples:
        >>> slow = Device("slow", "float32", "float32", network=4e12, field=1e12, bandwidth=1e15)
        >>> step = roofline.Work("train", 64, network_flops=12 * 10**12, field_flops=10**12, bytes=10**9)
        >>> sample = roofline.Work("sample", 64, network_flops=8 * 10**12, field_flops=0, bytes=10**9)
        >>> row = expect("one", PRESETS["paper-cmnist"][1], (32, 32, 3), slow, step, sample)
        >>> row["bound_ms"], row["field_share"], row["train_hours"][0]  # 3 + 1 seconds a step, 1,000,000 steps
        (4000.0, 0.25, 1111.0)
        >>> row["sample_hours"][0] == round(50_000 / 64 * 2 / 3600, 4)  # 2 seconds for 64 pictures
        True
    """
    train, draw = roofline.expect(device, step), roofline.expect(device, sample)
    bounds = train["bound_ms"] / 1e3, draw["bound_ms"] / 1e3
    ends = (1.0, 1.0 / roofline.EFFICIENCY)
    dim = math.prod(shape)
    return {
        "preset": name,
        "device": device.name,
        "precision": device.precision,
        "points": run.recipe.num_points,
        "charges": run.recipe.charges,
        "dim": dim,
        "evaluations": run.sampling.steps,
        "bound_ms": train["bound_ms"],
        "typical_ms": train["typical_ms"],
        "field_share": _digits(train["field_ms"] / train["products_ms"]),
        "batch_MB": _digits(2 * run.recipe.charges * dim * 4 / 1e6),
        "train_hours": [_digits(run.steps * bounds[0] * end / 3600) for end in ends],
        "sample_hours": [_digits(PICTURES / sample.pictures * bounds[1] * end / 3600) for end in ends],
    }


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
