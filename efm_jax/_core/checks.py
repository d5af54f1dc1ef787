"""Checks of input: each error names what was expected, what came, and the fix.

Shapes and dtypes are known at trace time and always checked. Values (NaN, order) are checked only when the array is
concrete: under `jit` they are unknown, and a numerical failure becomes a status, never an exception.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from efm_jax._core import dtypes

Made = TypeVar("Made", bound=Callable)


def native(array):
    """Return `array` in this machine's byte order: compiled code would misread the bytes of another order."""
    if isinstance(array, np.ndarray) and not array.dtype.isnative:
        return array.astype(array.dtype.newbyteorder("="))
    return array


def floating(name: str, array) -> jax.Array:
    """Return `array` as a JAX array of a floating dtype, or raise ValueError naming `name`."""
    array = native(array)
    dtype = getattr(array, "dtype", None)
    if dtype is None:
        array = np.asarray(array)
        dtype = array.dtype
        if np.issubdtype(dtype, np.integer):
            array = array.astype(np.float32)
            dtype = array.dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"{name} must hold floating-point numbers, got dtype {dtype}; convert it, e.g. "
            f"{name}.astype('float32') (and scale pictures from 0..255 to -1..1)."
        )
    return jnp.asarray(array)


def samples(name: str, x, *, finite: bool = True) -> jax.Array:
    """Return samples [n, D], n >= 1, D >= 1, finite if their values are known, or raise ValueError."""
    x = floating(name, x)
    if x.ndim != 2 or x.shape[0] == 0 or x.shape[1] == 0:
        raise ValueError(
            f"{name} must have shape [n, D] with n >= 1 samples of D >= 1 dimensions, got {x.shape}; flatten "
            f"pictures with {name}.reshape(len({name}), -1)."
        )
    if finite and not isinstance(x, Tracer):
        bad = int(np.size(x) - np.isfinite(np.asarray(x)).sum())
        if bad:
            raise ValueError(
                f"{name} holds {bad} NaN or infinite numbers; remove or repair those samples first."
            )
    return x


def both_plates(x_pos, x_neg, names: tuple[str, str] = ("x_pos", "x_neg")) -> tuple[jax.Array, jax.Array]:
    """Return the samples [n, D] and [m, D] of both plates, of one D, or raise ValueError."""
    x_pos, x_neg = samples(names[0], x_pos), samples(names[1], x_neg)
    if x_pos.shape[1] != x_neg.shape[1]:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same number of dimensions D, got {x_pos.shape} and {x_neg.shape}; "
            "flatten pictures of one shape on both plates."
        )
    return x_pos, x_neg


def made(name: str, value: Made, example: str) -> Made:
    """Return `value`, a function that another function of the package made, or raise ValueError."""
    if not callable(value):
        raise ValueError(f"{name} must be a function as returned by e.g. {example}, got {value!r}.")
    return value


def has(name: str, value, parts: tuple[str, ...], example: str) -> None:
    """Raise ValueError if `value` lacks a method among `parts`, which the result of `example` has."""
    if not all(callable(getattr(value, part, None)) for part in parts):
        raise ValueError(f"{name} must be the result of a call, e.g. {example}, got {value!r}.")


def library(value) -> str | None:
    """The library of a module, by the name of its adapter (`nnx`, `linen`, `equinox`); None for anything else."""
    homes = {base.__module__.removeprefix("flax.").split(".")[0] for base in type(value).__mro__}
    return next((name for name in ("nnx", "linen", "equinox") if name in homes), None)


def network(value) -> None:
    """Raise ValueError if `value` is no `Network`, and say how to make one of it."""
    complete = all(callable(getattr(value, part, None)) for part in ("init", "apply"))
    adapter = library(value) or ("function" if callable(value) and not complete else None)
    if adapter is not None:
        raise ValueError(
            f"network must be a Network, got {type(value).__name__}.\nWrap it with networks.from_{adapter}."
        )
    has("network", value, ("init", "apply"), "networks.mlp(2, gap=6.0)")


def one_gap(seen: float | None, gap: float, whose: str) -> None:
    """Raise ValueError if a network that sees the height `seen` as 1 is used where the last plate is at `gap`."""
    if seen is not None and not math.isclose(seen, gap, rel_tol=1e-6):
        raise ValueError(
            f"the network was made with gap={seen:g}, the {whose} with gap={gap:g}; make both with one gap."
        )


def key(name: str, value) -> jax.Array:
    """Return `value` if it is one random key, typed or raw, or raise ValueError."""
    dtype, shape = getattr(value, "dtype", None), np.shape(value)
    typed = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    if not ((typed and shape == ()) or (dtype == np.uint32 and len(shape) == 1)):
        raise ValueError(f"{name} must be one random key, e.g. jax.random.key(0), got {value!r}.")
    return value


def starts(points) -> jax.Array:
    """Return where lines start, [n, D+1], n >= 1, finite if known, in float32 or wider, or raise ValueError."""
    points = floating("points", points)
    if points.ndim != 2 or points.shape[0] == 0 or points.shape[1] < 2:
        raise ValueError(
            f"points must have shape [n, D+1] with n >= 1 and D >= 1, the height z last, got {points.shape}."
        )
    if not isinstance(points, Tracer):
        bad = int(np.size(points) - np.isfinite(np.asarray(points)).sum())
        if bad:
            raise ValueError(f"points holds {bad} NaN or infinite numbers; remove those points first.")
    return dtypes.at_least_float32(points)


def positive(name: str, value: float) -> float:
    """Return `value` as a float, finite and > 0, or raise ValueError."""
    number = _number(value)
    if not np.isfinite(number) or number <= 0.0:
        raise ValueError(f"{name} must be a finite number > 0, got {value!r}.")
    return number


def length(name: str, value):
    """Return `value` as a float, finite and > 0, or as it is if it is traced: nothing is known of it then."""
    return value if isinstance(value, Tracer) else positive(name, value)


def finite(name: str, value: float | jax.Array) -> float:
    """Return `value` as a float, finite, or raise ValueError."""
    number = _number(value)
    if not np.isfinite(number):
        raise ValueError(f"{name} must be a finite number, got {value!r}.")
    return number


def _number(value) -> float:
    """Return `value` as a float; NaN for what is no one number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        if isinstance(value, Tracer):
            raise
        return math.nan


def count(name: str, value: int, least: int = 1, most: int | None = None) -> int:
    """Return `value` as an int >= `least` and <= `most`, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}.")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most:,}, got {value:,}.")
    return int(value)


def choice(name: str, value: str, options: tuple[str, ...]) -> str:
    """Return `value` if it is one of `options`, or raise ValueError listing them."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}.")
    return value
