"""Reports on translated and generated digits: each score with its n, its making, and what real digits get.

A report is a dict of plain numbers, text, lists and None (for what is undefined), ready for `json.dump`.
Pictures that hold NaN or infinity are kept in the count and never score. Sets of real digits must be drawn at
random from one pool: MNIST's files are ordered by writer, and two slices of them lie far apart. The digit
reader is `efm_jax.classifier`, the KID is taken on its features and is not comparable with Inception numbers.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from efm_jax import classifier, metrics
from efm_jax.datasets.digits import hue_difference, hue_of

Report = dict[str, Any]
CONFIDENT = 0.9


def translation_report(
    x: Float[np.ndarray, "n dim"],
    y: Float[np.ndarray, "n dim"],
    real_target_a: Float[np.ndarray, "a dim"],
    real_target_b: Float[np.ndarray, "b dim"],
    *,
    target_digit: int,
    arrived: Bool[np.ndarray, " n"],
    num_evaluations: Int[np.ndarray, " n"],
    confident: float = CONFIDENT,
    kid_subsets: int = 100,
    kid_subset_size: int = 500,
    seed: int = 0,
) -> Report:
    """Score digits translated to another digit while their colour should stay.

    Args:
        x: Inputs, coloured digits flattened HWC in [-1, 1], [n, D].
        y: Outputs in the order of `x`, [n, D].
        real_target_a: Real coloured digits of the target class, [a, D].
        real_target_b: Others of them, disjoint from the first, [b, D]: what real ones score beside `a`.
        target_digit: The digit `y` should show, 0..9.
        arrived: Which field lines arrived, [n].
        num_evaluations: Field evaluations of each line, [n].
        confident: Confidence above which a digit counts as clearly read.
        kid_subsets: Subsets the KID is averaged over.
        kid_subset_size: Size of one; at most the smallest of the three sets is taken.
        seed: Seed of the subsets.

    Returns:
        A dict of:
            `read_as_target`: share of all n outputs read as the target (+ standard error, 95 % interval, n);
            `read_as_target_confidently`: the same with the confidence asked for;
            `read_as_target_inputs`, `read_as_target_real`: the same share of `x` and of the real ones;
            `read_as`: how many outputs are read as each digit;
            `hue_change_degrees`: median, quantiles and share within 10 degrees;
            `kid`: of `y` to `real_target_a`, beside the floor, that of `real_target_b`;
            `arrived`, `evaluations`.

    Raises:
        ValueError: If shapes do not fit each other or the target is no digit.

    Example:
        >>> import numpy as np
        >>> from efm_jax.datasets.digits import colour
        >>> bars = -np.ones((12, 32, 32), "float32")
        >>> for i in range(12):
        ...     bars[i, 6:26, 10 + i : 13 + i] = 1.0  # ones
        >>> red, blue = (colour(bars.reshape(12, -1), np.full(12, hue)) for hue in (0.0, 240.0))
        >>> report = translation_report(red, blue, red, blue, target_digit=1, arrived=np.ones(12, bool),
        ...                             num_evaluations=np.full(12, 40))
        >>> round(report["hue_change_degrees"]["median"])
        120
    """
    x, y, real_a, real_b = _same_dim(x=x, y=y, real_target_a=real_target_a, real_target_b=real_target_b)
    if x.shape != y.shape:
        raise ValueError(f"x and y must be pairs of one shape, got {x.shape} and {y.shape}.")
    if target_digit not in range(classifier.NUM_CLASSES):
        raise ValueError(f"target_digit must be one of 0..9, got {target_digit!r}.")
    read = _Read(y)
    is_target = read.labels == target_digit
    real = _Read(real_b)
    return {
        "n": len(y),
        "target_digit": int(target_digit),
        "not_finite": _share(~read.finite, "outputs that hold NaN or infinity; they count as failures"),
        "read_as_target": _share(is_target, "outputs whose most probable digit is the target"),
        "read_as_target_confidently": _share(
            is_target & read.clearly(confident), f"the same, with confidence >= {confident}"
        ),
        "read_as_target_inputs": _share(_Read(x).labels == target_digit, "the same share of the inputs"),
        "read_as_target_real": _share(real.labels == target_digit, "the same share of real_target_b"),
        "read_as": _counts(read.labels),
        "hue_change_degrees": _hue_change(x, y),
        "kid": _kid(y, real_a, real_b, kid_subsets, kid_subset_size, seed),
        **_lines(len(y), arrived, num_evaluations),
    }


def generation_report(
    y: Float[np.ndarray, "n dim"],
    real_a: Float[np.ndarray, "a dim"],
    real_b: Float[np.ndarray, "b dim"],
    *,
    arrived: Bool[np.ndarray, " n"] | None = None,
    num_evaluations: Int[np.ndarray, " n"] | None = None,
    confident: float = CONFIDENT,
    kid_subsets: int = 100,
    kid_subset_size: int = 500,
    seed: int = 0,
) -> Report:
    """Score digits generated from noise: are they digits, are all ten there, are they new?

    Args:
        y: Generated digits flattened HWC in [-1, 1], [n, D].
        real_a: Real digits the network was trained on, [a, D].
        real_b: Real digits it never saw, [b, D]: what real ones score on every line of the report.
        arrived: Which field lines arrived, [n]; None leaves it out of the report.
        num_evaluations: Field evaluations of each line, [n]; None leaves it out.
        confident: Confidence from which a picture counts as a digit.
        kid_subsets: Subsets the KID is averaged over.
        kid_subset_size: Size of one; at most the smallest of the three sets is taken.
        seed: Seed of the subsets.

    Returns:
        A dict of:
            `read_with_confidence`, `read_with_confidence_real`: share read with confidence >= `confident`;
            `classes`: counts over ten digits, their entropy, and their KL divergence to the real ones'
            classes; `kid`: of `y` to `real_a`, beside the floor, that of `real_b`;
            `nearest_training_neighbour`: distance in brightness to `real_a`, of `y` and of `real_b`;
            `arrived`, `evaluations` where given.

    Raises:
        ValueError: If shapes do not fit each other.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> noise = np.clip(rng.normal(size=(3, 20, 32 * 32)), -1, 1)
        >>> report = generation_report(*noise)
        >>> report["read_with_confidence"]["value"] < 0.5
        True
    """
    y, real_a, real_b = _same_dim(y=y, real_a=real_a, real_b=real_b)
    read, real = _Read(y), _Read(real_b)
    threshold = f"read with confidence >= {confident}"
    lines = {} if arrived is None or num_evaluations is None else _lines(len(y), arrived, num_evaluations)
    return {
        "n": len(y),
        "not_finite": _share(~read.finite, "outputs that hold NaN or infinity; they count as failures"),
        "read_with_confidence": _share(read.clearly(confident), f"outputs {threshold}"),
        "read_with_confidence_real": _share(real.clearly(confident), f"pictures of real_b {threshold}"),
        "classes": _classes(read.labels[read.finite], real.labels),
        "kid": _kid(y, real_a, real_b, kid_subsets, kid_subset_size, seed),
        "nearest_training_neighbour": _neighbours(y[read.finite], real_a, real_b),
        **lines,
    }


class _Read:
    """Pictures as read: labels and confidence (-1 and 0 where not finite), and which are finite."""

    def __init__(self, x: np.ndarray):
        self.finite: np.ndarray = np.isfinite(x).all(axis=1)
        self.labels: np.ndarray = np.full(len(x), -1)
        self.confidence: np.ndarray = np.zeros(len(x), np.float32)
        if self.finite.any():
            self.labels[self.finite], self.confidence[self.finite] = classifier.read_digits(x[self.finite])

    def clearly(self, confident: float) -> np.ndarray:
        return np.asarray(self.confidence >= confident)


def _same_dim(**sets: np.ndarray) -> list[np.ndarray]:
    arrays = {name: np.asarray(value, np.float32) for name, value in sets.items()}
    shapes = {name: value.shape for name, value in arrays.items()}
    if any(len(s) != 2 or s[0] < 2 for s in shapes.values()) or len({s[1] for s in shapes.values()}) != 1:
        raise ValueError(f"a report needs sets of at least two flat pictures [n, D] of one D, got {shapes}.")
    for name, value in arrays.items():
        if name not in ("x", "y") and not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite numbers; the real digits must be sound.")
    return list(arrays.values())


def _share(hits: Bool[np.ndarray, " n"], how: str) -> Report:
    """A share with its binomial standard error and Wilson's 95 % interval (which is honest at 0 and 1)."""
    n, p, z = len(hits), float(np.mean(hits)), 1.959964
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return {
        "value": p,
        "standard_error": float(np.sqrt(p * (1 - p) / n)),
        "interval_95": [max(0.0, float(low)), min(1.0, float(high))],
        "n": n,
        "how": how,
    }


def _counts(labels: np.ndarray) -> list[int]:
    return np.bincount(labels[labels >= 0], minlength=classifier.NUM_CLASSES).tolist()


def _hue_change(x: np.ndarray, y: np.ndarray) -> Report:
    finite = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
    report: Report = {"how": "degrees 0..180 between hues of input and output; those without a hue left out"}
    change = np.zeros(0)
    if finite.any():
        change = np.asarray(
            hue_difference(np.asarray(hue_of(x[finite])), np.asarray(hue_of(y[finite]))), float
        )
        change = change[np.isfinite(change)]
    report |= {"n": len(change), "left_out": len(x) - len(change)}
    quantiles = {
        "median": 0.5,
        "quantile_10": 0.1,
        "quantile_25": 0.25,
        "quantile_75": 0.75,
        "quantile_90": 0.9,
    }
    for name, q in quantiles.items():
        report[name] = float(np.quantile(change, q)) if len(change) else None
    report["share_within_10_degrees"] = float(np.mean(change <= 10.0)) if len(change) else None
    return report


def _kid(y, real_a, real_b, subsets: int, subset_size: int, seed: int) -> Report:
    y, real_a, real_b = (_some(part, seed) for part in (y[np.isfinite(y).all(axis=1)], real_a, real_b))
    size = min(subset_size, len(y), len(real_a), len(real_b))
    report: Report = {
        "how": f"KID on digit features to real set a, {subsets} subsets of {size}; floor: set b to a",
        "n": [len(y), len(real_a), len(real_b)],
    }
    if size < 2:
        return report | {name: None for name in ("value", "standard_error", "floor", "floor_standard_error")}
    made, a, b = (classifier.digit_features(part) for part in (y, real_a, real_b))
    value, error = metrics.kid(made, a, subsets=subsets, subset_size=size, seed=seed)
    floor, floor_error = metrics.kid(b, a, subsets=subsets, subset_size=size, seed=seed)
    return report | {
        "value": float(value),
        "standard_error": float(error),
        "floor": float(floor),
        "floor_standard_error": float(floor_error),
    }


def _some(x: np.ndarray, seed: int, most: int = 10_000) -> np.ndarray:
    """At most `most` pictures: more would cost the reader minutes and the score nothing."""
    return x if len(x) <= most else x[np.random.default_rng(seed).choice(len(x), most, replace=False)]


def _lines(n: int, arrived: np.ndarray, num_evaluations: np.ndarray) -> Report:
    arrived, evaluations = np.asarray(arrived, bool), np.asarray(num_evaluations, float)
    if arrived.shape != (n,) or evaluations.shape != (n,):
        raise ValueError(
            f"arrived and num_evaluations must hold one entry for each of the {n} outputs, got shapes "
            f"{arrived.shape} and {evaluations.shape}."
        )
    return {
        "arrived": _share(arrived, "field lines that reached the other plate"),
        "evaluations": {
            "mean": float(evaluations.mean()),
            "median": float(np.median(evaluations)),
            "max": float(evaluations.max()),
            "n": n,
            "how": "evaluations of the field along one line",
        },
    }


def _classes(labels: np.ndarray, real_labels: np.ndarray) -> Report:
    """Counts over the digits; KL with half a count added to each class, beside what chance alone gives."""
    counts, real = np.asarray(_counts(labels)), np.asarray(_counts(real_labels))
    p, q = ((c + 0.5) / (c.sum() + 0.5 * len(c)) for c in (counts, real))
    return {
        "counts": counts.tolist(),
        "counts_real": real.tolist(),
        "entropy_nats": float(-(p * np.log(p)).sum()),
        "entropy_nats_real": float(-(q * np.log(q)).sum()),
        "kl_to_real_nats": float((p * np.log(p / q)).sum()),
        "kl_expected_of_equal_laws": _sampling_kl(len(counts), int(counts.sum()), int(real.sum())),
        "n": [int(counts.sum()), int(real.sum())],
        "how": "most probable digit, whatever the confidence; log 10 = 2.303 is an even spread",
    }


def _sampling_kl(classes: int, n: int, m: int) -> float | None:
    """First order in 1/n, 1/m: `KL ~ sum (p - q)^2 / 2q`, whose mean is `(classes - 1)/2 (1/n + 1/m)`."""
    return 0.5 * (classes - 1) * (1.0 / n + 1.0 / m) if n else None


def _neighbours(y: np.ndarray, real_a: np.ndarray, real_b: np.ndarray) -> Report:
    train = classifier.brightness(real_a).reshape(len(real_a), -1)
    held = _nearest(classifier.brightness(real_b).reshape(len(real_b), -1), train)
    report: Report = {
        "how": "Euclidean distance in brightness 0..1 (colour left out) to the nearest picture of real_a; "
        "near copies are nearer than 99 % of real_b",
        "n": [len(y), len(real_a), len(real_b)],
        "median_real": float(np.median(held)),
        "median": None,
        "smallest": None,
        "share_of_near_copies": None,
    }
    if len(y):
        made = _nearest(classifier.brightness(y).reshape(len(y), -1), train)
        report |= {
            "median": float(np.median(made)),
            "smallest": float(made.min()),
            "share_of_near_copies": float(np.mean(made < np.quantile(held, 0.01))),
        }
    return report


def _nearest(points: np.ndarray, others: np.ndarray, block: int = 256) -> np.ndarray:
    """Distance to the nearest of `others`: found by inner products, then measured by differences."""
    norms = np.einsum("nd,nd->n", others, others)
    parts = np.split(points, range(block, len(points), block))
    nearest = np.concatenate([np.argmin(norms - 2.0 * (part @ others.T), axis=1) for part in parts])
    return np.linalg.norm(points - others[nearest], axis=1)
