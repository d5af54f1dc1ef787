"""Pictures of seed 0: the same inputs under every method, and one input of each on its way between the plates."""

from pathlib import Path

import numpy as np

from efm_jax import models
from efm_jax.models import build, scoring
from experiments._lib.rows import save_rows
from experiments.images.config import METHODS, Task
from experiments.images.run import RESULTS, Place, slug

COLUMNS = 12
HEIGHTS = 9


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
        save_rows(where / f"same_inputs{suffix}.png", rows, pair[0].shape)
        save_rows(where / f"path{suffix}.png", paths, pair[0].shape)
        print(f"wrote {where}/same_inputs{suffix}.png and path{suffix}.png")
