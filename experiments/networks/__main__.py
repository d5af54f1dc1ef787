"""Make the table: `python -m experiments.networks --mnist FOLDER [--task ...] [--network ...] [--seeds 0 1 2]`.

A step of each network is timed first, alone: run that part on a machine without other work. The trainings then take as many
steps as fit into the minutes, whatever else the machine does. Rows that are there are kept.
"""

import functools
import math
import tempfile
from pathlib import Path
from typing import Any

import tyro

from efm_jax import models, runs
from efm_jax._core import trees
from efm_jax.models import reports, suggestions
from experiments._lib import places
from experiments._lib.record import Record
from experiments.networks.config import NETWORKS, Config, run, tasks

RESULTS = places.results(__file__)
TIMED = 1000
"""Steps of the run that is timed; few of them are taken."""
REPEATS = 3
"""Timings, of which the shortest counts: other work of the machine only lengthens them."""


def main(
    mnist: Path,
    task: tuple[str, ...] = (),
    network: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (0,),
    train: bool = True,
) -> None:
    """Time and train every network on every task.

    Args:
        mnist: Folder of MNIST's four IDX files.
        task: Which tasks; all when none is named.
        network: Which networks; all when none is named.
        seeds: Seeds of data, parameters and draws.
        train: Train after timing.
    """
    known, config = tasks(mnist), Config(seeds=seeds)
    for what, names, there in (("task", task, known), ("network", network, NETWORKS)):
        for name in names:
            if name not in there:
                raise SystemExit(f"no {what} {name!r}; there are {', '.join(map(repr, there))}")
    record = Record(RESULTS / "networks.json", config, "rates", "rows")
    places = [
        {"task": one, "network": name} for one in task or tuple(known) for name in network or tuple(NETWORKS)
    ]
    record.fill("rates", places, functools.partial(_rate, config, mnist))
    if train:
        wanted = [
            {**place, "minutes": minutes, "seed": seed}
            for seed in seeds
            for minutes in config.minutes
            for place in places
        ]
        record.fill("rows", wanted, functools.partial(_trained, config, mnist, record["rates"]))


def _rate(config: Config, mnist: Path, place: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a step with its batches."""
    made = run(config, tasks(mnist)[place["task"]], NETWORKS[place["network"]], TIMED, seed=0)
    return {"step": min(suggestions.measured(made).step for _ in range(REPEATS))}


def _trained(config: Config, mnist: Path, rates: list[dict], place: dict[str, Any]) -> dict[str, Any]:
    """The scores of one training of so many minutes."""
    step = next(r["step"] for r in rates if (r["task"], r["network"]) == (place["task"], place["network"]))
    steps = round(60 * place["minutes"] / step)
    made = run(config, tasks(mnist)[place["task"]], NETWORKS[place["network"]], steps, place["seed"])
    with tempfile.TemporaryDirectory() as folder:
        runs.train(Path(folder) / "run", made, progress=False)
        trained = models.load(Path(folder) / "run")
        report = reports.evaluate(trained, features="none", round_trip=0)
    weights = sum(math.prod(leaf.shape) for leaf in trees.leaves(trained.state.params))
    there = next(iter(report["maps"].values()))
    read = there["read_as_target"] if "read_as_target" in there else there["read_with_confidence"]
    return {"steps": steps, "weights": weights, "read": read, "kid": there["kid"]}


if __name__ == "__main__":
    tyro.cli(main)
