"""The density of a trained model at samples of Q, along the lines of its field."""

import jax
import numpy as np
from jaxtyping import Float

from efm_jax import sampling
from efm_jax.datasets.spaces import Space
from efm_jax.lines.likelihood import log_prob
from efm_jax.models import build, configs, scoring
from efm_jax.types import FieldMatching, Network, Params

__all__ = ["log_likelihood", "unknown"]

_BATCH = 250


def unknown(
    config: configs.Run, recipe: FieldMatching, shape: tuple[int, ...], space: Space | None
) -> str | None:
    """Say why a run gives no density; None if it gives one: P is of a known density, and lines start at the samples."""
    source = config.data.source
    if not build.is_noise(source) and not (source.startswith("gaussian") and space is None):
        return f"its P is {source!r}, whose density is not known; train from `noise`"
    if config.network.classes is not None:
        return "its field is one of classes"
    if not scoring.starts_at_samples(recipe, shape):
        return "its lines start at random points, not at the samples; train with another --recipe.method"
    return None


def log_likelihood(
    config: configs.Run,
    recipe: FieldMatching,
    network: Network,
    params: Params,
    space: Space | None,
    x: Float[np.ndarray, "n dim"],
) -> Float[np.ndarray, " n"]:
    """Return the natural log of the density at samples of Q, [n], of a run of which it is known.

    It is NaN where a line is lost, and of samples that hold NaN, the ends of lost lines.

    Of principal components it is the density of the samples' components; else that of the samples, per unit of volume of the
    data.
    """
    u = np.asarray(x, np.float32) if space is None else space.encode(x)
    lost = np.flatnonzero(~np.isfinite(u).all(axis=1))
    u = np.nan_to_num(u, nan=0.0, posinf=0.0, neginf=0.0)
    field = sampling.learned_field(network, params)
    found = [
        log_prob(field, part, _normal, span=recipe.span, stepping=build.stepping(config)).log_prob
        for part in _batches(u)
    ]
    density = np.concatenate(found)[: len(u)].astype(np.float64)
    density[lost] = np.nan
    if space is not None:
        density -= np.log(space.scale).sum(dtype=np.float64)
        if space.log1p and config.data.components is None:
            density -= np.log1p(np.abs(x)).sum(axis=1, dtype=np.float64)
    return density


def _normal(x: jax.Array) -> jax.Array:
    return jax.scipy.stats.norm.logpdf(x).sum(axis=1)


def _batches(u: np.ndarray) -> list[np.ndarray]:
    """Equal parts, the last one filled up, so that one shape is compiled."""
    size = min(_BATCH, len(u))
    rows = np.minimum(np.arange(-(-len(u) // size) * size), len(u) - 1)
    return [u[part] for part in rows.reshape(-1, size)]
