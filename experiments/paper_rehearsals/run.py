"""One rehearsal: the commands a user types, each in a process of its own, and what they left looked at.

Two runs of one preset, in folders of their own: `whole` takes all its steps at once; `run` is stopped half way, taken up by
the same command in a new process, and reported on. Both must end with the same numbers, and the log of the second must have
every step once.
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from efm_jax import checkpoint, models, runs, training
from efm_jax._core import files, trees
from efm_jax._core.versions import versions
from efm_jax.models import configs
from efm_jax.models.presets import PRESETS
from efm_jax.runs import _folder
from experiments._lib import places
from experiments._lib.publish import without_paths
from experiments.paper_rehearsals.config import END, PICTURES, SMALL, STOP, Data, draw, options

RESULTS = places.results(__file__)


class Used(NamedTuple):
    """What a command took: wall seconds, seconds of all its threads, most memory held."""

    seconds: float
    cpu_seconds: float
    peak_MiB: int


Command = Callable[[list[str], Path], Used]
"""Runs `efm` with these arguments, its output into that file."""


def rehearse(
    name: str, data: Data, folder: Path, *, command: Command, more: dict[str, str] | None = None
) -> dict[str, Any]:
    """Rehearse a preset in an empty folder.

    Args:
        name: The preset.
        data: Where its data are.
        folder: Folder for the run folders and the model, a gigabyte each; what it held is deleted.
        command: How `efm` is run.
        more: Further options of `efm train`.

    Returns:
        The result, in plain numbers.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    given = {**options(name, data), **SMALL, "save-every": str(STOP), **(more or {})}
    line = ["train", name, *(text for key, value in given.items() for text in (f"--{key}", value))]
    whole, run, model, drawn = (folder / part for part in ("whole", "run", "model", "drawn"))

    def efm(what: str, *arguments: str) -> Used:
        return command([*arguments], folder / f"{what}.txt")

    quiet = ("--no-progress", "--no-report")
    used = {
        "train, 20 steps": efm("whole", *line, "--run", str(whole), "--steps", str(END), *quiet),
        "train, 10 steps": efm("stop", *line, "--run", str(run), "--steps", str(STOP), *quiet),
    }
    stopped = runs.read_log(run)
    used["train again, to 20, and report"] = efm(
        "resume", *line, "--run", str(run), "--steps", str(END), "--no-progress"
    )
    used["export"] = efm("export", "export", str(run), "--output", str(model))
    used["draw from the model"] = efm("draw", *draw(name, data), str(model), "--output", str(drawn))
    config = configs.load(run / "config.json")
    log = runs.read_log(whole)
    step = statistics.median(
        after["seconds"] - before["seconds"] for before, after in itertools.pairwise(log)
    )
    return {
        "preset": name,
        "config": without_paths(configs.to_dict(config)),
        "changed": changed(PRESETS[name][1], config),
        "seconds_per_step": round(step, 3),
        "compile_seconds": round(log[0]["seconds"] - step, 1),
        "used": {what: each._asdict() for what, each in used.items()},
        **_states(whole, run, model, stopped),
        "pictures": _pictures(drawn),
        "report": without_paths(_report(run)),
        "versions": versions(),
    }


def changed(preset: configs.Run, run: configs.Run) -> dict[str, list[Any]]:
    """What a run has unlike its preset, by place: `[the preset's, the run's]`; not where data lie and noise is drawn.

    Examples:
        >>> from dataclasses import replace
        >>> changed(configs.Run(), configs.Run(steps=20, recipe=replace(configs.Run().recipe, num_points=4)))
        {'recipe.num_points': [64, 4], 'steps': [1000000, 20]}
    """
    old, new = (_folder.flat(configs.to_dict(each)) for each in (preset, run))
    places = sorted({*old, *new} - {"data.source", "data.target", "data.noise"})
    return {place: [old.get(place), new.get(place)] for place in places if old.get(place) != new.get(place)}


def in_a_process(folder: Path) -> Command:
    """`efm` in a process of its own; compilations are kept in `folder`, since all commands of a rehearsal share them."""

    def command(arguments: list[str], output: Path) -> Used:
        began = time.perf_counter()
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(folder.absolute())}
        with output.open("w") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "efm_jax.cli", *arguments],
                stdout=told,
                stderr=subprocess.STDOUT,
                env=environment,
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            tail = "\n".join(output.read_text().splitlines()[-15:])
            raise SystemExit(f"efm {' '.join(arguments)} ended with {process.returncode}:\n{tail}")
        most = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        wall, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
        return Used(round(wall, 1), round(cpu, 1), round(most))

    return command


def _states(whole: Path, run: Path, model: Path, stopped: list[dict]) -> dict[str, Any]:
    """The two runs' checkpoints and logs side by side, and the model beside the run."""
    trained = models.load(run)
    _, meta = checkpoint.restore(run / "checkpoints", trained.state)
    other = trees.pack(models.load(whole).state)
    state = trees.pack(trained.state)
    apart = {
        key: float(np.max(np.abs(value.astype(np.float64) - other[key].astype(np.float64)), initial=0.0))
        for key, value in state.items()
        if not np.array_equal(value, other[key])
    }
    log, log_whole = runs.read_log(run), runs.read_log(whole)
    losses = [entry["loss"] for entry in log]
    average = trees.pack(training.ema_params(trained.state))
    exported = trees.pack(training.ema_params(models.load(model).state))
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(trained.state.params)),
        "checkpoint_MB": _megabytes(files.find(run / "checkpoints")[int(trained.state.step)]),
        "losses": [loss if np.isfinite(loss) else None for loss in losses],
        "losses_finite": bool(np.isfinite(losses).all()),
        "skipped_steps": int(trained.state.skipped),
        "resume": {
            "stopped_at": stopped[-1]["step"],
            "data_position": meta["data_position"],
            "every_step_once": [entry["step"] for entry in log] == list(range(1, END + 1)),
            "log_kept": log[: len(stopped)] == stopped,
            "losses_equal": losses == [entry["loss"] for entry in log_whole],
            "states_equal": not apart,
            "largest_difference": max(apart.values(), default=0.0),
        },
        "model": {
            "MB": _megabytes(model),
            "is_the_average": average.keys() == exported.keys()
            and all(np.array_equal(value, exported[key]) for key, value in average.items()),
        },
    }


def _pictures(folder: Path) -> dict[str, Any]:
    paths = sorted(path for path in folder.glob("*.png") if path.stem.isdecimal())
    sizes = {Image.open(path, formats=("PNG",)).size for path in paths}
    return {"drawn": len(paths), "size": [*sizes.pop()] if len(sizes) == 1 else None, "asked": PICTURES}


def _report(run: Path) -> dict[str, Any]:
    return json.loads((run / "report.json").read_text())["maps"]


def _megabytes(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6, 1)
