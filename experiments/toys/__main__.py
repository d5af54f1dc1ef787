"""Run the toys: `python -m experiments.toys` (about ten minutes on two cores; `--steps 300` for a look)."""

import json
from pathlib import Path

import tyro

from experiments._lib import places
from experiments.toys.config import Config
from experiments.toys.run import figures, table

RESULTS = places.results(__file__)


def main(config: tyro.conf.OmitArgPrefixes[Config] = Config(), results: Path = RESULTS) -> None:  # noqa: B008
    """Measure W2 of exact and learned fields beside the floor, and draw the lines."""
    results.mkdir(parents=True, exist_ok=True)
    report, pictures = table(config)
    (results / "toys.json").write_text(json.dumps(report, indent=1) + "\n")
    figures(pictures, results)
    print(f"wrote {results / 'toys.json'}")


if __name__ == "__main__":
    tyro.cli(main)
