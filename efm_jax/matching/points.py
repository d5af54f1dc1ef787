"""Supervised points: where a network is taught the field.

A sampler is a pure function `(key, x_pos [n, D], x_neg [m, D], gap, num_points) -> points [k, D+1]` with heights strictly
inside (0, gap), unless it says otherwise. The field of the charges does not depend on the sampler; where the network
learns it well does.
"""

from functools import partial
from math import log

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efm_jax._core import checks, dtypes
from efm_jax._core.heights import at_heights
from efm_jax.matching._brownian import leave_slab, reach_plane
from efm_jax.matching.couplings import independent
from efm_jax.types import Coupling, Key, PointSampler

__all__ = ["HEIGHTS", "box", "defensive", "flux", "heights", "near_plate", "segment"]

HEIGHTS = ("linear", "sine", "logit", "log_both")
"""How heights are distributed: as the clock of that name shows them at random times, or `log_both`."""


def heights(key: Key, gap: float, num_points: int, *, height: str = "linear") -> Float[Array, " k"]:
    """Draw heights between the plates, away from both plates by at least `1e-4 gap`.

    With `h = min(z, gap - z)` the distance to the nearer plate and `c = 1e-4 gap`:

    - `linear`: z ~ U(c, gap - c).
    - `sine`: `p(z) = 1 / (pi sqrt(z (gap - z)))`, that is z = gap sin^2(pi u / 2) with u uniform, held to (c, gap - c).
    - `logit`: s = log(z / (gap - z)) uniform, `p(z) = gap / (2 S z (gap - z))` on (c, gap - c) with S = log(gap / c - 1):
      every scale of the distance to either plate alike.
    - `log_both`: either plate with probability 1/2, `p(h) = 1 / (h log(gap / 2c))` on (c, gap/2): like `logit`, with a kink
      at mid-gap.

    Args:
        key: PRNG key.
        gap: Distance L between the plates.
        num_points: How many heights.
        height: One of the names above.

    Raises:
        ValueError: `gap` is not positive or `height` is unknown.

    Examples:
        >>> import jax
        >>> z = heights(jax.random.key(0), 6.0, 1000, height="log_both")
        >>> bool((z > 0).all() and (z < 6.0).all()), bool((z < 0.06).mean() > 0.2)
        (True, True)
    """
    gap = checks.positive("gap", gap)
    checks.choice("height", height, HEIGHTS)
    margin = 1e-4
    if height == "linear":
        return gap * jax.random.uniform(key, (num_points,), minval=margin, maxval=1.0 - margin)
    if height == "sine":
        u = jax.random.uniform(key, (num_points,))
        return gap * jnp.clip(jnp.sin(0.5 * jnp.pi * u) ** 2, margin, 1.0 - margin)
    if height == "logit":
        return gap * jax.nn.sigmoid(
            log(1.0 / margin - 1.0) * jax.random.uniform(key, (num_points,), minval=-1.0)
        )
    key_h, key_side = jax.random.split(key)
    h = margin * (0.5 / margin) ** jax.random.uniform(key_h, (num_points,))
    return gap * jnp.where(jax.random.bernoulli(key_side, shape=(num_points,)), h, 1.0 - h)


def segment(*, noise: float = 1.0, coupling: Coupling | None = None, height: str = "linear") -> PointSampler:
    """Draw points on the segments between pairs of samples, with noise that vanishes at the plates.

    `x = (1 - t) x_pos_i + t x_neg_j + r m / |m|`, with `t = z / gap`, `m ~ N(0, I_D)`, and a radius `r = |e|`,
    `e ~ N(0, noise^2 min(z, gap - z))`. Given the pair and z, x is isotropic about the segment with a half-normal
    radius whose variance parameter vanishes at both plates.

    Args:
        noise: Scale of the radius, in units of sqrt(length); 0 keeps to the segments.
        coupling: Which samples are paired; independent when None.
        height: How z is distributed, see `heights`.

    Raises:
        ValueError: `noise` is negative or not finite, or `height` is unknown.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> sample = segment(noise=0.0)
        >>> p = sample(jax.random.key(0), jnp.zeros((3, 2)), jnp.ones((5, 2)), 2.0, 4)
        >>> p.shape, bool(jnp.allclose(p[:, 0], p[:, 2] / 2.0))
        ((4, 3), True)

    Source: Kolesov et al. (2025), arXiv 2502.02367, Algorithm 1; the variance that vanishes at the plates is that of
    Manukhov et al. (2025), arXiv 2506.02950.
    """
    if checks.finite("noise", noise) < 0.0:
        raise ValueError(f"noise must be >= 0, got {noise!r}.")
    checks.choice("height", height, HEIGHTS)
    couple = (
        independent() if coupling is None else checks.made("coupling", coupling, "couplings.minibatch_ot()")
    )

    return partial(_on_segments, noise, couple, height)


def _on_segments(noise, couple, height, key, x_pos, x_neg, gap, num_points):
    key_pair, key_z, key_m, key_r = jax.random.split(key, 4)
    i, j = couple(key_pair, x_pos, x_neg, num_points)
    z = heights(key_z, gap, num_points, height=height).astype(dtypes.wide(x_pos))
    t = (z / gap)[:, None]
    middle = (1.0 - t) * x_pos[i] + t * x_neg[j]
    variance = noise**2 * jnp.minimum(z, gap - z)
    radius = jnp.sqrt(variance) * jnp.abs(jax.random.normal(key_r, z.shape, z.dtype))
    x = middle + radius[:, None] * _directions(key_m, num_points, x_pos.shape[1], z.dtype)
    return at_heights(x, z)


def flux(kind: str = "chain", *, height: str = "linear") -> PointSampler:
    r"""Draw points exactly from the flux density of the samples, `p(x | z)` proportional to `E_z(x, z)`: where lines go.

    Between the plates `E_z > 0`, and by `div E = 0` it is a density that flows with velocity `E_x / E_z`. A Brownian
    motion from (x, z) in all D+1 dimensions, followed until it meets a plate, shows its mixture. With a plate and
    a time T drawn for the height z, and `x_i` a random sample of that plate,

    $$x = x_i + \sqrt{T} \xi, \qquad \xi \sim N(0, I_D).$$

    - `chain`: the field of `charges.capacitor_chain`, `p = 2 E_z`: plate and T are those of the exit from the slab.
    - `two_plates`: the field of `charges.capacitor`, `p = E_z`: either plate with probability 1/2 and `T = r^2 / chi2_1`,
      r the distance to it. That is, Cauchy distributions of scale z around P's samples and gap - z around Q's.

    The noise per dimension is of the order of the gap in the middle, whatever D is, and vanishes at the plates.

    Args:
        kind: Whose density: "chain" or "two_plates".
        height: How z is distributed, see `heights`.

    Raises:
        ValueError: `kind` or `height` is unknown.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> p = flux()(jax.random.key(0), jnp.zeros((3, 2)), jnp.full((5, 2), 40.0), 1.0, 10_000)
        >>> of_q = p[:, 0] > 20.0
        >>> round(float(of_q.mean()), 1), bool(abs(of_q[p[:, 2] < 0.2].mean() - 0.1) < 0.03)  # z / L of them
        (0.5, True)

    Source: derived in docs/concepts/flux_density.md.
    """
    checks.choice("kind", kind, ("chain", "two_plates"))
    checks.choice("height", height, HEIGHTS)

    return partial(_by_flux, kind, height)


def _by_flux(kind, height, key, x_pos, x_neg, gap, num_points):
    key_z, key_side, key_time, key_i, key_j, key_x = jax.random.split(key, 6)
    z = heights(key_z, gap, num_points, height=height)
    if kind == "chain":
        below, time = leave_slab(key_time, z, gap)
    else:
        below = jax.random.bernoulli(key_side, shape=(num_points,))
        time = reach_plane(key_time, jnp.where(below, z, gap - z))
    i = jax.random.randint(key_i, (num_points,), 0, x_pos.shape[0])
    j = jax.random.randint(key_j, (num_points,), 0, x_neg.shape[0])
    x = jnp.where(below[:, None], x_pos[i], x_neg[j]).astype(dtypes.wide(x_pos))
    x = x + jnp.sqrt(time)[:, None].astype(x.dtype) * jax.random.normal(key_x, x.shape, x.dtype)
    return at_heights(x, z)


def box(
    *, margin: float = 0.1, bulge: float = 0.5, beyond: float = 0.0, height: str = "linear"
) -> PointSampler:
    """Draw points uniformly in the smallest box around both sample sets, enlarged on every side: for low D.

    `p(x, z) = p(z) / prod_d (b_d - a_d)` on the box `[a, b]` with `a_d = lo_d - margin (hi_d - lo_d) - bulge gap` and
    likewise b_d, where lo and hi are taken over the minibatch of both plates. Field lines bulge sideways by a share of the
    gap; a network that was never taught out there flings them away.

    Args:
        margin: Enlargement of each side, as a share of its length.
        bulge: Further enlargement of each side, as a share of the gap.
        beyond: How far heights go beyond either plate, as a share of the gap. Lines that leave backwards and come round
            the outside (`sampling.stochastic_map`) need a field taught there. Heights are
            stretched, `z -> (1 + 2 beyond) z - beyond gap`.
        height: How z is distributed, see `heights`.

    Raises:
        ValueError: `margin`, `bulge` or `beyond` is negative or not finite, or `height` is unknown.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> p = box(margin=0.0, bulge=0.0)(jax.random.key(0), jnp.zeros((1, 2)), jnp.ones((1, 2)), 1.0, 100)
        >>> bool((p >= 0).all() and (p <= 1).all())
        True

    Source: Kolesov et al. (2025), arXiv 2502.02367 (toy experiments).
    """
    for name, value in (("margin", margin), ("bulge", bulge), ("beyond", beyond)):
        if checks.finite(name, value) < 0.0:
            raise ValueError(f"{name} must be >= 0, got {value!r}.")
    checks.choice("height", height, HEIGHTS)

    return partial(_in_box, margin, bulge, beyond, height)


def _in_box(margin, bulge, beyond, height, key, x_pos, x_neg, gap, num_points):
    key_x, key_z = jax.random.split(key)
    lo = jnp.minimum(x_pos.min(0), x_neg.min(0))
    hi = jnp.maximum(x_pos.max(0), x_neg.max(0))
    more = margin * (hi - lo) + bulge * gap
    u = jax.random.uniform(key_x, (num_points, x_pos.shape[1]), dtypes.wide(x_pos))
    z = heights(key_z, gap, num_points, height=height).astype(dtypes.wide(x_pos))
    z = (1.0 + 2.0 * beyond) * z - beyond * gap
    return at_heights(lo - more + (hi - lo + 2.0 * more) * u, z)


def defensive(
    *, noise: float = 1.0, coupling: Coupling | None = None, height: str = "linear"
) -> PointSampler:
    """Draw points between two plates wherever a line may come: half of them on segments, half around them.

    Half of the points are those of `segment`, a quarter those of the flux density of two plates, and a quarter lies in the
    box around the samples, one gap wider on every side. Lines of two plates bulge out of the hull of the segments; what
    was never taught there flings them away.

    Args:
        noise: Scale of the segments' radius, see `segment`.
        coupling: Which samples the segments join; independent when None.
        height: How z is distributed, see `heights`.

    Raises:
        ValueError: `noise` is negative or not finite, or `height` is unknown.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> p = defensive(noise=0.0)(jax.random.key(0), jnp.zeros((3, 1)), jnp.zeros((5, 1)), 2.0, 8)
        >>> (p[:, 0] == 0).tolist()
        [True, True, True, True, False, False, False, False]

    Source: derived; a mixture that covers the tails is the defensive sampling of Hesterberg (1995), Technometrics 37, 185.
    """
    kinds = (
        segment(noise=noise, coupling=coupling, height=height),
        flux("two_plates", height=height),
        box(margin=0.0, bulge=1.0, height=height),
    )

    return partial(_shared, kinds)


def _shared(kinds, key, x_pos, x_neg, gap, num_points):
    half, quarter = num_points - num_points // 2, num_points // 4
    counts = (half, num_points - half - quarter, quarter)
    keys = jax.random.split(key, len(kinds))
    return jnp.concatenate(
        [kind(one, x_pos, x_neg, gap, k) for kind, one, k in zip(kinds, keys, counts, strict=True) if k]
    )


def near_plate(*, sigma: float = 0.01) -> PointSampler:
    """Draw points around single charges of either plate, at distances spread evenly over the scales up to the gap.

    A plate with probability 1/2, a random charge x_i of it, and one scale s, log-uniform on (sigma, gap): height above
    that plate `h = s |e|`, `e ~ N(0, 1)`, lateral offset `s e'` with `e' ~ N(0, I_D)`. Heights beyond the gap are
    folded back into the slab, `h -> gap - |gap - (h mod 2 gap)|`. (PFGM writes the scale as `sigma (1 + tau)^m` with m
    uniform on (0, M); that is the same distribution with M chosen so that the largest scale is the gap.)

    Args:
        sigma: Smallest scale, a length; capped at the gap.

    Raises:
        ValueError: `sigma` is not positive.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> p = near_plate()(jax.random.key(0), jnp.zeros((4, 2)), jnp.ones((4, 2)), 6.0, 100)
        >>> bool((p[:, 2] > 0).all() and (p[:, 2] < 6.0).all())
        True

    Source: Xu et al. (2022), "Poisson flow generative models", arXiv 2209.11178, eq. 5 and appendix B, here from both
    plates of the capacitor.
    """
    checks.positive("sigma", sigma)

    return partial(_around_charges, sigma)


def _around_charges(sigma, key, x_pos, x_neg, gap, num_points):
    key_side, key_i, key_j, key_s, key_h, key_x = jax.random.split(key, 6)
    smallest = min(sigma, gap)
    dtype = dtypes.wide(x_pos)
    from_pos = jax.random.bernoulli(key_side, shape=(num_points,))
    i = jax.random.randint(key_i, (num_points,), 0, x_pos.shape[0])
    j = jax.random.randint(key_j, (num_points,), 0, x_neg.shape[0])
    scale = smallest * (gap / smallest) ** jax.random.uniform(key_s, (num_points,), dtype)
    h = scale * jnp.abs(jax.random.normal(key_h, (num_points,), dtype))
    h = jnp.clip(gap - jnp.abs(gap - jnp.mod(h, 2.0 * gap)), 1e-4 * smallest, gap * (1.0 - 1e-6))
    x = jnp.where(from_pos[:, None], x_pos[i], x_neg[j])
    x = x + scale[:, None] * jax.random.normal(key_x, x.shape, dtype)
    z = jnp.where(from_pos, h, jnp.minimum(gap - h, gap * (1.0 - 1e-6)))  # gap - h may round to the gap
    return at_heights(x, z)


def _directions(key: Key, num: int, dim: int, dtype) -> Float[Array, "num dim"]:
    m = jax.random.normal(key, (num, dim), dtype)
    return m / jnp.linalg.norm(m, axis=1, keepdims=True)
