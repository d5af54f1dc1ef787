"""The last part of `benchmarks.accelerator`: noise to CIFAR-10 in the time that is left, as a user would train it."""

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _rows
from benchmarks.accelerator import Task
from efm_jax import metrics, models, runs
from efm_jax.datasets import as_pictures, batch
from efm_jax.evaluation import drawing, features
from efm_jax.models import build
from efm_jax.models.configs import EFM, Data, Network, Optimizer, Run, Sampling

PIECE = 15 * 2**20
"""Bytes of a piece of a file."""
PICTURES = 10_000
CLOSING = 70.0
"""Seconds for pictures, scores and export after the training."""


def train(task: Task) -> None:
    """Train, draw pictures, score them, export the model in pieces."""
    run = _configured(task)
    if run is None:
        task.add({"skipped": "give --data, the folder of CIFAR-10"})
        return
    folder = task.work / "run"
    state = runs.train(folder, run, progress=False)
    log = [line for line in runs.read_log(folder) if "loss" in line]
    curve = [[line[name] for name in ("step", "seconds", "loss")] for line in log[:: max(1, len(log) // 40)]]
    last = log[-1]
    row = {"what": "training", "steps": int(state.step), "seconds": last["seconds"], "curve": curve}
    row |= {"steps_per_s": int(state.step) / last["seconds"], "points": run.recipe.num_points}
    task.add(row | {"peak_bytes": _rows.peak_bytes(), "skipped_steps": last["skipped"]})
    count = 64 if task.tiny else PICTURES
    test = build.sources(run.data, split="test")
    trained = models.load(folder)
    starts = batch(test[0], 0, 0, 0, count)
    ends = models.transport(trained, starts, batch_size=min(count, 512)).end[:, :-1]
    drawn = as_pictures(np.asarray(ends), trained.shape)
    drawing.save_png(task.out / "grid.png", drawing.grid(np.asarray(ends)[:64], trained.shape))
    np.savez_compressed(task.work / "samples.npz", images=drawn)
    pieces(task.work / "samples.npz", task.out)
    exported = models.export(folder, task.work / "model", overwrite=True)
    with zipfile.ZipFile(task.work / "model.zip", "w") as packed:
        for file in sorted(exported.iterdir()):
            packed.write(file, file.name)
    names = pieces(task.work / "model.zip", task.out)
    task.add({"what": "model", "pieces": names, "joined by": "cat model.zip.* > model.zip"})
    held_out = as_pictures(batch(test[1], 0, 1, 0, count), trained.shape)
    others = as_pictures(batch(build.sources(run.data)[1], 0, 1, 0, count), trained.shape)
    for row in scores(drawn, held_out, others):
        task.add(row)


def pieces(path: Path, out: Path, size: int = PIECE) -> list[str]:
    """Write a file into a folder in pieces `NAME.0`, `NAME.1`, ...; return their names."""
    names = []
    with path.open("rb") as file:
        while part := file.read(size):
            names.append(f"{path.name}.{len(names)}")
            (out / names[-1]).write_bytes(part)
    return names


def scores(drawn: np.ndarray, held_out: np.ndarray, others: np.ndarray) -> Iterator[dict[str, Any]]:
    """KID and Frechet distance between pictures drawn and held out; their floors, between training and held-out pictures.

    On means of squares of pixels, which need nothing but numpy, and on EfficientNet's features where its weights are
    installed.
    """
    extractors = [features.own(_means, "means of 8 x 8 squares")]
    with contextlib.suppress(ImportError):
        extractors.append(features.efficientnet_lite0())
    for extractor in extractors:
        sets = [
            features.extract(extractor, pictures, batch_size=64) for pictures in (drawn, others, held_out)
        ]
        row: dict[str, Any] = {"what": "scores", "features": extractor.name, "pictures": len(drawn)}
        for name, one in zip(("", "_floor"), sets, strict=False):
            kid = metrics.kid(one, sets[2])
            row |= {f"kid{name}": kid.mean, f"kid{name}_error": kid.standard_error}
            row[f"frechet{name}"] = metrics.frechet_distance(one, sets[2])
        yield row


def _means(pictures: np.ndarray) -> np.ndarray:
    n, height, width, channels = pictures.shape
    squares = pictures.reshape(n, 8, height // 8, 8, width // 8, channels).mean((2, 4))
    return squares.reshape(n, -1) / 127.5 - 1.0


def _configured(task: Task) -> Run | None:
    """The run; None without data."""
    if task.tiny:
        target = f"npz:{_made_pictures(task.work / 'pictures.npz')}"
        recipe = EFM(gap=10.0, charges=16, num_points=8, coupling="independent")
        network = Network(width=8, multipliers=(1,), blocks=1, attention=(), patch=2, dropout=0.0)
        seconds, sampling = None, Sampling(steps=2)
    elif task.data is None:
        return None
    else:
        target = f"cifar10:{task.data.resolve()}"
        recipe = EFM(gap=10.0, charges=256, num_points=256, noise=0.05, coupling="independent")
        network = Network(width=64, dropout=0.0, dtype="bfloat16")
        seconds, sampling = max(task.left() - CLOSING, 10.0), Sampling(steps=24)
    run = Run(Data("noise", target, flip=True), recipe, network, Optimizer(4e-4, 500, True, ema_decay=0.9995))
    run = replace(run, sampling=sampling, max_seconds=seconds, steps=100_000, save_every=2_000)
    tiny = replace(run, optimizer=replace(run.optimizer, warmup=2), log_every=2, steps=6)
    return replace(
        tiny if task.tiny else run, picture_every=0.0, parallel=replace(run.parallel, data_threads=4)
    )


def _made_pictures(path: Path) -> Path:
    pictures = np.random.default_rng(0).integers(0, 256, (160, 16, 16, 3), dtype=np.uint8)
    np.savez(path, images=pictures)
    return path
