"""Quality against evaluations: `python -m experiments.few_steps [--methods ...] [--seeds ...]`, toys; what is done is kept.

With `--runs FOLDER [FOLDER ...]`: trained run folders of digits instead. With `--pictures`: digits of released models.
"""

import argparse
from functools import partial
from pathlib import Path

from experiments._lib import places
from experiments._lib.record import Record
from experiments._lib.workers import workers
from experiments.few_steps import config as configs
from experiments.few_steps import pictures
from experiments.few_steps.digits import score_runs
from experiments.few_steps.drawing import draw
from experiments.few_steps.run import cell, floors
from experiments.toy_table.methods import METHODS

RESULTS = places.results(__file__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", help="only these rows of the toy table")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these seeds")
    parser.add_argument(
        "--jobs", type=int, default=1, help="cells made at a time, each by a process of its own"
    )
    parser.add_argument("--runs", type=Path, nargs="+", help="run folders of `efm train`, of digits")
    parser.add_argument("--pictures", action="store_true", help="only draw digits of released models")
    options = parser.parse_args()
    if options.pictures:
        pictures.draw(RESULTS / "evaluations.png")
        return
    if options.runs:
        score_runs(options.runs, RESULTS / "digits.json", configs.DigitsConfig())
        return
    config = configs.Config()
    path = RESULTS / "few_steps.json"
    record = Record(path, config, "floors", "rows")
    methods, seeds = options.methods or config.methods, options.seeds or config.seeds
    columns = config.toys.columns
    with workers(options.jobs) as each:
        targets = dict.fromkeys(target for _, target in columns)
        record.fill(
            "floors",
            [{"target": target, "seed": seed} for target in targets for seed in seeds],
            partial(floors, config),
            each,
        )
        places = [
            {"source": source, "target": target, "method": name, "seed": seed}
            for seed in seeds
            for name in methods
            for source, target in columns
            if source.startswith("gaussian") or not METHODS[name].generates
        ]
        record.fill("rows", places, partial(cell, config), each)
    order = [*config.methods, *METHODS]
    rows = sorted(record["rows"], key=lambda row: order.index(row["method"]))
    draw(rows, record["floors"], path.with_suffix(".png"))


if __name__ == "__main__":
    main()
