r"""Poisson flow, the recipe of a single plate: lines run from noise far above down to the data.

Q's samples are the only charges, on the plate z = 0, and they obey Coulomb's law in K extra dimensions. The height z
is the distance from the plate in all of them. With $r_i^2 = |x - x_i|^2 + z^2$,

$$E(x, z) \propto \operatorname{mean}_i \frac{(x - x_i, z)}{r_i^{D + K}}, \qquad
p_z(x) = \operatorname{mean}_i\, p_z(x \mid x_i) \propto z^K \operatorname{mean}_i\, r_i^{-(D + K)}.$$

The second is a density, flowing with the velocity

$$\frac{E_x}{E_z} = \sum_i P(i \mid x, z) \frac{x - x_i}{z},$$

so lines carry $p_z$ at a great height, where it is hardly more than that of a single charge, down to the data. Around
a charge x is $x_i + z\, \xi / \chi_K$, $\xi \sim N(0, I_D)$, its distance $z \sqrt{B / (1 - B)}$, $B \sim
\mathrm{Beta}(D/2, K/2)$.

The papers regress on -E; here the field points away from the data, $E_z > 0$, as from every plate of positive charges, and
lines are traced downwards, against it.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax._core.heights import at_heights
from efm_jax.fields.point_charges import mean_displacement
from efm_jax.types import Batch, FieldMatching, Key, Part

__all__ = ["pfgm"]


def pfgm(
    z_max: float = 40.0,
    *,
    gamma: float = 5.0,
    target: str = "direction",
    num_extra: int = 1,
    points: str | None = None,
    sigma: float = 0.01,
    tau: float = 0.03,
    most: float = 291.0,
    eps: float = 1e-3,
    num_points: int | None = None,
) -> FieldMatching:
    r"""Poisson flow: regress on the field of the data alone, and follow it from noise far above down to them.

    `x_neg` are the data; of `x_pos` only the number of rows counts. With g the mean of `(x - x_i, z)` over the minibatch
    with weights `r_i^-(D + K)`, K = num_extra, the target is

    - `direction`: `sqrt(D+1) g / (|g| + gamma)` (the paper's factor is `sqrt(D)`; lines do not see it);
    - `velocity`: `(E_x / E_z, 1)`, `E_x / E_z = g_x / z`. With points of `p_z`, drawn from the same minibatch, the
      gradient is that of the whole field, without bias, for any number of charges. Its mean square grows like that of
      a t-distribution, so it needs K >= 3; wrap the network by `flow_network`.

    Points lie around random samples of the minibatch, in one of two ways:

    - `perturbed`: `z = s |e|`, `x = x_i + s e'` with `e`, `e'` normal and `s = sigma (1 + tau)^m`, `m ~ U(0, most)`;
    - `flux`: log z uniform between eps and z_max, and x from `p_z`, where lines go.

    Lines start at z_max with `x ~ z_max xi / chi_K`, as of one charge at 0, whatever the values of `x`, one line for
    each of its rows. In reverse they start from x at height eps. Trace them with the clock "log", and let the network
    see heights in logs: `networks.mlp(dim, gap=z_max, height=eps)`.

    With K = 1 one line in twelve starts more than `10 sqrt(D) z_max` away, and `E_z / |E|` is as small as that there, which
    a network must know to follow it. More dimensions have shorter tails. The papers' sigma is `z / sqrt(K)`: let z_max and
    eps grow like `sqrt(K)`. Center the data: a mean m of theirs moves the ends by about `|m| R sqrt(K) / z_max`, R the root
    mean square distance from it. For centered ones `z_max = R sqrt(K)` was found to be enough.

    Args:
        z_max: Height of the prior, in units of the data.
        gamma: Length below which a `direction` shrinks, in units of the data; 5 is for pictures, take a hundredth of the
            size of the data or less for toys.
        target: `direction` or `velocity`.
        num_extra: Number of extra dimensions K: 1 is PFGM, more are PFGM++.
        points: `perturbed` or `flux`; None: `perturbed` for directions with K = 1, as in the first paper, else `flux`.
        sigma: Smallest scale of `perturbed`, in units of the data.
        tau: Growth of the scale with m.
        most: Greatest m; with the other two at their defaults the largest scale is 54.
        eps: Height at which lines end, in units of the data.
        num_points: Supervised points per step; as many as rows of x_pos when None.

    Returns:
        The recipe; its span is `(z_max, eps)`.

    Raises:
        ValueError: A number is out of its range, eps is not below z_max, `target` or `points` is unknown, or `velocity` is
            combined with fewer than 3 extra dimensions or other points than `flux`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> recipe = pfgm(100.0, target="velocity", num_extra=8, num_points=16)
        >>> batch = recipe.draw(jax.random.key(0), jnp.zeros((8, 2)), jnp.ones((8, 2)))
        >>> p, v, _ = batch
        >>> bool(jnp.allclose(p[:, :2] - v[:, :2] * p[:, 2:], 1.0, atol=1e-3)), recipe.span  # back along the velocity
        (True, (100.0, 0.001))

    Source: Xu et al. (2022), "Poisson flow generative models", arXiv 2209.11178, Algorithm 1 and sec. 3.2-3.3; Xu et al.
    (2023), "PFGM++", arXiv 2302.04265, sec. 3-4 (num_extra and the density).
    """
    z_max, eps = checks.positive("z_max", z_max), checks.positive("eps", eps)
    if eps >= z_max:
        raise ValueError(f"eps must be below z_max = {z_max!r}, where lines start, got {eps!r}.")
    gamma = checks.finite("gamma", gamma)
    if gamma < 0.0:
        raise ValueError(f"gamma must be >= 0, got {gamma!r}.")
    checks.choice("target", target, ("direction", "velocity"))
    num_extra = checks.count("num_extra", num_extra)
    if points is None:
        points = "perturbed" if target == "direction" and num_extra == 1 else "flux"
    checks.choice("points", points, ("perturbed", "flux"))
    sigma, tau, most = (checks.positive(*o) for o in (("sigma", sigma), ("tau", tau), ("most", most)))
    if target == "velocity" and (num_extra < 3 or points != "flux"):
        raise ValueError(
            f"target='velocity' has a finite mean square only with num_extra >= 3 and points='flux', got {num_extra} "
            f"and {points!r}; take target='direction', or e.g. num_extra=8."
        )
    if num_points is not None:
        checks.count("num_points", num_points)

    return FieldMatching(
        partial(_draw, z_max, gamma, target, num_extra, points, sigma, tau, most, eps, num_points),
        partial(_start, z_max, eps, num_extra),
        (z_max, eps),
    )


def _start(
    z_max, eps, num_extra, key: Key, x: Float[Array, "n dim"], reverse: bool = False
) -> Float[Array, "n dim1"]:
    z = jnp.full(x.shape[0], eps if reverse else z_max, x.dtype)
    return at_heights(x if reverse else _spread(key, z, x.shape[1], num_extra), z)


def _draw(
    z_max,
    gamma,
    target,
    num_extra,
    points,
    sigma,
    tau,
    most,
    eps,
    num_points,
    key: Key,
    x_pos: Float[Array, "n dim"],
    x_neg: Float[Array, "m dim"],
    *,
    part: Part = None,
) -> Batch:
    x_pos, x_neg = checks.both_plates(x_pos, x_neg)
    key_i, key_point = jax.random.split(key)
    i = jax.random.randint(key_i, (num_points or x_pos.shape[0],), 0, x_neg.shape[0])
    if points == "perturbed":
        where = _perturbed(key_point, x_neg[i], sigma, tau, most)
    else:
        where = _on_lines(key_point, x_neg[i], num_extra, eps, z_max)
    where = where if part is None else part(where)
    g, length = mean_displacement(where, x_neg, num_extra)
    z = where[:, -1:]
    if target == "direction":
        value = math.sqrt(g.shape[1]) * g / (length + gamma)
    else:
        value = jnp.concatenate([g[:, :-1] / z, jnp.ones_like(z)], axis=1)
    return Batch(where, value, jnp.ones_like(z[:, 0]))


def _perturbed(key: Key, x: Float[Array, "k dim"], sigma, tau, most) -> Float[Array, "k dim1"]:
    """Points around samples at scales `sigma (1 + tau)^m`; no nearer to the plate than 1e-4 of the scale."""
    key_m, key_z, key_x = jax.random.split(key, 3)
    scale = sigma * (1.0 + tau) ** (most * jax.random.uniform(key_m, x.shape[:1], x.dtype))
    z = scale * jnp.maximum(jnp.abs(jax.random.normal(key_z, scale.shape, x.dtype)), 1e-4)
    return at_heights(x + scale[:, None] * jax.random.normal(key_x, x.shape, x.dtype), z)


def _on_lines(key: Key, x: Float[Array, "k dim"], num_extra, eps, z_max) -> Float[Array, "k dim1"]:
    """Points of `p_z` around samples, at heights log-uniform in (eps, z_max)."""
    key_z, key_x = jax.random.split(key)
    z = eps * (z_max / eps) ** jax.random.uniform(key_z, x.shape[:1], x.dtype)
    return at_heights(x + _spread(key_x, z, x.shape[1], num_extra), z)


def _spread(key: Key, z: Float[Array, " k"], dim: int, num_extra: int) -> Float[Array, "k dim"]:
    """`z xi / chi_K`: x of the lines of a charge at 0, at heights z."""
    key_x, key_chi = jax.random.split(key)
    chi2 = 2.0 * jax.random.gamma(key_chi, 0.5 * num_extra, z.shape, z.dtype)
    return (z / jnp.sqrt(chi2))[:, None] * jax.random.normal(key_x, (z.shape[0], dim), z.dtype)
