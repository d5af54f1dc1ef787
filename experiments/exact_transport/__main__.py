"""Make the table and the pictures: `python -m experiments.exact_transport [--draw]`; what is done already is kept."""

import itertools
import sys
from pathlib import Path

from tqdm import tqdm

from experiments._record import Record
from experiments.exact_transport import drawing
from experiments.exact_transport.config import Config
from experiments.exact_transport.run import MAPS, perfect, row

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    config = Config()
    if "--draw" in sys.argv:
        drawing.draw(config, RESULTS)
        return
    record = Record(RESULTS / "exact_transport.json", config, "rows", "perfect")
    cells = itertools.product(config.seeds, config.gaps, config.pairs, MAPS)
    for seed, gap, (source, target), name in (bar := tqdm(list(cells))):
        bar.set_description(f"{target} L={gap:g} seed {seed} {name}")
        if not record.has("perfect", target=target, seed=seed):
            record.add("perfect", perfect(config, target, seed))
        if not record.has("rows", source=source, target=target, gap=gap, seed=seed, map=name):
            record.add("rows", row(config, source, target, gap, seed, name))


if __name__ == "__main__":
    main()
