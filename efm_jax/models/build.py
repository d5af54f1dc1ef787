"""From a configuration to values: sources, recipe, network, optimizer."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from efm_jax import charges, lines, matching, networks, training
from efm_jax._core import memory
from efm_jax.charges.plates import Charges
from efm_jax.datasets import Source, batch, open_source, opening, spaces, tables, white_noise
from efm_jax.datasets.classes import common_names
from efm_jax.datasets.spaces import Space
from efm_jax.fields import widths
from efm_jax.matching import by_height, couplings, points
from efm_jax.models import columns, configs, seeds
from efm_jax.types import FieldMatching, Network, Params, PointSampler

__all__ = [
    "Built",
    "check_classes",
    "encoded",
    "is_noise",
    "labeled",
    "lines_recipe",
    "network",
    "opened",
    "optimizer",
    "recipe",
    "run",
    "sample_shape",
    "sides",
    "sources",
    "stepping",
]


Pairs = Iterable[tuple[Any, Any]] | Callable[[int], Iterable[tuple[Any, Any]]]


class Built(NamedTuple):
    """What a run is made of.

    Attributes:
        sources: Training sets of P and Q, as the network sees them. `runs.fit` also takes an iterable of pairs of arrays, or
            a function from the number of a step to one.
        recipe: What to regress on; see `efm_jax.matching`.
        network: The network.
        optimizer: Any optax transformation, e.g. `training.adam()`.
        initial: Parameters to begin with; None for new ones.
        notes: Facts of the data that checkpoints keep for readers who have none.
        ending: The optimizer whose schedule ends at a step; None where it does not end. A run that the clock will end is
            given the one that ends with the time.
    """

    sources: tuple[Source, Source] | Pairs
    recipe: FieldMatching
    network: Network
    optimizer: optax.GradientTransformation
    initial: Params | None = None
    notes: Mapping[str, Any] = MappingProxyType({})
    ending: Callable[[int], optax.GradientTransformation] | None = None


def run(
    config: configs.Run, *, space: Callable[[tuple[Source, Source]], Space | None] = lambda pair: None
) -> Built:
    """Build a run: open its data, make its recipe, network and optimizer.

    Args:
        config: The whole run.
        space: From the training sets to the space that the network sees, for a run in components; see `models.space`.

    Raises:
        ValueError: The data cannot be read, or an option does not fit the data or another option.

    Examples:
        >>> from efm_jax.models.presets import PRESETS
        >>> run(PRESETS["toy-swiss-roll"][1]).recipe.span
        (0.0, 6.0)
    """
    config = configs.complete(config)
    update = optimizer(config.optimizer, config.steps)
    _check_sampling(config)
    _check_data(config.data)
    pair = sources(config.data)
    shape = pair[0].shape
    _check_memory(config, math.prod(shape))
    net = network(config, shape)
    inside = encoded(config.data, pair, space(pair))
    if str(config.network.output).startswith("capacitor"):
        net = network(config, shape, inside)
    _check_noise(config)
    of_all = recipe(labeled(config, inside), inside)
    notes = {"shape": list(shape), "sizes": [source.size for source in pair]}
    if config.network.classes is not None:
        notes["classes"] = common_names(*pair)
    if pair[1].columns is not None:
        notes["columns"] = columns.to_record((pair[0].columns, pair[1].columns))
    ending = partial(optimizer, config.optimizer) if config.optimizer.cosine else None
    return Built(inside, of_all, net, update, notes=notes, ending=ending)


def opened(data: configs.Data, spec: str, *, split: str = "train") -> Source:
    """Open data by their specification, as those of a run with the options `data`."""
    options = opening.Options(
        size=data.size,
        crop=data.crop,
        split=split,
        held_out=data.held_out,
        gray=data.gray,
        flip=data.flip and split == "train",
        jitter=data.jitter if split == "train" else 0.0,
        on_error="raise" if data.on_error == "stop" else data.on_error,
        background=data.background,
        levels=data.levels,
        table=data.table,
        cache=data.cache,
    )
    return opening.opened(spec, options)


def sources(data: configs.Data, *, split: str = "train") -> tuple[Source, Source]:
    """Open P and Q of one split, and see that they live in one space.

    Raises:
        ValueError: A specification is not known or cannot be read, or the two have samples of different shapes.
    """
    if data.source == "noise":
        target = opened(data, data.target, split=split)
        return open_source("noise:" + "x".join(map(str, target.shape)), size=None, split=split), target
    source_pos, source_neg = (opened(data, spec, split=split) for spec in (data.source, data.target))
    of_pos, of_neg = (source.columns and source.columns.names for source in (source_pos, source_neg))
    if of_pos and of_neg and of_pos != of_neg:
        _check_columns(data, of_pos, of_neg)
        of_pos_too = replace(data, table=replace(data.table, columns=of_pos))
        source_neg = opened(of_pos_too, data.target, split=split)
    if source_pos.shape != source_neg.shape:
        raise ValueError(
            f"the two distributions must have samples of one shape, got {data.source} with {source_pos.shape} and "
            f"{data.target} with {source_neg.shape}; for folders of pictures set data.size."
        )
    return source_pos, source_neg


def _check_columns(data: configs.Data, of_pos: tuple[str, ...], of_neg: tuple[str, ...]) -> None:
    """Raise ValueError unless two tables have the same columns, in any order."""
    both = [name for name in of_pos if name in {*of_neg}]
    for spec, own in ((data.source, of_pos), (data.target, of_neg)):
        alone = [name for name in own if name not in {*both}]
        if alone:
            names = tables.told_columns(alone, "that the other table lacks")
            fix = (
                f"learn those of both: --columns {' '.join(both)}"
                if both
                else "give tables of the same columns"
            )
            raise ValueError(f"{spec} has {names}.\n{fix[0].upper()}{fix[1:]}")


def is_noise(spec: str) -> bool:
    """Whether a specification is that of white noise, which has the shape of the other side.

    Examples:
        >>> is_noise("noise"), is_noise("noise:8x8x3"), is_noise("digits")
        (True, True, False)
    """
    return spec.partition(":")[0] == "noise"


def sample_shape(config: configs.Run, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of what the network sees: that of a sample, or of its coordinates in the space of the run.

    Raises:
        ValueError: The samples have fewer dimensions than components are asked for, or a unet is.

    Examples:
        >>> config = configs.Run(data=configs.Data(components=8), network=configs.Network(kind="mlp"))
        >>> sample_shape(config, (32, 32, 3))
        (8,)
    """
    data, kind = config.data, config.network.kind
    if not data.in_space:
        return shape
    told = "data.standardize" if data.standardize else "data.log1p"
    told = told if data.components is None else f"data.components {data.components}"
    if kind != "mlp":
        raise ValueError(
            f"{told} makes vectors of the samples, which network.kind {kind!r} cannot take; use 'mlp'."
        )
    if data.components is None:
        return (math.prod(shape),)
    if data.standardize:
        raise ValueError(f"{told} and data.standardize are two spaces; leave one out.")
    spaces.check_components(data.components, math.prod(shape))
    return (data.components,)


def sides(data: configs.Data, space: Space) -> tuple[Space, Space]:
    """The space as samples of P and as samples of Q enter it: white noise has units of its own."""
    at_p, at_q = (spaces.of_noise(space) if is_noise(spec) else space for spec in (data.source, data.target))
    return at_p, at_q


def encoded(data: configs.Data, pair: tuple[Source, Source], space: Space | None) -> tuple[Source, Source]:
    """P and Q as the network sees them: in the space, where there is one."""
    if space is None:
        return pair
    k = len(space.scale)
    # noise projected on orthonormal directions is noise, which is cheaper to draw there
    inside = [
        white_noise((k,)) if is_noise(spec) else spaces.wrap(source, space)
        for spec, source in zip((data.source, data.target), pair, strict=True)
    ]
    return inside[0], inside[1]


def recipe(config: configs.Recipe, pair: tuple[Source, Source] | None = None) -> FieldMatching:
    """Make the recipe.

    Args:
        config: What it is.
        pair: The training sets of P and Q, for the field of the whole of them.

    Raises:
        ValueError: A number does not fit, or the field is that of whole training sets and neither is finite.

    Examples:
        >>> recipe(configs.EFM(gap=6.0)).span
        (0.0, 6.0)
    """
    match config:
        case configs.EFM():
            config = config.complete(pictures=True)
            return matching.efm(
                config.gap,
                convention=config.convention,
                target=config.target,
                gamma=config.gamma if config.convention == "per_plate" else None,
                points=_points(config) or points.flux("two_plates", height=config.height),
                num_points=config.num_points,
                charges=_placed(config, pair),
            )
        case configs.C2FM():
            config = config.complete(pictures=False)
            placed = _placed(config, pair)
            return matching.c2fm(
                config.gap,
                target=str(config.target),
                frame=config.frame,
                reach=config.reach if placed is None else None,
                points=_points(config) or points.flux("chain", height=str(config.height)),
                num_points=config.num_points,
                charges=placed,
            )
        case configs.IFM():
            return matching.ifm(
                config.gap,
                law=config.law,
                target=config.target,
                coupling=_COUPLINGS[config.coupling](),
                width=widths.constant(config.width),
                points=_points(replace(config, coupling="given")),
                height=config.height,
                num_points=config.num_points,
            )
        case configs.Tubes():
            lines = couplings.field_lines(extra=config.extra, flux=config.flux, frame=config.frame)
            return matching.tubes(
                config.gap,
                coupling=couplings.given() if config.coupling == "lines_plan" else lines,
                width=widths.constant(config.width),
                height=config.height,
                num_points=config.num_points,
            )
        case configs.CFM():
            return matching.cfm(
                config.gap,
                coupling=_COUPLINGS[config.coupling](),
                width=widths.constant(config.width),
                height=config.height,
                num_points=config.num_points,
            )
        case configs.PFGM(target=None):
            return matching.pfgm(
                config.gap,
                num_extra=config.extra,
                width=config.width,
                height=config.height,
                num_points=config.num_points,
                charges=_placed(config, pair),
            )
        case configs.PFGM():
            return by_height.pfgm_by_height(
                config.gap,
                gamma=5.0 if config.gamma is None else config.gamma,
                target=str(config.target),
                num_extra=config.extra or 1,
                num_points=config.num_points,
            )


def lines_recipe(config: configs.Recipe) -> FieldMatching:
    """Make the recipe as lines need it, which start and end alike whatever field was trained on: no data is needed."""
    if isinstance(config, configs.EFM | configs.C2FM | configs.PFGM):
        config = replace(config, field="minibatch")
    return recipe(config)


_COUPLINGS = {
    "independent": couplings.independent,
    "minibatch_ot": couplings.minibatch_ot,
    "sinkhorn": lambda: couplings.sinkhorn(0.05),
    "field_lines": couplings.field_lines,
    "one_plan": couplings.given,
    "lines_plan": couplings.given,
    "given": couplings.given,
}


def _points(config: configs.EFM | configs.C2FM | configs.IFM) -> PointSampler | None:
    """The distribution of the points; None for the density of the method's own field."""
    height = str(config.height)
    return {
        "segment": lambda: points.segment(
            noise=config.noise, coupling=_COUPLINGS[config.coupling](), height=height
        ),
        "box": lambda: points.box(height=height),
        "defensive": lambda: points.defensive(
            noise=config.noise, coupling=_COUPLINGS[config.coupling](), height=height
        ),
        "near_plate": points.near_plate,
        "flux": lambda: None,
    }[str(config.points)]()


def _placed(
    config: configs.EFM | configs.C2FM | configs.PFGM, pair: tuple[Source, Source] | None
) -> Charges | None:
    """The whole training set as the charges of every step, where the configuration asks for it."""
    if config.field != "whole":
        return None
    x_neg = _whole_set(pair, 1)
    if isinstance(config, configs.PFGM):
        return charges.plate(x_neg, config.gap, -1.0)
    x_pos = _whole_set(pair, 0)
    if isinstance(config, configs.EFM):
        return charges.capacitor(x_pos, x_neg, config.gap)
    reach = 8.0 * config.gap if config.reach is None else config.reach
    return charges.capacitor_chain(x_pos, x_neg, config.gap, tolerance=1e-3, reach=reach)


def _whole_set(pair: tuple[Source, Source] | None, side: int) -> jax.Array:
    """Every sample of a side, once; of a distribution, as many as the other side has."""
    sizes = [source.size for source in pair or () if source.size is not None]
    if pair is None or not sizes:
        raise ValueError(
            "recipe.field 'whole' makes charges of a finite training set, got distributions without end.\nTake "
            "'minibatch' with more recipe.charges, or data of finite size."
        )
    return jnp.asarray(batch(pair[side], seeds.PLANS, side, 0, pair[side].size or max(sizes)))


def network(
    config: configs.Run, shape: tuple[int, ...], pair: tuple[Source, Source] | None = None
) -> Network:
    """Make the network for samples of `shape`, or for their principal components.

    Args:
        config: The whole run.
        shape: Shape of a sample.
        pair: Training sets of P and Q as the network sees them, whose moments the parameters of `capacitor` keep; None
            where parameters are read.

    Raises:
        ValueError: A unet is asked for samples that are not pictures (H, W, C), or a size does not fit.

    Examples:
        >>> config = configs.Run(recipe=configs.EFM(gap=6.0), network=configs.Network(kind="mlp"))
        >>> network(config, (2,)).gap
        6.0
    """
    config = configs.complete(config)
    inner, gap = sample_shape(config, shape), config.recipe.gap
    plain = networks.at_precision(_plain(config.network, inner, gap), config.network.precision)
    return {
        "field": lambda: plain,
        "capacitor": lambda: _capacitor(plain, config.recipe, gap, inner, pair),
        "capacitor_slope": lambda: matching.slope_network(_capacitor(plain, None, gap, inner, pair)),
        "velocity": lambda: matching.velocity_network(plain, gap),
        "flow": lambda: matching.flow_network(plain),
        "tail": lambda: matching.tail_network(plain),
        "denoiser": lambda: _denoiser(plain, config.recipe),
        "slope": lambda: matching.slope_network(plain),
    }[str(config.network.output)]()


def _capacitor(plain, recipe: configs.Recipe | None, gap: float, shape, pair) -> Network:
    if recipe is not None and not (isinstance(recipe, configs.EFM) and recipe.is_direction):
        raise ValueError(
            "network.output 'capacitor' is for the directions of method 'efm', convention 'superposed', got "
            f"{recipe.method!r}; leave it out for what the method needs."
        )
    if pair is None:
        sides = 2 * [np.outer([-1.0, 1.0], np.ones(math.prod(shape)))]
    else:
        few = 10_000
        sides = [
            batch(source, seeds.PLANS, side, 0, min(source.size or few, few))
            for side, source in enumerate(pair)
        ]
    return matching.capacitor_network(plain, gap, *sides)


def _denoiser(plain: Network, recipe: configs.Recipe) -> Network:
    if not isinstance(recipe, configs.PFGM) or recipe.target is None:
        raise ValueError(
            "network.output 'denoiser' is for runs of pfgm of earlier versions; leave it out for what the method needs."
        )
    return by_height.denoising_network(plain, num_extra=recipe.extra or 1)


def _plain(config: configs.Network, shape: tuple[int, ...], gap: float) -> Network:
    if config.kind == "mlp":
        return networks.mlp(
            math.prod(shape),
            gap=gap,
            width=config.width,
            depth=config.depth,
            height=str(config.height),
            num_classes=config.classes,
        )
    if len(shape) != 3:
        raise ValueError(
            f"network.kind {config.kind!r} needs pictures of shape (H, W, C), got samples of shape {shape}; use 'mlp'."
        )
    if config.kind == "dit":
        return networks.dit(
            shape,
            gap=gap,
            width=config.width,
            depth=config.depth,
            patch=config.patch,
            num_classes=config.classes,
            dtype=config.dtype,
            height=str(config.height),
        )
    return networks.unet(
        shape,
        gap=gap,
        width=config.width,
        multipliers=config.multipliers,
        blocks=config.blocks,
        attention=config.attention,
        dropout=config.dropout,
        dtype=config.dtype,
        patch=config.patch,
        height=str(config.height),
        num_classes=config.classes,
    )


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


_OF_FILES = ("folder", "tar", "parquet")
_OF_ARRAYS = (*_OF_FILES, "cifar10", "npz", "npy")
_WHOSE = {
    "gray": (*_OF_ARRAYS, "digits", "mnist"),
    "flip": _OF_ARRAYS,
    "jitter": (*_OF_ARRAYS, "digits", "mnist"),
    "on_error": _OF_FILES,
    "background": _OF_FILES,
    "levels": _OF_FILES,
    "cache": _OF_FILES,
}
"""The kinds of data that options of pictures are for."""


def _check_data(data: configs.Data) -> None:
    """Raise ValueError for an option of pictures that neither side has."""
    for name, kinds in _WHOSE.items():
        given = getattr(data, name)
        if given != getattr(configs.Data(), name) and not {
            data.source.split(":")[0],
            data.target.split(":")[0],
        } & {*kinds}:
            raise ValueError(
                f"data.{name} {given} is for {', '.join(kinds)}, got {data.source} and {data.target}.\nLeave it out."
            )


def _check_noise(config: configs.Run) -> None:
    """Raise ValueError unless lines that start at samples of normal noise are given such samples."""
    recipe = config.recipe
    noise = config.data.source.split(":")[0] in ("noise", "gaussian")
    if isinstance(recipe, configs.PFGM) and recipe.extra is None and not noise:
        raise ValueError(
            f"recipe.extra None needs normal noise as P, got {config.data.source}.\n"
            "Set data.source to noise, or take cfm, ifm or tubes."
        )


def _check_sampling(config: configs.Run) -> None:
    """See before training that what comes after it can be done."""
    sampling = config.sampling
    if sampling.steps < 1:
        raise ValueError(f"sampling.steps must be a whole number >= 1, got {sampling.steps!r}.")
    if sampling.samples < 2:
        raise ValueError(f"sampling.samples must be at least 2 for a report, got {sampling.samples!r}.")
    guided = math.isfinite(sampling.guidance) and config.network.classes and config.recipe.label_dropout
    if sampling.guidance != 1.0 and not guided:
        raise ValueError(
            f"sampling.guidance {sampling.guidance} goes from the field without a label toward that of a class.\n"
            "Give a finite number, network.classes, and a recipe.label_dropout above 0."
        )


def _check_memory(config: configs.Run, dim: int) -> None:
    """See before training that a step and a report of samples of `dim` numbers can fit the memory.

    Raises:
        ValueError: One size alone needs more than there is.
    """
    least = {
        "recipe.charges": (config.recipe.charges, 2 * dim),  # a batch of either side
        "recipe.num_points": (config.recipe.num_points, 2 * dim),  # points and targets
        # weights, their average, two moments of Adam
        "network.width": (config.network.width, 4 * config.network.width),
        # starts, ends, and the samples as they are written
        "sampling.samples": (config.sampling.samples, 3 * dim),
        "pairs": (0 if config.reflow.run is None else config.reflow.pairs, 3 * dim),
    }
    for name, (value, numbers) in least.items():
        option = name.replace("_", "-")
        memory.check(f"{name} {value}", 4 * value * numbers, f"Give a smaller --{option}.")


def optimizer(config: configs.Optimizer, steps: int) -> optax.GradientTransformation:
    """Make the optimizer; `steps` is where a cosine ends.

    Raises:
        ValueError: A cosine would end before the warm-up does.
    """
    if config.cosine and steps <= config.warmup:
        raise ValueError(
            f"steps must be more than those of the warm-up, {config.warmup}, from which the rate falls along a cosine, got "
            f"{steps}; shorten the warm-up too, e.g. --optimizer.warmup {max(steps // 10, 0)}."
        )
    return training.adam(
        config.learning_rate,
        warmup=config.warmup,
        clip=config.clip,
        weight_decay=config.weight_decay,
        cosine_steps=steps if config.cosine else None,
    )


def stepping(config: configs.Run) -> lines.Stepping:
    """Return how a run's samples follow lines."""
    sampling = configs.complete(config).sampling
    if sampling.solver in ("tsit5", "dopri5"):
        return lines.adaptive(sampling.solver, clock=str(sampling.clock))
    return lines.fixed(sampling.solver, sampling.steps, clock=str(sampling.clock))
