"""progress.png of a run while it trains: the same held-out samples again and again, and the losses.

The first comes a few seconds after compilation, later ones every minute. Drawing reads the state and changes nothing of it;
its share of the time stays small; where it fails, training goes on.
"""

import functools
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from efm_jax._core import logs
from efm_jax.datasets.spaces import Space
from efm_jax.evaluation import drawing, page
from efm_jax.models import build, configs, pictures
from efm_jax.models.build import Built
from efm_jax.models.model import Trained
from efm_jax.training.state import TrainState

FILE = "progress.png"
FIRST = 15.0
"""Seconds from the first step to the first picture."""
LEAST = 20.0
"""Seconds before the end of a run in which nothing is drawn: its report follows."""

_GAP, _CURVE, _INK, _LINE = 12, 120, "#1c1f24", "#2563c9"

Sheets = Callable[[TrainState], list[tuple[str, np.ndarray]]]


class Watch:
    """Draws `progress.png` when it is time; `sheets` are the parts of it, each below its caption."""

    def __init__(self, folder: Path, sheets: Sheets, every: float, steps: int, *, told: bool):
        self._folder, self._sheets, self._every, self._steps, self._told = folder, sheets, every, steps, told
        self._began: tuple[float, int] | None = None
        self._due, self._drawn, self._failed = 0.0, False, every <= 0

    def due(self, step: int) -> bool:
        """Whether it is time to draw and the run does not end soon."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._due = (now, step), now + min(FIRST, self._every)
        if self._failed or now < self._due:
            return False
        start, first = self._began
        return (now - start) / max(step - first, 1) * (self._steps - step) >= LEAST

    def __call__(self, step: int, state: TrainState) -> np.ndarray | None:
        """Draw the state after a step, if it is due; return the picture, or None."""
        if not self.due(step):
            return None
        jax.block_until_ready(state.step)  # the step under way is not drawing
        now, picture = time.monotonic(), None
        try:
            with warnings.catch_warnings(action="ignore"):  # lines of a short training get lost
                picture = _sheet(f"step {step:,} of {self._steps:,}", self._sheets(state), self._folder)
            drawing.save_png(self._folder / FILE, picture)
            if self._told:
                tqdm.write(f"Held-out samples so far: open {self._folder / FILE}", file=sys.stderr)
        except Exception as error:
            self._failed = True
            warnings.warn(f"{self._folder / FILE} cannot be drawn ({error}); training goes on.", stacklevel=2)
        done = time.monotonic()
        cost = done - now if self._drawn else 0.0  # the first one compiles, once
        self._drawn, self._told, self._due = True, False, done + max(self._every, cost / pictures.SHARE)
        return picture


def sheets_of(
    config: configs.Run, built: Built, space: Space | None, samples: Callable[[], list[pictures.Watched]]
) -> Sheets:
    """Return what draws each direction of a run.

    Args:
        config: The run.
        built: What it is made of.
        space: The space its network sees; None for that of the samples.
        samples: Opens the held-out samples, when the first picture is due.
    """
    names = page.short(config.data.source), page.short(config.data.target)
    recipe, shape = build.lines_recipe(config.recipe), tuple(built.notes["shape"])
    samples = functools.cache(samples)

    def draw(state: TrainState) -> list[tuple[str, np.ndarray]]:
        trained = Trained(config, recipe, built.network, state, shape, 0.0, space)
        return [
            (" -> ".join(names[::-1] if one.reverse else names), pictures.sheet(trained, one))
            for one in samples()
        ]

    return draw


def _sheet(title: str, parts: list[tuple[str, np.ndarray]], folder: Path) -> np.ndarray:
    """One picture of the parts, each below its caption, and of the losses in the log."""
    font = ImageFont.load_default(16)
    width = max([320, *(part.shape[1] for _, part in parts)])
    losses = page.curve(logs.read(folder / "log.jsonl"), width, _CURVE)
    height = sum(part.shape[0] + 2 * _GAP + 20 for _, part in parts) + (losses is not None) * (
        _CURVE + 3 * _GAP + 20
    )
    image = Image.new("RGB", (width + 2 * _GAP, height + _GAP + 24), "#ffffff")
    draw, y = ImageDraw.Draw(image), _GAP

    def write(text: str) -> None:
        nonlocal y
        draw.text((_GAP, y), text, _INK, font)
        y += 24

    write(title)
    for caption, part in parts:
        write(caption)
        image.paste(Image.fromarray(part), (_GAP, y))
        y += part.shape[0] + _GAP
    if losses is not None:
        high, low = losses.losses
        write(f"loss {high:.4g} to {low:.4g}{', logarithmic' * losses.log}")
        draw.line([(_GAP + x, y + down) for x, down in losses.points], _LINE, 2)
    return np.asarray(image)
