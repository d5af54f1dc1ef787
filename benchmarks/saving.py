"""What a checkpoint costs the steps after it: `python -m benchmarks.saving [--steps 60] [CASE ...]`.

Cases are `quick` and `paper` of `benchmarks.train_step`. Each is trained twice by `runs.fit`, saved at every twelfth step:
once as always, while another thread writes, and once with an `on_save`, for which training waits until the disk has all of
it. `step_ms` is the median over steps that begin two or more after a save; `after_ms` the median over saves of the time from
the end of the saved step to the end of the next one; `mean_ms` the mean of all steps from the first save on.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from typing import Any

import jax

from benchmarks import _rows
from benchmarks.train_step import cases
from efm_jax import runs
from efm_jax.models import build
from efm_jax.models.configs import Run

EVERY = 12


def main() -> None:
    """Measure each case and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = cases(None)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"{', '.join(known)}; quick if none is given"
    )
    parser.add_argument("--steps", type=int, default=5 * EVERY, help="steps of each training")
    options = parser.parse_args()
    rows = []
    for name in options.cases or ["quick"]:
        for waits in (False, True):
            rows.append({"case": name, **measure(known[name], options.steps, waits=waits)})
            print(rows[-1], flush=True)
    print(_rows.write("saving", rows))


def measure(run: Run, steps: int, *, waits: bool) -> dict[str, Any]:
    """A row of one training."""
    built, times = build.run(run), []
    plan = runs.Plan(
        steps=steps,
        batch_pos=run.recipe.charges,
        batch_neg=run.recipe.charges,
        seed=0,
        save_every=EVERY,
        keep=1,
    )
    with tempfile.TemporaryDirectory() as folder:
        state = runs.fit(
            folder,
            built,
            plan,
            progress=False,
            on_step=lambda step, state: times.append(time.perf_counter()),
            on_save=(lambda state: None) if waits else None,
        )
    return {
        "waits": waits,
        "state_MB": round(sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6, 1),
        **after_saves(times, EVERY),
    }


def after_saves(times: list[float], every: int) -> dict[str, float | int]:
    """Milliseconds of steps apart from saves and after them, from the times at which step 1, 2, ... was begun.

    A step begins when the one before has ended, but the one after a saved step begins when the save lets it. At a saved
    step, and two steps after it, the time is that at which a step has ended.

    Examples:
        >>> after_saves([0.0, 1.0, 2.0, 3.0, 4.1, 6.0, 7.0, 8.0, 9.0], every=4)
        {'step_ms': 1000.0, 'after_ms': 2000.0, 'mean_ms': 1200.0, 'saves': 1}
    """
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    saves = range(every, len(times) - 1, every)
    near = {step + more for step in saves for more in (0, 1)}
    usual = statistics.median(
        gap for step, gap in enumerate(gaps, 1) if step >= every // 2 and step not in near
    )
    after = [times[step + 1] - times[step - 1] - usual for step in saves]
    whole = (times[-1] - times[every - 1]) / (len(times) - every)
    return {
        "step_ms": round(1e3 * usual, 2),
        "after_ms": round(1e3 * statistics.median(after), 2),
        "mean_ms": round(1e3 * whole, 2),
        "saves": len(saves),
    }


if __name__ == "__main__":
    main()
