"""What the networks share: flat points in, scaled and checked; flat field vectors out.

A module inside the frame is called as `module(x, u, labels, key) -> (f_x, f_z)` with normalized `x = (x -
loc) / scale` [n, D], relative height `u = z / gap` [n], labels [n] or None. It returns [n, D] and [n], both
of order one. `E = (f_x, sqrt(D+1) f_z)`: the usual target is a unit vector times sqrt(D+1), whose E_x is of order 1 in
each dimension and E_z anything from 0 to sqrt(D+1).
"""

import math
from collections.abc import Callable, Iterable
from functools import partial

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer

from efm_jax._core import checks
from efm_jax.networks._functional import Pure
from efm_jax.types import Network

MOST_LAYERS = 1000
"""Layers or blocks of a network at most: a damaged configuration must not take all memory for a list of modules."""


def frame(
    build: Callable[[], nnx.Module],
    dim: int,
    *,
    gap: float,
    scale,
    num_classes: int | None,
    loc=0.0,
    height: str | float = "linear",
) -> Network:
    """Wrap modules built by `build` as a `Network` on points [n, dim + 1].

    Heights seen in logs, from the height `least` on, are `u = log(z / least) / log(gap / least)`, and x is divided by
    `sqrt(1 + (z / scale)^2)` too.
    """
    gap = checks.positive("gap", gap)
    least = _least(height, gap)
    if num_classes is not None:
        num_classes = checks.count("num_classes", num_classes)
    loc, scale = _vector("loc", loc, dim), _vector("scale", scale, dim)
    if np.any(scale <= 0.0):
        raise ValueError(f"scale must be > 0 in every dimension, got a smallest value of {scale.min()}.")
    module = Pure(build)
    apply = partial(_apply, module, dim, loc, scale, gap, least, num_classes)
    return Network(module.init, apply, gap, num_classes)


def _apply(
    module: Pure,
    dim: int,
    loc,
    scale,
    gap: float,
    least: float | None,
    num_classes: int | None,
    params,
    points,
    *,
    key=None,
    cond=None,
):
    """A module in the frame: `module(x, u, labels, key)` on points, scaled and checked."""
    points = checks.floating("points", points).astype(jnp.float32)
    if points.ndim != 2 or points.shape[1] != dim + 1:
        raise ValueError(
            f"points must have shape [n, {dim + 1}] ({dim} coordinates and z), got {points.shape}; "
            f"this network was made for D = {dim}."
        )
    labels = _labels(cond, points.shape[0], num_classes)
    x, u = (points[:, :-1] - loc) / scale, points[:, -1] / gap
    if least is not None:
        x = x / jnp.sqrt(1.0 + (points[:, -1:] / scale) ** 2)
        u = 1.0 - jnp.log(jnp.maximum(u, least / gap)) / math.log(least / gap)
    f_x, f_z = module(params, x, u, labels, key)
    return jnp.concatenate([f_x, math.sqrt(dim + 1) * f_z[:, None]], axis=1).astype(jnp.float32)


def wholes(name: str, values: Iterable[int], least: int, length: int | None = None) -> tuple[int, ...]:
    """Return `values` as a tuple of whole numbers >= `least` (`length` of them), or raise ValueError."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ValueError(f"{name} must be a tuple of whole numbers, got {values!r}.")
    values = tuple(checks.count(f"{name}[{i}]", v, least) for i, v in enumerate(values))
    if length is not None and len(values) != length:
        raise ValueError(f"{name} must hold {length} whole numbers, got {values}.")
    return values


def _least(height: str | float, gap: float) -> float | None:
    """Return the height from which on heights are seen in logs; None where they are not."""
    if isinstance(height, str) and checks.choice("height", height, ("linear", "log")) == "linear":
        return None
    least = 1e-3 if isinstance(height, str) else height
    if not 0.0 < least < gap:
        raise ValueError(
            f"heights in logs must begin between 0 and gap = {gap!r}, got {least!r}.\n"
            "Give that height in the units of the data: height=0.01."
        )
    return least


def _vector(name: str, value, dim: int) -> np.ndarray:
    array = np.asarray(value, dtype=np.float32)
    if array.shape not in ((), (1,), (dim,)) or not np.isfinite(array).all():
        raise ValueError(
            f"{name} must be a finite number or hold one finite number for each of the {dim} dimensions, got "
            f"{value!r} of shape {array.shape}."
        )
    return array


def _labels(cond, n: int, num_classes: int | None):
    """Labels as rows of an embedding: -1 (and no labels at all) becomes the last row, the null label."""
    if num_classes is None:
        if cond is not None:
            raise ValueError(
                "cond was given to a network without classes; make it with num_classes=... to use labels."
            )
        return None
    if cond is None:
        return jnp.full(n, num_classes)
    cond = jnp.asarray(checks.native(cond))
    if cond.shape != (n,) or not jnp.issubdtype(cond.dtype, jnp.integer):
        raise ValueError(
            f"cond must hold one integer label per point, shape ({n},), got shape {cond.shape} "
            f"and dtype {cond.dtype}."
        )
    if not isinstance(cond, Tracer) and n:
        low, high = np.asarray(cond).min(), np.asarray(cond).max()
        if low < -1 or high >= num_classes:
            raise ValueError(
                f"cond must lie between 0 and {num_classes - 1}, or be -1 for the null label, got values from "
                f"{low} to {high}."
            )
    cond = cond.astype(jnp.int32)  # below zero too
    return jnp.where(
        cond == -1, num_classes, jnp.where((cond < -1) | (cond >= num_classes), num_classes + 1, cond)
    )
