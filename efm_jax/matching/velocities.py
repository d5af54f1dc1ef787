"""Networks whose field is a velocity: E_z = 1."""

from functools import partial

import jax.numpy as jnp
from jaxtyping import Array

from efm_jax._core import checks
from efm_jax.types import Network

__all__ = [
    "flow_network",
    "growth",
    "slope_network",
    "slowness",
    "tail_network",
    "velocity_network",
]


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


def tail_network(network: Network, *, scale: float = 1.0) -> Network:
    r"""Return a network for velocities that grow like x far out, as those of lines with heavy tails do: `f -> (v, 1)`.

    $$v = r\, f_x(x / r, z), \qquad r^2 = 1 + \frac{|x|^2}{9 D s^2}.$$

    Among the data r is near 1. Far out the network sees the direction of x, and the length of what it says grows with that
    of x: it need not be taught on every scale.

    Args:
        network: The network, e.g. `networks.mlp(...)`.
        scale: Standard deviation s of the data in each dimension, > 0.

    Raises:
        ValueError: `scale` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> from efm_jax.types import Network
        >>> twos = Network(lambda key: jnp.ones(()), lambda params, points, **_: 2 * jnp.ones_like(points))
        >>> tail_network(twos).apply(jnp.ones(()), jnp.asarray([[0.0, 0.5], [3e6, 0.5]])).tolist()
        [[2.0, 1.0], [2000000.0, 1.0]]
    """
    scale = checks.positive("scale", scale)

    return network._replace(apply=partial(_tail, network, scale))


def _tail(network, scale, params, points, *, key=None, cond=None):
    r = growth(points[:, :-1], scale)
    inside = jnp.concatenate([points[:, :-1] / r, points[:, -1:]], axis=1)
    field = network.apply(params, inside, key=key, cond=cond)
    return jnp.concatenate([r.astype(field.dtype) * field[:, :-1], jnp.ones_like(field[:, -1:])], axis=1)


def growth(x: Array, scale: float) -> Array:
    """Return r of `tail_network`, [n, 1]."""
    return jnp.sqrt(1.0 + jnp.mean((x / (3.0 * scale)) ** 2, axis=1, keepdims=True))


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
