"""Networks whose field is a velocity: E_z = 1."""

import math
from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from efm_jax._core import checks
from efm_jax.types import Network

__all__ = ["denoising_network", "flow_network", "slope_network", "slowness", "velocity_network"]


def velocity_network(network: Network, gap: float, *, margin: float = 1e-3) -> Network:
    """Return a network whose field is a velocity that grows near the plates: `f -> (f_x / w(z), 1)`.

    Here `w = 4 z (L - z) / L^2 + margin`. Velocities grow like the inverse of the distance to a plate, since mass there has
    hardly left or must hurry to arrive.
    Then `f_x` itself stays of the order of the data, and `f_z` is replaced by 1.

    Args:
        network: The network, e.g. `networks.mlp(...)`.
        gap: Distance L between the plates.
        margin: Added to w, > 0: keeps the velocity finite on the plates.

    Raises:
        ValueError: `gap` or `margin` is not positive, or the network was made with another gap.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> ones = Network(lambda key: jnp.ones(()), lambda params, points, **_: params * jnp.ones_like(points))
        >>> velocity_network(ones, 2.0, margin=1.0).apply(jnp.ones(()), jnp.asarray([[0.0, 0.0], [0.0, 1.0]])).tolist()
        [[1.0, 1.0], [0.5, 1.0]]
    """
    gap, margin = checks.positive("gap", gap), checks.positive("margin", margin)
    checks.one_gap(network.gap, gap, "velocity")

    return network._replace(apply=partial(_velocity, network, gap, margin))


def _velocity(network, gap, margin, params, points, *, key=None, cond=None):
    field = network.apply(params, points, key=key, cond=cond)
    slow = slowness(points[:, -1:], gap).astype(field.dtype) + margin
    return jnp.concatenate([field[:, :-1] / slow, jnp.ones_like(slow)], axis=1)


def denoising_network(network: Network, *, num_extra: int, scale: float = 0.5) -> Network:
    r"""Return a network for the velocities of Poisson flow: it learns what the data add to the lines of one Gaussian.

    With K = num_extra and s = scale, `f -> (v, 1)`,

    $$v = \frac{z\, x}{z^2 + K s^2} + \frac{s\, f_x}{\sqrt{z^2 + K s^2}}.$$

    The first term is the velocity toward data `N(0, s^2 I)` under noise of deviation $z / \sqrt{K}$, the second keeps
    what is learned of order one at every height. Far above, lines contract as they should before anything is learned.

    Args:
        network: The network; give it heights in logs, e.g. `networks.unet(shape, gap=30.0, height="log")`.
        num_extra: Extra dimensions K of the recipe, see `pfgm`.
        scale: Standard deviation s of the data, in each dimension, > 0.

    Raises:
        ValueError: `num_extra` is no whole number >= 1, or `scale` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> zeros = Network(lambda key: jnp.zeros(()), lambda params, points, **_: params * points)
        >>> untrained = denoising_network(zeros, num_extra=4, scale=1.5)
        >>> untrained.apply(jnp.zeros(()), jnp.asarray([[25.0, 4.0]])).tolist()
        [[4.0, 1.0]]

    Source: the preconditioning of Karras et al. (2022), arXiv 2206.00364, table 1, for a velocity; the noise of a height is
    that of Xu et al. (2023), arXiv 2302.04265, sec. 4.
    """
    spread = math.sqrt(checks.count("num_extra", num_extra)) * checks.positive("scale", scale)

    return network._replace(apply=partial(_denoised, network, spread, scale))


def _denoised(network, spread, scale, params, points, *, key=None, cond=None):
    field = network.apply(params, points, key=key, cond=cond)
    x, z = points[:, :-1].astype(field.dtype), points[:, -1:].astype(field.dtype)
    far = jnp.sqrt(z**2 + spread**2)
    return jnp.concatenate([x * (z / far) / far + scale * field[:, :-1] / far, jnp.ones_like(z)], axis=1)


def flow_network(network: Network) -> Network:
    """Return a network whose field is a velocity: `f -> (f_x, 1)`, for velocities that are bounded near the plates.

    Flow matching and interaction fields do not use the part `f_z`; the other methods learn it. The parameters stay the
    same, so that methods are compared on one network.

    Args:
        network: The network, e.g. `networks.mlp(...)`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> twos = Network(lambda key: 2 * jnp.ones(()), lambda params, points, **_: params * jnp.ones_like(points))
        >>> flow_network(twos).apply(2 * jnp.ones(()), jnp.zeros((1, 3))).tolist()
        [[2.0, 2.0, 1.0]]
    """
    return network._replace(apply=partial(_flow, network))


def _flow(network, params, points, *, key=None, cond=None):
    field = network.apply(params, points, key=key, cond=cond)
    return jnp.concatenate([field[:, :-1], jnp.ones_like(field[:, -1:])], axis=1)


def slope_network(network: Network, *, margin: float = 1e-2) -> Network:
    """Return a network of the same lines whose field is their slope: `f -> (f_x / f_z, 1)`.

    A network that was trained on directions then gives velocities, with the same parameters: a training on velocities can
    begin with its lines.

    Args:
        network: The network, e.g. `networks.mlp(...)`.
        margin: Least `f_z`, in units of `sqrt(D+1)`, which is the length of a direction as it is taught, > 0.

    Raises:
        ValueError: `margin` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> field = Network(lambda key: jnp.ones(()), lambda params, points, **_: jnp.broadcast_to(points[:1], points.shape))
        >>> slope_network(field).apply(jnp.ones(()), jnp.asarray([[3.0, 4.0]])).tolist()
        [[0.75, 1.0]]
    """
    margin = checks.positive("margin", margin)

    return network._replace(apply=partial(_slope, network, margin))


def _slope(network, margin, params, points, *, key=None, cond=None):
    field = network.apply(params, points, key=key, cond=cond)
    up = jnp.maximum(field[:, -1:], margin * field.shape[1] ** 0.5)
    return jnp.concatenate([field[:, :-1] / up, jnp.ones_like(up)], axis=1)


def slowness(z: Array, gap: float) -> Array:
    """Return `dz/ds` of the clock s = logit(z / L), in units of its greatest value L/4."""
    return 4.0 * (z / gap) * ((gap - z) / gap)
