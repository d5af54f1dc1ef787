"""Classes: sources whose samples have labels, and the labels of a training step.

The conditional field of class c is that of the samples of class c alone, so a minibatch holds one class: `draw_labels`
chooses it, `batch(labels=...)` draws it. A share of the minibatches is of all classes and has no label (-1): they teach
the unconditional field, which guidance needs.
"""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int32

from efm_jax.datasets.source import Choice, Source

__all__ = ["NULL", "check_labeling", "class_shares", "draw_labels", "with_classes"]

NULL = -1
"""The label of no class: all of them."""
_STREAM = 9  # the generator of labels is apart from those of samples, whose second number is the side


def with_classes(source: Source, labels: Any) -> Source:
    """Give labels to the samples of a finite source: the same draws, and each class by itself.

    Args:
        source: A finite set, as `from_array`, `from_pictures`, `digit_source` make it.
        labels: Whole numbers >= 0, [size], in the order of its samples.

    Returns:
        The source with `classes`, as many as the largest label says; one without samples is None.

    Raises:
        ValueError: The source is no finite set of this package, or the labels do not fit it.

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
    rows = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    draws = [source.draw.among(of) for of in rows]
    classes = (
        Source(draw, source.shape, len(of)) if len(of) else None for draw, of in zip(draws, rows, strict=True)
    )
    return source._replace(classes=tuple(classes))


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

    Returns:
        Labels, -1 or a class.

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
