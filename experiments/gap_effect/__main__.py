"""Make the figure: `python -m experiments.gap_effect [--draw]`; what is done already is kept."""

import itertools
import sys
from pathlib import Path

from tqdm import tqdm

from experiments._record import Record
from experiments.gap_effect import drawing
from experiments.gap_effect.config import Config
from experiments.gap_effect.run import EXACT, LEARNED, exact, learned

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    config = Config()
    record = Record(RESULTS / "gap_effect.json", config, "rows")
    if "--draw" not in sys.argv:
        _fill(config, record)
    drawing.draw(record["rows"], RESULTS / "gap_effect.png")


def _fill(config: Config, record: Record) -> None:
    kinds = [
        *((name, exact, "exact: ") for name in EXACT),
        *((name, learned, "learned: ") for name in LEARNED),
    ]
    cells = itertools.product(config.seeds, config.pairs, config.gaps, kinds)
    for seed, (source, target), gap, (name, make, kind) in (bar := tqdm(list(cells))):
        place = {"source": source, "target": target, "gap": gap, "seed": seed, "field": kind + name}
        if record.has("rows", **place):
            continue
        bar.set_description(f"{target} L={gap:g} seed {seed} {kind}{name}")
        record.add("rows", place | make(config, source, target, gap, seed, name))


if __name__ == "__main__":
    main()
