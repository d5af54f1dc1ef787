"""The two sets of data of a run, and the space that the network sees."""

import math
from dataclasses import replace

from efm_jax.datasets import Source, open_source, opening, spaces, tables, white_noise
from efm_jax.datasets.spaces import Space
from efm_jax.models import configs


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


def check_data(data: configs.Data) -> None:
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


def check_noise(config: configs.Run) -> None:
    """Raise ValueError unless a method whose lines start at normal noise has such noise as P."""
    noise = config.data.source.split(":")[0] in ("noise", "gaussian")
    if isinstance(config.recipe, configs.PFGM) and not noise:
        raise ValueError(
            f"recipe.method pfgm starts at noise and would ignore P, got {config.data.source}.\n"
            "Set data.source to noise, or take a method of two sets: tubes, ifm, cfm, efm or c2fm."
        )
