"""Draw the velocity target of one pair of charges, and say how far its values spread."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from efm_jax import matching
from efm_jax._core.versions import versions
from efm_jax.matching import points
from experiments.flux_density.config import Config

GAP = 1.0


def table(config: Config) -> dict[str, Any]:
    """One row per field, dimension and distance."""
    cells = [
        (kind, dim, a) for kind in ("chain", "two_plates") for dim in config.dims for a in config.distances
    ]
    rows = []
    for kind, dim, share in tqdm(cells):
        speed, unknown = speeds(config, kind, dim, share)
        squares = np.sort(speed**2)[::-1]
        row = {
            "field": kind,
            "dim": dim,
            "distance_per_gap": share,
            "median": np.median(speed),
            "rms": np.sqrt(squares.mean()),
            "quantile_999": np.quantile(speed, 0.999),
            "largest": speed.max(),
            "share_of_squares_in_top_thousandth": squares[: len(squares) // 1000].sum() / squares.sum(),
            "sign_unknown": unknown,
        }
        if dim == 1 and kind == "chain":
            row["rms_exact"] = rms_on_the_line(share)
        rows.append({name: round(x, 5) if isinstance(x, float) else x for name, x in row.items()})
    return {"config": dataclasses.asdict(config), "versions": versions(), "rows": rows}


def speeds(config: Config, kind: str, dim: int, share: float) -> tuple[np.ndarray, float]:
    """|dx/ds| / a at points of the flux density with heights uniform in s, and the share without a known velocity."""
    law = points.flux(kind, height="logit")
    if kind == "chain":
        reach = max(20.0, 4.0 * dim**0.5)
        recipe = matching.c2fm(
            GAP, target="velocity", points=law, num_points=config.rows, reach=reach, tolerance=1e-4
        )
    else:
        recipe = matching.efm(GAP, target="velocity", points=law, num_points=config.rows)
    distance = share * GAP
    x_pos = jnp.zeros((1, dim))
    x_neg = jnp.full((1, dim), distance / dim**0.5)
    draw = jax.jit(lambda key: recipe.draw(key, x_pos, x_neg)[1:])
    found, unknown = [], 0
    for i in range(-(-config.draws // config.rows)):
        target, weight = draw(jax.random.fold_in(jax.random.key(config.seed), i))
        known = np.asarray(weight) > 0
        unknown += int((~known).sum())
        slope = np.linalg.norm(np.asarray(target, np.float64)[known, :-1], axis=1)
        found.append(slope * 0.25 * GAP * np.sqrt(np.asarray(weight, np.float64)[known]) / distance)
    return np.concatenate(found), unknown / config.draws


def rms_on_the_line(share: float) -> float:
    """The same root mean square at D = 1 by quadrature of the chain's closed form (docs/concepts/flux_density.md)."""
    limit = np.log(1e4 - 1)
    node, weight = np.polynomial.legendre.leggauss(64)
    total = 0.0
    for s, part in zip(limit * node, weight / 2, strict=True):
        z, slowness = 1 / (1 + np.exp(-s)), 0.25 / np.cosh(s / 2) ** 2
        away = np.geomspace(0.01 * min(z, 1 - z), 60.0, 4000)
        x = np.unique(np.concatenate([c + side * away for c in (0.0, share) for side in (-1, 1)]))
        here, there = (np.pi / 2 * (x - c + 1j * z) for c in (0.0, share))
        # 2 (E_x - i E_z)
        twice = 0.5 * (1 / np.tanh(here) - np.tanh(there))
        density = np.maximum(-twice.imag, 1e-300)
        square = np.where(density > 1e-14, twice.real**2 / density, 0.0)
        total += part * slowness**2 * np.trapezoid(square, x)
    return float(np.sqrt(total) / share)
