"""Pictures of seed 0: the same inputs under every method, and one input of each on its way between the plates."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from efm_jax import models
from efm_jax.evaluation import drawing
from efm_jax.models import build, scoring
from experiments.images.config import METHODS, Task
from experiments.images.run import RESULTS, Place, slug

COLUMNS = 12
HEIGHTS = 9
MARGIN = 150
"""Pixels for the names of the rows."""


def draw(name: str, task: Task, root: Path) -> None:
    """Write `same_inputs.png` and `path.png` of a task, and the same back where P is data; methods not run are left out."""
    found = {method: Place(name, method, 0).folder(root) for method in METHODS}
    found = {method: folder for method, folder in found.items() if (folder / "report.json").is_file()}
    if not found:
        return
    pair = build.sources(task.data, split="test")
    for reverse in (False,) if task.generates else (False, True):
        x = scoring.held_out(pair[int(reverse)], COLUMNS, side=int(reverse))
        rows = {"" if task.generates else "inputs": x}
        paths = {}
        for method, folder in found.items():
            lines = models.transport(models.load(folder), x, reverse=reverse, save=HEIGHTS)
            rows[method] = np.asarray(lines.end)[:, :-1]
            paths[method] = np.asarray(lines.path)[:, 0, :-1]
        suffix = "_back" if reverse else ""
        where = RESULTS / slug(name)
        _save(where / f"same_inputs{suffix}.png", rows, pair[0].shape)
        _save(where / f"path{suffix}.png", paths, pair[0].shape)
        print(f"wrote {where}/same_inputs{suffix}.png and path{suffix}.png")


def _save(path: Path, rows: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
    """Rows of drawing, each behind its name; a row without a name is left out."""
    rows = {name: row for name, row in rows.items() if name}
    zoom = max(1, 64 // shape[0])
    sheets = [drawing.grid(row, shape, len(row), zoom=zoom) for row in rows.values()]
    sheet = Image.fromarray(np.concatenate(sheets))
    page = Image.new("RGB", (sheet.width + MARGIN, sheet.height), "white")
    page.paste(sheet, (MARGIN, 0))
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for i, name in enumerate(rows):
        pen.text((MARGIN - 6, (i + 0.5) * sheet.height / len(rows)), name, "black", font, anchor="rm")
    drawing.save_png(path, np.asarray(page))
