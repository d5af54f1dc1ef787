"""Results of a run on tables as a file: the same columns under their names, whether each line arrived, log-likelihoods."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from efm_jax import training
from efm_jax._core import files
from efm_jax.datasets import tables
from efm_jax.models import columns, density
from efm_jax.models.model import Trained
from efm_jax.types import FieldLines

__all__ = ["Written", "check", "is_table", "save"]

_ARRIVED, _DENSITY = "arrived", "log_likelihood"


class Written(NamedTuple):
    """A file that was written.

    Attributes:
        path: The file.
        arrived: Of each row, whether its line arrived.
        told: What is in it, in words.
    """

    path: Path
    arrived: list[bool]
    told: list[str]


def is_table(output: str | Path) -> bool:
    """Return whether an output is the file of a table, rather than a folder.

    Examples:
        >>> is_table("out.csv"), is_table("out")
        (True, False)
    """
    return tables.kind_of(output) is not None and not files.expanded(output).is_dir()


def check(output: str | Path, trained: Trained, inputs: Iterable[Path], *, overwrite: bool) -> None:
    """See before any line is followed that a table can be written.

    Raises:
        ValueError: The columns have no names, one that was learned has that of a column written beside, or a file would be
            overwritten.
        ImportError: The package that writes it is not installed.
    """
    path = files.expanded(output)
    if trained.columns is None:
        raise ValueError(
            f"output {output} is a table, and the numbers of this model have no names.\nGive a folder as output."
        )
    own = [_ARRIVED, *([_DENSITY] if trained.no_density is None else [])]
    both = [name for name in columns.names(trained.columns) if name in own]
    if both and tables.kind_of(output) != "h5ad":
        raise ValueError(
            f"output {output} would have two columns {both[0]}: one was learned, one is written beside.\n"
            "Give a folder as output, or an .h5ad file, which keeps them apart."
        )
    tables.check_writable(path)
    if path.resolve() in {one.resolve() for one in inputs}:
        raise ValueError(f"output {output} is the input and would be overwritten.\nGive another file.")
    if path.exists() and not overwrite:
        raise ValueError(f"output {output} exists.\nGive another file, or overwrite it with --overwrite.")


def save(
    output: str | Path,
    trained: Trained,
    x: np.ndarray,
    lines: FieldLines,
    *,
    reverse: bool = False,
    others: Mapping[str, np.ndarray] | None = None,
    order: Sequence[str] = (),
    clip: bool = False,
) -> Written:
    """Write the ends of lines as a table.

    Args:
        output: The file.
        trained: The run or model, of a table.
        x: Where the lines started, [n, D].
        lines: The lines.
        reverse: Whether they went from Q to P.
        others: Columns to copy as they are, each [n]; one with the name of a column written here gets `input_` before it.
        order: Names of columns in the order in which a csv or parquet file gets them; those that are not named come last.
        clip: Cut numbers to the range of their column in the training set.
    """
    named = cast(columns.Named, trained.columns)
    y, end = np.asarray(lines.end)[:, :-1], named[0 if reverse else 1]
    names, told = columns.names(named), []
    outside = columns.outside(y, end)
    if outside:
        done = "were cut to it" if clip else "lie outside it; --clip cuts them to it"
        told.append(f"Range of the training data: {outside:,} of {y.size:,} numbers {done}")
    y = columns.clipped(y, end) if clip else y
    arrived = np.asarray(lines.arrived)
    more: dict[str, np.ndarray] = {_ARRIVED: arrived}
    if trained.no_density is None:
        # not `trained.log_likelihood`, which refuses the ends of lines that met NaN
        more[_DENSITY] = density.log_likelihood(
            trained.config,
            trained.recipe,
            trained.network,
            training.ema_params(trained.state),
            trained.space,
            x if reverse else np.asarray(lines.end)[:, :-1],
        )
        of = "the input" if reverse else "the result"
        inside = trained.config.data.components
        said = f"of {of}" if inside is None else f"of the {inside} components of {of}"
        told.append(f"Column {_DENSITY}: natural log of the density {said}")
    apart = tables.kind_of(output) == "h5ad"
    called = _names_of_copies([*(others or {})], {*more} if apart else {*names, *more})
    copied = {called[name]: values for name, values in (others or {}).items()}
    told += [f"Column {name} of the input is called {new}" for name, new in called.items() if name != new]
    if copied:
        told.append(f"Copied as they are: {', '.join(tables.few([*copied]))}")
    if apart:  # numbers and what else is known of the rows are apart there
        path = tables.write(output, y, names, {**copied, **more})
    else:
        known = {**{name: y[:, k] for k, name in enumerate(names)}, **copied}
        ordered = {name: known[name] for name in (*order, *known) if name in known}
        path = tables.write(output, y[:, :0], (), {**ordered, **more})
    return Written(path, arrived.tolist(), told)


def _names_of_copies(names: list[str], taken: set[str]) -> dict[str, str]:
    """What columns are called beside those of names that are taken."""
    called, known = {}, taken.union(names)
    for name in names:
        new = name
        while name in taken and new in known:
            new = f"input_{new}"
        known.add(new)
        called[name] = new
    return called
