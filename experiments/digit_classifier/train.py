"""Training of the digit classifier: augmentation, non-digits, one-cycle Adam, calibration."""

import io
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from tqdm import trange

from efm_jax._core import files
from efm_jax.evaluation import digit_classifier
from experiments.digit_classifier.config import Config


def init_params(key: jax.Array) -> dict[str, Any]:
    """Fresh parameters: He-normal kernels (He et al. 2015, arXiv 1502.01852), zero biases."""
    params = {}
    for name, shape in digit_classifier.SHAPES.items():
        key, sub = jax.random.split(key)
        fan_in = int(np.prod(shape[:-1]))
        kernel = "kernel" in name
        params[name] = jax.random.normal(sub, shape) * (2.0 / fan_in) ** 0.5 if kernel else jnp.zeros(shape)
    return params


def save_weights(path: Path, params: dict[str, Any]) -> None:
    """Write parameters as `digit_classifier.load_weights` reads them, whole or not at all (float16: 0.3 MB)."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(params[name], np.float16) for name in digit_classifier.SHAPES}
    np.savez_compressed(buffer, **arrays)
    files.write_bytes(path, buffer.getvalue())


def train(gray: np.ndarray, labels: np.ndarray, config: Config) -> dict[str, np.ndarray]:
    """Train on brightness pictures [n, 32, 32] in [0, 1]; returns calibrated parameters."""
    rng = np.random.default_rng(config.seed)
    order = rng.permutation(len(gray))
    held, order = order[: config.calibration], order[config.calibration :]
    steps = config.epochs * (len(order) // config.batch)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(
            optax.cosine_onecycle_schedule(steps, config.learning_rate), weight_decay=config.weight_decay
        ),
    )
    key, init_key = jax.random.split(jax.random.key(config.seed))
    params = init_params(init_key)
    opt_state = optimizer.init(params)

    def loss_fn(params, pictures, targets, key):
        scores, _ = digit_classifier.logits(params, pictures, key=key, dropout=config.dropout)
        return optax.softmax_cross_entropy(scores, targets).mean()

    @jax.jit
    def step(params, opt_state, digits, labels, key):
        change, other, drop = jax.random.split(key, 3)
        shown = jnp.concatenate([digits, non_digits(other, digits, config.non_digits)])
        pictures = augment(change, shown, config)
        doubt = jnp.full(
            (config.non_digits, digit_classifier.NUM_CLASSES), 1.0 / digit_classifier.NUM_CLASSES
        )
        targets = jnp.concatenate([jax.nn.one_hot(labels, digit_classifier.NUM_CLASSES), doubt])
        loss, grads = jax.value_and_grad(loss_fn)(params, pictures, targets, drop)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    bar = trange(steps, desc="digit classifier", mininterval=5)
    for i in bar:
        at = i % (steps // config.epochs)
        if at == 0:
            rng.shuffle(order)
        chosen = order[at * config.batch : (at + 1) * config.batch]
        params, opt_state, loss = step(
            params, opt_state, gray[chosen], labels[chosen], jax.random.fold_in(key, i)
        )
        if i % 50 == 0:
            bar.set_postfix(loss=f"{float(loss):.3f}")
    return calibrated(params, gray[held], labels[held])


def calibrated(params, gray: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Fold two numbers fitted on held-out digits into the layers; which digit is read does not change.

    The last layer is divided by the temperature that minimizes the negative log-likelihood. The features are
    divided by their root mean square, so that kernels and distances on them have a scale.
    """
    forward = jax.jit(digit_classifier.logits)
    outputs = [forward(params, part) for part in np.array_split(gray, 10)]
    scores, features = (
        np.concatenate([np.asarray(part, float) for part in parts]) for parts in zip(*outputs, strict=True)
    )

    def loss(log_temperature: float) -> float:
        s = scores / np.exp(log_temperature)
        return float(np.mean(logsumexp(s, axis=1) - s[np.arange(len(s)), labels]))

    best: Any = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
    temperature = np.exp(best.x)
    size = np.sqrt(np.mean(features**2))
    scale = {
        "hidden_kernel": 1.0 / size,
        "hidden_bias": 1.0 / size,
        "class_kernel": size / temperature,
        "class_bias": 1.0 / temperature,
    }
    return {name: np.asarray(value * scale.get(name, 1.0), np.float32) for name, value in params.items()}


def augment(key, gray, config: Config):
    """Shift, turn, stretch, shear and dim each picture, and add faint noise to every other one.

    Digits and non-digits go through the same changes, or a perfectly black background would tell them apart.
    """
    keys = jax.random.split(key, 8)
    n, side = gray.shape[0], gray.shape[-1]

    def uniform(key, low, high):
        return jax.random.uniform(key, (n, 1, 1), minval=low, maxval=high)

    turn = uniform(keys[0], -config.turn, config.turn) * jnp.pi / 180
    size = 1.0 + uniform(keys[1], -config.stretch, config.stretch)
    shear = uniform(keys[2], -config.stretch, config.stretch)
    center = (side - 1) / 2
    rows, columns = jnp.meshgrid(jnp.arange(side) - center, jnp.arange(side) - center, indexing="ij")
    r = size * (jnp.cos(turn) * rows - jnp.sin(turn) * columns)
    c = size * (jnp.sin(turn) * rows + jnp.cos(turn) * columns) + shear * rows
    r = r + center + uniform(keys[3], -config.shift, config.shift)
    c = c + center + uniform(keys[4], -config.shift, config.shift)
    moved = jax.vmap(lambda g, r, c: jax.scipy.ndimage.map_coordinates(g, [r, c], order=1))(gray, r, c)
    dimmed = moved * uniform(keys[5], config.gain, 1.0)
    spread = jnp.maximum(uniform(keys[6], -config.noise, config.noise), 0.0)
    return jnp.clip(dimmed + spread * jax.random.normal(keys[7], gray.shape), 0.0, 1.0)


def non_digits(key, gray, count: int):
    """A third each: gray with noise (often nearly black), smooth blobs, digits cut into shuffled tiles."""
    keys = jax.random.split(key, 5)
    third, side = count // 3, gray.shape[-1]
    level = jax.random.uniform(keys[0], (third, 1, 1)) ** 3
    spread = jax.random.uniform(keys[1], (third, 1, 1), maxval=0.5)
    noise = level + spread * jax.random.normal(keys[2], (third, side, side))
    coarse = jax.random.normal(keys[3], (third, 6, 6))
    blobs = jax.nn.sigmoid(4.0 * (jax.image.resize(coarse, (third, side, side), "cubic") - 0.3))
    rest = count - 2 * third
    tiles = gray[:rest].reshape(rest, 4, 8, 4, 8).transpose(0, 1, 3, 2, 4).reshape(rest, 16, 8, 8)
    order = jnp.argsort(jax.random.uniform(keys[4], (rest, 16)), axis=1)
    tiles = jnp.take_along_axis(tiles, order[:, :, None, None], axis=1).reshape(rest, 4, 4, 8, 8)
    shuffled = tiles.transpose(0, 1, 3, 2, 4).reshape(rest, side, side)
    return jnp.clip(jnp.concatenate([noise, blobs, shuffled]), 0.0, 1.0)
