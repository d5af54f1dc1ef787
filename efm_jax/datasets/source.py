"""A source: where samples come from, as a value; NumPy on the host, no JAX.

A `Source` holds one pure function, `draw(rng, n)`. `batch` gives it a generator made of `(seed, side, step)`
and nothing else, so a batch depends on its number alone: the position in the data is the training step, and a
resumed run sees exactly the batches the uninterrupted run would have seen.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8


class Source(NamedTuple):
    """A law to draw from, or a finite set of samples.

    Attributes:
        draw: `draw(rng, n) -> samples [n, D]`, float32, D = prod(shape). Deterministic given the generator's
            state.
        shape: Shape of one sample before flattening: (D,) for vectors, (H, W, C) for pictures.
        size: Number of samples behind a finite set, None for a law with no end.
        classes: Where samples have labels, the source of each class by itself, None for a class without samples; see
            `classes.with_classes`. None where they have none.
        paired: Whether row k of a batch belongs to row k of the other side's, see `from_pairs`.
    """

    draw: Callable[[np.random.Generator, int], Float32[np.ndarray, "n dim"]]
    shape: tuple[int, ...]
    size: int | None
    classes: "tuple[Source | None, ...] | None" = None
    paired: bool = False

    def of_class(self, label: int) -> "Source":
        """The samples of one class; all of them for -1, or where samples have no labels.

        Raises:
            ValueError: There is no such class.
        """
        if label == -1 or self.classes is None:
            return self
        there = {k: one for k, one in enumerate(self.classes) if one is not None}
        if label not in there:
            raise ValueError(
                f"there are samples of the classes {[*there]}, or -1 for all of them, got {label}."
            )
        return there[label]


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
        """The same draw among some of the samples."""
        return Choice(functools.partial(self.choose, rows=rows), self.read)

    def __call__(self, rng: np.random.Generator, n: int) -> Float32[np.ndarray, "n dim"]:
        """All rows."""
        return self.read(*self.choose(rng, n))


def batch(
    source: Source,
    seed: int,
    side: int,
    step: int,
    n: int,
    *,
    rows: slice | None = None,
    labels: Any = None,
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
            read; a law is drawn whole, for its rows follow from one stream of random numbers.
        labels: Labels [g]: the batch comes in g equal groups of consecutive rows, group i with samples of class `labels[i]`
            alone; of all for -1, or where the source has no classes. With one group that is all, the batch is the
            one without labels.

    Returns:
        Samples [n, D], float32, or those of `rows`.

    Raises:
        ValueError: If a number is negative or no integer, the source returns another shape or dtype, or there is no such
            class.

    Example:
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
    rng = np.random.default_rng([int(seed), 0 if source.paired else int(side), int(step)])
    if rows is not None and isinstance(source.draw, Choice):
        samples = source.draw.read(*(part[rows] for part in source.draw.choose(rng, int(n))))
    else:
        samples = source.draw(rng, int(n))
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


def from_array(array: Any) -> Source:
    """A finite set of floating-point samples, drawn as they are.

    A batch of n <= size samples is drawn without replacement inside the batch; a larger one with replacement.

    Args:
        array: Samples [n, ...] of a floating dtype, finite; kept as float32 and not copied when already so.

    Returns:
        A source of shape `array.shape[1:]` and size n.

    Raises:
        ValueError: If the array is empty, has no sample axis, is no floating dtype, or holds NaN or infinity.

    Example:
        >>> source = from_array(np.eye(3))
        >>> source.shape, source.size, float(batch(source, 0, 0, 0, 3).sum())
        ((3,), 3, 3.0)
    """
    array = np.asarray(array)
    if array.dtype == np.uint8:
        raise ValueError(
            f"array holds uint8 numbers of shape {array.shape}; if they are pictures use "
            "from_pictures(array), else convert them: array.astype('float32')."
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"array must hold floating-point numbers, got dtype {array.dtype}; convert it, e.g. "
            "array.astype('float32')."
        )
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            "array must have shape [n, ...] with n >= 1 samples of at least one number each, got "
            f"{array.shape}; for one-dimensional samples use array.reshape(-1, 1)."
        )
    # a float64 beyond float32's range becomes inf and is reported just below
    with np.errstate(over="ignore"):
        samples = np.asarray(array, np.float32).reshape(len(array), -1)
    bad = np.logical_not(np.isfinite(samples).all(axis=1))
    if bad.any():
        raise ValueError(
            f"array holds NaN, infinite or (for float32) too large numbers in {int(bad.sum())} of "
            f"{len(bad)} samples, the first at index {int(bad.argmax())}; remove them: "
            "array[np.isfinite(array).reshape(len(array), -1).all(1)]."
        )

    def choose(rng: np.random.Generator, n: int, rows: np.ndarray | None = None) -> tuple[np.ndarray]:
        return (indices(rng, len(samples), n, rows),)

    return Source(Choice(choose, samples.__getitem__), tuple(array.shape[1:]), len(samples))


def from_pairs(x_pos: Any, x_neg: Any) -> tuple[Source, Source]:
    """Two finite sets whose rows belong together: batches of one number hold the same rows of both.

    What `couplings.given()` pairs. Batches are drawn as in `from_array`.

    Args:
        x_pos: Samples of P, [n, ...] of a floating dtype, finite.
        x_neg: Their partners of Q, row by row, of the same shape.

    Returns:
        The sources of P and of Q.

    Raises:
        ValueError: The two differ in shape, or one is not as `from_array` needs it.

    Example:
        >>> p, q = from_pairs(np.eye(3), 2 * np.eye(3))
        >>> bool((2 * batch(p, 0, 0, 5, 2) == batch(q, 0, 1, 5, 2)).all())
        True
    """
    if np.shape(x_pos) != np.shape(x_neg):
        raise ValueError(
            f"pairs are row by row, so both sides must have one shape, got {np.shape(x_pos)} and {np.shape(x_neg)}."
        )
    pos, neg = (from_array(x)._replace(paired=True) for x in (x_pos, x_neg))
    return pos, neg


def from_pictures(images: Any, *, flip: bool = False) -> Source:
    """A finite set of 8-bit pictures, scaled to [-1, 1] and flattened HWC at each draw: `x = v / 127.5 - 1`.

    Batches are drawn as in `from_array`. The pictures stay uint8 in memory.

    Args:
        images: Pictures [n, H, W] (grey) or [n, H, W, C], uint8.
        flip: Whether each drawn picture is mirrored left to right with probability 1/2.

    Returns:
        A source of shape (H, W, C) and size n.

    Raises:
        ValueError: If `images` is not uint8, has another number of axes, or is empty.

    Example:
        >>> source = from_pictures(np.full((5, 4, 4), 255, np.uint8))
        >>> source.shape, batch(source, 0, 0, 0, 2).shape, float(batch(source, 0, 0, 0, 2).max())
        ((4, 4, 1), (2, 16), 1.0)
    """
    images = eight_bit("images", images, (3, 4))
    if images.ndim == 3:
        images = images[..., None]

    def choose(rng: np.random.Generator, n: int, rows: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        index = indices(rng, len(images), n, rows)
        return (index, rng.random(n) < 0.5) if flip else (index,)

    def read(index: np.ndarray, mirrored: np.ndarray | None = None) -> np.ndarray:
        chosen = images[index]
        if mirrored is not None:
            chosen[mirrored] = chosen[mirrored, :, ::-1]
        return scaled(chosen).reshape(len(index), -1)

    return Source(Choice(choose, read), tuple(images.shape[1:]), len(images))


def white_noise(shape: Sequence[int], *, std: float = 1.0) -> Source:
    """Independent normal numbers: every coordinate N(0, std^2).

    Args:
        shape: Shape of one sample, e.g. (32, 32, 3).
        std: Standard deviation, > 0.

    Returns:
        A source without end.

    Raises:
        ValueError: If the shape is empty or not positive, or `std` is not a finite number > 0.

    Example:
        >>> batch(white_noise((2, 2, 3)), 0, 0, 0, 5).shape
        (5, 12)
    """
    shape = tuple(int(side) for side in shape)
    if not shape or min(shape) < 1:
        raise ValueError(f"shape must hold integers >= 1, got {shape}.")
    if not (np.isfinite(std) and std > 0):
        raise ValueError(f"std must be a finite number > 0, got {std!r}.")
    dim = int(np.prod(shape))

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        return rng.standard_normal((n, dim), dtype=np.float32) * np.float32(std)

    return Source(draw, shape, None)


def as_pictures(x: Any, shape: tuple[int, ...]) -> UInt8[np.ndarray, "n height width channels"]:
    """Flattened samples in [-1, 1] back to 8-bit pictures: `v = round(127.5 (x + 1))`, clipped to 0..255.

    Args:
        x: Samples [n, H*W*C].
        shape: (H, W, C), as in `Source.shape`.

    Returns:
        Pictures [n, H, W, C], uint8.

    Raises:
        ValueError: If `shape` is not (H, W, C) or does not hold D numbers, or `x` holds NaN.

    Example:
        >>> as_pictures(np.array([[-1.0, 1.0]]), (1, 2, 1)).ravel().tolist()
        [0, 255]
    """
    x = np.asarray(x, np.float32)
    if len(shape) != 3 or x.ndim != 2 or x.shape[1] != int(np.prod(shape)):
        raise ValueError(
            f"x must have shape [n, H*W*C] and shape be (H, W, C), got {x.shape} and {tuple(shape)}."
        )
    if np.isnan(x).any():
        raise ValueError(
            f"x holds NaN in {int(np.isnan(x).any(axis=1).sum())} of {len(x)} pictures; remove those first."
        )
    return np.clip(np.rint((x + 1.0) * 127.5), 0, 255).astype(np.uint8).reshape(-1, *shape)


def split_mask(n: int, split: str, held_out: float) -> np.ndarray:
    """Which of n samples belong to a split: index i is held out when `frac(i (sqrt(5) - 1)/2) < held_out`.

    The golden-ratio sequence is spread evenly, so every run of indices (a class of a sorted set) holds out
    its share, and it depends on no random generator.

    Args:
        n: Number of samples.
        split: "train", "test" (held out) or "all".
        held_out: Share held out, in (0, 1).

    Returns:
        Boolean mask [n].

    Raises:
        ValueError: If the split is unknown, the share is outside (0, 1), or nothing is left.

    Example:
        >>> split_mask(10, "test", 0.2).astype(int).tolist()
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    """
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    return chosen_split(np.mod(np.arange(n) * golden, 1.0), split, held_out)


def chosen_split(numbers: np.ndarray, split: str, held_out: float) -> np.ndarray:
    """Mask of a split, given each sample's own number in [0, 1): those below `held_out` are the test set."""
    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be 'train', 'test' or 'all', got {split!r}.")
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"held_out must be a share in (0, 1), got {held_out!r}.")
    test = numbers < held_out
    mask = np.ones_like(test) if split == "all" else test if split == "test" else ~test
    if not mask.any():
        raise ValueError(
            f"the {split} split of {len(numbers)} samples is empty at held_out={held_out}; change held_out "
            "or add samples."
        )
    return mask


def eight_bit(name: str, images: Any, ndims: tuple[int, ...]) -> np.ndarray:
    """Return `images` as a non-empty uint8 array of one of `ndims` axes, or raise ValueError."""
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise ValueError(
            f"{name} must be 8-bit pictures (uint8, 0..255), got dtype {images.dtype}; for floating-point "
            "samples use from_array."
        )
    if images.ndim not in ndims or images.size == 0:
        axes = " or ".join("[n, H, W]" if k == 3 else "[n, H, W, C]" for k in ndims)
        raise ValueError(f"{name} must have shape {axes} with no empty axis, got {images.shape}.")
    return images


def scaled(images: np.ndarray) -> np.ndarray:
    """8-bit numbers to float32 in [-1, 1]."""
    return images.astype(np.float32) / np.float32(127.5) - np.float32(1.0)


def indices(rng: np.random.Generator, size: int, n: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Draw n indices below `size`, or n of `rows`: without replacement where there are as many, else with."""
    if rows is not None:
        return rows[indices(rng, len(rows), n)]
    return rng.choice(size, n, replace=False) if n <= size else rng.integers(0, size, n)


def _by_class(
    source: Source, seed: int, side: int, step: int, n: int, rows: slice | None, labels: Any
) -> np.ndarray:
    """Equal groups of rows, each of its own class and number: group i of step t is batch t g + i of that class."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer) or n % len(labels):
        raise ValueError(
            f"labels must hold one whole number for each group, as many groups as divide the {n} samples, got dtype "
            f"{labels.dtype} and shape {labels.shape}."
        )
    size, wanted, parts = n // len(labels), range(n)[slice(None) if rows is None else rows], []
    for group, label in enumerate(labels.tolist()):
        first, past = (min(max(row - group * size, 0), size) for row in (wanted.start, wanted.stop))
        if first < past:
            part = None if past - first == size else slice(first, past)
            number = step * len(labels) + group
            parts.append(batch(source.of_class(label), seed, side, number, size, rows=part))
    return np.concatenate(parts)
