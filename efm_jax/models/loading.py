"""Load a run folder, a model folder, or a model that comes with efm_jax."""

import math
from pathlib import Path

import jax

from efm_jax import checkpoint, training
from efm_jax._core import files
from efm_jax.datasets.spaces import Own
from efm_jax.models import _model_folder, build, columns, configs
from efm_jax.models import space as _run_space
from efm_jax.models.model import Trained

__all__ = ["RELEASED", "class_names", "find", "is_model", "load", "released"]

RELEASED = Path(__file__).parent / "released"
"""The models that come with the package, made by `experiments/released_models`."""


def released() -> list[str]:
    """List the names of the models that come with efm_jax; `load` takes each by its name."""
    return sorted(path.parent.name for path in RELEASED.glob(f"*/{_model_folder.CONFIG}"))


def find(place: str | Path) -> Path:
    """Return the folder of a run or model: the one given, or that of a released model, by its name.

    Raises:
        ValueError: There is no such folder, and no released model of that name.

    Examples:
        >>> find("moons").parent.name
        'released'
    """
    folder = files.expanded(place)
    if folder.exists():
        return folder
    if str(place) in released():
        return RELEASED / place
    raise ValueError(
        f"there is no run or model {place}: no folder has this name.\n"
        f"Check the path, or take a model that comes with efm_jax: {', '.join(released())}."
    )


def is_model(folder: str | Path) -> bool:
    """Return whether a folder holds an exported model, or what is left of one, rather than a run.

    Examples:
        >>> is_model(find("moons"))
        True
    """
    return _model_folder.is_model(files.expanded(folder))


def class_names(place: str | Path) -> tuple[str, ...]:
    """Return the names of the classes of a run or model, in their order, without loading it; none if it has none.

    Raises:
        ValueError: There is no such run or model.

    Examples:
        >>> class_names("moons")
        ()
    """
    folder = find(place)
    if is_model(folder):
        return _model_folder.class_names(folder)
    return tuple((checkpoint.read_meta(folder / "checkpoints") or {}).get("classes") or ())


def load(place: str | Path, *, step: int | None = None, space: Own | None = None) -> Trained:
    """Load a run folder, a model folder, or a released model by its name; no data are needed.

    Nothing in the folder is executed: a model of latents takes its encoder and decoder from the caller.

    Args:
        place: A run folder, a folder written by `export`, or one of `released()`.
        step: Of a run: the checkpoint of this step; None for the newest.
        space: Of a model of latents: what encodes samples and decodes latents, see `spaces.own`; without it the model
            translates latents.

    Raises:
        ValueError: The place holds no run or model, no checkpoint of that step, or a file that is damaged or of a version
            that this efm_jax does not know; or the checkpoints are too old to hold the shape of a sample, and the run's
            data are gone; or the space has latents of another size.

    Examples:
        >>> import numpy as np
        >>> from efm_jax.models import transport
        >>> model = load("moons")
        >>> model.shape, model.config.recipe.gap > 0
        ((2,), True)
        >>> x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
        >>> lines = transport(model, x)  # from a Gaussian to the moons, within x_1 = -4 .. 7
        >>> lines.end.shape, bool(lines.arrived.all())
        ((500, 3), True)
    """
    folder = find(place)
    if step is not None and is_model(folder):
        raise ValueError(
            f"{place} is a model and holds the weights of one step.\nLeave the step out, or give the run folder."
        )
    trained = _model_folder.read(folder) if is_model(folder) else _run(folder, step)
    if space is not None and math.prod(space.inside) != math.prod(trained.shape):
        raise ValueError(
            f"{place} carries samples of shape {trained.shape}, the space has latents of {space.inside}.\n"
            "Give the space whose latents it was trained on."
        )
    return trained._replace(own=space)


def _run(folder: Path, step: int | None) -> Trained:
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{folder} is a file; give the folder it lies in."
            if folder.is_file()
            else f"{folder} holds no run and no model: it has no config.json.\nTrain a run with `efm train`."
        )
    config = configs.load(folder / "config.json")
    shape = _shape(folder, config.data)
    network = build.network(config, shape)
    space = _run_space.opened(folder, config.data, shape)
    optimizer = build.optimizer(config.optimizer, config.steps)
    like = jax.eval_shape(lambda key: training.init_state(key, network, optimizer), jax.random.key(0))
    state, meta = checkpoint.restore(folder / "checkpoints", like, step)
    named = columns.of_record(meta.get("columns"), math.prod(shape))
    lines_only = build.lines_recipe(config.recipe)
    names = None if meta.get("classes") is None else tuple(meta["classes"])
    trained = Trained(
        config, lines_only, network, state, shape, float(meta.get("seconds", 0.0)), space, names, named
    )
    return trained._replace(digests=meta.get("digests"))


def _shape(folder: Path, data: configs.Data) -> tuple[int, ...]:
    """Shape of a sample: what a checkpoint says, or else, of runs of older versions, what the data are."""
    kept = (checkpoint.read_meta(folder / "checkpoints") or {}).get("shape")
    if kept is not None:
        return tuple(kept)
    try:
        return build.sources(data)[0].shape
    except FileNotFoundError as error:
        raise ValueError(
            f"the checkpoints in {folder} are of a version that did not keep the shape of a sample, and its data are not "
            f"where config.json says: {error}\nPut them there, once, to open or export the run."
        ) from error
