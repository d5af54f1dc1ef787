"""Sources: where samples come from, as values; NumPy on the host, no JAX.

A `Source` holds one pure function, `draw(rng, n)`. `batch` gives it a generator made of `(seed, side, step)`
and nothing else, so a batch depends on its number alone: the position in the data is the training step, and a
resumed run sees exactly the batches the uninterrupted run would have seen.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float32

__all__ = ["Choice", "Columns", "Source", "batch", "chosen", "indices"]


class Columns(NamedTuple):
    """The columns of a table.

    Attributes:
        names: Their names.
        low: The smallest number in each; None where the samples have no ends.
        high: The largest, likewise.
    """

    names: tuple[str, ...]
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None


class Source(NamedTuple):
    """A distribution to draw from, or a finite set of samples.

    Attributes:
        draw: `draw(rng, n) -> samples [n, D]`, float32, D = prod(shape). Deterministic given the generator's state.
        shape: Shape of one sample before flattening: (D,) for vectors, (H, W, C) for pictures.
        size: Number of samples behind a finite set, None for a distribution.
        classes: Where samples have labels, the source of each class by itself, None for a class without samples; see
            `classes.with_classes`. None where they have none.
        paired: Whether row k of a batch belongs to row k of the other side's, see `from_pairs`.
        class_names: Names of the classes, in their order; None where they have none.
        columns: Names and ranges of the numbers of a sample, where it is the row of a table; else None.
    """

    draw: Callable[[np.random.Generator, int], Float32[np.ndarray, "n dim"]]
    shape: tuple[int, ...]
    size: int | None
    classes: "tuple[Source | None, ...] | None" = None
    paired: bool = False
    class_names: tuple[str, ...] | None = None
    columns: Columns | None = None

    def of_class(self, label: int) -> "Source":
        """Return the source of one class; of all samples for -1, or where samples have no labels.

        Raises:
            ValueError: There is no such class.
        """
        if label == -1 or self.classes is None:
            return self
        known = {k: one for k, one in enumerate(self.classes) if one is not None}
        if label not in known:
            raise ValueError(
                f"there are samples of the classes {[*known]}, or -1 for all of them, got {label}."
            )
        return known[label]


@dataclass(frozen=True)
class Choice:
    """The draw of a finite set in two parts: what is random, for all rows of a batch, then reading some of them.

    Attributes:
        choose: `choose(rng, n) -> (indices [n], ...)`: arrays with one row a sample. One that takes a third argument, rows
            [m] to choose among, can draw one class.
        read: `read(indices [k], ...) -> samples [k, D]`, from the same rows of each.
    """

    choose: Callable[..., tuple[np.ndarray, ...]]
    read: Callable[..., Float32[np.ndarray, "n dim"]]

    def among(self, rows: np.ndarray) -> "Choice":
        """Return the same draw among some of the samples."""
        return Choice(functools.partial(_among, self.choose, rows), self.read)

    def __call__(self, rng: np.random.Generator, n: int) -> Float32[np.ndarray, "n dim"]:
        """Draw all rows."""
        return self.read(*self.choose(rng, n))


def batch(
    source: Source, seed: int, side: int, step: int, n: int, *, rows: slice | None = None, labels: Any = None
) -> Float32[np.ndarray, "n dim"]:
    """Draw batch number `step` of one side: `source.draw(np.random.default_rng([seed, side, step]), n)`.

    Sources of pairs are drawn as side 0 on both sides, so that they choose the same rows.

    Args:
        source: Where to draw from.
        seed: Seed of the run, >= 0.
        side: Which plate the batch is for: 0 for P, 1 for Q (any integer >= 0).
        step: Number of the batch, >= 0.
        n: Number of samples, >= 1.
        rows: Which of them to return, e.g. those of one host; None for all. Of a finite set (a `Choice`) only these are
            read; a distribution is drawn whole, for its rows follow from one stream of random numbers.
        labels: Labels [g]: the batch comes in g equal groups of consecutive rows, group i with samples of class `labels[i]`
            alone; of all for -1, or where the source has no classes. With one group that is all, the batch is the
            one without labels.

    Raises:
        ValueError: If a number is negative or no integer, the source returns another shape or dtype, or there is no such
            class.

    Examples:
        >>> from efm_jax.datasets import toys
        >>> source = toys.moons()
        >>> first, again = batch(source, 0, 1, 7, 4), batch(source, 0, 1, 7, 4)
        >>> first.shape, bool((first == again).all())
        ((4, 2), True)
    """
    for name, value, least in (("seed", seed, 0), ("side", side, 0), ("step", step, 0), ("n", n, 1)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {value!r}.")
    if labels is not None:
        return _by_class(source, seed, side, step, n, rows, labels)
    if rows is not None and isinstance(source.draw, Choice):
        samples = source.draw.read(*(part[rows] for part in chosen(source, seed, side, step, n)))
    else:
        samples = source.draw(_generator(source, seed, side, step), int(n))
        samples = samples if rows is None else samples[rows]
    expected = (n if rows is None else len(range(n)[rows]), int(np.prod(source.shape)))
    if not isinstance(samples, np.ndarray) or samples.shape != expected or samples.dtype != np.float32:
        got = (
            f"{samples.dtype} {samples.shape}" if isinstance(samples, np.ndarray) else type(samples).__name__
        )
        raise ValueError(
            f"a source of shape {source.shape} must draw a float32 NumPy array {expected}, got {got}; end "
            "its draw with np.asarray(x, np.float32).reshape(n, -1)."
        )
    return samples


def chosen(
    source: Source, seed: int, side: int, step: int, n: int, *, labels: Any = None
) -> tuple[np.ndarray, ...]:
    """Return what is random of a batch of a finite set, as `batch` chooses it, before anything is read.

    Args:
        source: A finite set, whose draw is a `Choice`.
        seed: As in `batch`.
        side: As in `batch`.
        step: As in `batch`.
        n: As in `batch`.
        labels: As in `batch`.

    Returns:
        The arguments of `source.draw.read`, arrays with one row a sample.

    Examples:
        >>> from efm_jax.datasets import from_array
        >>> source = from_array(np.eye(4))
        >>> bool((source.draw.read(*chosen(source, 0, 1, 5, 3)) == batch(source, 0, 1, 5, 3)).all())
        True
    """
    if labels is None:
        return cast(Choice, source.draw).choose(_generator(source, seed, side, step), int(n))
    groups = _groups(source, step, n, labels)
    parts = (chosen(one, seed, side, number, n // len(groups)) for one, number in groups)
    return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))


def _generator(source: Source, seed: int, side: int, step: int) -> np.random.Generator:
    return np.random.default_rng([int(seed), 0 if source.paired else int(side), int(step)])


def indices(rng: np.random.Generator, size: int, n: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Draw n indices below `size`, or n of `rows`: without replacement where there are as many, else with."""
    if rows is not None:
        return rows[indices(rng, len(rows), n)]
    return rng.choice(size, n, replace=False) if n <= size else rng.integers(0, size, n)


def _among(
    choose: Callable[..., tuple[np.ndarray, ...]],
    own: np.ndarray,
    rng: np.random.Generator,
    n: int,
    rows: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    """Choose among the rows `own`, or among some of these."""
    return choose(rng, n, own if rows is None else own[rows])


def _groups(source: Source, step: int, n: int, labels: Any) -> list[tuple[Source, int]]:
    """The equal groups of a batch with labels, each as a batch of its own class: group i of step t is number t g + i."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer) or n % len(labels):
        raise ValueError(
            f"labels must hold one whole number for each group, as many groups as divide the {n} samples, got dtype "
            f"{labels.dtype} and shape {labels.shape}."
        )
    return [(source.of_class(label), step * len(labels) + k) for k, label in enumerate(labels.tolist())]


def _by_class(
    source: Source, seed: int, side: int, step: int, n: int, rows: slice | None, labels: Any
) -> np.ndarray:
    """The rows asked for of each group."""
    groups, parts = _groups(source, step, n, labels), []
    size, wanted = n // len(groups), range(n)[slice(None) if rows is None else rows]
    for group, (one, number) in enumerate(groups):
        first, past = (min(max(row - group * size, 0), size) for row in (wanted.start, wanted.stop))
        if first < past:
            part = None if past - first == size else slice(first, past)
            parts.append(batch(one, seed, side, number, size, rows=part))
    return np.concatenate(parts)
