"""Write the results: `python -m experiments.flux_density` (minutes on two cores)."""

import json
from pathlib import Path

import tyro

from experiments._lib import places
from experiments.flux_density.config import Config
from experiments.flux_density.run import table

RESULTS = places.results(__file__)


def main(config: tyro.conf.OmitArgPrefixes[Config] = Config(), results: Path = RESULTS) -> None:  # noqa: B008
    """Measure the spread of the velocity target against distance over gap."""
    results.mkdir(parents=True, exist_ok=True)
    report = table(config)
    (results / "tails.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {results / 'tails.json'}")


if __name__ == "__main__":
    tyro.cli(main)
