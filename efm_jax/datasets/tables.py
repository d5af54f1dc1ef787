"""Tables of named columns in csv, parquet and h5ad files: rows of numbers to learn, names kept, results written back.

csv and parquet are read by pyarrow, h5ad by h5py (the extra `tables`). Nothing in a file is unpickled or run. Of a file no
more is held than the rows and columns asked for and one block more; a csv file is read whole first.
"""

import difflib
import importlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from efm_jax._core import files, memory

__all__ = [
    "ALL",
    "KINDS",
    "Reading",
    "Table",
    "check_writable",
    "few",
    "kind_of",
    "layers",
    "read",
    "sides",
    "split",
    "told_columns",
    "write",
]

KINDS = {"csv": (".csv", ".tsv", ".csv.gz"), "parquet": (".parquet", ".pq"), "h5ad": (".h5ad",)}
"""Kinds of tables, and the endings of their files."""

_NEEDS = {"csv": "pyarrow", "parquet": "pyarrow", "h5ad": "h5py"}
_SHOWN = 8
_EXACT = 1 << 24
"""Above it not all whole numbers are float32."""


@dataclass(frozen=True)
class Reading:
    """What of a table is read: options of both sides of a run."""

    columns: tuple[str, ...] | None = None
    """Columns of a table to learn, by name, in this order (h5ad: names of var); None for all that hold numbers."""
    layer: str = "X"
    """Of h5ad, the matrix to learn: `X`, `raw/X`, `layers/NAME` or `obsm/NAME`."""
    drop_text: bool = False
    """Leave out columns of a table that hold no numbers, instead of refusing them."""
    drop_missing: Literal["no", "rows", "columns"] = "no"
    """Leave out the rows, or the columns, of a table in which values are missing, instead of refusing them."""


ALL = Reading()
"""All columns, which all must hold numbers."""


class Table(NamedTuple):
    """Rows of numbers with the names of their columns.

    Attributes:
        x: The numbers, float32 [n, D].
        columns: Names of the D columns.
        others: What else the file says of the n rows: columns that are not in x, each [n].
        told: What was read and what was left out, in words.
        order: All columns of the file that could be learned, in their order.
    """

    x: Float32[np.ndarray, "n dim"]
    columns: tuple[str, ...]
    others: dict[str, np.ndarray]
    told: str
    order: tuple[str, ...] = ()


@runtime_checkable
class File(Protocol):
    """An open file of a table.

    Attributes:
        columns: All columns that could be learned, in their order.
        text: Those of them that hold no numbers.
        keys: Columns by which rows can be chosen.
        count: Number of rows.
    """

    columns: list[str]
    text: list[str]
    keys: list[str]
    count: int

    def values(self, key: str) -> np.ndarray:
        """Values of one of the keys, [count]."""
        ...

    def numbers(self, columns: list[str], rows: np.ndarray) -> np.ndarray:
        """Numbers of these columns and rows (increasing indices), float32; NaN where a value is missing."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def kind_of(path: str | Path) -> str | None:
    """Return the kind of table that the name of a file tells, or None.

    Examples:
        >>> kind_of("cells.h5ad"), kind_of("A.CSV"), kind_of("a.png")
        ('h5ad', 'csv', None)
    """
    name = str(path).lower()
    return next((kind for kind, endings in KINDS.items() if name.endswith(endings)), None)


def split(rest: str) -> tuple[str, str, str]:
    """Split `PATH:COLUMN=VALUE` into the path, the column and the value; the last two are empty for a path alone.

    The path ends at a colon after the name of a file that is there, or else after an ending of `KINDS`.

    Examples:
        >>> split("all.csv:dose=1:2"), split("a:b.h5ad")
        (('all.csv', 'dose', '1:2'), ('a:b.h5ad', '', ''))
    """
    ends = [i for i, letter in enumerate(rest) if letter == ":"]
    there = [i for i in ends if files.expanded(rest[:i]).is_file()]
    named = [i for i in ends if kind_of(rest[:i])]
    if files.expanded(rest).is_file() or not (there or named):
        return rest, "", ""
    end = there[-1] if there else named[0]
    column, _, value = rest[end + 1 :].partition("=")
    return rest[:end], column, value


def read(
    name: str | Path, reading: Reading = ALL, *, limit: int | None = None, others: bool = False
) -> Table:
    """Read a table, or those of its rows in which a column has one value.

    Args:
        name: `csv:PATH`, `parquet:PATH` or `h5ad:PATH`, or a path alone; with `:COLUMN=VALUE` behind it, the rows with
            that value (compared as text).
        reading: What of it is read.
        limit: Rows at most.
        others: Read what else the file says of the rows too.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The package that reads it is not installed.
        ValueError: The file is damaged; columns hold no numbers, values are missing, or names are not there: all are named.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write(f"{folder}/a.h5ad", [[1.5, 2.0], [3.0, 4.0]], ["height", "weight"], {"of": ["us", "them"]})
        ...     table = read(f"{path}:of=them")
        >>> table.columns, table.x.tolist()
        (('height', 'weight'), [[3.0, 4.0]])
    """
    kind, path, column, value = _parts(name)
    label = path.name if not column else f"{path.name}, {column} = {value}"
    with _opened(kind, path, reading.layer) as file:
        rows = np.arange(file.count)
        if column:
            rows = np.flatnonzero(_as_text(file, path, column) == value)
            if not len(rows):
                known = ", ".join(sides(name))
                raise ValueError(f"{path} has no row with {column} = {value!r}.\nIts values are {known}.")
        rows = rows[:limit]
        if not len(rows):
            raise ValueError(f"{path} has no rows.")
        left: list[str] = []
        order = tuple(file.columns)
        columns = _chosen(file, path, reading, column, left)
        fix = "Choose fewer columns with --columns."
        memory.check(f"{len(rows)} rows of {len(columns)} columns", 12 * len(rows) * len(columns), fix)
        with files.parsing(path, f"{kind} file", "write it again"):
            x = file.numbers(columns, rows)
        of_all = f" of {file.count:,}" * bool(column or limit)
        x, columns, rows = _whole(path, x, columns, rows, reading.drop_missing, left)
        if kind != "h5ad":
            _warn_of_rounding(file, path, x, columns, rows)
        rest = {}
        if others:
            with files.parsing(path, f"{kind} file", "write it again"):
                rest = {key: file.values(key)[rows] for key in file.keys if key not in columns}
    told = f"{label}: {len(x):,}{of_all} rows, {told_columns(columns, 'of numbers')}"
    return Table(x, tuple(columns), rest, told + ("; left out: " if left else "") + ", ".join(left), order)


def sides(name: str | Path, column: str | None = None) -> list[str]:
    """Return the values that a column of a table has, each once with its count, at most eight of them.

    Args:
        name: As for `read`.
        column: The column; None for the one that the name says.

    Raises:
        ValueError: There is no such column.
    """
    kind, path, of, _ = _parts(name)
    with _opened(kind, path, None) as file:
        values, counts = np.unique(_as_text(file, path, column or of), return_counts=True)
    return few([f"{value} ({count})" for value, count in zip(values, counts, strict=True)])


def write(
    path: str | Path,
    x: Float[np.ndarray, "n dim"] | Sequence,
    columns: Sequence[str],
    others: dict[str, Any] | None = None,
) -> Path:
    """Write rows of numbers under the names of their columns, whole or not at all; the ending says what kind of file.

    Args:
        path: The file: .csv, .tsv, .parquet or .h5ad.
        x: The numbers, [n, D].
        columns: Names of the D columns.
        others: More columns, each [n]; of h5ad they are written to obs.

    Raises:
        ImportError: The package that writes it is not installed.
        ValueError: The ending is another one.
    """
    path = files.expanded(path)
    check_writable(path)
    content = _module(str(kind_of(path))).content(path, np.asarray(x, np.float32), [*columns], others or {})
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, content)
    return path


def layers(name: str | Path) -> list[str]:
    """Return the matrices of an h5ad file, by the names that `--layer` takes; other tables have none.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     layers(write(f"{folder}/a.h5ad", [[1.0]], ["height"]))
        ['X']
    """
    kind, path, _, _ = _parts(name)
    if kind != "h5ad":
        return []
    with _opened(kind, path, None) as file:
        return cast(Any, file).layers()


def check_writable(path: str | Path) -> None:
    """Raise ValueError or ImportError unless `write` can write a file of this name."""
    kind = kind_of(path)
    if kind is None or str(path).lower().endswith(".gz"):
        raise ValueError(f"a table is written as .csv, .tsv, .parquet or .h5ad, got {Path(path).name}.")
    _module(kind)


def told_columns(names: Iterable[str], what: str) -> str:
    """Return how many columns there are, of which kind, and their names, at most eight.

    Examples:
        >>> told_columns(["id"], "of text")
        '1 column of text (id)'
    """
    names = [*names]
    return f"{len(names):,} column{'s' * (len(names) != 1)} {what} ({', '.join(few(names))})"


def _parts(name: str | Path) -> tuple[str, Path, str, str]:
    """Kind, path, column and value of a name."""
    text = str(name)
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        kind, rest = kind_of(split(text)[0]) or "", text
    place, column, value = split(rest)
    path = files.expanded(place)
    if kind not in KINDS:
        raise ValueError(f"{text} is no table: {', '.join(f'{one}:PATH' for one in KINDS)}.")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path.")
    return kind, path, column, value


def _module(kind: str) -> Any:
    needed = _NEEDS[kind]
    try:
        importlib.import_module(needed)
    except ImportError as error:
        raise ImportError(
            f"{kind} files need {needed}, which is not installed.\npip install {needed}"
        ) from error
    return importlib.import_module(f"efm_jax.datasets.{'_h5ad' if kind == 'h5ad' else '_arrow'}")


@contextmanager
def _opened(kind: str, path: Path, layer: str | None) -> Iterator[File]:
    """Open a file; what its reader raises inside becomes a ValueError that names it."""
    module, sound = _module(kind), partial(files.parsing, path, f"{kind} file", "write it again")
    with sound():
        file = module.opened(path, kind) if kind != "h5ad" else module.opened(path)
    with closing(file):
        try:
            if kind == "h5ad" and layer is not None:
                file.choose(layer)
            elif layer not in (None, "X"):
                raise ValueError(f"{path.name} has no layers; --layer {layer} is for h5ad files.")
            _check_names(path, file.columns)
            yield file
        except (KeyError, OSError, RuntimeError, TypeError) as error:  # of a damaged h5ad file
            with sound():
                raise error


def _check_names(path: Path, columns: list[str]) -> None:
    if any(columns) and all(_is_float(name) for name in columns if name) and kind_of(path) == "csv":
        raise ValueError(
            f"{path} begins with a line of numbers: {', '.join(few(columns))}.\nWrite the names of the columns there."
        )
    known: set[str] = set()
    twice = [name for name in columns if name in known or known.add(name)]
    if twice:
        raise ValueError(f"{path} has several columns of one name: {', '.join(few(twice))}.\nRename them.")


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_text(file: File, path: Path, column: str) -> np.ndarray:
    if column not in file.keys:
        raise ValueError(f"{path} has no column {column!r}{_near(column, file.keys)}")
    return file.values(column).astype(str)


def _near(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    guess = f"; did you mean {close[0]!r}?" if close else "."
    return f"{guess}\nIts columns are {', '.join(few(known)) or 'none'}."


def _chosen(file: File, path: Path, reading: Reading, key: str, left: list[str]) -> list[str]:
    """The columns to read; what is left out is added to `left`."""
    if reading.columns is not None:
        missing = [name for name in reading.columns if name not in {*file.columns}]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}{_near(missing[0], file.columns)}")
        if len({*reading.columns}) < len(reading.columns):
            raise ValueError(f"columns must be different ones, got {' '.join(reading.columns)}.")
        no_numbers = [name for name in reading.columns if name in {*file.text}]
        if no_numbers:
            raise ValueError(
                f"{path} has values that are no numbers in {', '.join(few(no_numbers))}.\n"
                "Correct them, or choose other columns."
            )
        others = [name for name in file.columns if name not in {*reading.columns, key}]
        left += [told_columns(others, "not chosen")] * bool(others)
        return [*reading.columns]
    text, unnamed = {*file.text}, [name for name in file.columns if not name.strip()]
    columns = [name for name in file.columns if name != key and name.strip()]
    numbers = [name for name in columns if name not in text]
    no_numbers = [name for name in columns if name in text]
    if unnamed:  # pandas writes the numbers of its rows so
        left.append("a column without a name")
    if no_numbers and not reading.drop_text:
        example = " ".join(numbers[:3]) or "NAME"
        raise ValueError(
            f"{path} has {told_columns(no_numbers, 'without numbers')}.\n"
            f"Leave such columns out with --drop-text, or choose columns: --columns {example}"
        )
    if no_numbers:
        left.append(told_columns(no_numbers, "without numbers"))
    if not numbers:
        raise ValueError(
            f"{path} has no column of numbers: {', '.join(few(columns)) or 'it has no columns'}."
        )
    return numbers


def _whole(
    path: Path, x: np.ndarray, columns: list[str], rows: np.ndarray, drop: str, left: list[str]
) -> tuple[np.ndarray, list[str], np.ndarray]:
    """The numbers without those that miss some, or ValueError that names them."""
    bad = ~np.isfinite(x)
    if not bad.any():
        return x, columns, rows
    holed = [columns[k] for k in np.flatnonzero(bad.any(axis=0))]
    lost = int(bad.any(axis=1).sum())
    if drop == "no":
        raise ValueError(
            f"{path} misses values in {lost} of {len(x)} rows, in {', '.join(few(holed))}.\n"
            "Fill them in, or train without these rows, --drop-missing rows, or columns, --drop-missing columns."
        )
    if drop == "rows":
        left.append(f"{lost:,} row{'s' * (lost != 1)} with missing values (in {', '.join(few(holed))})")
        kept = ~bad.any(axis=1)
        x, rows = x[kept], rows[kept]
    else:
        left.append(told_columns(holed, "with missing values"))
        columns = [name for name in columns if name not in {*holed}]
        x = x[:, ~bad.any(axis=0)]
    if not x.size:
        raise ValueError(f"{path}: nothing is left without the {drop} in which values are missing.")
    return x, columns, rows


def _warn_of_rounding(file: File, path: Path, x: np.ndarray, columns: list[str], rows: np.ndarray) -> None:
    """Warn of columns of whole numbers that float32 does not hold, as ids."""
    rounded, example = [], ""
    for k, name in enumerate(columns):
        if np.abs(x[:, k]).max() < _EXACT:
            continue
        values = file.values(name)
        changed = values[rows][x[:, k] != values[rows]] if values.dtype.kind in "iu" else []
        if len(changed):
            rounded.append(name)
            example = example or f"{changed[0]} to {int(np.float32(changed[0]))}"
    if rounded:
        kept = " ".join([name for name in columns if name not in rounded][:3]) or "NAME"
        warnings.warn(
            f"{path}: whole numbers above {_EXACT:,} in {', '.join(few(rounded))} are rounded, such as {example}.\n"
            f"Leave out ids and the like: --columns {kept}",
            stacklevel=3,
        )


def few(names: Sequence[str]) -> list[str]:
    """Return at most eight names, and how many more there are.

    Examples:
        >>> few("abcdefghijk")[-2:]
        ['h', '3 more']
    """
    names = [*names]
    more = len(names) - _SHOWN
    return names if more <= 1 else [*names[:_SHOWN], f"{more:,} more"]
