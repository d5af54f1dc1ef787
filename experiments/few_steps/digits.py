"""Trained run folders of digits: held-out samples by few evaluations, equal and placed steps, read and compared."""

from pathlib import Path

import jax
import numpy as np

from efm_jax import lines, models, sampling
from efm_jax.datasets import batch
from efm_jax.models import build, scoring
from efm_jax.sampling import grids
from experiments._lib.publish import without_paths
from experiments._lib.record import Record
from experiments.few_steps.config import EVERY_STEP, PLACED, DigitsConfig, ways

PILOT_SEED = 50_000
"""Seeds the training samples whose lines are pilots, the same for all runs."""


def score_runs(folders: list[Path], path: Path, config: DigitsConfig) -> None:
    """Add the rows of every run folder to the record at `path`; a row that is there already stays."""
    record = Record(path, config, "runs", "rows")
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise SystemExit(f"run folders must have names of their own, got {', '.join(names)}")
    for folder, name in zip(folders, names, strict=True):
        _score(record, folder, name, config)


def _score(record: Record, folder: Path, name: str, config: DigitsConfig) -> None:
    trained = models.load(folder)
    laws = trained.config.data.source, trained.config.data.target
    train_pair, test_pair = (build.sources(trained.config.data, split=split) for split in ("train", "test"))
    direction = scoring.Direction(False, laws, train_pair, test_pair)
    if not all(direction.digits) or scoring.digit_of(laws[1]) is None:
        raise SystemExit(f"{folder} must be a translation of digits to one digit, got {laws[0]} -> {laws[1]}")
    if trained.config.network.classes is not None:
        raise SystemExit(f"{folder} has classes; give a run without")
    told = {"run": name, "step": int(trained.state.step)}
    old = [row for row in record["runs"] if row["run"] == name]
    if old and old[0]["step"] != told["step"]:
        raise SystemExit(
            f"{record.path} holds rows of {name} at step {old[0]['step']}; move it away or rename the run"
        )
    if not old:
        made = trained.config
        told |= without_paths({"source": laws[0], "target": laws[1]}) | {
            "method": made.recipe.method,
            "gap": made.recipe.gap,
        }
        told |= {"convention": getattr(made.recipe, "convention", "superposed"), "seed": made.seed}
        told |= {"coupling": getattr(made.recipe, "coupling", "independent")}
        record.add(
            "runs", told | {"reflow": made.reflow.run is not None, "seconds": round(trained.seconds, 1)}
        )
    x = scoring.held_out(test_pair[0], config.samples, side=0)
    # of a run in components the lines are those of its space
    sides = None if trained.space is None else build.sides(trained.config.data, trained.space)
    inside = x if sides is None else sides[0].encode(x)
    clock = trained.config.sampling.clock
    field = trained.state, trained.recipe, trained.network
    pilots: list[grids.Pilots] = []  # followed when the first placed row is made

    def make(place: dict) -> dict:
        solver, steps = place["solver"], place["evaluations"] // EVERY_STEP[place["solver"]]
        stepping = lines.fixed(solver, steps, clock=clock)
        if place["way"] == "placed":
            if not pilots:
                some = batch(
                    train_pair[0], PILOT_SEED, 0, 0, min(config.pilots, train_pair[0].size or config.pilots)
                )
                some = some if sides is None else sides[0].encode(some)
                along = tuple(dict.fromkeys((clock, "linear")))
                pilots.append(grids.pilots(*field, some, along=along, resolution=config.resolution))
            stepping = grids.place(pilots[0], steps, solver=solver)
        carried = sampling.transport(
            *field, inside, key=jax.random.key(0), stepping=stepping, batch_size=min(250, len(x))
        )
        y = np.asarray(carried.end)[:, :-1]
        y = y if sides is None else sides[1].decode(y)
        found = scoring.score(x, y, carried, direction)
        return {name: found[name] for name in ("n", "read_as_target", "hue_change_degrees", "kid", "arrived")}

    places = [
        {"run": name, "way": way, "solver": solver, "evaluations": count}
        for way in ("equal", "placed")
        for solver, count in ways(PLACED, config.evaluations)
    ]
    record.fill("rows", places, make)
