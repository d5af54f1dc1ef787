"""Options of `efm train` and `efm suggest` for tables: one table that holds both sides, and short names of what is read."""

import io
import itertools
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields
from typing import Annotated

import tyro

from efm_jax.datasets import tables

__all__ = ["OneTable", "expanded", "reading"]

_SHORT = {f"--{one.name.replace('_', '-')}" for one in fields(tables.Reading)}


@dataclass(frozen=True)
class OneTable:
    """Options: both sides in one table."""

    by: Annotated[str | None, tyro.conf.arg(metavar="COLUMN")] = None
    """Of one table with both sides: the column that tells them apart."""
    p: Annotated[str | None, tyro.conf.arg(name="from", metavar="VALUE")] = None
    """Its value in the rows of P."""
    q: Annotated[str | None, tyro.conf.arg(name="to", metavar="VALUE")] = None
    """Its value in the rows of Q."""


def expanded(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `train` and `suggest` with each side by its name, and options of tables by their full names.

    Raises:
        ValueError: A column is given without its values, or not with one table.

    Examples:
        >>> expanded("train A.csv --by t --from a --to b --drop-text".split())
        ['train', 'csv:A.csv:t=a', 'csv:A.csv:t=b', '--data.drop-text']
    """
    command, *rest = arguments or [""]
    if command not in ("train", "suggest"):
        return [*arguments]
    rest = [
        f"--data.{name[2:]}{text[len(name) :]}" if (name := text.partition("=")[0]) in _SHORT else text
        for text in rest
    ]
    found: dict[str, str] = {}
    for name in ("--by", "--from", "--to"):
        for at, text in enumerate(rest):
            if text == name and at + 1 < len(rest):
                found[name], rest = rest[at + 1], rest[:at] + rest[at + 2 :]
                break
            if text.startswith(f"{name}="):
                found[name], rest = text.partition("=")[2], rest[:at] + rest[at + 1 :]
                break
    if not found:
        return [command, *rest]
    places = [*itertools.takewhile(lambda text: not text.startswith("-"), rest)]
    if len(places) != 1 or "--by" not in found:
        wrong = f"got {len(places)} sets of data" if len(places) != 1 else "--by is missing"
        raise ValueError(
            "--by, --from and --to tell the two sides of one table apart: "
            f"{wrong}.\nefm {command} ALL.csv --by COLUMN --from VALUE --to VALUE"
        )
    name = places[0] if places[0].partition(":")[0] in tables.KINDS else _named(places[0])
    column = found["--by"]
    if not {"--from", "--to"} <= found.keys():
        known = ", ".join(tables.sides(name, column))
        raise ValueError(f"--by {column} needs --from and --to.\nThe values of {column} are {known}.")
    return [command, *(f"{name}:{column}={found[side]}" for side in ("--from", "--to")), *rest[1:]]


def _named(path: str) -> str:
    kind = tables.kind_of(path)
    if kind is None:
        raise ValueError(f"--by is for tables, csv, parquet or h5ad, got {path}.")
    return f"{kind}:{path}"


def reading(arguments: Sequence[str]) -> tables.Reading:
    """Return what of tables the options on the line read; a mistake in them is for the parser to tell.

    Examples:
        >>> reading(["a.csv", "b.csv", "--data.columns", "x", "y", "--steps", "10"]).columns
        ('x', 'y')
    """
    own = [text.replace("--data.", "--", 1) for text in arguments if text not in ("-h", "--help")]
    try:
        with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            return tyro.cli(tables.Reading, args=own, return_unknown_args=True)[0]
    except SystemExit:
        return tables.ALL
