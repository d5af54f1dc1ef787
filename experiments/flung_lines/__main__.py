"""Run the battery: `python -m experiments.flung_lines [--methods NAME ...] [--gaps L ...] [--seeds 0 1 ...]`.

Cells that are there are kept: a program that was stopped goes on.
"""

import argparse
from functools import partial

from experiments._lib import places
from experiments._lib.record import Record
from experiments.flung_lines.config import Config
from experiments.flung_lines.run import cell

RESULT = places.results(__file__) / "result.json"


def main() -> None:
    config = Config()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--methods", nargs="+", choices=config.methods, metavar="NAME", default=config.methods
    )
    parser.add_argument("--gaps", type=float, nargs="+", default=config.gaps)
    parser.add_argument("--seeds", type=int, nargs="+", default=config.seeds)
    options = parser.parse_args()
    places = (
        {"source": source, "target": target, "method": method, "gap": gap, "seed": seed}
        for method in options.methods
        for gap in options.gaps
        for seed in options.seeds
        for source, target in config.table.columns
    )
    Record(RESULT, config, "rows").fill("rows", places, partial(cell, config))


if __name__ == "__main__":
    main()
