"""A loaded run or model, and samples carried along its lines."""

import zlib
from typing import NamedTuple

import jax
import numpy as np

from efm_jax import sampling, training
from efm_jax.datasets.spaces import Space
from efm_jax.models import build, configs
from efm_jax.models import space as _run_space
from efm_jax.models.columns import Named
from efm_jax.types import FieldLines, FieldMatching, Network

__all__ = ["Trained", "labels_of", "transport"]


class Trained(NamedTuple):
    """A trained run or model, loaded.

    Attributes:
        config: Its configuration.
        recipe: Its recipe, for lines: where they start and end. Its field is that of minibatches, whatever was trained on.
        network: Its network.
        state: Its checkpoint; of a model folder, parameters and average are its weights, and there is no optimizer state.
        shape: Shape of one sample.
        seconds: Training time, over all resumes.
        space: The space its network sees, see `spaces`; None for that of the samples. `transport` enters and leaves it.
        class_names: Names of its classes, by number; None if it has no classes, or was made before these had names.
        columns: Of a table: names and ranges of the columns of P and of Q, see `columns`; None of other data.
    """

    config: configs.Run
    recipe: FieldMatching
    network: Network
    state: training.TrainState
    shape: tuple[int, ...]
    seconds: float
    space: Space | None = None
    class_names: tuple[str, ...] | None = None
    columns: Named | None = None


def transport(
    trained: Trained,
    x: np.ndarray,
    *,
    reverse: bool = False,
    save: int | None = None,
    batch_size: int = 250,
    cond: np.ndarray | None = None,
    guidance: float = 1.0,
) -> FieldLines:
    """Carry samples along the trained field's lines with the run's own sampling settings.

    Samples of a run in components are given and come back as pictures (or what else its data are): they are encoded, follow
    lines in its space, and are decoded, as are the points of their paths. What the components cannot hold is lost.

    A recipe whose lines start at random (pfgm) draws them by the samples given: the same again for the same samples. Class
    labels `cond` [n] and guidance: see `sampling.transport`.
    """
    sides = None if trained.space is None else build.sides(trained.config.data, trained.space)
    lines = sampling.transport(
        trained.state,
        trained.recipe,
        trained.network,
        x if sides is None else sides[int(reverse)].encode(x),
        reverse=reverse,
        key=jax.random.key(zlib.crc32(np.asarray(x, np.float32).tobytes())),
        stepping=build.stepping(trained.config),
        batch_size=min(batch_size, len(x)),
        save=save,
        cond=cond,
        guidance=guidance,
    )
    return lines if sides is None else _run_space.pictured(lines, sides, trained.recipe.span)


def labels_of(
    trained: Trained, label: int | str | None, count: int, *, guidance: float = 1.0
) -> np.ndarray | None:
    """Return the labels of `count` samples of one class, given by its name or its number, or of none.

    Where names of classes are numbers themselves, a number is a name.

    Raises:
        ValueError: The run knows no such class, or it was not trained without labels and none is given, or there is guidance
            and no class to go to, or none to come from.
    """
    classes, dropout = trained.config.network.classes, trained.config.recipe.label_dropout
    if classes is None:
        if label is not None or guidance != 1.0:
            raise ValueError(
                "this run was trained without classes, so there is no label to ask for and nothing to guide to; train one "
                "with --network.classes."
            )
        return None
    known = ", ".join(trained.class_names or ()) or f"0 to {classes - 1}"
    if label is None and guidance != 1.0:
        raise ValueError(f"guidance {guidance} goes toward a class: give a label as well, one of {known}.")
    number = -1 if label is None else _number(trained.class_names, classes, str(label))
    if number is None:
        raise ValueError(f"label must be one of the classes of this run, {known}, got {label!r}.")
    if dropout == 0.0 and (label is None or guidance != 1.0):
        raise ValueError(
            "this run was trained with recipe.label_dropout 0 and knows no field without a label: give a label, one of "
            f"{known}, and no guidance."
        )
    return np.full(count, number, np.int32)


def _number(names: tuple[str, ...] | None, classes: int, label: str) -> int | None:
    """The number of a class, given by its name or, where no name is a number, by its number; None if there is none."""
    if names is not None and (label in names or any(name.isdecimal() for name in names)):
        return names.index(label) if label in names else None
    return int(label) if label.isdecimal() and len(label) < 10 and int(label) < classes else None
