"""The pictures: lines of two plates, those round the outside included, beside lines of the chain."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments._lib import colors
from experiments.exact_transport.config import Config
from experiments.exact_transport.run import follow, plates

FORWARD, BACKWARD, P, Q = colors.LINE, "#c98a1b", colors.P, colors.Q
_LINES, _CHARGES, _GAP = 120, 1024, 6.0


def draw(config: Config, folder: Path) -> None:
    """One png a pair, from fewer charges."""
    for source, target in config.pairs:
        x, y = (samples[:_CHARGES] for samples in plates(config, source, target, 0))
        figure = Figure(figsize=(9.0, 4.0), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(f"{source} -> {target}, L = {_GAP:g}")
        for k, name in enumerate(("stochastic map", "capacitor chain")):
            axes = figure.add_subplot(1, 2, k + 1)
            found = follow(config, x, y, _GAP, 0, name, _LINES, save=200)
            _panel(axes, np.asarray(found.path), np.asarray(x), np.asarray(y), _GAP)
            axes.set_title(name, fontsize=10)
        figure.savefig(folder / f"{target}_L{_GAP:g}.png")


def _panel(axes, path, x, y, gap) -> None:
    outside = (path[..., -1].min(0) < -1e-3 * gap) | (path[..., -1].max(0) > 1.001 * gap)
    for line, out in zip(path.swapaxes(0, 1), outside, strict=True):
        axes.plot(line[:, -1], line[:, 0], color=BACKWARD if out else FORWARD, lw=0.5, zorder=int(not out))
    axes.scatter(np.zeros(300), x[:300, 0], s=3, color=P, zorder=3, label="P")
    axes.scatter(np.full(300, gap), y[:300, 0], s=3, color=Q, zorder=3, label="Q")
    spread = np.ptp(np.r_[x[:, 0], y[:, 0]])
    room = max(gap, 0.8 * spread)
    axes.set(xlabel="z", ylabel="x_1", xlim=(-room, gap + room), ylim=(-1.2 * spread, 1.2 * spread))
    axes.legend(loc="upper right", fontsize=8)
