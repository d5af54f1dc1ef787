"""h5ad files, the tables of anndata, read and written by h5py: dense and sparse (csr, csc), in today's and the old layout.

Of a matrix the rows and columns asked for are read, in blocks: of dense and csr ones by rows, of csc ones by columns.
"""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from efm_jax._core import lazy

h5py = lazy.optional("h5py")  # `tables` says that it is missing

_BLOCK = 1 << 20
"""Numbers read at once."""


class H5adFile:
    """An open file, see `tables.File`: columns are the variables of one matrix, keys those of obs."""

    def __init__(self, path: Path):
        self._path = path
        self._file: Any = h5py.File(path, "r")
        self.columns: list[str] = []
        self.text: list[str] = []
        self._obs = self._file["obs"]
        self.keys = _columns(self._obs)
        self.count = len(self._column(self._obs, self.keys[0]))

    def close(self) -> None:
        self._file.close()

    def layers(self) -> list[str]:
        """The names of its matrices."""
        return [*self._matrices()]

    def choose(self, layer: str) -> None:
        """Take a matrix by its name."""
        found = self._matrices()
        if layer not in found:
            self.close()
            raise ValueError(
                f"{self._path} has no matrix {layer!r}.\nGive one with --layer: {', '.join(found) or 'it has none'}."
            )
        self._matrix, var = found[layer]
        shape = _shape(self._matrix)
        self.columns = (
            self._names(self._file[var]) if var else [f"{layer[5:]}{k + 1}" for k in range(shape[1])]
        )
        if len(shape) != 2 or shape != (self.count, len(self.columns)):
            raise ValueError(
                f"{self._path}: {layer} has shape {shape}, expected {(self.count, len(self.columns))}."
            )

    def values(self, key: str) -> np.ndarray:
        return self._column(self._obs, key)

    def numbers(self, columns: list[str], rows: np.ndarray) -> np.ndarray:
        place = {name: k for k, name in enumerate(self.columns)}
        chosen = np.asarray([place[name] for name in columns])
        kind = _sparse(self._matrix)
        x = np.zeros((len(rows), len(columns)), np.float32)
        if kind == "csc":
            order = np.argsort(chosen)
            for own, block in _lines(self._matrix, chosen[order], self.count):
                x[:, order[own]] = block[:, rows].toarray().T
        elif kind == "csr":
            for own, block in _lines(self._matrix, rows, len(self.columns)):
                x[own] = block[:, chosen].toarray()
        else:
            low, past = int(chosen.min()), int(chosen.max()) + 1
            for own, first, last in _runs(rows, past - low):
                x[own] = self._matrix[first:last, low:past][rows[own] - first][:, chosen - low]
        return x

    def _matrices(self) -> dict[str, tuple[Any, str]]:
        """The matrices by their names, each with the place of its columns' names."""
        file = self._file
        found: dict[str, tuple[Any, str]] = {}
        if "X" in file:
            found["X"] = file["X"], "var"
        for raw in ("raw", "raw."):  # before 2020 names had dots
            joint = "/" if raw == "raw" else ""
            if f"{raw}{joint}X" in file:
                found["raw/X"] = file[f"{raw}{joint}X"], f"{raw}{joint}var"
        for name in file.get("layers", ()):
            found[f"layers/{name}"] = file["layers"][name], "var"
        obsm = file.get("obsm", {})
        if isinstance(obsm, h5py.Dataset):  # likewise, tables were compound arrays
            for name in obsm.dtype.names or ():
                found[f"obsm/{name}"] = _Field(obsm, name), ""
        else:
            for name, matrix in obsm.items():
                if isinstance(matrix, h5py.Dataset) or _sparse(matrix):
                    found[f"obsm/{name}"] = matrix, ""
        return found

    def _names(self, table: Any) -> list[str]:
        return self._column(table, _index(table)).astype(str).tolist()

    def _column(self, table: Any, name: str) -> np.ndarray:
        """A column of obs or var: numbers, or text."""
        if isinstance(table, h5py.Dataset):
            values = table[name]
            categories = self._file.get(f"uns/{name}_categories")
            return _plain(values) if categories is None else _categorical(categories, values)
        column, old = table[name], table.get("__categories", {})
        if hasattr(column, "keys"):  # a group
            if "categories" in column:
                return _categorical(column["categories"], column["codes"][:])
            values, mask = _plain(column["values"][:]), column["mask"][:]
            return np.where(mask, "", values.astype(str)) if mask.any() else values
        return _categorical(old[name], column[:]) if name in old else _plain(column[:])


class _Field:
    """One field of a compound array, as a matrix."""

    def __init__(self, table: Any, name: str):
        self._table, self._name = table, name
        self.shape = (*table.shape, *table.dtype[name].shape)

    def __getitem__(self, key: tuple[slice, slice]) -> np.ndarray:
        return self._table.fields(self._name)[key[0]][:, key[1]]


def opened(path: Path) -> H5adFile:
    """Open a file."""
    return H5adFile(path)


def content(path: Path, x: np.ndarray, columns: list[str], others: dict[str, Any]) -> bytes:
    """What a file holds with `x` as its matrix; `others` go to obs, one called `index` becomes the names of its rows."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        _tag(file, "anndata", "0.1.0")
        _tag(file.create_dataset("X", data=x), "array", "0.2.0")
        others = {name: np.asarray(values) for name, values in others.items()}
        given = next((name for name in ("index", "_index") if name in others), None)
        index = np.arange(len(x)) if given is None else others.pop(given)
        _write_table(file.create_group("obs"), index, others)
        _write_table(file.create_group("var"), np.asarray(columns, str), {})
        for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            _tag(file.create_group(name), "dict", "0.1.0")
    return buffer.getvalue()


def _write_table(group: Any, index: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    _tag(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "index"
    for name, values in {"index": index.astype(str), **columns}.items():
        # a slash in a name would make a group
        if values.dtype.kind in "biuf":
            _tag(group.create_dataset(name.replace("/", "_"), data=values), "array", "0.2.0")
        else:
            text = values.astype(str).astype(object)
            stored = group.create_dataset(name.replace("/", "_"), data=text, dtype=h5py.string_dtype())
            _tag(stored, "string-array", "0.2.0")
    group.attrs.create(
        "column-order", [name.replace("/", "_") for name in columns], dtype=h5py.string_dtype()
    )


def _tag(item: Any, kind: str, version: str) -> None:
    item.attrs["encoding-type"], item.attrs["encoding-version"] = kind, version


def _index(table: Any) -> str:
    if isinstance(table, h5py.Dataset):
        names = table.dtype.names or ("index",)
        return "index" if "index" in names else names[0]
    return _text(table.attrs.get("_index", "_index"))


def _columns(table: Any) -> list[str]:
    if isinstance(table, h5py.Dataset):
        return list(table.dtype.names or ())
    order = [_index(table), *map(_text, table.attrs.get("column-order", []))]
    return [name for name in dict.fromkeys([*order, *table]) if name in table and name != "__categories"]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _plain(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind in "biuf":
        return values
    return np.asarray([_text(value) for value in values.ravel()], str)


def _categorical(categories: Any, codes: np.ndarray) -> np.ndarray:
    known = np.append(_plain(categories[:]).astype(str), "")  # code -1: no value
    return known[codes]


def _sparse(matrix: Any) -> str:
    """Whether a matrix is "csr", "csc", or "", dense."""
    if not isinstance(matrix, h5py.Group):
        return ""
    kind = matrix.attrs.get("encoding-type", matrix.attrs.get("h5sparse_format", ""))
    return _text(kind).removesuffix("_matrix")


def _shape(matrix: Any) -> tuple[int, ...]:
    if not isinstance(matrix, h5py.Group):
        return matrix.shape
    return tuple(int(n) for n in matrix.attrs.get("shape", matrix.attrs.get("h5sparse_shape", ())))


def _lines(matrix: Any, wanted: np.ndarray, width: int) -> Iterator[tuple[slice, sparse.csr_array]]:
    """Blocks of the wanted rows of a csr matrix (columns of a csc one), increasing indices, each with their place."""
    starts = matrix["indptr"][:]
    stored = matrix["data"].shape[0]
    if starts[0] != 0 or np.any(np.diff(starts) < 0) or starts[-1] > stored:
        raise ValueError("the places of its sparse rows are wrong")
    each = int(starts[-1] // max(len(starts) - 1, 1)) + 1
    for own, first, past in _runs(wanted, each):
        begin, end = int(starts[first]), int(starts[past])
        data, indices = matrix["data"][begin:end], matrix["indices"][begin:end]
        if len(indices) and not 0 <= indices.min() <= indices.max() < width:  # scipy does not look
            raise ValueError("a sparse row has a number outside the table")
        parts = data, indices, starts[first : past + 1] - begin
        yield own, sparse.csr_array(parts, shape=(past - first, width))[wanted[own] - first]


def _runs(wanted: np.ndarray, each: int) -> Iterator[tuple[slice, int, int]]:
    """Cut increasing indices into runs that span few numbers: their place, first index and the index past the last."""
    most = max(_BLOCK // max(each, 1), 1)
    jumps = np.flatnonzero(np.diff(wanted) > 8) + 1  # a smaller gap is not worth a reading of its own
    for start, stop in itertools.pairwise([0, *jumps.tolist(), len(wanted)]):
        while start < stop:
            first = int(wanted[start])
            cut = min(stop, int(np.searchsorted(wanted, first + most)))
            yield slice(start, cut), first, int(wanted[cut - 1]) + 1
            start = cut
