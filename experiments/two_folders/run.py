"""One row a seed: trained as `efm train A B` would, then judged on places that both maps show."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from efm_jax import evaluation, metrics, models, runs
from efm_jax.datasets import as_pictures, read_folder
from efm_jax.evaluation import drawing, features
from efm_jax.models import suggestions
from efm_jax.models.configs import Run
from experiments._lib.record import Record
from experiments.two_folders.config import Config
from experiments.two_folders.maps import NAMES

DRAWN = 10
AS_IT_IS = "inputs as they are"
MAPPED = "mapped"


def table(config: Config, root: Path, path: Path) -> None:
    """Fill the table at `path`; the folders of pictures lie below `root`, and runs are kept there."""
    record = Record(path, config, "rows")
    places = [{"way": AS_IT_IS, "seed": 0}, *({"way": MAPPED, "seed": seed} for seed in config.seeds)]
    record.fill("rows", places, lambda place: row(config, root, **place))


def row(config: Config, root: Path, way: str, seed: int) -> dict[str, Any]:
    """Train, carry the held-out places both ways, and score: nearness to the true partner, and the law."""
    trained = None if way == AS_IT_IS else _trained(config, root, seed)
    held_out = [read_folder(root / "held_out" / name, size=config.size).images for name in NAMES]
    sides, others = ([part[half] for part in held_out] for half in (slice(None, None, 2), slice(1, None, 2)))
    found: dict[str, Any] = {}
    if trained is not None:
        found = {"recipe": asdict(trained.config.recipe)}
    for key, (source, target), (_, other), reverse in (
        ("there", sides, others, False),
        ("back", sides[::-1], others[::-1], True),
    ):
        made = source if trained is None else carried(trained, source, reverse=reverse)
        scores = evaluation.paired_report(made, target, cache=root / "features")
        law, floor = (_kid(pictures, other, root) for pictures in (made, target))
        kid = {"value": law.mean, "standard_error": law.standard_error, "floor": floor.mean}
        right = (sea(made) == sea(target)).mean(axis=(1, 2))
        chance = (sea(target[1:]) == sea(target[:-1])).mean()
        error = float(right.std() / np.sqrt(len(right)))
        coast = {"value": float(right.mean()), "standard_error": error, "floor": float(chance)}
        found[key] = scores | {"kid": kid, "coast": coast}
    return found


def sea(pictures: np.ndarray) -> np.ndarray:
    """Where pictures show water: more blue than green, on both maps."""
    return pictures[..., 2] > pictures[..., 1]


def carried(trained: models.Trained, pictures: np.ndarray, *, reverse: bool) -> np.ndarray:
    """Pictures at the ends of the lines of others."""
    x = pictures.reshape(len(pictures), -1).astype(np.float32) / 127.5 - 1.0
    lines = models.transport(trained, x, reverse=reverse)
    return as_pictures(np.asarray(lines.end)[:, :-1], pictures.shape[1:])


def _kid(made: np.ndarray, real: np.ndarray, root: Path) -> metrics.KernelDistance:
    seen = features.efficientnet_lite0()
    return metrics.kid(*(features.extract(seen, part, cache=root / "features") for part in (made, real)))


def _trained(config: Config, root: Path, seed: int) -> models.Trained:
    folder = root / f"run_{seed}"
    runs.train(folder, suggested(config, root, seed))
    return models.load(folder)


def suggested(config: Config, root: Path, seed: int) -> Run:
    """The run that the command suggests for the two folders below `root`."""
    run = suggestions.suggest(*(f"folder:{root / name}" for name in NAMES)).run
    return suggestions.of_steps(replace(run, seed=seed), config.steps)


def draw(config: Config, root: Path, folder: Path) -> None:
    """Write `forward.png` and `backward.png`: held-out places, their ends in the run of seed 0, the other map."""
    trained = _trained(config, root, 0)
    sides = [read_folder(root / "held_out" / name, size=config.size).images[:DRAWN] for name in NAMES]
    for name, (source, target), reverse in (("forward", sides, False), ("backward", sides[::-1], True)):
        rows = (source, carried(trained, source, reverse=reverse), target)
        flat = [part.reshape(DRAWN, -1) / 127.5 - 1.0 for part in rows]
        sheets = [drawing.grid(part, source.shape[1:], DRAWN, zoom=2) for part in flat]
        drawing.save_png(folder / f"{name}.png", np.concatenate(sheets))
