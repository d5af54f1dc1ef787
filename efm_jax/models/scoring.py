"""The scores of a model's report: held-out samples to start from, scores of the ends of their lines."""

import string
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from efm_jax._core import files
from efm_jax.datasets import Source, as_pictures, batch, class_shares, readers, spaces
from efm_jax.datasets.classes import aligned, common_names
from efm_jax.datasets.spaces import Space
from efm_jax.evaluation import digits, paired, pictures, summary
from efm_jax.evaluation.features import efficientnet_lite0, open_extractor
from efm_jax.evaluation.samples import samples_report
from efm_jax.models import build, configs, seeds
from efm_jax.types import FieldLines, FieldMatching

__all__ = [
    "Direction",
    "check_features",
    "digit_of",
    "feature_scores",
    "held_out",
    "of_each_class",
    "of_its_classes",
    "open_data",
    "reconstruction",
    "round_trip",
    "score",
    "space_report",
    "starts_at_samples",
]

_FEWEST = 16
"""Fewer samples than this are not drawn for the sake of the shares of classes."""
_WRONG = 0.05
"""Share of the samples that may be of a class too many."""


class Direction(NamedTuple):
    """One direction of a map, with the samples at both ends.

    Attributes:
        reverse: Whether it goes from Q to P.
        names: The specifications of P and Q.
        train: The training samples of P and Q.
        test: The held-out samples of P and Q.
    """

    reverse: bool
    names: tuple[str, str]
    train: tuple[Source, Source]
    test: tuple[Source, Source]

    @property
    def start(self) -> int:
        """The side at which lines start: 0 for P, 1 for Q."""
        return int(self.reverse)

    @property
    def end(self) -> int:
        """The side at which lines end."""
        return 1 - int(self.reverse)

    @property
    def translates(self) -> bool:
        """Whether its inputs could be left as they are: not where pictures are made from noise."""
        source = self.train[self.start]
        return source.size is not None or len(source.shape) != 3

    @property
    def digits(self) -> tuple[bool, bool]:
        """Whether P and Q are digits, which the digit classifier can read."""
        first, second = map(_is_digits, self.names, self.train)
        return first, second

    @property
    def label(self) -> str:
        """What the direction is called in a report."""
        return summary.map_name(*self.names, back=self.reverse)

    def real(self, count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
        """Training samples and held-out samples of the end."""
        train, test = self.train[self.end], self.test[self.end]
        return held_out(train, count, side=2 + self.end), held_out(test, count, side=4 + self.end)


def digit_of(spec: str) -> int | None:
    """Return the digit of a specification such as `digits:3` or `mnist:PATH:3`, or None.

    Examples:
        >>> digit_of("digits:3"), digit_of("mnist:/data/mnist:2"), digit_of("digits"), digit_of("folder:3")
        (3, 2, None, None)
    """
    kind, _, rest = spec.partition(":")
    last = rest.rpartition(":")[2]
    return int(last) if kind in ("digits", "mnist") and last.isdigit() else None


def open_data(
    config: configs.Run, shape: tuple[int, ...], class_names: tuple[str, ...] | None = None
) -> tuple[tuple[Source, Source], ...]:
    """Open the training and the held-out samples of both sides, and check their shape and classes.

    Training samples come as they are, without jitter: ends of lines are compared with real samples.
    The classes of the held-out samples come in the order of those trained on: a small set may lack some.
    """
    try:
        as_they_are = replace(config.data, jitter=0.0)
        pairs = tuple(build.sources(as_they_are, split=split) for split in ("train", "test"))
    except FileNotFoundError as error:
        raise ValueError(
            f"{error}\nSay where the data are with --source and --target (source=, target=)."
        ) from error
    if pairs[0][0].shape != shape:
        raise ValueError(
            f"the model carries samples of shape {shape}, {config.data.source} and {config.data.target} have "
            f"{pairs[0][0].shape}; give data of that shape."
        )
    build.labeled(config, pairs[0])
    if config.network.classes is None:
        return pairs
    build.check_classes(config.data, pairs[0], class_names, "the model")
    names = common_names(*pairs[0])
    pos, neg = (aligned(source, names) for source in pairs[1])
    return pairs[0], (pos, neg)


def starts_at_samples(recipe: FieldMatching, shape: tuple[int, ...]) -> bool:
    """Return whether lines start at the samples themselves both ways, so that they can be followed back; pfgm's do not."""
    x = np.zeros((1, int(np.prod(shape))), np.float32)
    keys = jax.random.key(0), jax.random.key(1)
    starts = [[np.asarray(recipe.start(key, x, reverse)) for key in keys] for reverse in (False, True)]
    return all(np.array_equal(one, other) for one, other in starts)


def check_features(features: str | None) -> None:
    """Check the features of a report before lines are followed."""
    known = features in (None, "efficientnet", "none")
    if not known and not (features or "").startswith("inception:"):
        raise ValueError(
            f"features of a run must be 'efficientnet', 'inception:FILE', 'none' or None, got {features!r}."
        )
    if not known:
        open_extractor(str(features))


def held_out(source: Source, count: int, *, side: int) -> np.ndarray:
    """Draw the same samples of a source for all runs: of a finite one, at most all."""
    n = count if source.size is None else min(count, source.size)
    return batch(source, seeds.REPORTS, side, 0, n)


def of_each_class(
    source: Source, pair: tuple[Source, Source], count: int, *, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw held-out samples of all classes in turn, with their labels; of any class where the source has none."""
    labeled = next(one for one in (source, *pair[::-1]) if one.classes is not None)
    known = class_shares(labeled) > 0
    return _of_classes(source, known * max(count // int(known.sum()), 1), side)


def of_its_classes(direction: Direction, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw held-out samples of the start, with their labels: of each class by its share of real samples of the end.

    Their ends are compared with those real samples. Of a class at most all that are held out are drawn, and fewer of all
    others where more than `_WRONG` of the samples would be of a class too many.
    """
    start, real = direction.test[direction.start], direction.train[direction.end]
    labeled = next(one for one in (real, start, direction.train[direction.start]) if one.classes is not None)
    shares = class_shares(labeled)
    held = np.asarray([_held(start, label) for label in range(len(shares))])
    shares = np.where(held > 0, shares, 0.0) if (shares[held > 0] > 0).any() else 1.0 * (held > 0)
    shares = shares / shares.sum()
    for n in range(count, _FEWEST, -1):
        drawn = np.minimum(_allotted(shares, n), held)
        if np.abs(drawn / drawn.sum() - shares).sum() <= 2 * _WRONG:  # one too many here is one too few there
            return _of_classes(start, drawn, direction.start)
    return _of_classes(start, np.minimum(_allotted(shares, count), held), direction.start)


def _held(source: Source, label: int) -> float:
    """How many samples of a class a source can draw."""
    if source.classes is not None and (label >= len(source.classes) or source.classes[label] is None):
        return 0
    size = source.of_class(label).size
    return np.inf if size is None else size


def _allotted(shares: np.ndarray, count: int) -> np.ndarray:
    """So many samples of each class, by largest remainders."""
    whole = np.floor(shares * count)
    rest = np.argsort(whole - shares * count, kind="stable")[: count - int(whole.sum())]
    whole[rest] += 1
    return whole


def _of_classes(source: Source, counts: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw so many samples of each class, spread evenly over the batch, with their labels."""
    classes = np.flatnonzero(counts).astype(np.int32)
    each = counts[classes].astype(int).tolist()
    drawn = [
        batch(source.of_class(int(label)), seeds.REPORTS, side, number, n)
        for number, (label, n) in enumerate(zip(classes, each, strict=True))
    ]
    in_turn = np.argsort(np.concatenate([(np.arange(n) + 0.5) / n for n in each]), kind="stable")
    return np.concatenate(drawn)[in_turn], np.repeat(classes, each)[in_turn]


def _is_digits(name: str, source: Source) -> bool:
    """Whether a specification is of digits alone: EMNIST has letters too, which its mapping names."""
    kind, _, rest = name.partition(":")
    names, digit = source.class_names or (), digit_of(name)
    if kind == "mnist" and digit is not None and files.expanded(path := rest.rpartition(":")[0]).is_dir():
        names = (readers.read_names(path).get(digit, str(digit)),)
    return kind in ("digits", "mnist") and {*names} <= {*string.digits}


def score(
    x: np.ndarray, y: np.ndarray, lines: FieldLines, direction: Direction, *, inputs: bool = True
) -> dict[str, Any]:
    """Score outputs `y` of inputs `x` against real samples: read as digits, or compared in sample space.

    Of a translation, `inputs` scores the inputs as they are too.
    """
    cost: dict[str, Any] = {
        "arrived": np.asarray(lines.arrived),
        "num_evaluations": np.asarray(lines.num_evaluations),
    }
    real_a, real_b = direction.real()
    target = digit_of(direction.names[direction.end])
    left = x if inputs and direction.translates else None
    if all(direction.digits) and target is not None:
        return digits.translation_report(x, y, real_a, real_b, target_digit=target, **cost)
    if direction.digits[direction.end]:
        return digits.generation_report(y, real_a, real_b, inputs=left, **cost)
    return samples_report(y, real_a, real_b, inputs=left, **cost)


def round_trip(x: np.ndarray, lines: FieldLines, back: FieldLines) -> dict[str, Any]:
    """Measure how far samples are from the ends of their lines there and back, root mean square per dimension.

    Exact lines of any field come back exactly: what is left is the solver's error, of both ways, where the field is smooth
    and where it is not. It says nothing of whether lines end at the right place.

    Args:
        x: The samples [n, D]; of a run in components, as these hold them.
        lines: Their lines; more may follow.
        back: The lines from the ends of those [n, ...].
    """
    n = len(x)
    ends = np.asarray(back.end)[:, :-1]
    whole = np.asarray(lines.arrived)[:n] & np.asarray(back.arrived) & np.isfinite(ends).all(axis=1)
    evaluations = np.asarray(lines.num_evaluations)[:n] + np.asarray(back.num_evaluations)
    x, ends = (part[whole].astype(np.float64) for part in (x, ends))
    squares = np.mean((ends - x) ** 2, axis=1)
    value = float(np.sqrt(squares.mean())) if len(x) else None
    error = float(np.std(squares, ddof=1) / (2.0 * value * np.sqrt(len(x)))) if value and len(x) > 1 else None
    return {
        "value": value,
        "standard_error": error,
        "floor": 0.0,
        "of_others": float(np.sqrt(np.mean((x - np.roll(x, 1, axis=0)) ** 2))) if len(x) > 1 else None,
        "n": len(x),
        "left_out": n - len(x),
        "evaluations": float(evaluations.mean()),
        "how": "root mean square per dimension between samples and the ends of their lines there and back; floor: 0, exact "
        "lines of any field; of_others: between a sample and another one; evaluations of both ways; left out: lines that "
        "did not arrive",
    }


def space_report(space: Space, names: tuple[str, str], test: tuple[Source, Source]) -> dict[str, Any]:
    """Describe the space of a run, and the share of the variance of held-out samples that it keeps."""
    kept = {
        name: spaces.explained(space, held_out(source, 2000, side=4 + side))
        for side, (name, source) in enumerate(zip(names, test, strict=True))
        if name.partition(":")[0] != "noise"
    }
    return {
        "components": len(space.scale),
        "unit": float(space.scale[0]),
        "explained": kept,
        "how": "share of the variance of held-out samples that encoding and decoding leaves; unit: spread of a typical "
        "component in units of the data, which is 1 of gaps and widths",
    }


def reconstruction(space: Space, count: int, direction: Direction) -> dict[str, Any]:
    """Score real samples of the end, encoded and decoded and no more: the best that a map in the space can reach."""
    # distances in sample space are to held-out samples, those of digits to samples of training: take the others
    train, test = direction.real()
    real = (test if direction.digits[direction.end] else train)[:count]
    kept = space.decode(space.encode(real))
    still = FieldLines(jnp.asarray(kept), None, jnp.ones(len(kept), bool), jnp.zeros(len(kept), int))
    scores = score(real, kept, still, direction, inputs=False)
    return {name: value for name, value in scores.items() if name not in ("arrived", "evaluations")}


def feature_scores(
    x: np.ndarray, y: np.ndarray, direction: Direction, cache: str | Path | None, features: str | None
) -> dict[str, Any]:
    """Score outputs on features against training pictures, and against their inputs where these are data; or say why not."""
    shape = direction.test[direction.end].shape
    finite = np.isfinite(y).all(axis=1)
    x, y = x[finite], y[finite]
    real = direction.real(min(len(y), 2000))
    fewest = min(map(len, (y, *real)))
    if fewest < pictures.LEAST:
        return {"left_out": f"{fewest} pictures of a side are too few; at least {pictures.LEAST} are needed"}
    try:
        extractor = efficientnet_lite0() if features in (None, "efficientnet") else open_extractor(features)
    except ImportError as error:
        if features is not None:
            raise
        return {"left_out": str(error).removesuffix(".")}
    outputs, *real = (as_pictures(part, shape) for part in (y, *real))
    inputs = as_pictures(x, shape) if direction.translates else None
    report = pictures.pictures_report(outputs, *real, inputs=inputs, extractor=extractor, cache=cache)
    if inputs is not None:
        report["own_input"] = paired.paired_report(outputs, inputs, extractor=extractor, cache=cache)
    return report
