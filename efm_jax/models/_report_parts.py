"""What a run's report is made of: held-out samples to start from, scores of where their lines end."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efm_jax.datasets import Source, as_pictures, batch, class_shares, spaces
from efm_jax.datasets.spaces import Space
from efm_jax.evaluation import digits as evaluation
from efm_jax.evaluation import folders, partners
from efm_jax.evaluation.features import efficientnet_lite0, open_extractor
from efm_jax.models import build, configs
from efm_jax.types import FieldLines, FieldMatching

EVALUATION_SEED = 20_000
"""Seeds the samples and noise of reports, whatever the run's seed: runs are scored on the same inputs."""


def digit_of(spec: str) -> int | None:
    """Return the digit of a specification such as `digits:3` or `mnist:PATH:3`, or None.

    Examples:
        >>> digit_of("digits:3"), digit_of("mnist:/data/mnist:2"), digit_of("digits"), digit_of("folder:3")
        (3, 2, None, None)
    """
    kind, _, rest = spec.partition(":")
    last = rest.rpartition(":")[2]
    return int(last) if kind in ("digits", "mnist") and last.isdigit() else None


def opened(config: configs.Run, shape: tuple[int, ...]) -> list[tuple[Source, Source]]:
    """Training and held-out samples of both sides, of the shape and the classes of the model."""
    try:
        pairs = [build.sources(config.data, split=split) for split in ("train", "test")]
    except FileNotFoundError as error:
        raise ValueError(
            f"{error} Say where the data are by --source and --target (source=, target=)."
        ) from error
    if pairs[0][0].shape != shape:
        raise ValueError(
            f"the model carries samples of shape {shape}, {config.data.source} and {config.data.target} have "
            f"{pairs[0][0].shape}; give data of that shape."
        )
    build.labeled(config, pairs[0])
    return pairs


def starts_at_samples(recipe: FieldMatching, shape: tuple[int, ...]) -> bool:
    """Whether lines start at the samples themselves both ways, so that they can be followed back; pfgm's do not."""
    x = np.zeros((1, int(np.prod(shape))), np.float32)
    keys = jax.random.key(0), jax.random.key(1)
    starts = [[np.asarray(recipe.start(key, x, reverse)) for key in keys] for reverse in (False, True)]
    return all(np.array_equal(one, other) for one, other in starts)


def check_features(features: str | None) -> None:
    """See what features a run is asked for, before lines are followed."""
    known = features in (None, "efficientnet", "none")
    if not known and not (features or "").startswith("inception:"):
        raise ValueError(
            f"features of a run must be 'efficientnet', 'inception:FILE', 'none' or None, got {features!r}."
        )
    if not known:
        open_extractor(str(features))


def held_out(source: Source, count: int, *, side: int) -> np.ndarray:
    """The same samples of a source for all runs: of a finite one, at most all."""
    n = count if source.size is None else min(count, source.size)
    return batch(source, EVALUATION_SEED, side, 0, n)


def of_each_class(
    source: Source, pair: tuple[Source, Source], count: int, *, side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Held-out samples of as many classes in turn as there are, with their labels; of any class where they have none."""
    labeled = next(one for one in (source, *pair[::-1]) if one.classes is not None)
    there = np.flatnonzero(class_shares(labeled)).astype(np.int32)
    each = max(count // len(there), 1)
    x = batch(source, EVALUATION_SEED, side, 0, each * len(there), labels=there)
    in_turn = np.arange(len(x)).reshape(len(there), each).T.ravel()
    return x[in_turn], np.repeat(there, each)[in_turn]


def is_digits(name: str) -> bool:
    """Whether a specification is one of digits, which can be read."""
    return name.partition(":")[0] in ("digits", "mnist")


def score(x, y, lines, names, start, end, train_pair, test_pair) -> dict[str, Any]:
    """Outputs beside real samples: read as digits, or compared in sample space."""
    arrived, evaluations = np.asarray(lines.arrived), np.asarray(lines.num_evaluations)
    real_a = held_out(train_pair[end], 2000, side=2 + end)
    real_b = held_out(test_pair[end], 2000, side=4 + end)
    digits = [is_digits(name) for name in names]
    wanted = digit_of(names[end])
    if all(digits) and wanted is not None:
        return evaluation.translation_report(
            x,
            y,
            real_a,
            real_b,
            target_digit=wanted,
            arrived=arrived,
            num_evaluations=evaluations,
        )
    if digits[end]:
        return evaluation.generation_report(y, real_a, real_b, arrived=arrived, num_evaluations=evaluations)
    return evaluation.samples_report(y, real_a, real_b, arrived=arrived, num_evaluations=evaluations)


def round_trip(x: np.ndarray, there: FieldLines, back: FieldLines) -> dict[str, Any]:
    """How far samples are from where lines there and back again bring them, root mean square per dimension.

    Exact lines of any field come back exactly: what is left is the solver's error, of both ways, where the field is smooth
    and where it is not. It says nothing of whether lines end at the right place.

    Args:
        x: The samples [n, D]; of a run in components, as these hold them.
        there: Their lines; more may follow.
        back: The lines from the ends of those [n, ...].
    """
    n = len(x)
    ends = np.asarray(back.end)[:, :-1]
    whole = np.asarray(there.arrived)[:n] & np.asarray(back.arrived) & np.isfinite(ends).all(axis=1)
    evaluations = np.asarray(there.num_evaluations)[:n] + np.asarray(back.num_evaluations)
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


def in_space(space: Space, names: tuple[str, str], test_pair) -> dict[str, Any]:
    """What a run's space is and how much of held-out samples it keeps."""
    kept = {
        name: spaces.explained(space, held_out(source, 2000, side=4 + side))
        for side, (name, source) in enumerate(zip(names, test_pair, strict=True))
        if name.partition(":")[0] != "noise"
    }
    return {
        "components": len(space.scale),
        "unit": float(space.scale[0]),
        "explained": kept,
        "how": "share of the variance of held-out samples that encoding and decoding leaves; unit: spread of a typical "
        "component in units of the data, which is 1 of gaps and widths",
    }


def reconstructed(space: Space, count: int, names, start, end, train_pair, test_pair) -> dict[str, Any]:
    """The scores of real samples of the end that are encoded and decoded, and no more: what a map in the space can reach."""
    digits = is_digits(names[end])
    # distances in sample space are to held-out samples, those of digits to samples of training: take the others
    real = held_out((test_pair if digits else train_pair)[end], 2000, side=(4 if digits else 2) + end)[:count]
    kept = space.decode(space.encode(real))
    still = FieldLines(jnp.asarray(kept), None, jnp.ones(len(kept), bool), jnp.zeros(len(kept), int))
    scores = score(real, kept, still, names, start, end, train_pair, test_pair)
    return {name: value for name, value in scores.items() if name not in ("arrived", "evaluations")}


def on_features(
    x, y, ends, train_pair, test_pair, cache: str | Path | None, features: str | None
) -> dict[str, Any]:
    """Outputs beside training pictures, held-out ones for the floor, and their inputs where these are data; or why not."""
    start, end = ends
    shape = test_pair[end].shape
    sound = np.isfinite(y).all(axis=1)
    x, y = x[sound], y[sound]
    real = [
        held_out(pair[end], min(len(y), 2000), side=side)
        for pair, side in ((train_pair, 2 + end), (test_pair, 4 + end))
    ]
    fewest = min(map(len, (y, *real)))
    if fewest < folders.LEAST:
        return {"left_out": f"{fewest} pictures of a side are too few; at least {folders.LEAST} are needed"}
    try:
        extractor = efficientnet_lite0() if features in (None, "efficientnet") else open_extractor(features)
    except ImportError as error:
        if features is not None:
            raise
        return {"left_out": str(error)}
    made, *real = (as_pictures(part, shape) for part in (y, *real))
    report = folders.pictures_report(made, *real, extractor=extractor, cache=cache)
    if train_pair[start].size is not None:
        inputs = as_pictures(x, shape)
        report["own_input"] = partners.partners_report(made, inputs, extractor=extractor, cache=cache)
    return report
