"""What huge pages save a training step on a Linux CPU: `python -m benchmarks.pages [--steps 20]`.

XLA asks for its temporaries anew at every call, and the C library maps memory for large ones. Linux then fills it in page by
page of 4 KiB, or of 2 MiB where the library asks for that: glibc 2.35 or newer does with
`GLIBC_TUNABLES=glibc.malloc.hugetlb=1`, where /sys/kernel/mm/transparent_hugepage/enabled says `madvise` or `always`. Each
way takes the step of `digits-quick` in a process of its own. `faults` are pages filled in a step, `system_ms` the processor
time the system took for a step; `cpu_ms` and `wall_ms` are medians.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import jax

from benchmarks import _rows
from efm_jax import training
from efm_jax.models import build
from efm_jax.models.presets import PRESETS

HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def main() -> None:
    """Measure each way in a process of its own and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20, help="steps that are timed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(options.steps)))
        return
    rows, told_nothing = [], {name: text for name, text in os.environ.items() if name not in HUGE}
    for name, more in (("usual", {}), ("huge", HUGE)):
        command = [sys.executable, "-m", "benchmarks.pages", "--here", f"--steps={options.steps}"]
        told = subprocess.check_output(command, env={**told_nothing, **more})
        rows.append({"pages": name, **json.loads(told.splitlines()[-1])})
        print(rows[-1], flush=True)
    print(_rows.write("pages", rows))


def measure(steps: int) -> dict[str, Any]:
    """A row of this process."""
    run, shape = PRESETS["digits-quick"][1], (32, 32, 3)
    network, optimizer = build.network(run, shape), build.optimizer(run.optimizer, run.steps)
    step = training.make_train_step(build.recipe(run.recipe), network, optimizer)
    state = training.init_state(jax.random.key(0), network, optimizer)
    plates = [jax.random.normal(jax.random.key(k), (run.recipe.charges, 32 * 32 * 3)) for k in (1, 2)]

    def take() -> float:
        nonlocal state
        state, info = step(state, *plates)
        return float(info.loss)

    for _ in range(3):
        take()
    wall, cpu, before = [], [], resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(steps):
        began, began_cpu = time.perf_counter(), time.process_time()
        take()
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.process_time() - began_cpu))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall_ms": round(statistics.median(wall), 1),
        "cpu_ms": round(statistics.median(cpu), 1),
        "system_ms": round(1e3 * (after.ru_stime - before.ru_stime) / steps, 1),
        "faults": round((after.ru_minflt - before.ru_minflt) / steps),
        "loss": take(),
    }


if __name__ == "__main__":
    main()
