"""The columns of a table in a run or model: their names, and the ranges of both sides."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float32

from efm_jax.datasets import tables
from efm_jax.datasets.opening import specification
from efm_jax.datasets.source import Columns

__all__ = ["Named", "clipped", "names", "of_input", "of_record", "outside", "to_record"]

Named = tuple[Columns | None, Columns | None]
"""Columns of P and of Q; None of a side that is no table."""


def names(named: Named) -> tuple[str, ...]:
    """Return the names of the columns, those of Q.

    Examples:
        >>> names((None, Columns(("a", "b"))))
        ('a', 'b')
    """
    return next(one.names for one in named[::-1] if one is not None)


def of_input(reading: tables.Reading, named: Named, *specs: str) -> tables.Reading:
    """Return what a model reads of tables: its columns by their names, in its own layer where all files have that.

    All of these columns: where a training left out columns with missing values, such values are an error here.

    Examples:
        >>> of_input(tables.Reading(layer="obsm/X_pca"), (None, Columns(("a",))), "noise").columns
        ('a',)
    """
    found = [spec for spec in map(specification, specs) if spec.partition(":")[0] in tables.KINDS]
    layered = all(reading.layer in tables.layers(spec) for spec in found)
    drop = "rows" if reading.drop_missing == "rows" else "no"
    return replace(reading, columns=names(named), layer=reading.layer if layered else "X", drop_missing=drop)


def to_record(named: Named) -> dict[str, Any]:
    """Return what a checkpoint or model keeps, of plain values."""
    ends = [None if one is None or one.low is None else [one.low, one.high] for one in named]
    return {"names": [*names(named)], "ranges": ends}


def of_record(record: Any, dim: int) -> Named | None:
    """Read what `to_record` made; None stays None.

    Raises:
        ValueError: It is something else, or of another number of columns.

    Examples:
        >>> of_record({"names": ["a"], "ranges": [None, [[0], [1]]]}, 1)[1].high
        (1.0,)
    """
    if record is None:
        return None
    try:
        known, ranges = tuple(map(str, record["names"])), record["ranges"]
        shaped = [None if ends is None else np.asarray(ends, float).reshape(2, dim) for ends in ranges]
        ordered = all(ends is None or (ends[0] <= ends[1]).all() for ends in shaped)  # NaN is not
        if len(known) != dim or len(shaped) != 2 or not ordered:
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f"its columns must be {dim} names and the ranges of two sides, the low end first."
        ) from None
    pos, neg = (
        None if ends is None else Columns(known, tuple(ends[0].tolist()), tuple(ends[1].tolist()))
        for ends in shaped
    )
    return (pos, neg) if neg or pos else (None, Columns(known))


def outside(y: Float32[np.ndarray, "n dim"], one: Columns | None) -> int:
    """Return how many numbers lie outside the range of their column."""
    if one is None or one.low is None:
        return 0
    return int(np.sum(y != clipped(y, one)))


def clipped(y: Float32[np.ndarray, "n dim"], one: Columns | None) -> Float32[np.ndarray, "n dim"]:
    """Return numbers cut to the range of their column in the training set.

    Examples:
        >>> clipped(np.array([[2.0, -1.0]], np.float32), Columns(("a", "b"), (0.0, 0.0), (1.0, 1.0))).tolist()
        [[1.0, 0.0]]
    """
    if one is None or one.low is None:
        return y
    return np.clip(y, np.asarray(one.low, y.dtype), np.asarray(one.high, y.dtype))
