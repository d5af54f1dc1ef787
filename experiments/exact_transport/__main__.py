"""Make the table and the pictures: `python -m experiments.exact_transport [--draw]`; what is done already is kept."""

import dataclasses
import itertools
import json
import sys
from pathlib import Path

from tqdm import tqdm

from efm_jax.pipeline import versions
from experiments.exact_transport import drawing
from experiments.exact_transport.config import Config
from experiments.exact_transport.run import MAPS, perfect, row

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    config = Config()
    RESULTS.mkdir(exist_ok=True)
    if "--draw" in sys.argv:
        drawing.draw(config, RESULTS)
        return
    path = RESULTS / "exact_transport.json"
    head = {"config": json.loads(json.dumps(dataclasses.asdict(config))), "versions": versions()}
    rows, ideal = [], []
    if path.exists():
        old = json.loads(path.read_text())
        if old["config"] != head["config"]:
            raise SystemExit(f"{path} was made with another configuration; move it away first")
        rows, ideal = old["rows"], old.get("perfect", [])
    done = {(r["source"], r["target"], r["gap"], r["seed"], r["map"]) for r in rows}
    cells = itertools.product(config.seeds, config.gaps, config.pairs, MAPS)
    for seed, gap, (source, target), name in (bar := tqdm(list(cells))):
        bar.set_description(f"{target} L={gap:g} seed {seed} {name}")
        if (source, target, gap, seed, name) in done:
            continue
        rows.append(row(config, source, target, gap, seed, name))
        if not any((r["target"], r["seed"]) == (target, seed) for r in ideal):
            ideal.append(perfect(config, target, seed))
        new = path.with_suffix(".new")
        new.write_text(json.dumps(head | {"rows": rows, "perfect": ideal}, indent=1) + "\n")
        new.replace(path)


if __name__ == "__main__":
    main()
