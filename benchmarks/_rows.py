"""What benchmarks share: times taken in turn, memory as the compiler counts it, rows with machine and versions."""

import json
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"


def compiled(function: Callable, *arguments: Any) -> tuple[Callable, dict[str, float]]:
    """The function compiled for these arguments, the seconds that took, and the MiB it needs beside arguments and result."""
    began = time.perf_counter()
    ready = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - began
    memory = ready.memory_analysis()
    return ready, {
        "compile_s": round(seconds, 2),
        "temporary_MiB": round(memory.temp_size_in_bytes / 2**20, 2),
    }


def in_turn(runs: dict[str, Callable[[], Any]], *, seconds: float = 20.0, most: int = 30) -> dict[str, dict]:
    """Run each once to warm up, then all in turn, so that other work on the machine hits them alike.

    Returns:
        By name the least and the median time in milliseconds, and the number of runs.
    """
    for run in runs.values():
        jax.block_until_ready(run())
    times: dict[str, list[float]] = {name: [] for name in runs}
    began = time.perf_counter()
    while len(times[next(iter(runs))]) < 3 or (
        time.perf_counter() - began < seconds and len(times[next(iter(runs))]) < most
    ):
        for name, run in runs.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            times[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {"least_ms": _digits(min(t)), "median_ms": _digits(statistics.median(t)), "runs": len(t)}
        for name, t in times.items()
    }


def write(name: str, rows: list[dict[str, Any]], **more: Any) -> Path:
    """Write `results/NAME.json`, whole or not at all: rows beside machine and versions."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({"machine": machine(), **more, "rows": rows}, indent=1) + "\n")
    draft.replace(path)
    return path


def peak_bytes() -> int | None:
    """The most memory of the device that this process has held; None where the device does not say."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def machine() -> dict[str, Any]:
    """Device, cores and versions."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "devices": jax.device_count(),
        "cores": _cores(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax", "diffrax", "numpy")},
    }


def _cores() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
