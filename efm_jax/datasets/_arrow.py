"""csv and parquet files, read and written by pyarrow."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from efm_jax._core import lazy

# `tables` says what is missing
pa, compute, csv, parquet = map(
    lazy.optional, ("pyarrow", "pyarrow.compute", "pyarrow.csv", "pyarrow.parquet")
)

_BLOCK = 1 << 31
_ROWS = 1 << 16


class ArrowFile:
    """An open csv or parquet file, see `tables.File`."""

    def __init__(self, path: Path, kind: str):
        self._table = self._file = None
        if kind == "csv":
            self._table = _read_csv(path)
            schema, self.count = self._table.schema, self._table.num_rows
        else:
            self._file = parquet.ParquetFile(path)
            schema, self.count = self._file.schema_arrow, self._file.metadata.num_rows
        self.columns = list(schema.names)
        self.text = [field.name for field in schema if not _is_number(field.type)]
        self.keys = keys(schema)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def values(self, key: str) -> np.ndarray:
        parts = [_plain(batch.column(key)) for batch in self._batches([key])]
        return np.concatenate(parts) if parts else np.zeros(0, str)

    def numbers(self, columns: list[str], rows: np.ndarray) -> np.ndarray:
        x, begin, filled = np.empty((len(rows), len(columns)), np.float32), 0, 0
        for batch in self._batches(columns):
            first, past = np.searchsorted(rows, [begin, begin + batch.num_rows])
            own = rows[first:past] - begin
            with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused
                for j, name in enumerate(columns if len(own) else ()):
                    values = compute.cast(batch.column(name), pa.float64(), safe=False)
                    x[filled : filled + len(own), j] = values.to_numpy(zero_copy_only=False)[own]
            begin, filled = begin + batch.num_rows, filled + len(own)
        return x

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        if self._table is not None:
            return iter(self._table.select(columns).to_batches())
        file: Any = self._file
        return file.iter_batches(_ROWS, columns=columns)


def opened(path: Path, kind: str) -> ArrowFile:
    """Open a file."""
    return ArrowFile(path, kind)


def content(path: Path, x: np.ndarray, columns: list[str], others: dict[str, Any]) -> bytes:
    """What a file of a table holds."""
    table = pa.table({**{name: x[:, j] for j, name in enumerate(columns)}, **others})
    buffer = io.BytesIO()
    if path.suffix.lower() in (".csv", ".tsv"):
        comma = "\t" if path.suffix.lower() == ".tsv" else ","
        options = csv.WriteOptions(delimiter=comma, quoting_style="needed")
        csv.write_csv(table, buffer, options)
    else:
        parquet.write_table(table, buffer)
    return buffer.getvalue()


def _read_csv(path: Path) -> Any:
    with pa.input_stream(path) as stream:
        head = io.TextIOWrapper(stream, encoding="utf-8-sig").readline()
    comma = max(",;\t", key=head.count)
    # the kind of a column is known when all of it is seen: a block is the whole file
    size = min(max(path.stat().st_size * (50 if path.suffix == ".gz" else 1) + 1, 1 << 20), _BLOCK - 1)
    return csv.read_csv(
        path,
        csv.ReadOptions(block_size=size),
        csv.ParseOptions(delimiter=comma, newlines_in_values=True),
    )


def _is_number(kind: Any) -> bool:
    types = pa.types
    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind)


def keys(schema: Any) -> list[str]:
    """Names of the columns by which rows can be chosen."""
    return [field.name for field in schema if not _is_opaque(field.type)]


def text(column: Any) -> np.ndarray:
    """Return the values of a column as text, an empty one where one is missing."""
    if not _is_number(column.type):
        texts = compute.cast(column, pa.string()).to_pylist()
        return np.asarray(["" if one is None else one for one in texts], str)
    known = column.drop_null().to_numpy(zero_copy_only=False).astype(str)
    found = np.full(len(column), "", known.dtype)
    found[column.is_valid().to_numpy(zero_copy_only=False)] = known
    return found


def _is_opaque(kind: Any) -> bool:
    """Whether it is neither numbers nor text."""
    types = pa.types
    return (
        types.is_nested(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    )


def _plain(column: Any) -> np.ndarray:
    """Numbers as they are where none is missing, anything else as text."""
    if _is_number(column.type) and not column.null_count:
        return column.to_numpy(zero_copy_only=False)
    return text(column)
