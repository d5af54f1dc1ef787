"""Reports on two sets of pictures of any content: each score with its floor, standard error, n and making.

The sets judged are compared on features of a network (`evaluation.features`) with real ones that are split in two. The
scores are against the first half (the *reference*). The second half (*held out*) against the first gives the floor:
what real pictures score. All three sets have one size n, since nearly every score depends on it.
"""

import hashlib
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8

from efm_jax import __version__, metrics
from efm_jax._core import files, outputs
from efm_jax.datasets.folder import Pictures, common_size, read_folder
from efm_jax.evaluation.features import Extractor, efficientnet_lite0, extract

__all__ = ["check_output", "folders_report", "pictures_report", "table", "write"]

Report = dict[str, Any]
MOST = 10_000
LEAST = 8
_FRECHET_SUBSETS = 10
_ERRORS = {"value": "standard_error", "floor": "floor_standard_error", "inputs": "inputs_standard_error"}
_ORDER = ("kid", "frechet", "precision", "recall", "density", "coverage", "near_copies")


def pictures_report(
    a: UInt8[np.ndarray, "n h w c"],
    b: UInt8[np.ndarray, "m h2 w2 c2"],
    held_out: UInt8[np.ndarray, "k h3 w3 c3"] | None = None,
    *,
    inputs: UInt8[np.ndarray, "n h w c"] | None = None,
    extractor: Extractor | None = None,
    kid_subsets: int = 100,
    kid_subset_size: int = 1000,
    most: int = MOST,
    seed: int = 0,
    batch_size: int | None = None,
    cache: str | Path | None = None,
) -> Report:
    """Compare pictures with real ones.

    If `a` and `b` hold the same pictures, `a` is the reference itself, and both distances are 0.

    Args:
        a: The pictures judged, uint8 [n, H, W, C]; see `datasets.as_pictures`.
        b: Real pictures, those trained on if there are such, of any size (that of `a`, where resolution should not count).
        held_out: Real pictures that were not trained on; None takes a random half of `b` for them.
        inputs: What the pictures of `a` were translated from, in their order; they are scored as they are too.
        extractor: Feature function; None for `features.efficientnet_lite0()`.
        kid_subsets: Subsets the KID is averaged over.
        kid_subset_size: Size of one; at most half of n.
        most: Pictures used of each set at most.
        seed: Seed of the split, of the choice and of the subsets.
        batch_size: Pictures at once; None for what fits the memory.
        cache: Folder that keeps features; None for none.

    Returns:
        A dict of `n` (pictures of each set used), `seed`, `features` (name, label, how, dimension), `split` (in words),
        `versions`, and `scores` with `kid`, `frechet`, `precision`, `recall`, `density`, `coverage`, `near_copies`. Each
        holds `label`, `value`, `standard_error`, `floor`, `floor_standard_error`, `n`, `how`, and with inputs
        `inputs`, `inputs_standard_error`.

    Raises:
        ValueError: If a set has fewer than 8 pictures (`b` alone: 16), there is not one input for each of `a`, or see
            `features.extract`.

    Examples:
        >>> from efm_jax.evaluation import features
        >>> colors = features.own(lambda x: x.mean(axis=(1, 2)) / 255.0, "colors")
        >>> dark, light = np.random.default_rng(0).integers(0, 99, (2, 40, 4, 4, 3)).astype(np.uint8)
        >>> report = pictures_report(light + np.uint8(150), dark, extractor=colors)
        >>> report["scores"]["precision"]["value"], report["scores"]["kid"]["value"] > 1.0
        (0.0, True)
    """
    if not isinstance(seed, int) or seed < 0 or most < LEAST:
        raise ValueError(f"seed must be a whole number >= 0 and most >= {LEAST}, got {seed!r} and {most!r}.")
    need = {"a": (a, LEAST), "b": (b, LEAST if held_out is not None else 2 * LEAST)}
    need |= {} if held_out is None else {"held_out": (held_out, LEAST)}
    for name, (pictures, least) in need.items():
        if len(pictures) < least:
            raise ValueError(
                f"set {name} must hold at least {least} pictures to be scored, got {len(pictures)}"
                f"{'; half of b is held out unless held_out is given' if least > LEAST else ''}."
            )
    if inputs is not None and len(inputs) != len(a):
        raise ValueError(
            f"inputs must hold one picture for each of the {len(a)} of set a, got {len(inputs)}."
        )
    extractor = efficientnet_lite0() if extractor is None else extractor
    rng, same, half = np.random.default_rng(seed), _same(a, b), held_out is None
    if held_out is None:
        n = min(len(a), len(b) // 2, most)
        order = rng.permutation(len(b))[: 2 * n]
        b, held_out = b[order[:n]], b[order[n:]]
        split = f"{n} of set b at random as reference, {n} others of it held out"
    else:
        n = min(len(a), len(b), len(held_out), most)
        b, held_out = (part[rng.permutation(len(part))[:n]] for part in (b, held_out))
        split = f"{n} of set b as reference, {n} of a set of their own held out"
    chosen = rng.permutation(len(a))[:n] if len(a) > n else slice(None)
    a = b if same else a[chosen]
    split += "; set a holds the same pictures as b and is the reference itself" if same else ""
    judged = {"value": a, "floor": held_out} | ({} if inputs is None else {"inputs": inputs[chosen]})
    seen = {
        name: extract(extractor, part, batch_size=batch_size, cache=cache) for name, part in judged.items()
    }
    real = extract(extractor, b, batch_size=batch_size, cache=cache)
    return {
        "n": n,
        "seed": seed,
        "split": split,
        "features": {
            "name": extractor.name,
            "label": extractor.label,
            "dimension": int(real.shape[1]),
            "how": extractor.how,
        },
        "scores": _scores(seen, real, extractor, kid_subsets, kid_subset_size, seed, half=half),
        "versions": {
            "efm_jax": __version__,
            **{name: version(name) for name in ("jax", "numpy", "scipy", "pillow")},
            "python": platform.python_version(),
        },
    }


def folders_report(
    a: str | Path,
    b: str | Path,
    held_out: str | Path | None = None,
    *,
    size: int | None = None,
    gray: bool = False,
    on_error: str = "raise",
    extractor: Extractor | None = None,
    kid_subsets: int = 100,
    kid_subset_size: int = 1000,
    most: int = MOST,
    seed: int = 0,
    cache: str | Path | None = None,
) -> Report:
    """Compare the pictures of two folders, of any content and any sizes.

    All are brought to one size first, so that sharpness is compared at one resolution: see `size`. What is cropped and
    resized here is as `datasets.read_folder` does it: center crop to a square, bicubic with antialias, 8 bits.

    Where `efm translate` wrote folder `a`, its inputs are scored as they are too, and its picture of all pairs is left out.

    Args:
        a: Folder of the pictures judged.
        b: Folder of real ones.
        held_out: Folder of real ones that were not trained on; None holds out a random half of `b`.
        size: Side of all pictures. None takes the smallest side found in any folder (none is enlarged), at most that at
            which the extractor looks. Where all have one size not above that, nothing changes.
        gray: Whether to compare without color.
        on_error: "raise" where pictures cannot be read, naming them, or "skip" them and name them in the report.
        extractor: Feature function; None for `features.efficientnet_lite0()`.
        kid_subsets: See `pictures_report`.
        kid_subset_size: See `pictures_report`.
        most: Pictures used of each set at most.
        seed: Seed of the split, of the choice and of the subsets.
        cache: Folder that keeps features; None for none.

    Returns:
        As `pictures_report`, with `sets` (of each folder, the inputs' among them: path, pictures, skipped, shape, sha256 of
        the pictures as compared) and `resize` in words.

    Raises:
        FileNotFoundError: If a folder does not exist or holds no picture.
        ValueError: If a picture cannot be read or a set is too small.
    """
    extractor = efficientnet_lite0() if extractor is None else extractor
    folders = {"a": Path(a), "b": Path(b)} | ({} if held_out is None else {"held_out": Path(held_out)})
    side = common_size([*folders.values()], most=extractor.side) if size is None else size
    each = most if held_out is not None else 2 * most
    sets = {
        name: read_folder(
            path,
            size=side,
            gray=gray,
            on_error=on_error,
            most=each,
            seed=seed,
        )
        for name, path in folders.items()
    }
    made = outputs.made(files.expanded(a))
    inputs = _inputs(made, sets["a"], gray)
    if inputs is not None:
        folders["inputs"], sets["inputs"] = cast(Path, made.source), inputs
    report = pictures_report(
        sets["a"].images,
        sets["b"].images,
        sets["held_out"].images if held_out is not None else None,
        inputs=None if inputs is None else inputs.images,
        extractor=extractor,
        kid_subsets=kid_subsets,
        kid_subset_size=kid_subset_size,
        most=most,
        seed=seed,
        cache=cache,
    )
    resize = "kept: all pictures have one size"
    if side is not None:
        why = "the smallest side found, at most what the features look at" if size is None else "as asked"
        resize = f"{side} x {side} ({why}): center crop, bicubic with antialias, 8 bits"
    return {
        "sets": {
            name: {
                "path": str(folders[name]),
                "pictures": len(read.images),
                "skipped": read.skipped,
                "shape": list(read.images.shape[1:]),
                "sha256": hashlib.sha256(np.ascontiguousarray(read.images).data).hexdigest(),
            }
            for name, read in sets.items()
        },
        "resize": resize,
        **report,
    }


def _inputs(made: outputs.Made, a: Pictures, gray: bool) -> Pictures | None:
    """What the pictures of a translation were made from, at their size; None unless all of it is there."""
    names = [made.inputs.get(name) for name in a.names]
    source = made.source
    if source is None or not all(isinstance(name, str) and (source / name).is_file() for name in names):
        return None
    return read_folder(source, size=a.images.shape[1:3], gray=gray, names=cast(list[str], names))


def table(report: Report) -> str:
    """Return a report as a table in Markdown: each score and its floor.

    Examples:
        >>> score = {"label": "recall", "value": 0.5, "standard_error": 0.1, "floor": 0.75, "floor_standard_error": 0.1}
        >>> report = {"scores": {"recall": score | {"n": 9}}, "seed": 0, "split": "", "features": {"how": "colors"}}
        >>> print(table(report).splitlines()[2])
        | recall | 0.500 ± 0.100 | 0.750 ± 0.100 | 9 |
    """
    scores = [report["scores"][name] for name in _ORDER if name in report["scores"]]
    shown = {"value": "set a", "inputs": "inputs left as they are", "floor": "floor: real to real"}
    shown = {name: title for name, title in shown.items() if all(name in score for score in scores)}
    rows = [f"| score | {' | '.join(shown.values())} | n |", "| --- " * (len(shown) + 2) + "|"]
    for score in scores:
        values = " | ".join(f"{score[name]:.3f} ± {score[_ERRORS[name]]:.3f}" for name in shown)
        note = f" ({score['note']})" if "note" in score else ""
        rows.append(f"| {score['label']}{note} | {values} | {score['n']} |")
    notes = [f"features: {report['features']['how']}", f"sets: {report['split']}; seed {report['seed']}"]
    notes += [f"size: {report['resize']}"] if "resize" in report else []
    return "\n".join([*rows, "", *notes])


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """Check that a report may be written to a file, before it is made.

    Args:
        path: The file, which ends in .json; its table goes to the file of the same name that ends in .md.
        overwrite: Overwrite any file; without it only those of an earlier report.

    Returns:
        The file, its user's home expanded.

    Raises:
        ValueError: The file does not end in .json, or a file that is no earlier report is there.

    Examples:
        >>> check_output("new/report.json").name
        'report.json'
    """
    path = files.expanded(path)
    if path.suffix != ".json":
        raise ValueError(f"a report is written as .json, and its table as .md, got {path.name!r}.")
    outputs.check(path.parent, _written(path), marker=path.name, overwrite=overwrite)
    return path


def write(report: Report, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a report as json, and its table as .md in the same folder; each whole or not at all.

    Raises:
        ValueError: See `check_output`.
    """
    path = check_output(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {**report, "made_by": outputs.MADE_BY, "files": _written(path)})
    files.write_text(path.with_suffix(".md"), table(report) + "\n")


def _written(path: Path) -> list[str]:
    return [path.name, path.with_suffix(".md").name]


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two sets hold the same pictures, in any order."""
    return a.shape == b.shape and sorted(map(_digest, a)) == sorted(map(_digest, b))


def _digest(picture: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(picture).data).digest()


def _scores(
    seen: dict[str, np.ndarray],
    real: np.ndarray,
    extractor: Extractor,
    subsets: int,
    subset_size: int,
    seed: int,
    *,
    half: bool,
) -> dict[str, Report]:
    """The scores of each set of features, under its name; `half`: the other half of the reference's set is held out."""
    n, label, held = len(real), extractor.label, seen["floor"]
    size = min(subset_size, n // 2)

    def score(title: str, how: str, measure: Callable[[np.ndarray], tuple[float, float]]) -> Report:
        parts: Report = {}
        for name, x in seen.items():
            value, error = measure(x)
            parts |= {name: float(value), _ERRORS[name]: float(error)}
        return {"label": title, **parts, "n": n, "how": how}

    def distance(x: np.ndarray, measure: Callable[[np.ndarray], tuple[float, float]]) -> tuple[float, float]:
        return (
            (0.0, 0.0) if np.array_equal(x, real) else measure(x)
        )  # an unbiased estimate of 0 may be below it

    def kid(x: np.ndarray) -> tuple[float, float]:
        return metrics.kid(x, real, subsets=subsets, subset_size=size, seed=seed)

    fid = "; comparable with published FID at the same number of pictures only" if extractor.fid else ""
    scores = {
        "kid": score(
            f"KID-{label}",
            f"kernel (x.y / D + 1)^3, {subsets} subsets of {size}; to the reference",
            lambda x: distance(x, kid),
        ),
        "frechet": score(
            "FID" if extractor.fid else f"Frechet-{label}",
            f"to the reference; biased upwards as its floor is; error from {_FRECHET_SUBSETS} halves{fid}",
            lambda x: distance(x, lambda x: _frechet(x, real, seed)),
        ),
    }
    if half:
        scores["frechet"]["note"] = "to a half of set b: compare with the floor, its other half"
    around = {id(x): metrics.neighborhood(x, real) for x in seen.values()}
    says = {
        "precision": "share inside the reference's balls of 3 nearest neighbors",
        "recall": "share of the reference inside the set's balls of 3 nearest neighbors",
        "density": "balls of 5 nearest neighbors of the reference around a picture, over 5",
        "coverage": "share of the reference's balls of 5 nearest neighbors that hold a picture",
    }
    for name, how in says.items():
        scores[name] = score(
            name,
            how,
            lambda x, name=name: (getattr(around[id(x)], name), around[id(x)].standard_errors[name]),
        )
    found = metrics.copies(seen["value"], real, held)
    own = float(np.mean(found.held_out < np.quantile(found.held_out, 0.01)))

    def copies(x: np.ndarray) -> tuple[float, float]:
        if x is held:
            return own, float(np.sqrt(own * (1.0 - own) / n))
        one = found if x is seen["value"] else metrics.copies(x, real, held)
        return one.share_nearer, one.standard_error

    scores["near_copies"] = score(
        "near copies",
        "share nearer to a picture of the reference than 99 % of those held out; all, if the reference is handed out",
        copies,
    ) | {
        "median_distance": float(np.median(found.samples)),
        "median_distance_held_out": float(np.median(found.held_out)),
        "smallest_distance": float(found.samples.min()),
    }
    return scores


def _frechet(made: np.ndarray, real: np.ndarray, seed: int) -> tuple[float, float]:
    """The distance, and the spread of those of halves of both sets (delete-half jackknife, Shao and Wu 1989)."""
    rng = np.random.default_rng(seed)
    n, k = len(made), len(made) // 2
    halves = [
        metrics.frechet_distance(made[rng.permutation(n)[:k]], real[rng.permutation(n)[:k]])
        for _ in range(_FRECHET_SUBSETS)
    ]
    error = np.std(halves, ddof=1) * np.sqrt(k / (n - k))
    return metrics.frechet_distance(made, real), float(error)
