"""The figure: lines of two plates far apart, from a Gaussian to a Swiss roll."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from efm_jax.charges import far_plates
from efm_jax.datasets.toys import eight_gaussians, gaussian, swiss_roll
from efm_jax.fields import far_lines
from experiments._lib.colors import LINE, P, Q

TARGETS = {"a Swiss roll": swiss_roll(), "eight Gaussians": eight_gaussians()}


def draw(path: Path) -> None:
    """Ways of lines through the space between the plates, and the pairs that they make."""
    figure = Figure(figsize=(9.0, 7.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    rng = np.random.default_rng(0)
    for row, (name, target) in enumerate(TARGETS.items()):
        x, y = gaussian().draw(rng, 512), target.draw(rng, 512)
        lines = far_lines(far_plates(x, y), x, steps=40, save=True)
        way, pairs = figure.add_subplot(2, 2, 2 * row + 1), figure.add_subplot(2, 2, 2 * row + 2)
        places, angles = np.asarray(lines.path)[..., 0], np.asarray(lines.path)[:, 0, -1]
        way.plot(angles / np.pi, places[:, :100], color=LINE, lw=0.5)
        way.set(xlabel="angle / π (P at 0, Q at 1)", ylabel="x̃₁", title="lines")
        end = np.asarray(lines.end)
        for a, b in zip(x[:200], end[:200], strict=True):
            pairs.plot([a[0], b[0]], [a[1], b[1]], color=LINE, lw=0.3)
        pairs.scatter(*x.T, s=4, color=P, label="P", zorder=2)
        pairs.scatter(*y.T, s=4, color=Q, label="Q", zorder=2)
        pairs.set(title=f"pairs: straight tubes to {name}", xlabel="x₁", ylabel="x₂", aspect="equal")
        pairs.legend(fontsize=8)
    figure.savefig(path)
