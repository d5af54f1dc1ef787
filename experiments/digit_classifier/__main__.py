"""Train the digit reader on MNIST and write its weights and `result.json`.

    python -m experiments.digit_classifier --mnist FOLDER

FOLDER holds MNIST in IDX form (four files, gzipped or not).
"""

import json
import platform
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import flax
import jax
import numpy as np
import optax
import tyro

from efm_jax._core.files import write_json
from efm_jax.datasets import digits, read_mnist
from efm_jax.evaluation import digit_classifier
from experiments.digit_classifier.config import Config
from experiments.digit_classifier.train import non_digits, save_weights, train

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Command:
    """Where to read and write.

    Attributes:
        mnist: Folder with MNIST in IDX form.
        weights: File the weights are written to.
        result: File the scores are written to.
        config: The training's settings.
    """

    mnist: Path
    weights: Path = digit_classifier.WEIGHTS
    result: Path = HERE / "result.json"
    config: Config = field(default_factory=Config)


def main(command: Command) -> None:
    """Train, save, read the test digits back with the saved weights, score, report."""
    config = command.config
    pictures, labels = read_mnist(command.mnist, "train")
    test, test_labels = read_mnist(command.mnist, "test")
    begin = time.perf_counter()
    params = train(brightness(pictures), labels, config)
    seconds = time.perf_counter() - begin
    command.weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(command.weights, params)

    rng = np.random.default_rng(config.seed + 1)
    black = brightness(test)
    shift = rng.integers(-2, 3, (len(black), 2))
    shifted = np.stack([np.roll(g, s, (0, 1)) for g, s in zip(black, shift, strict=True)])
    color = digits.hue_color(rng.random(len(black)))[:, None, None, :]
    nothing = np.asarray(non_digits(jax.random.key(config.seed + 1), black, 3 * 1000))
    sets = {
        "mnist_test": signed(black),
        "mnist_test_colored": signed(black[..., None] * color),
        "mnist_test_shifted_2_pixels": signed(shifted),
    }
    result = {
        "what": "digit reader (efm_jax.classifier), trained on MNIST's training digits (55,000 to fit, 5,000 to calibrate)",
        "scores": {name: scores(x, test_labels, command, config.confident) for name, x in sets.items()},
        "non_digits_read_with_confidence": {
            name: float(
                (digit_classifier.read_digits(x, weights=command.weights)[1] >= config.confident).mean()
            )
            for name, x in zip(
                ("noise", "blobs", "shuffled_tiles"), np.split(signed(nothing), 3), strict=True
            )
        },
        "weights_bytes": command.weights.stat().st_size,
        "parameters": sum(int(leaf.size) for leaf in params.values()),
        "training_seconds": round(seconds, 1),
        "config": asdict(config),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (jax, flax, optax, np)},
        },
        "device": jax.devices()[0].platform,
    }
    write_json(command.result, result)
    print(json.dumps(result["scores"], indent=2))


def scores(x: np.ndarray, labels: np.ndarray, command: Command, confident: float) -> dict:
    """Accuracy, calibration and confidence on pictures with known labels."""
    read, confidence = digit_classifier.read_digits(x, weights=command.weights)
    right = read == labels
    sure = confidence >= confident
    return {
        "n": len(labels),
        "accuracy": float(right.mean()),
        "standard_error": float(np.sqrt(right.mean() * (1.0 - right.mean()) / len(labels))),
        "expected_calibration_error_15_bins": calibration_error(confidence, right),
        f"share_with_confidence_{confident}": float(sure.mean()),
        "accuracy_of_those": float(right[sure].mean()),
    }


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error (arXiv 1706.04599, eq. 3): `sum_b (n_b / n) |accuracy_b - confidence_b|`."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(which, right.astype(float), bins) - np.bincount(which, confidence, bins)
    return float(np.abs(gap).sum() / len(right))


def brightness(pictures: np.ndarray) -> np.ndarray:
    """Bytes [n, 28, 28] as the reader's [n, 32, 32] in [0, 1]."""
    return digits.pad(pictures, digit_classifier.SIDE).astype(np.float32) / np.float32(255.0)


def signed(pictures: np.ndarray) -> np.ndarray:
    """Brightness in [0, 1], [n, ...], as flat pictures in [-1, 1]."""
    return (2.0 * pictures.reshape(len(pictures), -1) - 1.0).astype(np.float32)


if __name__ == "__main__":
    main(tyro.cli(Command))
