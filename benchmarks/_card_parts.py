"""The parts of `benchmarks.accelerator` that measure; `_card_training` trains."""

import math
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import _rows, field, roofline
from benchmarks.accelerator import Task
from efm_jax import _doctor, lines, matching, networks, runs, sampling, training
from efm_jax._core import platforms
from efm_jax.charges.plates import capacitor
from efm_jax.datasets import Source
from efm_jax.fields import coulomb
from efm_jax.models import build
from efm_jax.models.build import Built
from efm_jax.models.configs import Network, Run
from efm_jax.training.packing import packing
from tests.support import reference

PRECISIONS = (("bfloat16", "default"), ("float32", "default"), ("float32", "highest"))
"""Of the network's dtype and products, the fastest first. On a GPU, float32 by default is TF32."""
SMALL = Network(width=8, multipliers=(1,), blocks=1, attention=(), patch=2)


def card(task: Task) -> None:
    """Versions, the card, and how fast it multiplies."""
    for device in jax.devices():
        limit = (device.memory_stats() or {}).get("bytes_limit")
        task.add({"device": device.device_kind, "platform": device.platform, "memory_bytes": limit})
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        task.add({"nvidia-smi": subprocess.run(asked, capture_output=True, text=True).stdout.strip()})
    for row in _doctor.rates(small=jax.default_backend() == "cpu"):
        task.add(row)


def correctness(task: Task) -> None:
    """What has a right answer: field, lines, a step, a resumed run."""
    for dim, charges in ((2, 500), (33, 300), (784, 256), (3072, 128))[: 2 if task.tiny else 4]:
        where, law = field.situation(32, charges, dim)
        exact = reference.coulomb(where, law.positions, law.charge)
        errors = reference.error_over_tolerance(jax.jit(coulomb)(where, law), exact)
        task.add(
            {"what": "field", "dim": dim, "charges": charges, "error_over_tolerance": float(errors.max())}
        )
    task.add(_lines(64 if task.tiny else 1024))
    task.add(_step_beside_cpu())
    task.add(_resumed(task.work / "resumed"))


def _lines(count: int) -> dict[str, Any]:
    """Lines of the exact field between two clouds, and how many arrive."""
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(rng.standard_normal((count, 2)) + shift, jnp.float32) for shift in (0.0, 3.0))
    law = capacitor(x, y, 6.0)
    starts = jnp.c_[x + 0.01, jnp.full(count, 1e-2)]
    found = lines.trace(lambda points: coulomb(points, law).direction, starts, 6.0)
    return {"what": "lines", "lines": count, "arrived": float(jnp.mean(found.arrived))}


def _step_beside_cpu() -> dict[str, Any]:
    """Loss and gradient of a step at highest precision beside those of the CPU, relative."""
    run = Run(network=SMALL)
    network, optimizer = build.network(run, (16, 16, 3)), training.adam(1e-3, warmup=0)
    recipe = matching.efm(run.recipe.gap, num_points=32)
    found = []
    for device in (jax.devices()[0], jax.devices("cpu")[0]):
        form = platforms.made_for(device.platform)
        with form, jax.default_device(device), jax.default_matmul_precision("highest"):
            keys = jax.random.split(jax.random.key(1), 3)
            state = training.init_state(keys[0], network, optimizer)
            step = training.make_train_step(recipe, network, optimizer)
            x_pos, x_neg = (jax.random.normal(key, (64, 16 * 16 * 3)) for key in keys[1:])
            for _ in range(2):  # the second step sees every parameter move
                state, info = step(state, x_pos, x_neg)
            found.append((float(info.loss), float(info.grad_norm)))
    apart = [abs(a - b) / abs(b) for a, b in zip(*found, strict=True)]
    return {"what": "step beside the CPU", "loss_apart": apart[0], "gradient_apart": apart[1]}


def _resumed(folder: Path) -> dict[str, Any]:
    """A run in two halves beside one run through: the largest difference of parameters."""
    network, optimizer = networks.mlp(2, gap=6.0, width=32), training.adam(1e-3, warmup=0)
    normal = Source(lambda rng, n: rng.standard_normal((n, 2), np.float32), (2,), None)
    built = Built((normal, normal), matching.efm(6.0, num_points=64), network, optimizer)
    shutil.rmtree(folder, ignore_errors=True)
    ends = {}
    for name, halves in (("through", (6,)), ("resumed", (3, 6))):
        for steps in halves:
            plan = runs.Plan(steps=steps, batch_pos=64, batch_neg=64, seed=0)
            state = runs.fit(folder / name, built, plan, progress=False)
        ends[name] = jax.device_get(jax.tree.leaves(state.params))
    apart = max(np.abs(a - b).max() for a, b in zip(*ends.values(), strict=True))
    return {"what": "resumed run", "parameters_apart": float(apart)}


def fields(task: Task) -> None:
    """The field beside its bare products, time and memory."""
    for case in [(8, 64, 96)] if task.tiny else field.CASES[:5]:
        seconds = min(4.0, task.left() / 10)
        task.add({"what": "field", **field.measure(*case, seconds=seconds, beside_plain=False)})


def steps(task: Task) -> None:
    """Steps a second of the paper's network by precision, and the operations that take longest."""
    for dtype, precision in PRECISIONS[: 2 if task.tiny else 3]:
        run, shape = _sized(task.tiny, dtype)
        began = time.perf_counter()
        step, state, batch = _training(run, shape, precision)
        state, info = jax.block_until_ready(step(state, *batch))
        compile_s = time.perf_counter() - began

        def many(count: int, state=state, step=step, batch=batch):
            nonlocal info
            for _ in range(count):
                state, info = step(state, *batch)
            jax.block_until_ready(state.params)
            return state

        state = many(2)
        count = 2 if task.tiny else 50
        began = time.perf_counter()
        state = many(count, state)
        seconds = (time.perf_counter() - began) / count
        work = roofline.training(dtype, run, shape)
        points = run.recipe.num_points
        row = {"dtype": dtype, "precision": precision, "points": points, "charges": run.recipe.charges}
        row |= {"compile_s": compile_s, "step_ms": 1e3 * seconds, "steps_per_s": 1 / seconds}
        row |= {"points_per_s": points / seconds, "finite": bool(info.finite)}
        row |= {"network_TFLOP_per_s": work.network_flops / seconds / 1e12, "peak_bytes": _rows.peak_bytes()}
        row |= _of_bound(dtype, precision, work, seconds)
        row["longest"] = profiled(partial(many, 3, state), task.work / f"trace_{dtype}_{precision}", 3)
        task.add(row)
        del state, step


def sampler(task: Task) -> None:
    """Pictures a second of the sampler with the paper's network."""
    for dtype, precision in PRECISIONS[: 1 if task.tiny else 2]:
        run, shape = _sized(task.tiny, dtype)
        count, size = (8, 48) if task.tiny else (512, roofline.EVALUATIONS)
        network, recipe = build.network(run, shape), build.recipe(run.recipe)
        state = training.init_state(jax.random.key(0), network, build.optimizer(run.optimizer, run.steps))
        stepping = lines.fixed(steps=size // 2)
        follow = jax.jit(
            lambda state, x, n=network, r=recipe, s=stepping: (
                sampling.transport(state, r, n, x, stepping=s).end
            )
        )
        x = jax.random.normal(jax.random.key(1), (count, math.prod(shape)))
        with jax.default_matmul_precision(precision):
            began = time.perf_counter()
            jax.block_until_ready(follow(state, x))
            compile_s = time.perf_counter() - began
            began = time.perf_counter()
            ends = jax.block_until_ready(follow(state, x))
            seconds = time.perf_counter() - began
        row = {"dtype": dtype, "precision": precision, "pictures": count, "evaluations": size}
        row |= {"compile_s": compile_s, "pictures_per_s": count / seconds, "peak_bytes": _rows.peak_bytes()}
        task.add({**row, "finite": bool(jnp.isfinite(ends).all())})


PARTS: dict[str, Callable[[Task], None]] = {
    "card": card,
    "correctness": correctness,
    "field": fields,
    "steps": steps,
    "sampler": sampler,
}
"""Parts by name."""


def profiled(run: Callable[[], Any], folder: Path, steps: int, count: int = 10) -> list[dict[str, Any]]:
    """The operations that take longest while something runs: milliseconds a step and share of all."""
    shutil.rmtree(folder, ignore_errors=True)
    with jax.profiler.trace(str(folder)):
        jax.block_until_ready(run())
    [path] = folder.rglob("*.xplane.pb")
    total = _durations(jax.profiler.ProfileData.from_file(str(path)))
    shutil.rmtree(folder)
    everything = sum(total.values()) or 1
    return [
        {"name": name, "ms": nanoseconds / 1e6 / steps, "share": nanoseconds / everything}
        for name, nanoseconds in total.most_common(count)
    ]


def _durations(profile: Any) -> Counter[str]:
    """Nanoseconds by operation, on the device; on a CPU, in the threads that run XLA's operations."""
    planes = [plane for plane in profile.planes if plane.name.startswith("/device:")]
    found = [line for plane in planes or profile.planes for line in plane.lines]
    streams = [line for line in found if line.name.startswith("Stream" if planes else "tf_XLA")] or found
    total: Counter[str] = Counter()
    for line in streams:
        for event in line.events:
            total[re.sub(r"[._]\d+$", "", event.name)] += event.duration_ns
    return total


def _sized(tiny: bool, dtype: str) -> tuple[Run, tuple[int, int, int]]:
    """The paper's run, or a small one, and the shape of its pictures."""
    paper = roofline.PAPER
    network = replace(SMALL if tiny else paper.network, dtype=dtype)
    recipe = replace(paper.recipe, charges=64, num_points=8) if tiny else paper.recipe
    return replace(paper, network=network, recipe=recipe), (16, 16, 3) if tiny else roofline.SHAPE


def _training(run: Run, shape: tuple[int, ...], precision: str):
    """A step at a precision, a state and a batch on the device."""
    recipe, network = build.recipe(run.recipe), build.network(run, shape)
    optimizer = build.optimizer(run.optimizer, run.steps)
    network = packing(network, optimizer).network
    state = training.init_state(jax.random.key(0), network, optimizer)
    made = training.make_train_step(recipe, network, optimizer)
    batch = [jax.random.normal(jax.random.key(k), (run.recipe.charges, math.prod(shape))) for k in (1, 2)]

    def step(*arguments):
        with jax.default_matmul_precision(precision):
            return made(*arguments)

    return step, state, batch


def _of_bound(dtype: str, precision: str, work: roofline.Work, seconds: float) -> dict[str, float]:
    """Share of the peak rate, and of the rate at the roofline, on a device whose peaks are known."""
    kind = jax.devices()[0].device_kind
    named = {
        ("bfloat16", "default"): "bfloat16",
        ("float32", "default"): "float32 as TF32 (jax's default)",
        ("float32", "highest"): "float32",
    }[dtype, precision]
    for device in roofline.DEVICES:
        if device.name.split()[0] in kind and device.precision == named:
            bound = roofline.expect(device, work)["bound_ms"] / 1e3
            return {
                "of_peak": work.network_flops / seconds / device.network,
                "of_bound": bound / seconds,
            }
    return {}
