"""Pictures in a column of a parquet file, as Hugging Face's datasets write them: bytes of png or jpg files, and a class.

pyarrow reads them (the extra `tables`). Nothing is unpickled, and no path that a file holds is opened.
"""

import array
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from efm_jax._core import files, lazy
from efm_jax.datasets import _arrow, _decoding, _picture_cache, picture_files, tables
from efm_jax.datasets._on_demand import Later
from efm_jax.datasets.shards import Labeled

pa, parquet = map(lazy.optional, ("pyarrow", "pyarrow.parquet"))

_ROWS = 64


class Column(NamedTuple):
    """A column of pictures.

    Attributes:
        path: The file.
        name: The column.
        label: The column of their classes; None where there is none.
        known: Names of the classes where the file numbers them, else empty.
        key: Column and value of the rows that are read; two empty texts for all.
    """

    path: Path
    name: str
    label: str | None
    known: tuple[str, ...]
    key: tuple[str, str]

    def class_of(self, row: dict[str, Any]) -> str | None:
        """The class of a row; None where it has none."""
        value = None if self.label is None else row[self.label]
        if value is None or not self.known:
            return None if value is None else str(value)
        return self.known[value] if 0 <= value < len(self.known) else None

    def chosen(self, row: dict[str, Any], text: str) -> bool:
        """Whether a row is read, whose value in the column of the key is `text`."""
        column, value = self.key
        return not column or value in (text, self.class_of(row) if column == self.label else None)


def column_of(name: str, reading: tables.Reading) -> Column | None:
    """Return the column of pictures of `parquet:PATH[:COLUMN=VALUE]`; None where it is a table, or cannot be read.

    Raises:
        ValueError: There are several.
    """
    place, key, value = tables.split(name.removeprefix("parquet:"))
    path = files.expanded(place)
    if parquet is None or reading.drop_text or not path.is_file():
        return None
    try:
        with _opened(path) as file:
            schema = file.schema_arrow
            found = [field.name for field in schema if _holds_pictures(file, field)]
    except (pa.ArrowException, OSError):  # `tables.read` says what is wrong
        return None
    if reading.columns is not None:
        found = [one for one in found if reading.columns == (one,)]
    if len(found) > 1:
        raise ValueError(
            f"{path} has several columns of pictures: {', '.join(tables.few(found))}.\n"
            f"Choose one with --columns {found[0]}."
        )
    named = _named_classes(schema)
    label = next((one for one in (*named, "label") if one in schema.names), None)
    return Column(path, found[0], label, tuple(named.get(label, ())), (key, value)) if found else None


def read(column: Column, wanted: _decoding.Wanted) -> Labeled:
    """Read the pictures of a column, in the order of their rows, which are called `row 0`, `row 1`, ...

    Raises:
        FileNotFoundError: There is none.
        ValueError: The file is damaged, no row has the value, a part of the pictures alone has classes, or as `read_folder`.
    """
    key, value = column.key
    with _opened(column.path) as file:
        names, count = _arrow.keys(file.schema_arrow), file.metadata.num_rows
    if key and key not in names:
        raise ValueError(
            f"{column.path} has no column {key!r}.\nIts columns are {', '.join(tables.few(names))}."
        )
    if key:
        count = sum(1 for _ in _rows(column, {key}))
    if key and not count:
        known = ", ".join(tables.sides(f"parquet:{column.path}", key))
        raise ValueError(f"{column.path} has no row with {key} = {value!r}.\nIts values are {known}.")
    real = os.path.realpath(column.path)
    found = _decoding.Files(
        str(column.path),
        count,
        lambda: _items(column),
        {"parquet": column._replace(path=Path(real))._asdict()},
        lambda: _picture_cache.digest(Path(), [real]),
        lambda: _later(column),
    )
    read = _decoding.decoded(found, wanted)
    labels = None if key and key == column.label else _decoding.classes(read, found.where, str(column.label))
    return Labeled(read.images, read.names, [*read.skipped], labels)


def _opened(path: Path, metadata: Any = None) -> Any:
    # without these it reads a whole group of rows, which may be all of a file
    return parquet.ParquetFile(path, metadata=metadata, buffer_size=1 << 20, pre_buffer=False)


def _items(column: Column) -> Iterator[_decoding.Item]:
    for k, row in _rows(column, {column.name, column.label, column.key[0]}):
        yield f"row {k}", _content(row[column.name]), column.class_of(row)


def _content(cell: Any) -> bytes:
    return (cell["bytes"] if isinstance(cell, dict) else cell) or b""


def _later(column: Column) -> Later:
    """The rows that are read, and their classes: of the pictures nothing is read."""
    with _opened(column.path) as file:
        metadata = file.metadata
    rows, labels = range(metadata.num_rows), [None] * metadata.num_rows
    if told := {column.label, column.key[0]} - {None, ""}:
        rows, labels = array.array("q"), []
        for k, row in _rows(column, told):
            label = column.class_of(row)
            rows.append(k)
            labels.append(label and sys.intern(label))
    numbers = np.asarray(rows)
    return Later([f"row {k}" for k in rows], lambda asked: _cells(column, metadata, numbers[asked]), labels)


def _cells(column: Column, metadata: Any, rows: np.ndarray) -> Iterator[tuple[int, bytes]]:
    """The pictures of some rows, each with its place: a group of rows is read once, up to the last that is asked for."""
    sizes = (metadata.row_group(k).num_rows for k in range(metadata.num_row_groups))
    starts = np.cumsum([0, *sizes])
    groups = np.searchsorted(starts, rows, "right") - 1
    with files.parsing(column.path, "parquet file"), _opened(column.path, metadata) as file:
        for group, places in itertools.groupby(np.argsort(rows).tolist(), lambda place: int(groups[place])):
            batches = file.iter_batches(_ROWS, row_groups=[group], columns=[column.name])
            cells, start, end = [], starts[group], starts[group]
            for place in places:
                while rows[place] >= end:
                    cells = next(batches).column(0)
                    start, end = end, end + len(cells)
                yield place, _content(cells[int(rows[place] - start)].as_py())


def _rows(column: Column, names: set[str | None]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows that are read, each with its number: these columns of them, the key's among them."""
    key, start = column.key[0], 0
    with files.parsing(column.path, "parquet file"), _opened(column.path) as file:
        for rows in file.iter_batches(_ROWS, columns=sorted(name for name in names if name)):
            texts = _arrow.text(rows.column(key)).tolist() if key else [""] * len(rows)
            for k, (row, text) in enumerate(zip(rows.to_pylist(), texts, strict=True), start):
                if column.chosen(row, text):
                    yield k, row
            start += len(rows)


def _holds_pictures(file: Any, field: Any) -> bool:
    kind = field.type
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    if not _is_binary(kind):
        return False
    rows = next(file.iter_batches(_ROWS, columns=[field.name]), None)
    first = next((one for one in rows.column(0).to_pylist() if one), b"") if rows is not None else b""
    try:
        return min(picture_files.size(first)) > 0
    except ValueError:
        return False


def _is_binary(kind: Any) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _named_classes(schema: Any) -> dict[str | None, list[str]]:
    """Names of the classes by column, where Hugging Face's datasets wrote them into a file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: [str(one) for one in feature["names"]]
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
