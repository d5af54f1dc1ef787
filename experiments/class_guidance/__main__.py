"""Train, sweep and draw: `python -m experiments.class_guidance --mnist FOLDER`."""

from pathlib import Path

import numpy as np
import tyro

from efm_jax import models, runs
from efm_jax.evaluation import digits, drawing, entries
from efm_jax.models import build, scoring
from experiments._lib import places
from experiments._lib.record import Record
from experiments.class_guidance.config import Config, run

RESULTS = places.results(__file__)
CLASSES = 10


def main(mnist: str = "mnist", folder: Path = Path("runs")) -> None:
    """Train a network with classes, then draw digits of every class at several scales of guidance.

    Args:
        mnist: Folder of MNIST's four IDX files.
        folder: Where the run folder is kept; a run that was cut short goes on.
    """
    config = Config()
    place = folder / "class_guidance"
    runs.train(place, run(config, mnist))
    trained = models.load(place)
    record = Record(RESULTS / "class_guidance.json", config, "rows")
    record.report["run"] = {"training_seconds": round(trained.seconds, 1)}
    record.fill(
        "rows", ({"guidance": g} for g in config.guidance), lambda at: row(trained, config, at["guidance"])
    )
    shown = [drawn(trained, 2, g)[0].reshape(2, CLASSES, -1) for g in config.guidance]
    rows = np.concatenate([one.swapaxes(0, 1).reshape(2 * CLASSES, -1) for one in shown])
    drawing.save_png(RESULTS / "guidance.png", drawing.grid(rows, trained.shape, 2 * CLASSES))


def row(trained: models.Trained, config: Config, guidance: float) -> dict:
    """Scores of the digits drawn at one scale."""
    y, labels, lines = drawn(trained, config.each, guidance)
    train, test = (build.sources(trained.config.data, split=split)[1] for split in ("train", "test"))
    report = digits.generation_report(
        y, scoring.held_out(train, 2000, side=3), scoring.held_out(test, 2000, side=5)
    )
    read = entries.Read(y)
    asked = read.labels == labels
    return {
        "n": len(y),
        "read_as_label": entries.share(asked, "samples whose most probable digit is the class asked for"),
        "clearly": entries.share(asked & read.clearly(0.9), "the same, with confidence >= 0.9"),
        "by_class": [round(float(asked[labels == label].mean()), 3) for label in range(CLASSES)],
        "kid": report["kid"],
        "classes": report["classes"],
        "evaluations": float(np.mean(np.asarray(lines.num_evaluations))),
        "arrived": float(np.mean(np.asarray(lines.arrived))),
    }


def drawn(trained: models.Trained, each: int, guidance: float):
    """So many digits of each class, in turn, from the same noise at every scale; with their labels and lines."""
    pair = build.sources(trained.config.data, split="test")
    x = scoring.held_out(pair[0], each * CLASSES, side=0)
    labels = np.tile(np.arange(CLASSES, dtype=np.int32), each)
    lines = models.transport(trained, x, cond=labels, guidance=guidance)
    return np.asarray(lines.end)[:, :-1], labels, lines


if __name__ == "__main__":
    tyro.cli(main)
