"""Figures are shown in light and dark, and a dark twin is that of today's figure."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from experiments import dark
from experiments.tables import PAGES

PLAIN = re.compile(r"!\[[^\]]*\]\(([^)\s]+\.png)\)")


def drawn_by_matplotlib(path: Path) -> bool:
    with Image.open(path) as file:
        return "Matplotlib" in file.info.get("Software", "")


def test_every_dark_figure_is_that_of_the_light_one():
    assert len(dark.figures()) > 8
    stale = [str(dark.twin(light)) for light in dark.figures() if not dark.current(light)]
    assert stale == [], "run `python -m experiments.dark`"


def test_a_figure_of_matplotlib_on_a_page_has_a_dark_twin():
    shown = {(page.parent / name).resolve() for page in PAGES for name in PLAIN.findall(page.read_text())}
    assert len(shown) > 8  # pictures of digits and photographs
    assert [path for path in shown if drawn_by_matplotlib(path)] == []
    assert any(map(drawn_by_matplotlib, dark.figures()))  # else the search finds none


def test_a_twin_of_another_figure_is_stale(tmp_path):
    light = tmp_path / "figure.png"
    Image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(light)
    assert not dark.current(light)
    dark.write(light)
    assert dark.current(light)
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(light)
    assert not dark.current(light)


def test_turning_lightness_round_keeps_the_hue():
    color = np.array([[230.0, 159.0, 40.0]], np.float32)
    turned = (dark.dark(color) - dark.GROUND) / (1 - dark.GROUND / 255)
    # chroma is that of before, up to the rounding to bytes
    np.testing.assert_allclose(turned - turned.min(), color - color.min(), atol=1.2)
