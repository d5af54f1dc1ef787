"""What tests of compared pictures share: scenes of discs, noise on them, random features, folders filled."""

import functools

import numpy as np
from PIL import Image

from efm_jax.evaluation.drawing import save_png
from efm_jax.evaluation.features import own
from efm_jax.evaluation.pictures import pictures_report


@functools.cache
def _filters():
    return np.random.default_rng(0).normal(size=(27, 24))


def random_network(images):
    """Responses of random 3 x 3 filters, their mean and spread over the picture: sees edges, grain and color."""
    x = images.astype(np.float64) / 127.5 - 1.0
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    response = np.maximum(windows.reshape(*windows.shape[:3], 27) @ _filters(), 0.0)
    return np.concatenate([response.mean(axis=(1, 2)), response.std(axis=(1, 2))], axis=1)


FEATURES = own(random_network, "random", side=24, fingerprint="1")


def scenes(n, seed=0, side=16):
    """Discs of random color, size and place on a graded ground, uint8 [n, side, side, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    center, radius = rng.uniform(0.2, 0.8, (n, 2, 1, 1)), rng.uniform(0.1, 0.35, (n, 1, 1))
    disc = np.hypot(y - center[:, 0], x - center[:, 1]) < radius
    ground = rng.uniform(0, 120, (n, 1, 1, 3)) + 60 * y[..., None]
    return np.where(disc[..., None], rng.uniform(120, 255, (n, 1, 1, 3)), ground).astype(np.uint8)


def noisy(images, level):
    noise = np.random.default_rng(9).normal(size=images.shape)
    return np.clip(images + level * noise, 0, 255).astype(np.uint8)


def report(a, b, **options):
    return pictures_report(a, b, extractor=FEATURES, kid_subsets=20, **options)


def fill(folder, images, sizes=None):
    for i, picture in enumerate(images):
        height, width = (sizes or [picture.shape[:2]])[i % len(sizes or [0])]
        save_png(folder / f"{i}.png", np.asarray(Image.fromarray(picture).resize((width, height))))
    return folder
