"""Carry the cloud: `python -m experiments.point_cloud [--draw]`; what is done already is kept."""

from pathlib import Path

import tyro

from experiments._lib import places
from experiments.point_cloud.config import Config
from experiments.point_cloud.run import table

RESULTS = places.results(__file__)


def main(
    config: tyro.conf.OmitArgPrefixes[Config] = Config(),  # noqa: B008
    results: Path = RESULTS,
    draw: bool = False,
) -> None:
    """Train every method on the two clouds and judge where fresh points of the sphere end.

    Args:
        config: What to run.
        results: Where table and picture go.
        draw: Only draw the picture, training the first seed once more.
    """
    results.mkdir(parents=True, exist_ok=True)
    if draw:
        from experiments.point_cloud import drawing

        drawing.draw(config, results / "torus.png")
        return
    path = results / "point_cloud.json"
    table(config, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    tyro.cli(main)
