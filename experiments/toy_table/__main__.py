"""Make the table: `python -m experiments.toy_table [--fast] [--levers] [--seeds 0 1 ...]`; what is done already is kept.

Seeds have files of their own, so that several processes can share the work.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from tqdm import tqdm

from efm_jax.pipeline import versions
from experiments.toy_table import config as configs
from experiments.toy_table.methods import LEVERS, METHODS
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
    RESULTS.mkdir(exist_ok=True)
    for seed in options.seeds or config.seeds:
        _fill(config, methods, columns, seed, RESULTS / f"{name}seed_{seed}.json")


def _fill(config: configs.Config, methods: dict, columns, seed: int, path: Path) -> None:
    head = {"config": json.loads(json.dumps(dataclasses.asdict(config))), "versions": versions()}
    rows, floors = [], {}
    if path.exists():
        old = json.loads(path.read_text())
        if old["config"] != head["config"]:
            raise SystemExit(f"{path} was made with another configuration; move it away first")
        rows, floors = old["rows"], old["floors"]
    done = {(r["source"], r["target"], r["method"]) for r in rows}
    cells = [
        (p, q, name)
        for p, q in columns
        for name, method in methods.items()
        if (p, q, name) not in done and not (method.generates and not p.startswith("gaussian"))
    ]
    for source, target, method in (bar := tqdm(cells)):
        bar.set_description(f"seed {seed} {source} -> {target} {method}")
        if target not in floors:
            floors[target] = floor(config, target, seed)
        rows.append(
            {"source": source, "target": target, "method": method}
            | cell(config, methods[method], source, target, seed)
        )
        new = path.with_suffix(".new")
        new.write_text(json.dumps(head | {"floors": floors, "rows": rows}, indent=1) + "\n")
        new.replace(path)


if __name__ == "__main__":
    main()
