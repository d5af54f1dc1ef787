"""Draw it: `python -m experiments.hero`, half a minute."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from efm_jax import charges, fields, lines
from efm_jax.datasets import toys
from efm_jax.evaluation import drawing
from experiments._lib import places

RESULTS = places.results(__file__)
GAP, CHARGES, LINES, POSITIONS, FRAMES = 10.0, 1024, 100, 61, 19
WIDTH, SHEAR = 2.8, 0.35
"""Of the oblique view: width of the gap on the page, and how far the second coordinate leans."""


def main() -> None:
    rng = np.random.default_rng(0)
    x, y = toys.moons().draw(rng, CHARGES), toys.eight_gaussians().draw(rng, CHARGES)
    start = np.c_[toys.moons().draw(rng, LINES), np.zeros(LINES)]
    found = lines.trace(fields.field_fn(charges.capacitor(x, y, GAP)), start, GAP, save=POSITIONS)
    path = np.asarray(found.path)[:, np.asarray(found.arrived)]
    seen = _oblique(path)
    figure = Figure(figsize=(7.2, 3.0), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for z, samples, color in ((0.0, x, drawing.SOURCE), (GAP, y, drawing.TARGET)):
        shown = _oblique(np.c_[samples, np.full(CHARGES, z)])
        axes.scatter(*shown[:, :2].T, s=2, color=color, alpha=0.35, linewidths=0)
        corners = np.array([(-8, -8, z), (8, -8, z), (8, 8, z), (-8, 8, z), (-8, -8, z)], float)
        axes.plot(*_oblique(corners)[:, :2].T, color=color, linewidth=1)
    axes.set_axis_off()
    drawing.animate(seen, RESULTS / "hero.gif", ax=axes, frames=FRAMES, max_lines=LINES)
    print(len(seen[0]), "of", LINES, "lines arrived")


def _oblique(points: np.ndarray) -> np.ndarray:
    """The height to the right, the second coordinate up, the first leaning to the right and up."""
    x, y, z = np.moveaxis(points, -1, 0)
    return np.stack([WIDTH * z + SHEAR * x, y + SHEAR * x, z], axis=-1)


if __name__ == "__main__":
    main()
