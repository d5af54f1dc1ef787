"""Make the table: `python -m experiments.toy_table [--fast] [--levers] [--seeds 0 1 ...]`; what is done already is kept.

Seeds have files of their own, so that several processes can share the work.
"""

import argparse
import itertools
from pathlib import Path

from tqdm import tqdm

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
    for (source, target), name in (bar := tqdm(list(itertools.product(columns, methods)))):
        method, place = methods[name], {"source": source, "target": target, "method": name}
        if record.has("rows", **place) or (method.generates and not source.startswith("gaussian")):
            continue
        bar.set_description(f"seed {seed} {source} -> {target} {name}")
        if not record.has("floors", target=target):
            record.add("floors", {"target": target, "w2": floor(config, target, seed)})
        record.add("rows", place | cell(config, method, source, target, seed))


if __name__ == "__main__":
    main()
