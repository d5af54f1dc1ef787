"""The network of a direction between two plates, which flings no line away."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from efm_jax._core import checks
from efm_jax.types import Key, Network, Params, Points, SamplesP, SamplesQ

__all__ = ["capacitor_network"]

LEAST, SHARP = 0.05, 4.0
"""Least E_z of the network, for directions of length `sqrt(D+1)`, and how sharply it is approached."""


def capacitor_network(network: Network, gap: float, x_pos: SamplesP, x_neg: SamplesQ) -> Network:
    r"""Return a network for directions between two plates: it learns what samples add to the field of two charges.

    With u the direction of the field of two charges behind the plates, +1 at $(m_0, -s_0)$ and -1 at $(m_1, L + s_1)$,

    $$h = \sqrt{D + 1}\, u(x, z) + \frac{f(x, z)}{1 + (|x - m| / 2R)^4}, \qquad
    E_x = h_x, \quad E_z = c + \tfrac14 \operatorname{softplus} 4 (h_z - c), \quad c = 0.05.$$

    $m_k$ and $s_k$ are the mean and the rms deviation per dimension of each plate's samples, $m = (m_0 + m_1) / 2$, and R is
    the greater rms distance of either plate's samples from m. Far out the field is that of the two charges, whose slope is
    bounded there, and $E_z > 0$ everywhere: every line arrives. A plain network was never taught far out; where its E_z
    falls through 0, lines run away.

    Points between the plates only: the field below and above them points down. The moments are kept with the parameters,
    under "plates", and get no gradient.

    Args:
        network: The network, e.g. `networks.mlp(...)`.
        gap: Distance L between the plates.
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D].

    Raises:
        ValueError: `gap` is not positive, the network was made with another gap, or the samples do not fit.

    Examples:
        >>> import jax, numpy as np
        >>> from efm_jax.networks import mlp
        >>> x = np.random.default_rng(0).normal(size=(2, 100, 2)).astype("float32")
        >>> network = capacitor_network(mlp(2, gap=6.0), 6.0, x[0], x[1])
        >>> field = network.apply(network.init(jax.random.key(0)), np.array([[0, 0, 3], [1e4, 0, 3]], "float32"))
        >>> (field[:, -1] / 3**0.5).round(2).tolist()  # upright between equal plates, and far out
        [1.0, 1.0]

    Source: derived: at a distance $r \gg L$ the field of the plates is that of a dipole, and $E_z / |E|$ no less than its
    height over D times its length.
    """
    gap = checks.positive("gap", gap)
    checks.one_gap(network.gap, gap, "capacitor")
    means, spreads = [], []
    for x in checks.both_plates(x_pos, x_neg):
        samples = np.asarray(x, np.float64)
        means.append(samples.mean(0))
        spreads.append(max(np.sqrt(samples.var(0).mean()), 1e-3 * gap))  # of equal samples too
    apart = 0.25 * np.sum((means[0] - means[1]) ** 2)
    plates = {
        "pos": np.append(means[0], -spreads[0]),
        "neg": np.append(means[1], gap + spreads[1]),
        "radius": np.sqrt(apart + len(means[0]) * max(spreads) ** 2),
    }
    plates = {name: np.asarray(value, np.float32) for name, value in plates.items()}

    return network._replace(init=partial(_init, network, plates), apply=partial(_apply, network))


def _init(network: Network, plates: Params, key: Key) -> Params:
    return {"network": network.init(key), "plates": jax.tree.map(jnp.asarray, plates)}


def _apply(network, params, points, *, key=None, cond=None):
    learned = network.apply(params["network"], points, key=key, cond=cond)
    plates = jax.lax.stop_gradient(params["plates"])
    points, middle = jnp.asarray(points, learned.dtype), 0.5 * (plates["pos"] + plates["neg"])
    away = jnp.sum((points - middle)[:, :-1] ** 2, axis=1, keepdims=True)
    h = points.shape[1] ** 0.5 * _of_two_charges(points, plates["pos"], plates["neg"])
    h = h + learned / (1 + (0.25 * away / plates["radius"] ** 2) ** 2)
    up = LEAST + jax.nn.softplus(SHARP * (h[:, -1:] - LEAST)) / SHARP
    return jnp.concatenate([h[:, :-1], up], axis=1)


def _of_two_charges(points: Points, pos: Array, neg: Array) -> Points:
    """Direction of the field of a charge +1 and one of -1.

    With a and b the ways from them and `c = a - b`, that of `c - b ((|a| / |b|)^(D+1) - 1)`, and `|a|^2 - |b|^2` is
    `c (a + b)`: no digits are lost far out, where the two fields cancel.
    """
    a, b, c = points - pos, points - neg, neg - pos
    apart = jnp.matmul(a + b, c, precision=jax.lax.Precision.HIGHEST)  # |a|^2 - |b|^2
    ratio = jnp.log1p(apart / jnp.sum(b**2, axis=1))
    # beyond e^30 the first term is not felt
    grown = jnp.expm1(jnp.minimum(0.5 * points.shape[1] * ratio, 30.0))
    field = c - b * grown[:, None]
    return field / jnp.linalg.norm(field, axis=1, keepdims=True)
