"""Samples as DataFrames of pandas or polars, or tables of pyarrow: their columns by name, none of these packages needed."""

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float32

from efm_jax.datasets import tables

__all__ = ["names_of", "numbers", "of_row", "rows"]


def names_of(x: Any) -> list[str] | None:
    """Return the names of the columns of a DataFrame or table as text; None of anything else.

    Examples:
        >>> names_of(np.zeros((2, 2))) is None
        True
    """
    keys = _keys(x)
    return None if keys is None else [str(key) for key in keys]


def _keys(x: Any) -> list[Any] | None:
    """The names as they are, in pandas numbers too; None of anything else."""
    names = getattr(x, "column_names", getattr(x, "columns", None))
    return None if names is None or callable(names) or not hasattr(x, "__getitem__") else list(names)


def of_row(x: Any) -> Any:
    """Return the DataFrame of one row that a row of one of pandas, a Series, makes; None of anything else."""
    make = getattr(x, "to_frame", None)
    return None if make is None else make().T


def rows(
    x: Any, columns: Sequence[str] | None
) -> tuple[Float32[np.ndarray, "n dim"], Callable[[np.ndarray], Any]]:
    """Return the rows of a DataFrame, and what puts other numbers in the place of these columns.

    Args:
        x: The DataFrame.
        columns: Names of the columns to take, in this order; None for all.

    Raises:
        ValueError: See `numbers`.
    """
    keys = _keys(x) or []
    chosen = list(map(str, keys)) if columns is None else [*columns]

    def returned(y: np.ndarray) -> Any:
        new = dict(zip(chosen, y.T, strict=True))
        if hasattr(x, "index"):
            made = x.copy()
            for key in keys:
                if str(key) in new:
                    made[key] = new[str(key)]
            return made
        content = {key: new[key] if key in new else x[key] for key in keys}
        return getattr(type(x), "from_pydict", type(x))(content)

    return numbers(x, chosen), returned


def numbers(x: Any, columns: Sequence[str], what: str = "x") -> Float32[np.ndarray, "n dim"]:
    """Return columns of a DataFrame by their names, float32 [n, D].

    Raises:
        ValueError: There are no such columns, or they occur twice, have no name, hold no numbers or miss values: all are
            named.
    """
    known = names_of(x) or []
    if missing := [name for name in columns if name not in known]:
        raise ValueError(
            f"{what} has no column {_few(missing)}.\n"
            f"Its columns are {_few(known) or 'none'}; these are needed: {_few(columns)}."
        )
    if twice := [name for name in dict.fromkeys(columns) if known.count(name) > 1]:
        raise ValueError(f"{what} has several columns of one name: {_few(twice)}.\nRename them.")
    if blank := [name for name in columns if not name.strip()]:
        raise ValueError(
            f"{what} has a column without a name.\nGive it one: {what}.rename(columns={{{blank[0]!r}: 'name'}})"
        )
    by_name = dict(zip(known, _keys(x) or [], strict=True))
    parts = {name: _plain(np.asarray(x[by_name[name]])) for name in columns}
    if text := [name for name, values in parts.items() if values.dtype.kind not in "fiub"]:
        raise ValueError(f"{what} does not hold numbers alone in {_few(text)}.\nGive columns of numbers.")
    found = (
        np.stack([*parts.values()], axis=1).astype(np.float32) if parts else np.zeros((len(x), 0), np.float32)
    )
    bad = ~np.isfinite(found)
    if bad.any():
        holed = [name for name, holes in zip(columns, bad.T, strict=True) if holes.any()]
        raise ValueError(
            f"{what} misses values in {bad.any(axis=1).sum()} of {len(found)} rows, in {_few(holed)}.\nLeave these rows out."
        )
    return found


def _plain(values: np.ndarray) -> np.ndarray:
    """Numbers that lie as objects, as in a row with text or a nullable column, as numbers."""
    objects = values.dtype == object and all(isinstance(one, Real) for one in values)
    return values.astype(np.float64) if objects else values


def _few(names: Sequence[str]) -> str:
    return ", ".join(tables.few(names))
