"""Make the figure: `python -m experiments.gap_effect [--draw]`; what is done already is kept."""

import dataclasses
import itertools
import json
import sys
from pathlib import Path

from tqdm import tqdm

from efm_jax.pipeline import versions
from experiments.gap_effect import drawing
from experiments.gap_effect.config import Config
from experiments.gap_effect.run import EXACT, LEARNED, exact, learned

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    config = Config()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "gap_effect.json"
    head = {"config": json.loads(json.dumps(dataclasses.asdict(config))), "versions": versions()}
    rows = []
    if path.exists():
        old = json.loads(path.read_text())
        if old["config"] != head["config"]:
            raise SystemExit(f"{path} was made with another configuration; move it away first")
        rows = old["rows"]
    if "--draw" not in sys.argv:
        _fill(config, head, rows, path)
    drawing.draw(rows, RESULTS / "gap_effect.png")


def _fill(config: Config, head: dict, rows: list, path: Path) -> None:
    kinds = [
        *((name, exact, "exact: ") for name in EXACT),
        *((name, learned, "learned: ") for name in LEARNED),
    ]
    cells = itertools.product(config.seeds, config.pairs, config.gaps, kinds)
    for seed, (source, target), gap, (name, make, kind) in (bar := tqdm(list(cells))):
        place = {"source": source, "target": target, "gap": gap, "seed": seed, "field": kind + name}
        if any(row.items() >= place.items() for row in rows):
            continue
        bar.set_description(f"{target} L={gap:g} seed {seed} {kind}{name}")
        rows.append(place | make(config, source, target, gap, seed, name))
        new = path.with_suffix(".new")
        new.write_text(json.dumps(head | {"rows": rows}, indent=1) + "\n")
        new.replace(path)


if __name__ == "__main__":
    main()
