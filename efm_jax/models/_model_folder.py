"""The format of a model folder, and how it is read; nothing in it is executed.

model.safetensors   the weights: the moving average of a run's parameters; of a run in components, with their space
config.json         the run's configuration, shape of the samples, versions, size and SHA-256 of the weights
README.md           the model card, for people
samples.png         where it was asked for: held-out samples and the ends of their lines, for the card
"""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efm_jax import __version__
from efm_jax._core import files
from efm_jax._core import tensors as _tensors
from efm_jax.datasets.spaces import Space
from efm_jax.models import build, columns, configs
from efm_jax.models import space as _space_file
from efm_jax.models.model import Trained
from efm_jax.training.state import TrainState

FORMAT = "efm_jax model"
VERSION = 2
"""Version of the format; a later one is refused. Tensors of float16 came with the second."""

WEIGHTS, CONFIG, CARD, PICTURE = "model.safetensors", "config.json", "README.md", "samples.png"

_KEYS = ("format", "version", "config", "shape", "weights", "training", "versions", "file")
_OPTIONAL = ("classes", "columns", "digests")
"""Of a model that has some: names of classes, names and ranges of the columns of a table, digests of the data."""


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model, or what is left of one, rather than a run."""
    if (folder / WEIGHTS).is_file():
        return True
    try:
        record = files.read_json(folder / CONFIG)
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and "format" in record


def read(folder: Path) -> Trained:
    """Read a model folder: rebuild recipe and network from its config, read its weights, check all; or ValueError.

    The parameters and their average are both the weights; there is no state of an optimizer.
    """
    record = _record(folder)
    key = jax.random.key(0)  # a device that is not there is no fault of the folder
    try:
        config = configs.from_dict(record["config"])
        shape = _shape(record["shape"])
        inner = build.sample_shape(config, shape)
        network = build.network(config, shape)
        named = columns.of_record(record.get("columns"), math.prod(shape))
        recipe = build.lines_recipe(config.recipe)
        if "classes" in record and len(record["classes"]) != config.network.classes:
            raise ValueError(
                f"it names {len(record['classes'])} classes, its network has {config.network.classes}."
            )
        wanted = jax.eval_shape(network.init, key)
        if config.data.in_space:
            wanted = {"network": wanted, "space": _space_like(math.prod(shape), *inner)}
    except Exception as error:  # a number may be one that no network can have
        raise ValueError(
            f"{folder / CONFIG} does not describe a model that efm_jax {__version__} knows: {error} It was written by "
            f"efm_jax {_version(record)}; use that version or a newer one, or restore the file."
        ) from error
    path, space = folder / WEIGHTS, None
    if not path.is_file():
        raise ValueError(f"{folder} holds no {WEIGHTS}: the model is not whole; fetch it again.")
    tensors = _tensors.read(path)
    try:
        params = _tensors.fitted(tensors, wanted)
        if config.data.in_space:
            arrays = {name: np.asarray(value) for name, value in params["space"].items()}
            space = _space_file.validated(Space(**arrays, log1p=config.data.log1p), "it")
            params = params["network"]
    except ValueError as error:
        raise ValueError(
            f"{path} does not fit {folder / CONFIG}: {error}. Both must come from one export; fetch them again."
        ) from None
    broken = files.damage(folder, {WEIGHTS: (record["file"]["bytes"], record["file"]["sha256"])})
    if broken:
        raise ValueError(f"{broken} {CONFIG} says which they are: fetch both again, or export the run again.")
    state = TrainState(
        params=params,
        ema=params,
        opt_state=(),
        step=jnp.asarray(record["training"]["step"], jnp.int32),
        key=jax.random.key(config.seed),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_row=jnp.zeros((), jnp.int32),
    )
    names = tuple(record["classes"]) if "classes" in record else None
    seconds, digests = float(record["training"]["seconds"]), record.get("digests")
    return Trained(config, recipe, network, state, shape, seconds, space, names, named, digests=digests)


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes of a model; none if it has none."""
    return tuple(_record(folder).get("classes", ()))


def _space_like(dim: int, k: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a space's tensors."""
    shapes = {"mean": (dim,), "basis": (dim, k), "scale": (k,)}
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}


def _record(folder: Path) -> dict[str, Any]:
    """Read and check config.json."""
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder} holds no {CONFIG}: the model is not whole; fetch it again.")
    record = files.read_json(path, "fetch it again")
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(
            f'{path} does not belong to a model: it has no "format": "{FORMAT}"; fetch the model again.'
        )
    if type(record.get("version")) is not int or not 1 <= record["version"] <= VERSION:
        raise ValueError(
            f"{path} has version {record.get('version')!r} of the format, expected 1 to {VERSION}; update efm_jax "
            f"(this is {__version__}, the model was written by {_version(record)})."
        )
    faults = [f"unknown {key!r}" for key in record if key not in (*_KEYS, *_OPTIONAL)]
    faults += [f"missing {key!r}" for key in _KEYS if key not in record]
    names = record.get("classes", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        faults.append("'classes' is no list of names")
    digests = record.get("digests", {})
    if not isinstance(digests, dict) or not all(isinstance(one, str) for one in digests.values()):
        faults.append("'digests' is no mapping of places to digests")
    file, training = record.get("file"), record.get("training")
    if not faults and not (
        isinstance(file, dict)
        and type(file.get("bytes")) is int
        and isinstance(file.get("sha256"), str)
        and isinstance(training, dict)
        and type(training.get("step")) is int
        and 0 <= training["step"] < 2**31
        and type(training.get("seconds")) in (int, float)
        and 0 <= training["seconds"] < 2**63  # not NaN
    ):
        faults = ["'file' or 'training' is not as it was written"]
    if faults:
        raise ValueError(
            f"{path} must hold {', '.join(_KEYS)}: {'; '.join(faults)}. Restore it, or fetch the model again."
        )
    return record


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n >= 1 for n in shape):
        raise ValueError(f"shape must be a list of whole numbers >= 1, got {shape!r}.")
    return tuple(shape)


def _version(record: dict[str, Any]) -> str:
    versions = record.get("versions")
    return str(versions.get("efm_jax", "?")) if isinstance(versions, dict) else "?"
