"""A trained model as one folder that can be given away, and read without running anything of it.

    model.safetensors   the weights: the moving average of a run's parameters; of a run in components, with their space
    config.json         the run's configuration, shape of the samples, versions, size and SHA-256 of the weights
    README.md           the model card, for people

`open_folder` returns what `models.load` returns of a run: lines, translation and generation do not know the difference.
No data is needed to load a model, and none goes with it: of paths in the configuration only the last part is kept.
"""

import dataclasses
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from efm_jax import __version__, training
from efm_jax._core import files, logs
from efm_jax._core import tensors as _tensors
from efm_jax._core.versions import versions
from efm_jax.datasets.spaces import Space
from efm_jax.models import _card, build, configs, model
from efm_jax.models import space as _space_file
from efm_jax.models.model import Trained

FORMAT = "efm_jax model"
VERSION = 1
"""Version of the folder's form; readers refuse a later one."""

RELEASED = Path(__file__).parent / "released"
"""The models that come with the package, made by `experiments/released_models`."""

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"

_KEYS = ("format", "version", "config", "shape", "weights", "training", "versions", "file")
_WITH_PATHS = ("folder", "npz", "npy", "mnist", "cifar10", "inception")


def export(
    run: str | Path,
    folder: str | Path,
    *,
    weights: Literal["average", "last"] = "average",
    license: str | None = None,
) -> Path:
    """Write the newest checkpoint of a run as a model folder, whole or not at all.

    The run's data need not be there any more, see `models.load`.

    Args:
        run: The run folder.
        folder: Where to; must not exist, or be empty.
        weights: The moving average of the parameters, which sampling uses, or the last ones.
        license: What the card says of the license; None leaves the line to be written.

    Returns:
        The folder.

    Raises:
        ValueError: There is no run, its weights hold NaN, or the folder is taken.
        OSError: It cannot be written; nothing is then left of it.

    Examples:
        >>> export("nowhere", "model")
        Traceback (most recent call last):
        ...
        ValueError: nowhere is not a run folder: it holds no config.json; train one with `efm train`.

    Source of the tensors' format: https://github.com/huggingface/safetensors.
    """
    if weights not in ("average", "last"):
        raise ValueError(f"weights must be 'average' or 'last', got {weights!r}.")
    final = Path(os.path.abspath(Path(folder).expanduser()))
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        raise ValueError(f"{final} is there already and is never overwritten; choose another, or delete it.")
    trained = model.load(run)
    params = training.ema_params(trained.state) if weights == "average" else trained.state.params
    space = trained.space
    content = _tensors.encode(params if space is None else {"network": params, "space": space._asdict()})
    record = {
        "format": FORMAT,
        "version": VERSION,
        "config": _given_away(configs.to_dict(trained.config)),
        "shape": list(trained.shape),
        "weights": weights,
        "training": {
            "step": int(trained.state.step),
            "seconds": trained.seconds,
            "skipped_steps": int(trained.state.skipped),
        },
        "versions": versions(),
        "file": {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
    }
    told = _card.card(
        final.name,
        record,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        log=[
            line
            for line in logs.read(Path(run).expanduser() / "log.jsonl")
            if line["step"] <= record["training"]["step"]
        ],
        scores=_scores(Path(run).expanduser(), trained, record),
        license=license,
    )
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = files.draft_for(final)
    try:
        draft.mkdir()
        files.write_bytes(draft / WEIGHTS, content)
        files.write_json(draft / CONFIG, record)
        files.write_text(draft / CARD, told)
        if final.exists():
            final.rmdir()
        draft.rename(final)
        files.sync_folder(final.parent)
    finally:
        files.clear(draft)
    return final


def released() -> list[str]:
    """Names of the models that come with the package; each is also read by its name alone.

    Examples:
        >>> released()
        ['digits', 'eight_gaussians', 'moons']
    """
    return sorted(path.parent.name for path in RELEASED.glob(f"*/{CONFIG}"))


def find(model: str | Path) -> Path:
    """The folder of a model: the one given, or one that comes with the package, by its name.

    Raises:
        ValueError: There is nothing of that name.

    Examples:
        >>> find("moons").parent.name
        'models'
    """
    folder = Path(model)
    if folder.exists():
        return folder
    if str(model) in released():
        return RELEASED / model
    raise ValueError(
        f"there is no folder {model}, nor does a model of that name come with efm_jax ({', '.join(released())} do); "
        "check the path."
    )


def is_model(folder: str | Path) -> bool:
    """Whether a folder holds a model, or what is left of one, rather than a run.

    Examples:
        >>> import tempfile
        >>> is_model(tempfile.mkdtemp())
        False
    """
    folder = Path(folder).expanduser()
    if (folder / WEIGHTS).is_file():
        return True
    try:
        record = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and "format" in record


def open_folder(folder: str | Path) -> Trained:
    """Open a model folder: rebuild recipe and network from its config, read its weights, check every part.

    Args:
        folder: A folder written by `export`, or the name of a model that comes with the package, see `released`.

    Returns:
        The model as an open run whose parameters and average are the weights; it has no state of an optimizer.

    Raises:
        ValueError: A file is missing, damaged or of another kind; the configuration has an unknown key or a wrong value; the
            tensors' names, shapes or dtypes are not those of the network, or they hold NaN.

    Examples:
        >>> import numpy as np
        >>> from efm_jax.models import transport
        >>> model = open_folder("moons")
        >>> model.shape, model.config.recipe.method
        ((2,), 'ifm')
        >>> x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
        >>> lines = transport(model, x)  # from a Gaussian to the moons, within x_1 = -4 .. 7
        >>> lines.end.shape, bool(lines.arrived.all())
        ((500, 3), True)
    """
    folder = find(folder)
    record = _record(folder)
    try:
        config = configs.from_dict(record["config"])
        shape = _shape(record["shape"])
        inner = build.sample_shape(config, shape)
        network = build.network(config.network, inner, config.recipe.gap)
        recipe = build.recipe(dataclasses.replace(config.recipe, field="minibatch"))
        wanted = jax.eval_shape(network.init, jax.random.key(0))
        if config.data.components is not None:
            wanted = {"network": wanted, "space": _space_like(math.prod(shape), *inner)}
    except (ValueError, TypeError, OverflowError) as error:
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
        if config.data.components is not None:
            given = {name: np.asarray(value) for name, value in params["space"].items()}
            params, space = params["network"], _space_file.checked(Space(**given), "it")
    except ValueError as error:
        raise ValueError(
            f"{path} does not fit {folder / CONFIG}: {error}. Both must come from one export; fetch them again."
        ) from None
    broken = files.damage(folder, {WEIGHTS: (record["file"]["bytes"], record["file"]["sha256"])})
    if broken:
        raise ValueError(f"{broken} {CONFIG} says which they are: fetch both again, or export the run again.")
    state = training.TrainState(
        params=params,
        ema=params,
        opt_state=(),
        step=jnp.asarray(record["training"]["step"], jnp.int32),
        key=jax.random.key(config.seed),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_row=jnp.zeros((), jnp.int32),
    )
    return Trained(config, recipe, network, state, shape, float(record["training"]["seconds"]), space)


def _space_like(dim: int, k: int) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of a space's tensors."""
    shapes = {"mean": (dim,), "basis": (dim, k), "scale": (k,)}
    return {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}


def _record(folder: Path) -> dict[str, Any]:
    """What config.json says, in the form of this version."""
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(
            f"{folder} is not a model folder: it holds no {CONFIG}; make one with `efm export`."
            if not folder.is_file()
            else f"{folder} is a file; give the folder that holds {WEIGHTS} and {CONFIG}."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file ({error}); fetch it again.") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        run = (folder / "checkpoints").is_dir()
        mend = "it is a run folder: make a model of it with `efm export`" if run else "fetch the model again"
        raise ValueError(f'{path} is not that of a model, expected "format": "{FORMAT}" in it; {mend}.')
    if type(record.get("version")) is not int or not 1 <= record["version"] <= VERSION:
        raise ValueError(
            f"{path} has version {record.get('version')!r} of the model's form, expected 1 to {VERSION}; update efm_jax "
            f"(this is {__version__}, the model was written by {_version(record)})."
        )
    apart = [f"unknown {key!r}" for key in record if key not in _KEYS]
    apart += [f"missing {key!r}" for key in _KEYS if key not in record]
    file, told = record.get("file"), record.get("training")
    if not apart and not (
        isinstance(file, dict)
        and type(file.get("bytes")) is int
        and isinstance(file.get("sha256"), str)
        and isinstance(told, dict)
        and type(told.get("step")) is int
        and type(told.get("seconds")) in (int, float)
    ):
        apart = ["'file' or 'training' is not as it was written"]
    if apart:
        raise ValueError(
            f"{path} must hold {', '.join(_KEYS)}: {'; '.join(apart)}. Restore it, or fetch the model again."
        )
    return record


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not shape or not all(type(n) is int and n >= 1 for n in shape):
        raise ValueError(f"shape must be a list of whole numbers >= 1, got {shape!r}.")
    return tuple(shape)


def _version(record: dict[str, Any]) -> str:
    versions = record.get("versions")
    return str(versions.get("efm_jax", "?")) if isinstance(versions, dict) else "?"


def _given_away(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration without the maker's paths: of each the last part."""
    data = {**config["data"], **{side: _last_part(config["data"][side]) for side in ("source", "target")}}
    given = {**config, "data": data}
    if "plan_features" in config["recipe"]:
        features = _last_part(config["recipe"]["plan_features"])
        given["recipe"] = {**config["recipe"], "plan_features": features}
    if "reflow" in config:
        given["reflow"] = {**config["reflow"], "run": Path(config["reflow"]["run"]).name}
    return given


def _last_part(spec: str) -> str:
    kind, _, rest = spec.partition(":")
    if kind not in _WITH_PATHS:
        return spec
    return f"{kind}:{rest.replace(os.sep, '/').rstrip('/').rpartition('/')[2] or rest}"


def _scores(run: Path, trained: Trained, record: dict[str, Any]) -> dict[str, dict] | None:
    """The scores in the run's report, if it is one of these very weights."""
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    told, step = isinstance(report, dict) and report.get("maps"), record["training"]["step"]
    if record["weights"] != "average" or not isinstance(told, dict) or report.get("step") != step:
        return None
    old, new = trained.config.data, configs.Data(**record["config"]["data"])
    names = {
        f"{old.source} -> {old.target}": f"{new.source} -> {new.target}",
        f"{old.target} -> {old.source}": f"{new.target} -> {new.source}",
    }
    return {names[label]: scores for label, scores in told.items() if label in names}
