"""Classes: sources whose samples have labels, and the labels of a training step.

The conditional field of class c is that of the samples of class c alone, so a minibatch holds one class: `draw_labels`
chooses it, `batch(labels=...)` draws it. A share of the minibatches is of all classes and has no label (-1): they teach
the unconditional field, which guidance needs.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32, Integer

from efm_jax.datasets.source import Choice, Source, chosen

__all__ = [
    "NULL",
    "aligned",
    "check_labeling",
    "check_pairs",
    "class_shares",
    "common_names",
    "draw_labels",
    "numbered",
    "with_classes",
]

NULL = -1
"""The label of no class: all of them."""
_STREAM = 9  # the generator of labels is apart from those of samples, whose second number is the side


def with_classes(source: Source, labels: Any, names: Sequence[str] | None = None) -> Source:
    """Give labels to the samples of a finite source: the same draws, and each class by itself.

    Pairs stay pairs in each class where both sides are given the same labels, see `check_pairs`.

    Args:
        source: A finite set, as `from_array`, `from_pictures`, `digit_source` make it.
        labels: Whole numbers >= 0, [size], in the order of its samples.
        names: Name of each class; None for none. Classes of two sides that have names are matched by them.

    Returns:
        The source with `classes`, as many as there are names, or else as the largest label says; one without samples is
        None.

    Raises:
        ValueError: The source is no finite set of this package, or the labels do not fit it or the names.

    Examples:
        >>> from efm_jax.datasets import batch, from_array
        >>> source = with_classes(from_array(np.array([[0.0], [10.0], [11.0]])), [0, 1, 1])
        >>> batch(source, 0, 0, 0, 4, labels=[1, 0]).ravel().round().tolist()[2:]
        [0.0, 0.0]
    """
    labels = np.asarray(labels)
    if not isinstance(source.draw, Choice):
        raise ValueError(
            "labels need a finite source, as from_array or from_pictures make it.\n"
            "For a distribution write Source(draw, shape, None, classes=...) with one source for each class."
        )
    if labels.shape != (source.size,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise ValueError(
            f"labels must be whole numbers >= 0, one for each of the {source.size} samples, got dtype {labels.dtype} and "
            f"shape {labels.shape}{f' from {labels.min()}' if labels.size else ''}; number the classes, e.g. by "
            "np.unique(names, return_inverse=True)[1]."
        )
    names = None if names is None else tuple(map(str, names))
    if names is not None and (len(set(names)) < len(names) or labels.max() >= len(names)):
        raise ValueError(f"names must be different ones for the classes 0 to {labels.max()}, got {names}.")
    rows = [np.flatnonzero(labels == label) for label in range(len(names or range(int(labels.max()) + 1)))]
    draws = [source.draw.among(of) for of in rows]
    classes = (
        Source(draw, source.shape, len(of), paired=source.paired) if len(of) else None
        for draw, of in zip(draws, rows, strict=True)
    )
    return source._replace(classes=tuple(classes), class_names=names)


def numbered(values: Any) -> tuple[Integer[np.ndarray, " n"], tuple[str, ...]]:
    """Number classes given by text or by whole numbers, in natural order: labels [n] and names.

    Examples:
        >>> labels, names = numbered(["10", "2", "2", "b1"])
        >>> labels.tolist(), names
        ([1, 0, 0, 2], ('2', '10', 'b1'))
    """
    known, labels = np.unique(values, return_inverse=True)
    names = known.astype(str).tolist()
    order = sorted(range(len(names)), key=lambda k: _natural(names[k]))
    return np.argsort(order)[labels.reshape(-1)], tuple(names[k] for k in order)


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return the key by which names are sorted as people do: "2" before "10"."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name


def aligned(source: Source, names: Sequence[str] | None) -> Source:
    """Return a source with its classes in the order of `names`, None for those it lacks; without names it stays as it is.

    Raises:
        ValueError: It has a class of another name.

    Examples:
        >>> from efm_jax.datasets import from_array
        >>> source = with_classes(from_array(np.eye(3)), [0, 0, 1], ["ant", "cat"])
        >>> [one and one.size for one in aligned(source, ["cat", "bee", "ant"]).classes]
        [1, None, 2]
    """
    if names is None or source.class_names is None or source.classes is None:
        return source
    unknown = [name for name in source.class_names if name not in names]
    if unknown:
        raise ValueError(
            f"there are samples of the classes {', '.join(unknown)}, and the known ones are {', '.join(names)}.\nRename "
            "these classes (of pictures: their folders), or leave them out."
        )
    known = dict(zip(source.class_names, source.classes, strict=True))
    return source._replace(classes=tuple(known.get(name) for name in names), class_names=tuple(names))


def common_names(source_pos: Source, source_neg: Source) -> tuple[str, ...] | None:
    """Return the names of the classes of P and Q, which must be the same; None where neither side has any.

    Raises:
        ValueError: One side has a class that the other lacks, or they have another order.
    """
    pos, neg = source_pos.class_names, source_neg.class_names
    if pos is None or neg is None or pos == neg:
        return pos or neg
    apart = [
        f"only in {side}: {', '.join(name for name in own if name not in other)}"
        for side, own, other in (("P", pos, neg), ("Q", neg, pos))
        if set(own) - set(other)
    ] or [f"P has the order {', '.join(pos)}, Q {', '.join(neg)}"]
    raise ValueError(
        f"P and Q do not have the same classes: {'; '.join(apart)}.\nClasses are matched by name: rename those that belong "
        "together (of pictures: their folders), and leave out those without a partner."
    )


def check_pairs(source_pos: Source, source_neg: Source) -> None:
    """Raise ValueError unless rows that belong together, as those of `from_pairs`, have one label.

    Examples:
        >>> from efm_jax.datasets import from_pairs
        >>> check_pairs(*(with_classes(one, [0, 1]) for one in from_pairs(np.eye(2), np.eye(2))))
    """
    if not (source_pos.paired and source_neg.paired):
        return
    pos, neg = (
        [_rows(one) if one else np.empty(0) for one in source.classes or ()]
        for source in (source_pos, source_neg)
    )
    if len(pos) != len(neg) or not all(map(np.array_equal, pos, neg)):
        raise ValueError(
            "rows of pairs have other labels in P than in Q.\n"
            "Give the same to both: [with_classes(one, labels) for one in from_pairs(x, y)]."
        )


def _rows(source: Source) -> np.ndarray:
    """The rows of a class, in an order of its own."""
    if not isinstance(source.draw, Choice):
        return np.empty(0)  # nothing says which rows a distribution draws
    return chosen(source, 0, 0, 0, source.size or 0)[0]


def class_shares(source: Source) -> Float64[np.ndarray, " classes"]:
    """Return the share of each class of a source; those of a distribution are equal.

    Raises:
        ValueError: The source has no classes.

    Examples:
        >>> from efm_jax.datasets import from_array
        >>> class_shares(with_classes(from_array(np.eye(4)), [0, 2, 2, 2])).tolist()
        [0.25, 0.0, 0.75]
    """
    if source.classes is None:
        raise ValueError("the source has no classes; open labeled data, or give it some by with_classes.")
    sizes = [0 if one is None else 1 if one.size is None else one.size for one in source.classes]
    return np.asarray(sizes, np.float64) / sum(sizes)


def draw_labels(
    source: Source, seed: int, step: int, groups: int = 1, *, dropout: float = 0.1
) -> Int32[np.ndarray, " groups"]:
    """Draw the labels of a training step's groups of rows: class c by its share, or -1 with probability `dropout`.

    They follow from seed and step alone, and samples do not depend on how they are drawn: with `dropout=1` and one group a
    run sees, bit for bit, the samples of a run without labels.

    Args:
        source: A source with classes.
        seed: Seed of the run, >= 0.
        step: The step, >= 0.
        groups: How many labels.
        dropout: Probability of -1, which stands for samples of all classes.

    Raises:
        ValueError: The source has no classes, `dropout` is not in [0, 1], or `groups` is not a whole number >= 1.

    Examples:
        >>> from efm_jax.datasets import from_array
        >>> source = with_classes(from_array(np.eye(3)), [0, 0, 1])
        >>> draw_labels(source, 0, 5, 4, dropout=1.0).tolist(), set(draw_labels(source, 0, 5, 99, dropout=0.0).tolist())
        ([-1, -1, -1, -1], {0, 1})

    Source: Ho and Salimans (2022), "Classifier-free diffusion guidance", arXiv 2207.12598, Algorithm 1.
    """
    check_labeling(dropout, groups)
    shares = class_shares(source)
    rng = np.random.default_rng([int(seed), _STREAM, int(step)])
    labels = rng.choice(len(shares), groups, p=shares)
    return np.where(rng.random(groups) < dropout, NULL, labels).astype(np.int32)


def check_labeling(dropout: float, groups: int) -> None:
    """Raise ValueError unless labels can be drawn so."""
    if not 0.0 <= dropout <= 1.0:
        raise ValueError(f"label dropout must be a probability in [0, 1], got {dropout!r}.")
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1:
        raise ValueError(f"label groups must be a whole number >= 1, got {groups!r}.")
