"""Train on two arrays in one call, as `efm train A B` does on two sets of data."""

import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from efm_jax._core import checks, files
from efm_jax.datasets import splits
from efm_jax.datasets.spaces import Own
from efm_jax.models import configs, given, suggestions
from efm_jax.models.loading import load
from efm_jax.models.model import Trained
from efm_jax.runs._train import train

__all__ = ["fit"]

_kept: list[tempfile.TemporaryDirectory] = []
"""Folders of runs that were given none; they go when the program ends."""


def fit(
    x: Any,
    y: Any,
    *,
    steps: int | None = None,
    minutes: float = 10.0,
    method: str | None = None,
    space: Own | None = None,
    run: str | Path | None = None,
    held_out: float = 0.2,
    seed: int = 0,
    progress: bool = True,
) -> Trained:
    """Train a map from samples x to samples y, with what `efm suggest` chooses for them.

    It trains in a run folder, which `models.evaluate` can score and `models.export` export.

    Args:
        x: Samples of P, [n, D] floating-point, or pictures [n, H, W, C], floating-point in [-1, 1] or uint8; None for white
            noise, to generate.
        y: Samples of Q, likewise.
        steps: Training steps; None for as many as fit the minutes.
        minutes: Time for compiling and training, where no steps are given.
        method: The method, e.g. "efm"; None for the one suggested.
        space: An encoder and a decoder of your own, see `spaces.own`: trains on latents.
        run: Run folder to write; None for a temporary one that is removed when the program ends.
        held_out: Share of the samples kept from training, for scores.
        seed: Seeds data and parameters.
        progress: Show a progress bar.

    Returns:
        The trained model, as `models.load` returns it.

    Raises:
        ValueError: The arrays hold no samples, or not of one shape; an option is out of range; or the folder
            holds a run, or `data`. Nothing is written then.
        KeyboardInterrupt: Training was interrupted; the message says where the model is so far.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> model = fit(rng.normal(size=(100, 2)), rng.normal(size=(100, 2)), steps=2, progress=False)
        >>> model.translate(rng.normal(size=(5, 2))).shape
        (5, 2)
    """
    arrays = (
        {"y": _array("y", y, space)}
        if x is None
        else {"x": _array("x", x, space), "y": _array("y", y, space)}
    )
    shapes = [one.shape[1:] for one in arrays.values()]
    if shapes[0] != shapes[-1]:
        raise ValueError(f"x and y must have samples of one shape, got {shapes[0]} and {shapes[1]}.")
    checks.positive("minutes", minutes)
    if steps is not None:
        checks.count("steps", steps)
    if method is not None:
        configs.of_method(configs.Run(), method)
    checks.count("seed", seed, least=0)
    splits.split_mask(len(arrays["y"]), "train", held_out)
    if run is None:
        _kept.append(tempfile.TemporaryDirectory(prefix="efm_fit_"))
    folder = files.expanded(_kept[-1].name if run is None else run)
    if (folder / "config.json").exists():
        raise ValueError(
            f"{folder} holds a run already.\nGive a new folder, or open this one with models.load."
        )
    data = folder / "data"
    if data.exists():
        raise ValueError(
            f"{data} exists, and the samples would be written there.\nGive a new folder for the run."
        )
    data.mkdir(parents=True)
    try:
        for name, one in arrays.items():
            np.save(data / f"{name}.npy", one)
        specs = {name: f"npy:{data / name}.npy" for name in arrays}
        found = suggestions.suggest(specs.get("x", "noise"), specs["y"], held_out=held_out)
        config = found.run if method is None else configs.of_method(found.run, method)
        config = replace(config, seed=seed)
        if run is None:
            config = replace(config, picture_every=0.0)
        paced = (
            suggestions.paced(config, minutes)[0] if steps is None else suggestions.of_steps(config, steps)
        )
    except BaseException:  # an interrupt too: nothing of a run that has not begun is left
        shutil.rmtree(data)
        raise
    try:
        train(folder, paced, progress=progress)
    except SystemExit as stop:
        if stop.code != 128 + signal.SIGINT:
            raise
        raise KeyboardInterrupt(f"Stopped; models.load({str(folder)!r}) is the model so far.") from stop
    return load(folder, space=space)


def _array(name: str, x: Any, space: Own | None) -> np.ndarray:
    """Samples as a file of data may hold them; in the space their latents."""
    try:
        if space is not None:
            return space.encode(given.rows(x, space.shape)[0]).reshape(-1, *space.inside)
        array = np.asarray(x)
        rows, shape = given.of_array(array)
    except ValueError as error:
        raise ValueError(f"{name} cannot be trained on: {error}") from error
    return array if array.dtype == np.uint8 else rows.reshape(-1, *shape)
