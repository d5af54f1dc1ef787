"""Results of a run on tables as a file: the same columns under their names, whether each line arrived, log-likelihoods."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import jax
import numpy as np
from jaxtyping import Float

from efm_jax import sampling, training
from efm_jax._core import files
from efm_jax.datasets import tables
from efm_jax.lines.likelihood import log_prob
from efm_jax.models import build, columns, scoring
from efm_jax.models.model import Trained
from efm_jax.types import FieldLines

__all__ = ["Written", "check", "is_table", "log_likelihood", "save"]

_BATCH = 250
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
    own = [_ARRIVED, *([_DENSITY] if _has_density(trained) else [])]
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
    density = log_likelihood(trained, x if reverse else np.asarray(lines.end)[:, :-1])
    if density is not None:
        more[_DENSITY] = density
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


def log_likelihood(trained: Trained, x: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"] | None:
    """Return the log-density that a model gives to samples of Q; None where P has no known density.

    P is white noise, or `gaussian` of a run without a space of its own, and lines start at the samples. Of principal
    components it is the density of the samples' components; else that of the samples, per unit of volume of the data.

    Returns:
        Natural logarithms, [n]; NaN where the line does not arrive at P. Or None.
    """
    if not _has_density(trained):
        return None
    data, recipe, space = trained.config.data, trained.recipe, trained.space
    u = np.asarray(x, np.float32) if space is None else space.encode(x)
    field = sampling.learned_field(trained.network, training.ema_params(trained.state))
    found = [
        log_prob(field, part, _normal, span=recipe.span, stepping=build.stepping(trained.config)).log_prob
        for part in _batches(u)
    ]
    density = np.concatenate(found)[: len(u)].astype(np.float64)
    if space is not None:
        density -= np.log(space.scale).sum(dtype=np.float64)
        if space.log1p and data.components is None:
            density -= np.log1p(np.abs(x)).sum(axis=1, dtype=np.float64)
    return density


def _has_density(trained: Trained) -> bool:
    data = trained.config.data
    noise = build.is_noise(data.source) or (data.source.startswith("gaussian") and trained.space is None)
    known = noise and trained.config.network.classes is None
    return known and scoring.starts_at_samples(trained.recipe, trained.shape)


def _normal(x: jax.Array) -> jax.Array:
    return jax.scipy.stats.norm.logpdf(x).sum(axis=1)


def _batches(u: np.ndarray) -> list[np.ndarray]:
    """Equal parts, the last one filled up, so that one shape is compiled."""
    size = min(_BATCH, len(u))
    rows = np.minimum(np.arange(-(-len(u) // size) * size), len(u) - 1)
    return [u[part] for part in rows.reshape(-1, size)]
