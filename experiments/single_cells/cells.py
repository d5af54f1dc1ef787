"""The cells: 700 of the 68k PBMC data of 10x Genomics with the types of their sort, as they travel with scanpy.

Zheng et al. (2017), "Massively parallel digital transcriptional profiling of single cells", doi 10.1038/ncomms14049.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

from efm_jax.datasets import tables
from efm_jax.datasets.classes import numbered

FILE = "10x_pbmc68k_reduced.h5ad"


class Cells(NamedTuple):
    """Cells with their types.

    Attributes:
        x: Principal components, [n, D].
        kind: Index of each cell's type, [n].
        names: Names of the types.
    """

    x: Float32[np.ndarray, "n dim"]
    kind: Int[np.ndarray, " n"]
    names: tuple[str, ...]

    def index(self, name: str) -> int:
        """Return the index of a type, or raise ValueError."""
        if name not in self.names:
            raise ValueError(f"type must be one of {', '.join(map(repr, self.names))}, got {name!r}.")
        return self.names.index(name)


def find() -> Path:
    """Return the file in the installed scanpy, without importing it, or raise FileNotFoundError."""
    spec = importlib.util.find_spec("scanpy")
    folders = [] if spec is None else spec.submodule_search_locations or []
    for folder in folders:
        path = Path(folder) / "datasets" / FILE
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{FILE} is not here: it travels with scanpy. `pip install h5py` and `pip install --no-deps scanpy` (only "
        "the file is read), or name it by `--file PATH`."
    )


def read(path: Path) -> Cells:
    """Read cells from an h5ad file, raising FileNotFoundError, ImportError or ValueError."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no file {path}; leave out `--file` to read the one in the installed scanpy."
        )
    try:
        table = tables.read(f"h5ad:{path}", tables.Reading(layer="obsm/X_pca"), others=True)
        kind, names = numbered(table.others["bulk_labels"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path.name} must hold obsm/X_pca and obs/bulk_labels, as {FILE} does: {error}"
        ) from error
    return Cells(table.x, kind.astype(np.int64), names)


def held_out(kind: Int[np.ndarray, " n"], seed: int, share: float) -> Bool[np.ndarray, " n"]:
    """Return which cells training does not see: that share of every type, drawn by the seed."""
    rng = np.random.default_rng([seed, 0])
    mask = np.zeros(len(kind), bool)
    for one in np.unique(kind):
        rows = rng.permutation(np.flatnonzero(kind == one))
        mask[rows[: round(share * len(rows))]] = True
    return mask
