"""The optimizer of training."""

import math

import jax.numpy as jnp
import optax

from efm_jax._core import checks
from efm_jax.training import _norms

__all__ = ["adam", "schedule"]


def adam(
    learning_rate: float = 2e-4,
    *,
    warmup: int = 5000,
    clip: float | None = 1.0,
    weight_decay: float = 0.0,
    cosine_steps: int | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> optax.GradientTransformation:
    """Make Adam as the paper trains: clipped gradients, a linear warm-up, then a constant rate.

    At update `t = 0, 1, ...` the rate is `learning_rate * min((t+1)/warmup, 1)`; with `cosine_steps = T` it
    then falls as `(1 + cos(pi (t - warmup)/(T - warmup)))/2` and is zero from `t = T` on.

    Args:
        learning_rate: The rate after the warm-up.
        warmup: Updates until the full rate is reached; 0 for none.
        clip: Largest Euclidean norm of the whole gradient, which is scaled down to it; None for no clipping.
        weight_decay: Decoupled weight decay (AdamW); 0 gives Adam.
        cosine_steps: Updates after which the rate has fallen to zero along a cosine; None keeps it constant.
        b1: Decay of the mean of gradients.
        b2: Decay of the mean of squared gradients.
        eps: Added to the root of the mean of squares.

    Returns:
        The transformation; `init_state` and `make_train_step` take other optax transformations too: all that ask for no
        more than gradients, parameters and the loss.

    Raises:
        ValueError: If a number is out of its range.

    Examples:
        >>> import jax.numpy as jnp
        >>> optimizer = adam(0.1, warmup=2)
        >>> params = jnp.array([1.0, 2.0])
        >>> state = optimizer.init(params)
        >>> updates, state = optimizer.update(jnp.array([3.0, -4.0]), state, params)
        >>> [round(float(u), 4) for u in updates]  # half the rate, against the gradient's sign
        [-0.05, 0.05]

    References:
        Kingma and Ba, 2015, arXiv 1412.6980; Loshchilov and Hutter, 2019, arXiv 1711.05101 (AdamW);
        settings of Kolesov et al., 2025, arXiv 2502.02367.
    """
    learning_rate = checks.positive("learning_rate", learning_rate)
    if not warmup >= 0:
        raise ValueError(f"warmup must be a number of updates >= 0, got {warmup!r}.")
    for name, value in (("weight_decay", weight_decay), ("eps", eps)):
        if not 0.0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number >= 0, got {value!r}.")
    for name, value in (("b1", b1), ("b2", b2)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name} must lie in [0, 1), got {value!r}.")
    if cosine_steps is not None and not cosine_steps > warmup:
        raise ValueError(
            f"cosine_steps must be above warmup = {warmup}, got {cosine_steps!r}; shorten the warm-up."
        )

    rate = schedule(learning_rate, warmup=warmup, cosine_steps=cosine_steps)
    links = [] if clip is None else [_norms.clip(checks.positive("clip", clip))]
    if weight_decay:
        links.append(optax.adamw(rate, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay))
    else:
        links.append(optax.adam(rate, b1=b1, b2=b2, eps=eps))
    chained = optax.chain(*links)
    # with decay, updates hold the parameters, which nobody has checked
    kind = _norms.FiniteUpdates if eps > 0 and not weight_decay else _norms.Elementwise
    return kind(*chained)


def schedule(learning_rate: float, *, warmup: int, cosine_steps: int | None) -> optax.Schedule:
    """Return the rate of `adam` by the number of the update."""

    # optax.join_schedules rounds differently, by up to 3e-4 of the rate in 5,000 warm-up steps: runs would not repeat
    def rate(count):
        scale = jnp.minimum((count + 1) / warmup, 1.0) if warmup else 1.0
        if cosine_steps is not None:
            progress = jnp.clip((count - warmup) / (cosine_steps - warmup), 0.0, 1.0)
            scale = scale * 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        return learning_rate * scale

    return rate
