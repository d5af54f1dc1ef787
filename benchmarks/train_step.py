"""Where the time of a training step goes: data, field, network, the rest; compilation and memory.

    python -m benchmarks.train_step [--mnist FOLDER] [--seconds 60] [CASE ...]

Cases are the digits of the wheel (`quick`), those of full MNIST (`full`, with the folder of its IDX files) and the paper's
network (`paper`): 57.6 M parameters and 1,024 charges, but `PAPER_POINTS` points a step, not 64, since two cores take
seconds for a point, and noise for data. Every case runs in a process of its own.

The parts are compiled apart and run in turn, `seconds` of them together, then as long a training loop as `runs.fit` has:
`data` makes one batch of both plates, `supervision` draws points and their targets, `field` is the exact field alone at the
same number of points and charges, `network` is the loss and its gradient on a batch of points, `step` is the whole step.
Of each the least wall time, and the least time of all threads (`cpu_ms`), which other work on the machine stretches less;
shares are those of `cpu_ms`. `wait_ms` is what the loop waits for a batch made ahead by another thread. `peak_MiB` is the
most memory the process has held: after the data was opened, after compilation, at the end.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import _rows
from efm_jax import training
from efm_jax.charges.plates import capacitor
from efm_jax.datasets import batch
from efm_jax.fields import coulomb
from efm_jax.models import build
from efm_jax.models.configs import EFM, Data, Network, Optimizer, Run
from efm_jax.models.presets import PRESETS
from efm_jax.training import feeding

PAPER_POINTS = 4


def cases(mnist: str | None) -> dict[str, Run]:
    """Runs by name; `full` only with the folder of MNIST."""
    paper = Run(
        data=Data("noise:32x32x3", "noise:32x32x3"),
        recipe=EFM(gap=500.0, charges=1024, num_points=PAPER_POINTS, noise=1.0, coupling="independent"),
        network=Network(),
        optimizer=Optimizer(),
    )
    by_efm = {"recipe": PRESETS["images"][1].recipe}  # plans of each minibatch
    quick = replace(PRESETS["digits-quick"][1], data=Data("digits:3", "digits:2"), **by_efm)
    found = {"quick": quick, "paper": paper}
    if mnist:
        full = PRESETS["digits-full"][1]
        found["full"] = replace(full, data=Data(f"mnist:{mnist}:3", f"mnist:{mnist}:2"), **by_efm)
    return found


def main() -> None:
    """Measure each case in a process of its own and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="quick, full, paper; all of them when none is given"
    )
    parser.add_argument("--mnist", metavar="FOLDER", help="folder of MNIST's IDX files, for `full`")
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="time for the parts, and for the loop, of a case"
    )
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = cases(options.mnist)
    names = options.cases or list(known)
    for name in names:
        if name not in known:
            parser.error(f"{name} is no case, or needs --mnist; there are {', '.join(known)}")
    if options.here:
        jax.config.update("jax_enable_compilation_cache", False)  # compilation is timed
        print(json.dumps(measure(names[0], known[names[0]], options.seconds)))
        return
    rows = []
    for name in names:
        command = [
            sys.executable,
            "-m",
            "benchmarks.train_step",
            name,
            "--here",
            f"--seconds={options.seconds}",
        ]
        command += [f"--mnist={options.mnist}"] if options.mnist else []
        rows.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
        print(rows[-1], flush=True)
    print(_rows.write("train_step", rows))


def measure(name: str, run: Run, seconds: float) -> dict[str, Any]:
    """One case: its sizes, its parts, its loop."""
    charges, gap = run.recipe.charges, run.recipe.gap
    sources = build.sources(run.data)
    recipe, network = build.recipe(run.recipe), build.network(run, sources[0].shape)
    optimizer = build.optimizer(run.optimizer, run.steps)
    state = training.init_state(jax.random.key(0), network, optimizer)
    x_pos, x_neg = (jnp.asarray(batch(source, 0, side, 0, charges)) for side, source in enumerate(sources))
    peak = [_peak()]

    def loss(params, points, key):
        field = network.apply(params, points.points, key=key)
        square = jnp.sum((field - points.target) ** 2, axis=-1)
        return jnp.mean(points.weight * square) / points.points.shape[-1]

    def data():
        return [batch(source, 0, side, 1, charges) for side, source in enumerate(sources)]

    key = jax.random.key(1)
    supervise, supervision = _rows.compiled(recipe.draw, key, x_pos, x_neg)
    points = supervise(key, x_pos, x_neg)
    law = capacitor(x_pos, x_neg, gap)
    exact, field = _rows.compiled(coulomb, points.points, law)
    learn, learning = _rows.compiled(jax.value_and_grad(loss), state.params, points, key)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=run.optimizer.ema_decay)
    began = time.perf_counter()
    ready = step.lower(state, x_pos, x_neg).compile()
    take = lambda state, x_pos, x_neg: ready(step.draw, state, x_pos, x_neg, None)  # noqa: E731
    compile_s = time.perf_counter() - began
    peak.append(_peak())

    def whole():
        nonlocal state
        state, info = take(state, x_pos, x_neg)
        return info

    row = {
        "case": name,
        "points": len(points.points),
        "charges": charges,
        "dim": x_pos.shape[1],
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params)),
        "dtype": run.network.dtype,
        "compile_s": round(compile_s, 1),
        "arguments_MiB": round(ready.memory_analysis().argument_size_in_bytes / 2**20, 1),
        "temporary_MiB": round(ready.memory_analysis().temp_size_in_bytes / 2**20, 1),
        "temporary_MiB_of": {
            "supervision": supervision["temporary_MiB"],
            "field": field["temporary_MiB"],
            "network": learning["temporary_MiB"],
        },
    }
    parts = {
        "data": data,
        "supervision": lambda: supervise(key, x_pos, x_neg),
        "field": lambda: exact(points.points, law),
        "network": lambda: learn(state.params, points, key),
        "step": whole,
    }
    row["parts"] = times = _in_turn(parts, seconds)
    whole_ms = times["step"]["cpu_ms"]
    row["share"] = {part: round(times[part]["cpu_ms"] / whole_ms, 4) for part in parts if part != "step"}
    peak.append(_peak())
    row |= _loop(take, state, run, sources, seconds)
    row["peak_MiB"] = dict(zip(("data", "compilation", "end"), [*peak[:2], _peak()], strict=True))
    return row


def _loop(step: Callable, state: training.TrainState, run: Run, sources, seconds: float) -> dict[str, Any]:
    """Train for so long as `runs.fit` does, each step's loss read while the next is at work."""
    waited, before, count = 0.0, None, 0
    charges = run.recipe.charges
    feed = feeding.batches(*sources, 0, (charges, charges), range(run.steps))
    next(feed)
    began, began_cpu = time.perf_counter(), time.process_time()
    while count < 3 or time.perf_counter() - began < seconds:
        asked = time.perf_counter()
        x_pos, x_neg = next(feed)
        waited += time.perf_counter() - asked
        state, info = step(state, jnp.asarray(x_pos), jnp.asarray(x_neg))
        if before is not None:
            float(before)
        before = info.loss
        count += 1
    jax.block_until_ready(state.params)
    wall, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    feed.close()
    return {
        "steps": count,
        "steps_per_s": _digits(count / wall),
        "cpu_s_per_step": _digits(cpu / count),
        "wait_ms": _digits(1e3 * waited / count),
    }


def _in_turn(parts: dict[str, Callable[[], Any]], seconds: float) -> dict[str, dict[str, float]]:
    """Least wall and processor time of each part in milliseconds, all run in turn."""
    for part in parts.values():
        jax.block_until_ready(part())
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    began = time.perf_counter()
    while len(times["step"]) < 2 or time.perf_counter() - began < seconds:
        for name, part in parts.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            jax.block_until_ready(part())
            times[name].append((time.perf_counter() - start, time.process_time() - start_cpu))
    return {
        name: {
            "wall_ms": _digits(1e3 * min(wall for wall, _ in found)),
            "cpu_ms": _digits(1e3 * min(cpu for _, cpu in found)),
            "runs": len(found),
        }
        for name, found in times.items()
    }


def _peak() -> int:
    """The most memory this process has held, MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10))


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
