"""Make the table: `python -m experiments.toy_table [--low-noise] [--fast] [--levers] [--seeds 0 1 ...]`.

Rows that are there are kept: a program that was stopped goes on.
"""

import argparse
from collections.abc import Callable
from functools import partial

from experiments._lib import places
from experiments._lib.record import Record
from experiments._lib.workers import workers
from experiments.toy_table import config as configs
from experiments.toy_table.methods import LEVERS, METHODS, Method
from experiments.toy_table.run import named_cell, named_floor
from experiments.toy_table.tables import CHIEF

RESULTS = places.results(__file__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--fast",
        action="store_true",
        help="the chief rows, one seed, short training, fewer samples: minutes",
    )
    parser.add_argument(
        "--levers", action="store_true", help="one thing changed at a time instead of the table"
    )
    parser.add_argument(
        "--low-noise",
        action="store_true",
        help="even samples, whose floor is a third, instead of random ones",
    )
    parser.add_argument(
        "--methods", nargs="+", choices=[*METHODS, *LEVERS], metavar="NAME", help="only these rows"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds")
    parser.add_argument(
        "--jobs", type=int, default=2, help="cells made at a time, each by a process of its own"
    )
    options = parser.parse_args()
    config = configs.fast() if options.fast else configs.LowNoise() if options.low_noise else configs.Config()
    kinds = {"fast": options.fast, "low_noise": options.low_noise, "levers": options.levers}
    name = "".join(f"{kind}_" for kind, wanted in kinds.items() if wanted)
    methods = LEVERS if options.levers else METHODS
    wanted = options.methods or (CHIEF if options.fast else methods)
    methods = {name: method for name, method in methods.items() if name in wanted}
    columns = config.columns[: configs.LEVER_COLUMNS] if options.levers else config.columns
    with workers(options.jobs) as each:
        for seed in options.seeds or config.seeds:
            record = Record(RESULTS / f"{name}seed_{seed}.json", config, "floors", "rows")
            _fill(record, config, methods, columns, seed, each)


def _fill(
    record: Record,
    config: configs.Config,
    methods: dict[str, Method],
    columns: tuple[tuple[str, str], ...],
    seed: int,
    each: Callable,
) -> None:
    floors = ({"target": target} for _, target in columns)
    record.fill("floors", floors, partial(named_floor, config, seed), each)
    places = (
        {"source": source, "target": target, "method": name}
        for source, target in columns
        for name, method in methods.items()
        if source.startswith("gaussian") or not method.generates
    )
    record.fill("rows", places, partial(named_cell, config, seed), each)


if __name__ == "__main__":
    main()
