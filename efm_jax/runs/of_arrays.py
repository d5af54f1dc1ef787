"""Train on two arrays in one call, as `efm train A B` does on two sets of data."""

import contextlib
import shlex
import shutil
import signal
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from efm_jax._core import checks, files
from efm_jax.datasets import splits, tables
from efm_jax.datasets.arrays import unmasked
from efm_jax.datasets.spaces import Own
from efm_jax.models import build, configs, frames, given, seeds, suggestions
from efm_jax.models.loading import load
from efm_jax.models.model import Trained
from efm_jax.models.space import FILE as SPACE
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
        x: Samples of P, [n, D] floating-point, or pictures [n, H, W, C], floating-point in [-1, 1] or uint8; or a DataFrame;
            None for white noise, to generate.
        y: Samples of Q, likewise. Of two DataFrames columns of one name belong together, and the model keeps the names.
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
        ValueError: The arrays hold no samples, or not of one shape, or are names of files; an option is out of
            range; or the folder holds a run, or `data`; or the run cannot begin. Nothing is left then.
        ImportError: Of a DataFrame, pyarrow is not installed.
        KeyboardInterrupt: Training was interrupted; the message says where the model is so far.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> model = fit(rng.normal(size=(100, 2)), rng.normal(size=(100, 2)), steps=2, progress=False)
        >>> model.translate(rng.normal(size=(5, 2))).shape
        (5, 2)
    """
    given_sets = {"y": y} if x is None else {"x": x, "y": y}
    _check_kinds(given_sets)
    columns = None if space is not None else frames.names_of(y if x is None else x)
    arrays = {name: _array(name, one, space, columns) for name, one in given_sets.items()}
    shapes = [one.shape[1:] for one in arrays.values()]
    if shapes[0] != shapes[-1]:
        raise ValueError(f"x and y must have samples of one shape, got {shapes[0]} and {shapes[1]}.")
    checks.positive("minutes", minutes)
    if steps is not None:
        checks.count("steps", steps)
    if method is not None:
        configs.of_method(configs.Run(), method)
    checks.count("seed", seed, least=0, most=seeds.MOST)
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
    with _unless_begun(folder), warnings.catch_warnings():
        # these samples have been checked, and are opened again several times
        warnings.filterwarnings("ignore", message="array has the shape of pictures")
        data.mkdir(parents=True)
        specs = {name: _saved(data / name, one, columns) for name, one in arrays.items()}
        found = suggestions.suggest(specs.get("x", "noise"), specs["y"], held_out=held_out)
        config = found.run if method is None else configs.of_method(found.run, method)
        build.check_noise(config)
        if getattr(config.recipe, "coupling", None) in ("field_lines", "lines_plan"):
            for name, one in arrays.items():
                _check_spread(name, one, held_out)
        every = config.picture_every if run is not None else 0.0
        config = replace(config, seed=seed, picture_every=every)
        config = suggestions.of_steps(config, steps) if steps else suggestions.paced(config, minutes)[0]
        try:
            train(folder, config, progress=progress)
        except SystemExit as stop:
            if stop.code != 128 + signal.SIGINT:
                raise
            raise KeyboardInterrupt(f"Stopped; models.load({str(folder)!r}) is the model so far.") from stop
    return load(folder, space=space)


@contextlib.contextmanager
def _unless_begun(folder: Path) -> Iterator[None]:
    """Remove what was written into a folder if it ends, by an interrupt too, before a run has begun there."""
    new = [path for name in ("data", "run.lock", SPACE) if not (path := folder / name).exists()]
    try:
        yield
    except BaseException:
        if not (folder / "config.json").exists():
            for path in new:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise


def _check_kinds(sets: dict[str, Any]) -> None:
    """Raise an error for None and names of data, which the command line takes, and for a DataFrame beside an array."""
    if sets["y"] is None:
        raise ValueError("y must be an array of samples, got None.\nOnly x may be None, for white noise.")
    named = [str(found) for one in sets.values() for found in _names_in(one)]
    if named:
        a, b = named if len(named) == len(sets) == 2 else ("noise" if len(sets) == 1 else "A", "B")
        raise ValueError(
            f"fit takes arrays, got the name {named[0]!r}.\n"
            f'For folders and files run `efm train {shlex.quote(a)} {shlex.quote(b)} --run R`, then `models.load("R")`.'
        )
    if len({frames.names_of(one) is None for one in sets.values()}) == 2:
        kinds = " and ".join(type(one).__name__ for one in sets.values())
        raise ValueError(
            f"x and y must be two DataFrames or two arrays, got {kinds}.\nGive x.to_numpy(), or both with names."
        )


def _check_spread(name: str, samples: np.ndarray, held_out: float) -> None:
    """Raise an error if the training samples are all the same, between which no field lines can be drawn."""
    rows = np.flatnonzero(splits.split_mask(len(samples), "train", held_out))
    if all((samples[row] == samples[rows[0]]).all() for row in rows):
        raise ValueError(
            f"{name} must have two different samples to train on, got {len(samples)} samples, {len(rows)} of them to "
            f"train on{', all the same' if len(rows) > 1 else ''}.\n"
            'Give more samples, or a method that needs no field lines: method="cfm".'
        )


def _names_in(x: Any) -> list[Any]:
    """The name that stands in place of samples, or the first of several; empty of anything else."""
    first = x[:1] if isinstance(x, list | tuple) else [x]
    return [one for one in first if isinstance(one, str | Path)]


def _saved(path: Path, samples: np.ndarray, columns: list[str] | None) -> str:
    """Write samples, under the names of their columns if they have such; return their name as data."""
    if columns is None:
        np.save(f"{path}.npy", samples)
        return f"npy:{path}.npy"
    return f"parquet:{tables.write(f'{path}.parquet', samples, columns)}"


def _array(name: str, x: Any, space: Own | None, columns: list[str] | None) -> np.ndarray:
    """Samples as a file of data may hold them; in the space their latents."""
    try:
        if columns is not None:
            return given.of_array(frames.numbers(x, columns, name))[0]
        if space is not None:
            return space.encode(given.rows(x, space.shape)[0]).reshape(-1, *space.inside)
        array = unmasked(x)
        rows, shape = given.of_array(array)
    except ValueError as error:
        raise ValueError(f"{name} cannot be trained on: {error}") from error
    return array if array.dtype == np.uint8 else rows.reshape(-1, *shape)
