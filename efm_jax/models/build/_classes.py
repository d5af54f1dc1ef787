"""What labels ask of a run: its recipe by class, and the classes that it was trained on."""

from collections.abc import Sequence
from dataclasses import replace

from efm_jax.datasets import Source
from efm_jax.datasets.classes import common_names
from efm_jax.models import configs


def labeled(config: configs.Run, pair: tuple[Source, Source]) -> configs.Recipe:
    """The recipe of each group of a step, after it has been seen that labels and data go together.

    Returns:
        `config.recipe`; with several groups a step, each has its share of the points.

    Raises:
        ValueError: The classes of the data are not those of the network, or the recipe cannot be divided by class.
    """
    recipe, classes = config.recipe, config.network.classes
    if classes is None:
        if recipe.label_groups != 1:
            raise ValueError(
                f"recipe.label_groups {recipe.label_groups} is for a network with classes; set network.classes too."
            )
        return recipe
    names = common_names(*pair)
    known = {len(source.classes) for source in pair if source.classes is not None}
    if known != {classes}:
        raise ValueError(
            f"network.classes {classes} needs data with labels of {classes} classes, got {config.data.source} and "
            f"{config.data.target} with {' and '.join(map(str, sorted(known))) or 'none'}; labeled are digits, mnist:PATH, "
            "cifar10:PATH, folders of folders, an npz with `labels`, two_gaussians and eight_gaussians."
        )
    for spec, source in zip((config.data.source, config.data.target), pair, strict=True):
        empty = [names[k] if names else str(k) for k, one in enumerate(source.classes or ()) if one is None]
        if empty:
            raise ValueError(
                f"the training samples of {spec} hold none of the class {', '.join(empty)}.\nAdd some, or leave the class "
                "out on both sides."
            )
    if getattr(recipe, "field", "minibatch") == "whole":
        raise ValueError(
            "recipe.field 'whole' makes charges of all classes, which labels cannot choose among; with network.classes take "
            "'minibatch'."
        )
    if recipe.label_groups < 1 or recipe.num_points % recipe.label_groups:
        raise ValueError(
            f"recipe.num_points {recipe.num_points} must be a multiple of recipe.label_groups, got {recipe.label_groups}."
        )
    return replace(recipe, num_points=recipe.num_points // recipe.label_groups)


def check_classes(
    data: configs.Data, pair: tuple[Source, Source], before: Sequence[str] | None, where: str
) -> None:
    """Raise ValueError unless data have the classes, in the same order, that a run or model was trained on.

    Args:
        data: The data.
        pair: Their training samples of P and Q.
        before: The names that the run or model keeps; None for one of a version that kept none.
        where: What keeps them.
    """
    names, folders = common_names(*pair), any(spec[:7] == "folder:" for spec in (data.source, data.target))
    if names is None or (before is None and not folders):
        return
    # earlier versions numbered the folders of classes in the order of text
    known = sorted(names) if before is None else [*before]
    if [*names] != known:
        raise ValueError(
            f"{where} was trained on the classes {', '.join(known)}, in this order, and the data have {', '.join(names)}.\n"
            "Give data of those classes, or train a new run."
        )
