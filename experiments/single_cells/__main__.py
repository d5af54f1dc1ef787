"""Carry cells: `python -m experiments.single_cells [--file PATH]`; what is done already is kept."""

from pathlib import Path

import tyro

from experiments._lib import places
from experiments.single_cells import cells
from experiments.single_cells.config import Config
from experiments.single_cells.run import table

RESULTS = places.results(__file__)


def main(
    config: tyro.conf.OmitArgPrefixes[Config] = Config(),  # noqa: B008
    file: Path | None = None,
    results: Path = RESULTS,
) -> None:
    """Train every method on two types of cells and score what becomes of held-out ones.

    Args:
        config: What to run.
        file: The h5ad file of the cells; the one in the installed scanpy when left out.
        results: Where the table goes.
    """
    try:
        found = cells.read(cells.find() if file is None else file)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(str(error)) from None
    path = results / "single_cells.json"
    table(config, found, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    tyro.cli(main)
