"""Rows of pictures in one sheet, each behind its name."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from efm_jax.evaluation import drawing

MARGIN = 150
"""Pixels for the names of the rows."""


def save_rows(path: Path, rows: dict[str, np.ndarray], shape: tuple[int, ...]) -> None:
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
