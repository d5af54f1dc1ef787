"""FID's own features from a file of its weights, any extractor by name, and a check against published activations."""

import hashlib
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, UInt8

from efm_jax._core import files
from efm_jax.evaluation.features import inception_v3
from efm_jax.evaluation.features.extractors import Extractor, digits, efficientnet_lite0, extract

__all__ = ["check_activations", "inception", "open_extractor"]

PUBLISHED = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of `pt_inception-2015-12-05-6726825d.pth`, the weights of FID as pytorch-fid and torch-fidelity publish them."""


def inception(weights: str | Path) -> Extractor:
    """Extract features by FID's Inception-V3, [n, 2048], for pictures of any content and size.

    Pictures are resized to 299 x 299 as TensorFlow 1 did, whatever their size, and scaled by `(v - 128) / 128`: the
    protocol of the published numbers. Only the published file, known by its SHA-256, makes the Frechet distance "FID" and
    the kernel distance "KID-Inception" in reports. With any other, such as a copy as safetensors, they carry the file's
    own hash.

    Args:
        weights: `pt_inception-2015-12-05-6726825d.pth`, or its tensors as safetensors; nothing in the file is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or is of another network.

    Examples:
        >>> inception("nowhere.pth")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no file nowhere.pth; check the path of the weights.

    Source: Heusel et al. (2017), arXiv 1706.08500, sec. 3; Binkowski et al. (2018), arXiv 1801.01401 (KID).
    """
    path = files.expanded(weights)
    layers = jax.device_put(inception_v3.load(path))
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    known = digest == PUBLISHED
    return Extractor(
        "fid inception" if known else "inception",
        "Inception" if known else f"Inception-{digest[:8]}",
        lambda pictures: np.asarray(_forward(layers, pictures)),
        f"Inception-V3 of FID, {'the published weights' if known else 'weights of a file of unknown origin'}, sha256 "
        f"{digest[:16]}, last pool (2048) on pictures resized to 299 x 299 (bilinear as TensorFlow 1, no antialias), "
        "(v - 128) / 128",
        None,  # larger pictures too are resized by the network's own rule
        f"inception 1 {digest}",
        4 * 147 * 147 * 64 * 4,  # the widest activations of 64 channels, a few copies
        fid=known,
    )


def open_extractor(name: str) -> Extractor:
    """Return an extractor by its name: `efficientnet`, `digits`, or `inception:FILE`, FID's network with these weights.

    Raises:
        ValueError: If there is none of that name, or its weights cannot be read.
        FileNotFoundError: If there is no such file.
        ImportError: If `efficientnet` is asked for without its weights.

    Examples:
        >>> open_extractor("digits").label
        'Digits'
    """
    kind, _, rest = name.partition(":")
    if kind == "inception" and rest:
        return inception(rest)
    known = {"efficientnet": efficientnet_lite0, "digits": digits}
    if name not in known:
        raise ValueError(
            f"there are no features named {name!r}; known are efficientnet, digits, inception:FILE."
        )
    return known[name]()


def check_activations(
    extractor: Extractor,
    pictures: UInt8[np.ndarray, "n h w 3"],
    expected: Float[np.ndarray, "n features"],
    *,
    tolerance: float = 1e-3,
) -> float:
    """Compare an extractor's features with published ones of the same pictures.

    `error_i = |f_i - e_i| / |e_i|`, Euclidean norms over the features of picture i. Two float32 implementations of
    Inception agree to about 1e-4 (torch-fidelity's notes on its precision and TensorFlow's).

    Args:
        extractor: The extractor, e.g. `inception(file)`.
        pictures: uint8 pictures [n, H, W, 3 or 1].
        expected: Their published features [n, F].
        tolerance: Largest error accepted.

    Raises:
        ValueError: If shapes differ, or a picture's features are further off than `tolerance`.

    Examples:
        >>> from efm_jax.evaluation.features import own
        >>> means = own(lambda pictures: pictures.mean(axis=(1, 2)), "means")
        >>> check_activations(means, np.full((2, 4, 4, 3), 8, np.uint8), np.full((2, 3), 8.0))
        0.0
    """
    expected = np.asarray(expected, np.float64)
    got = extract(extractor, pictures).astype(np.float64)
    if got.shape != expected.shape or not np.isfinite(expected).all() or not expected.any(axis=1).all():
        raise ValueError(
            f"expected must be finite features of shape {got.shape}, none of them all zero, got shape {expected.shape}; "
            "give one row for each picture, of the same layer."
        )
    error = np.linalg.norm(got - expected, axis=1) / np.linalg.norm(expected, axis=1)
    worst = int(error.argmax())
    if error[worst] > tolerance:
        raise ValueError(
            f"features of {extractor.name} are not the published ones: {int((error > tolerance).sum())} of {len(error)} "
            f"pictures are off by more than {tolerance:g} of their length, picture {worst} by {error[worst]:.2g}. Check "
            "weights, order of colors (RGB), size and resizing of the pictures."
        )
    return float(error[worst])


_forward = jax.jit(inception_v3.forward)
