"""Make the table: `python -m experiments.toy_table [--fast] [--levers] [--seeds 0 1 ...]`; what is done already is kept.

Seeds have files of their own, so that several processes can share the work.
"""

import argparse
from pathlib import Path

from experiments._record import Record
from experiments.toy_table import config as configs
from experiments.toy_table.methods import LEVERS, METHODS, Method
from experiments.toy_table.run import cell, floor

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--fast", action="store_true", help="one seed, short training, fewer samples: minutes"
    )
    parser.add_argument(
        "--levers", action="store_true", help="one thing changed at a time instead of the table"
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds")
    options = parser.parse_args()
    config = configs.fast() if options.fast else configs.Config()
    name = ("fast_" if options.fast else "") + ("levers_" if options.levers else "")
    methods = LEVERS if options.levers else METHODS
    columns = config.columns[: configs.LEVER_COLUMNS] if options.levers else config.columns
    for seed in options.seeds or config.seeds:
        _fill(
            Record(RESULTS / f"{name}seed_{seed}.json", config, "floors", "rows"),
            config,
            methods,
            columns,
            seed,
        )


def _fill(record: Record, config: configs.Config, methods: dict[str, Method], columns, seed: int) -> None:
    record.fill(
        "floors",
        ({"target": target} for _, target in columns),
        lambda place: {"w2": floor(config, place["target"], seed)},
    )
    record.fill(
        "rows",
        (
            {"source": source, "target": target, "method": name}
            for source, target in columns
            for name, method in methods.items()
            if source.startswith("gaussian") or not method.generates
        ),
        lambda place: cell(config, methods[place["method"]], place["source"], place["target"], seed),
    )


if __name__ == "__main__":
    main()
