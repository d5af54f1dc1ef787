"""Reports on pictures that each have a partner: the true one of a translation, or the input that it came from."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from efm_jax import metrics
from efm_jax.datasets import common_size, read_folder
from efm_jax.evaluation.features import Extractor, efficientnet_lite0, extract

__all__ = ["paired_folders_report", "paired_report", "table"]

Report = dict[str, Any]


def paired_report(
    y: UInt8[np.ndarray, "n h w c"],
    targets: UInt8[np.ndarray, "m h w c"],
    partner: Int[np.ndarray, " n"] | None = None,
    *,
    extractor: Extractor | None = None,
    batch_size: int | None = None,
    cache: str | Path | None = None,
) -> Report:
    """Measure how near pictures are to their partners, in pixels and on features, and whether others are nearer.

    With true partners as `targets` it says how well a translation hits; with its own inputs, how much of them it keeps.

    Args:
        y: Pictures, uint8 [n, H, W, C].
        targets: What could have been meant, of the same size [m, H, W, C], m >= 2.
        partner: Index of each picture's partner among the targets; None where the i-th belongs to the i-th.
        extractor: Feature function; None for `features.efficientnet_lite0()`.
        batch_size: Pictures at once; None for what fits the memory.
        cache: Folder that keeps features; None for none.

    Returns:
        A dict for `pixels` (root mean square difference, in gray levels 0..255) and one for `features`. Both hold
        `distance` (of a picture to its partner; floor: to all other targets), `rank` (of the partner among all targets, 1
        the nearest) and `first` (share whose nearest target is the partner). The floor of these is chance. Each has
        `value`, `standard_error`, `floor`, `n`, `how`.

    Raises:
        ValueError: If pictures and targets differ in size, or a picture has no partner.

    Examples:
        >>> from efm_jax.evaluation import features
        >>> x = np.random.default_rng(0).integers(0, 250, (6, 4, 4, 3)).astype(np.uint8)
        >>> report = paired_report(x + np.uint8(2), x, extractor=features.own(lambda x: x.mean(axis=(1, 2)), "colors"))
        >>> round(report["pixels"]["distance"]["value"], 6), report["features"]["first"]["value"]
        (2.0, 1.0)
    """
    y, targets = np.asarray(y), np.asarray(targets)
    if y.shape[1:] != targets.shape[1:]:
        raise ValueError(
            f"pictures and targets must have one size, got {y.shape[1:]} and {targets.shape[1:]}; resize one of them."
        )
    extractor = efficientnet_lite0() if extractor is None else extractor
    seen, meant = (extract(extractor, part, batch_size=batch_size, cache=cache) for part in (y, targets))
    flat, flat_targets = (part.reshape(len(part), -1).astype(np.float64) for part in (y, targets))
    scale = 1.0 / np.sqrt(flat.shape[1])
    return {
        "pixels": _scores(
            metrics.retrieval(scale * flat, scale * flat_targets, partner), len(targets), "gray levels"
        ),
        "features": _scores(
            metrics.retrieval(seen, meant, partner), len(targets), f"on features: {extractor.how}"
        ),
    }


def paired_folders_report(
    a: str | Path,
    b: str | Path,
    *,
    size: int | None = None,
    on_error: str = "raise",
    extractor: Extractor | None = None,
    most: int = 10_000,
    seed: int = 0,
    batch_size: int | None = None,
    cache: str | Path | None = None,
) -> Report:
    """Measure how near the pictures of one folder are to those of the same name, whatever the ending, in another.

    Where `efm translate` wrote folder `a`, its picture of all pairs is left out.

    Args:
        a: Folder of the pictures judged.
        b: Folder of the targets; all of them count as what could have been meant.
        size: Side of all pictures; None as in `pictures.folders_report`.
        on_error: "raise" where pictures cannot be read, naming them, or "skip" them.
        extractor: Feature function; None for `features.efficientnet_lite0()`.
        most: Pictures read of each folder at most; pictures of `a` whose partner is left out are left out too.
        seed: Seed of that choice.
        batch_size: Pictures at once; None for what fits the memory.
        cache: Folder that keeps features; None for none.

    Returns:
        As `paired_report`, with `n`, `without_partner` (names in `a`) and `size`, the side compared at or None.

    Raises:
        FileNotFoundError: If a folder does not exist or holds no picture.
        ValueError: If no names agree, or a picture cannot be read.
    """
    extractor = efficientnet_lite0() if extractor is None else extractor
    side = common_size([a, b], most=extractor.side) if size is None else size
    read = [read_folder(path, size=side, on_error=on_error, most=most, seed=seed) for path in (a, b)]
    place = {name.rpartition(".")[0]: i for i, name in enumerate(read[1].names)}
    partner = np.array([place.get(name.rpartition(".")[0], -1) for name in read[0].names])
    found = partner >= 0
    if not found.any():
        raise ValueError(
            f"no picture in {a} has a partner of the same name in {b}: {read[0].names[0]} is in the first, "
            f"{read[1].names[0]} in the second."
        )
    report = paired_report(
        read[0].images[found],
        read[1].images,
        partner[found],
        extractor=extractor,
        batch_size=batch_size,
        cache=cache,
    )
    missing = [name for name, paired in zip(read[0].names, found, strict=True) if not paired]
    return {"n": int(found.sum()), "without_partner": missing, "size": side, **report}


def table(report: Report) -> str:
    """Return a report on partners as a table in Markdown."""
    rows = ["| partners | set a | floor | n |", "| --- | --- | --- | --- |"]
    for space in ("pixels", "features"):
        for name, score in report[space].items():
            error = "" if score["standard_error"] is None else f" ± {score['standard_error']:.3f}"
            rows.append(
                f"| {name}, {space} | {score['value']:.3f}{error} | {score['floor']:.3f} | {score['n']} |"
            )
    return "\n".join(rows)


def _scores(found: metrics.Retrieval, targets: int, unit: str) -> dict[str, Report]:
    def score(values: np.ndarray, floor: float, how: str) -> Report:
        n = len(values)
        error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
        return {"value": float(np.mean(values)), "standard_error": error, "floor": floor, "n": n, "how": how}

    return {
        "distance": score(
            found.distance,
            float(found.distance_to_others.mean()),
            f"{unit}; floor: mean over all other targets",
        ),
        "rank": score(
            found.rank, (targets + 1) / 2, f"rank of the partner among {targets} targets; floor: chance"
        ),
        "first": score(
            (found.rank == 1.0).astype(float),
            1.0 / targets,
            "share whose nearest target is the partner; floor: chance",
        ),
    }
