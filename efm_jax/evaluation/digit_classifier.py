"""A digit classifier: which digit a picture shows, how sure that is, and the features that it sees (for KID).

A small convolutional network (three convolutions, one hidden layer), trained by `experiments/digit_classifier` on full MNIST
with shifts, turns, faint background noise, and pictures of no digit. Its weights come with the package as float16. It does
not see color: a colored picture is read as its brightest channel. The weights are loaded at the first call.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int64

from efm_jax.datasets import read_array
from efm_jax.types import Key, Params

__all__ = [
    "NUM_CLASSES",
    "NUM_FEATURES",
    "SHAPES",
    "SIDE",
    "WEIGHTS",
    "brightness",
    "channels",
    "digit_features",
    "load_weights",
    "logits",
    "read_digits",
]

NUM_CLASSES = 10
"""Digits."""
NUM_FEATURES = 128
"""Width of the features behind the logits."""
SIDE = 32
"""Side of the pictures that are read."""
WEIGHTS = Path(__file__).parents[1] / "data" / "digit_classifier.npz"
"""File of the trained weights."""

_LAYOUTS = {side * side * depth: (side, depth) for side in (32, 28) for depth in (3, 1)}
SHAPES = {
    "conv1_kernel": (5, 5, 1, 24),
    "conv1_bias": (24,),
    "conv2_kernel": (3, 3, 24, 32),
    "conv2_bias": (32,),
    "conv3_kernel": (3, 3, 32, 64),
    "conv3_bias": (64,),
    "hidden_kernel": (4 * 4 * 64, NUM_FEATURES),
    "hidden_bias": (NUM_FEATURES,),
    "class_kernel": (NUM_FEATURES, NUM_CLASSES),
    "class_bias": (NUM_CLASSES,),
}
"""Shape of each array of weights."""


def read_digits(
    x: Float[Array | np.ndarray, "n dim"], *, batch_size: int = 256, weights: str | Path | None = None
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Read pictures as digits: the most probable class and its probability.

    `label = argmax_c p_c`, `confidence = max_c p_c` with `p = softmax(logits)`. The softmax was calibrated by one
    temperature on digits kept out of training, so among real digits about a share q of those read with confidence q are
    read right. Pictures that show no digit (noise, shuffled patches) were taught to give `p = 1/10`.

    Args:
        x: Pictures flattened HWC, values in [-1, 1] (black is -1), D = 32*32*3 or 32*32, or 28*28*3 or 28*28,
            which are padded to 32 by black. Values outside [-1, 1] are clipped.
        batch_size: Pictures read at once; the last batch is padded to it, so there is one compilation.
        weights: Another weights file of the same layout; None means the one in the package.

    Returns:
        Labels 0..9 [n] and confidences in (0.1, 1] [n].

    Raises:
        ValueError: If `x` has another shape or holds NaN, `batch_size` is below 1 or the weights cannot be read.

    Examples:
        >>> import numpy as np
        >>> bar = -np.ones((1, 32, 32, 3), "float32")
        >>> bar[:, 6:26, 15:18, 0] = 1.0  # a red upright stroke
        >>> label, confidence = read_digits(bar.reshape(1, -1))
        >>> int(label[0]), bool(confidence[0] > 0.5)
        (1, True)

    Source: architecture after LeCun, Bottou, Bengio, Haffner (1998), "Gradient-based learning applied to
    document recognition"; temperature: Guo, Pleiss, Sun, Weinberger (2017), arXiv 1706.04599, eq. 9;
    non-digits with a uniform target: Hendrycks, Mazeika, Dietterich (2019), arXiv 1812.04606.
    """
    scores, _ = _run(x, batch_size, weights)
    shifted = scores - scores.max(axis=1, keepdims=True)
    confidence = 1.0 / np.exp(shifted).sum(axis=1)
    return scores.argmax(axis=1), confidence.astype(np.float32)


def digit_features(
    x: Float[Array | np.ndarray, "n dim"], *, batch_size: int = 256, weights: str | Path | None = None
) -> Float32[np.ndarray, "n features"]:
    """Return features of digits: activations before the classifier's last layer, `h = relu(W flatten(conv(x)) + b)`.

    Meant for distances between sets of digits (`metrics.kid`, `metrics.frechet_distance`): they see strokes
    and shapes, and are blind to color. Their mean square over real digits is 1. Say "KID on digit features";
    these are not Inception features.

    Args:
        x: Pictures as for `read_digits`, [n, D].
        batch_size: Pictures read at once.
        weights: Another weights file of the same layout; None means the one in the package.

    Raises:
        ValueError: As `read_digits`.

    Examples:
        >>> import numpy as np
        >>> digit_features(np.zeros((2, 32 * 32), "float32")).shape
        (2, 128)
    """
    return _run(x, batch_size, weights)[1]


def brightness(x: Float[Array | np.ndarray, "n dim"]) -> Float32[np.ndarray, "n side side"]:
    """Turn pictures into gray as the classifier takes them: `max over channels of (x + 1)/2`, padded to 32 x 32 by black.

    Args:
        x: Pictures flattened HWC, values in [-1, 1], one or three channels of 32 x 32 or 28 x 28.

    Raises:
        ValueError: If `x` has another shape or holds NaN.

    Examples:
        >>> import numpy as np
        >>> gray = brightness(np.ones((1, 28 * 28 * 3), "float32"))
        >>> gray.shape, float(gray.sum()) == 28 * 28
        ((1, 32, 32), True)
    """
    x = np.asarray(x, dtype=np.float32)
    if x.ndim != 2 or x.shape[1] not in _LAYOUTS:
        raise ValueError(
            "digits must be flat pictures [n, D] with D = 3072 (32x32x3), 1024 (32x32), 2352 (28x28x3) or 784 (28x28), got "
            f"shape {x.shape}.\nResize other pictures to one of these (folders on the command line: --size 32) and give "
            "them flat, as x.reshape(len(x), -1)."
        )
    if np.isnan(x).any():
        raise ValueError(
            "digits hold NaN; leave those pictures out first (see `arrived` of the field lines)."
        )
    side, depth = _LAYOUTS[x.shape[1]]
    gray = x.reshape(-1, side, side, depth).max(axis=3)
    pad = (SIDE - side) // 2
    return np.pad(np.clip((gray + 1.0) / 2.0, 0.0, 1.0), ((0, 0), (pad, pad), (pad, pad)))


def channels(dim: int) -> int:
    """Return the color channels of a flat picture: 3 for D = 3072 and 2352, 1 for 1024 and 784, 0 for a D not known.

    Examples:
        >>> channels(32 * 32 * 3), channels(28 * 28), channels(5)
        (3, 1, 0)
    """
    return _LAYOUTS.get(dim, (0, 0))[1]


def logits(
    params: Params,
    gray: Float[Array | np.ndarray, "n 32 32"],
    *,
    key: Key | None = None,
    dropout: float = 0.3,
) -> tuple[Float[Array, "n 10"], Float[Array, "n 128"]]:
    """Return class scores and features of gray pictures in [0, 1]; with a key, dropout before the last layer.

    Examples:
        >>> import jax.numpy as jnp
        >>> scores, features = logits(load_weights(), jnp.zeros((2, 32, 32)))
        >>> scores.shape, features.shape
        ((2, 10), (2, 128))
    """
    h = _conv(params, "conv1", jnp.asarray(gray)[..., None], stride=2)
    h = _pool(_conv(params, "conv2", h))
    h = _pool(_conv(params, "conv3", h))
    h = h.reshape(h.shape[0], -1) @ params["hidden_kernel"] + params["hidden_bias"]
    features = jax.nn.relu(h)
    h = features
    if key is not None:
        h = jnp.where(jax.random.bernoulli(key, 1.0 - dropout, h.shape), h / (1.0 - dropout), 0.0)
    return h @ params["class_kernel"] + params["class_bias"], features


def load_weights(path: str | Path | None = None) -> Params:
    """Load the classifier's parameters from an npz file of float16 arrays (no pickle) as float32, cached.

    Args:
        path: The file; None means the package's own.

    Raises:
        ValueError: If the file is missing, damaged or of another layout.

    Examples:
        >>> load_weights()["class_bias"].shape
        (10,)
    """
    return _load(str(WEIGHTS if path is None else path))


@functools.lru_cache(maxsize=4)
def _load(path: str) -> dict[str, np.ndarray]:
    fix = (
        "reinstall efm-jax, or make the weights again from its repository with "
        "`python -m experiments.digit_classifier --mnist FOLDER`."
    )
    try:
        params = {name: read_array(path, name).astype(np.float32) for name in SHAPES}
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the digit classifier's weights at {path} cannot be read ({error}); {fix}"
        ) from error
    for name, shape in SHAPES.items():
        if params[name].shape != shape or not np.isfinite(params[name]).all():
            raise ValueError(
                f"the digit classifier's weights at {path} are not its own: {name} must be finite with shape "
                f"{shape}, got shape {params[name].shape}; {fix}"
            )
    return params


def _run(x, batch_size: int, weights: str | Path | None) -> tuple[np.ndarray, np.ndarray]:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    gray = brightness(x)
    if not len(gray):
        raise ValueError("there are no digits to read: got shape (0, D).")
    params = load_weights(weights)
    scores, features = [], []
    for first in range(0, len(gray), batch_size):
        part = gray[first : first + batch_size]
        padded = np.pad(part, ((0, batch_size - len(part)), (0, 0), (0, 0)))
        s, f = _forward(params, padded)
        scores.append(np.asarray(s)[: len(part)])
        features.append(np.asarray(f)[: len(part)])
    return np.concatenate(scores), np.concatenate(features)


_forward = jax.jit(lambda params, gray: logits(params, gray))


def _conv(params: Params, name: str, h: Array, stride: int = 1) -> Array:
    h = jax.lax.conv_general_dilated(
        h,
        params[f"{name}_kernel"],
        window_strides=(stride, stride),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return jax.nn.relu(h + params[f"{name}_bias"])


def _pool(h: Array) -> Array:
    n, height, width, channels = h.shape
    return h.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
