"""The parts of an evaluation report: each a dict of plain numbers with its n and how it was made."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from efm_jax import metrics
from efm_jax.datasets.digits import hue_difference, hue_of
from efm_jax.evaluation import digit_classifier

__all__ = [
    "Read",
    "Report",
    "classes",
    "counts",
    "distance",
    "finite_rows",
    "hue_change",
    "kid",
    "lines",
    "neighbors",
    "same_dim",
    "sampling_kl",
    "share",
    "some",
]

Report = dict[str, Any]


class Read:
    """Pictures as read: labels and confidence (-1 and 0 where not finite), and which are finite."""

    def __init__(self, x: np.ndarray):
        self.finite = finite_rows(x)
        self.labels: np.ndarray = np.full(len(x), -1)
        self.confidence: np.ndarray = np.zeros(len(x), np.float32)
        if self.finite.any():
            self.labels[self.finite], self.confidence[self.finite] = digit_classifier.read_digits(
                x[self.finite]
            )

    def clearly(self, confident: float) -> np.ndarray:
        """Which pictures are read with at least this confidence."""
        return np.asarray(self.confidence >= confident)


def same_dim(**sets: np.ndarray) -> list[np.ndarray]:
    """The sets as float32 [n >= 2, D] of one D, real ones finite, or ValueError."""
    arrays = {name: np.asarray(value, np.float32) for name, value in sets.items()}
    shapes = {name: value.shape for name, value in arrays.items()}
    if any(len(s) != 2 or s[0] < 2 for s in shapes.values()) or len({s[1] for s in shapes.values()}) != 1:
        raise ValueError(f"a report needs sets of at least two flat samples [n, D] of one D, got {shapes}.")
    for name, value in arrays.items():
        if name not in ("x", "y") and not np.isfinite(value).all():
            raise ValueError(f"{name} holds NaN or infinite numbers; the real samples must be sound.")
    return list(arrays.values())


def finite_rows(x: np.ndarray) -> np.ndarray:
    """Which samples hold neither NaN nor infinity."""
    return np.asarray(np.isfinite(x).all(axis=1))


def share(hits: Bool[np.ndarray, " n"], how: str) -> Report:
    """A share with its binomial standard error and Wilson's 95 % interval, which holds at 0 and 1 too."""
    n, p, z = len(hits), float(np.mean(hits)), 1.959964
    center, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((center + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    return {
        "value": p,
        "standard_error": float(np.sqrt(p * (1 - p) / n)),
        "interval_95": [max(0.0, float(low)), min(1.0, float(high))],
        "n": n,
        "how": how,
    }


def counts(labels: np.ndarray) -> list[int]:
    """How often each digit was read."""
    return np.bincount(labels[labels >= 0], minlength=digit_classifier.NUM_CLASSES).tolist()


def hue_change(x: np.ndarray, y: np.ndarray) -> Report:
    """Quantiles of the angle between the hues of inputs and outputs."""
    finite = finite_rows(x) & finite_rows(y)
    report: Report = {"how": "degrees 0..180 between hues of input and output; those without a hue left out"}
    change = np.zeros(0)
    if finite.any() and digit_classifier.channels(x.shape[1]) == 3:
        change = np.asarray(hue_difference(hue_of(x[finite]), hue_of(y[finite])))
        change = change[np.isfinite(change)]
    report |= {"n": len(change), "left_out": len(x) - len(change)}
    quantiles = {"median": 0.5} | {f"quantile_{k}": k / 100 for k in (10, 25, 75, 90)}
    for name, q in quantiles.items():
        report[name] = float(np.quantile(change, q)) if len(change) else None
    report["share_within_10_degrees"] = float(np.mean(change <= 10.0)) if len(change) else None
    return report


def kid(y, real_a, real_b, subsets: int, subset_size: int, seed: int, inputs=None) -> Report:
    """KID on digit features of outputs to real set a, the floor, that of real set b to a, and that of inputs as they are."""
    y, real_a, real_b = (some(part, seed) for part in (y[finite_rows(y)], real_a, real_b))
    smallest = min(len(y), len(real_a), len(real_b))
    size = min(subset_size, smallest // 2)  # as metrics.kid would, but one size for all
    report: Report = {
        "how": f"KID on digit features to real set a, {subsets} subsets of {size}; floor: set b to a",
        "n": [len(y), len(real_a), len(real_b)],
    }
    judged = {"": y, "floor": real_b} | ({} if inputs is None else {"inputs": some(inputs, seed)})
    a = digit_classifier.digit_features(real_a) if smallest >= 4 else None
    for name, x in judged.items():
        value, error = None, None
        if a is not None:
            found = metrics.kid(
                digit_classifier.digit_features(x), a, subsets=subsets, subset_size=size, seed=seed
            )
            value, error = map(float, found)
        report |= {name or "value": value, f"{name}_standard_error".lstrip("_"): error}
    return report


def some(x: np.ndarray, seed: int, most: int = 10_000) -> np.ndarray:
    """At most `most` pictures: more would cost minutes and change the score little."""
    return x if len(x) <= most else x[np.random.default_rng(seed).choice(len(x), most, replace=False)]


def lines(n: int, arrived: np.ndarray | None, num_evaluations: np.ndarray | None) -> Report:
    """Share of lines that arrived and what they cost, each where it is given."""
    report: Report = {}
    if arrived is not None:
        report["arrived"] = share(
            _of_each("arrived", arrived, bool, n), "field lines that reached the other plate"
        )
    if num_evaluations is not None:
        evaluations = _of_each("num_evaluations", num_evaluations, float, n)
        report["evaluations"] = {
            "mean": float(evaluations.mean()),
            "median": float(np.median(evaluations)),
            "max": float(evaluations.max()),
            "n": n,
            "how": "evaluations of the field along one line",
        }
    return report


def _of_each(name: str, values: np.ndarray, kind: type, n: int) -> np.ndarray:
    values = np.asarray(values, kind)
    if values.shape != (n,):
        raise ValueError(f"{name} must hold one entry for each of the {n} outputs, got shape {values.shape}.")
    return values


def classes(labels: np.ndarray, real_labels: np.ndarray) -> Report:
    """Counts over the digits; KL with half a count added to each class, and what chance alone gives."""
    made, real = np.asarray(counts(labels)), np.asarray(counts(real_labels))
    p, q = ((c + 0.5) / (c.sum() + 0.5 * len(c)) for c in (made, real))
    return {
        "counts": made.tolist(),
        "counts_real": real.tolist(),
        "entropy_nats": float(-(p * np.log(p)).sum()),
        "entropy_nats_real": float(-(q * np.log(q)).sum()),
        "kl_to_real_nats": float((p * np.log(p / q)).sum()),
        "kl_expected_of_equal_laws": sampling_kl(len(made), int(made.sum()), int(real.sum())),
        "n": [int(made.sum()), int(real.sum())],
        "how": "most probable digit, whatever the confidence; log 10 = 2.303 is an even spread",
    }


def sampling_kl(num_classes: int, n: int, m: int) -> float | None:
    """First order in 1/n, 1/m: `KL ~ sum (p - q)^2 / 2q`, whose mean is `(classes - 1)/2 (1/n + 1/m)`."""
    return 0.5 * (num_classes - 1) * (1.0 / n + 1.0 / m) if n else None


def neighbors(
    y: np.ndarray, real_a: np.ndarray, real_b: np.ndarray, inputs: np.ndarray | None = None
) -> Report:
    """Distances to the nearest training picture, of outputs and of pictures never seen."""
    train = digit_classifier.brightness(real_a).reshape(len(real_a), -1)
    held = metrics.nearest(digit_classifier.brightness(real_b).reshape(len(real_b), -1), train)
    report: Report = {
        "how": "Euclidean distance in brightness 0..1 (color left out) to the nearest picture of real_a; "
        "near copies are nearer than 99 % of real_b",
        "n": [len(y), len(real_a), len(real_b)],
        "median_real": float(np.median(held)),
        "median": None,
        "smallest": None,
        "share_of_near_copies": None,
    }
    if len(y):
        made = metrics.nearest(digit_classifier.brightness(y).reshape(len(y), -1), train)
        report |= {
            "median": float(np.median(made)),
            "smallest": float(made.min()),
            "share_of_near_copies": float(np.mean(made < np.quantile(held, 0.01))),
        }
    if inputs is not None:
        left = metrics.nearest(digit_classifier.brightness(inputs).reshape(len(inputs), -1), train)
        report |= {
            "median_inputs": float(np.median(left)),
            "share_of_near_copies_inputs": float(np.mean(left < np.quantile(held, 0.01))),
        }
    return report


def distance(
    name: str,
    y: np.ndarray,
    real_a: np.ndarray,
    real_b: np.ndarray,
    most: int,
    inputs: np.ndarray | None = None,
) -> Report:
    """A distance of `metrics` from outputs to real set b, the floor, that of real set a, and that of inputs as they are.

    All sets have one size.
    """
    y = y[finite_rows(y)]
    size = min(most, len(y), len(real_a), len(real_b))
    judged = {"value": y, "floor": real_a} | ({} if inputs is None else {"inputs": inputs})
    measure, b = getattr(metrics, name), real_b[:size]
    return {
        **{of: float(measure(x[:size], b)) if size else None for of, x in judged.items()},
        "n": size,
        "how": f"metrics.{name}, {size} outputs to as many of real set b; floor: real set a to b",
    }
