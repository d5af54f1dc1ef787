"""What the host's threads save a training on a CPU: `python -m benchmarks.host_threads [--steps 120]`.

Two presets train for some steps in a process each: as they are, with as many threads for NumPy's products as there are
cores (`blas`), and with plans made in the step, by a callback for which it waits (`plans`). `data_wait_ms` is what the loop
waits for a batch, a step; `loss` is the mean of the last steps.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from benchmarks import _rows
from efm_jax import runs
from efm_jax._core import blas
from efm_jax.models import plans
from efm_jax.models.configs import Run
from efm_jax.models.presets import PRESETS
from efm_jax.runs import read_log


def _runs() -> dict[str, Run]:
    quick = PRESETS["digits-quick"][1]
    paired = replace(quick.recipe, coupling="minibatch_ot", plan_samples=None)
    return {
        "generate-quick": PRESETS["generate-quick"][1],
        "digits-quick, a plan of each step": replace(quick, recipe=paired),
    }


def main() -> None:
    """Measure each preset in both ways and write the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=120, help="steps of each; the first quarter is left out")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    parser.add_argument("--all", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--in-step", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure(_runs()[options.here], options.steps, options.all, options.in_step)))
        return
    rows = []
    for name, run in _runs().items():
        for more in ([], ["--all"], ["--in-step"]):
            if more == ["--in-step"] and plans.ahead(run) is None:
                continue
            command = [sys.executable, "-m", "benchmarks.host_threads", f"--here={name}", *more]
            told = subprocess.check_output([*command, f"--steps={options.steps}"])
            rows.append({"run": name, **json.loads(told.splitlines()[-1])})
            print(rows[-1], flush=True)
    print(_rows.write("host_threads", rows))


def measure(run: Run, steps: int, all_threads: bool, in_step: bool) -> dict[str, Any]:
    """A row of this process."""
    ahead = plans.ahead(run) is not None and not in_step
    if in_step:
        plans.ahead = lambda config: None
    if all_threads:
        blas.one_thread = contextlib.nullcontext
    often = max(steps // 8, 1)
    brief = replace(run.optimizer, warmup=min(run.optimizer.warmup, steps // 10))
    run = replace(run, steps=steps, optimizer=brief, log_every=often, save_every=steps, picture_every=0)
    with tempfile.TemporaryDirectory() as folder:
        runs.train(Path(folder) / "run", run, progress=False)
        lines = [line for line in read_log(Path(folder) / "run") if line["step"] > steps // 4]
    seconds = [1 / line["steps_per_second"] for line in lines]
    libraries = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    return {
        "blas": max(libraries) if all_threads else 1,
        "plans": "ahead" if ahead else "in the step" if in_step else "none",
        "step_ms": round(1e3 * sum(seconds) / len(seconds), 1),
        "data_wait_ms": round(1e3 * sum(line["data_wait"] for line in lines) / len(lines), 1),
        "loss": lines[-1]["loss"],
    }


if __name__ == "__main__":
    main()
