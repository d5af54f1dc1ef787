"""The picture: where the points of one seed end, from above and in the half-plane through the axis."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments._lib import colors
from experiments._lib.domain_tables import LABELS
from experiments.point_cloud.config import Config
from experiments.point_cloud.run import PLAIN, carried

COLUMNS = 5


def draw(config: Config, path: Path, seed: int = 0) -> None:
    """Two panels a way, one above the other."""
    ways = (PLAIN[0], *config.methods, PLAIN[1])
    lines = -(-len(ways) // COLUMNS)
    figure = Figure(figsize=(1.9 * COLUMNS, 3.7 * lines), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 * lines, COLUMNS, sharex="row", sharey="row", squeeze=False)
    for panel in panels.flat:
        panel.set_visible(False)
    turn = np.linspace(0, 2 * np.pi, 200)
    reach = 1.25 * (config.ring + config.tube)
    for i, way in enumerate(ways):
        line, column = divmod(i, COLUMNS)
        above, across = panels[2 * line : 2 * line + 2, column]
        end, _ = carried(config, way, seed)
        out = np.hypot(end[:, 0], end[:, 1])
        above.scatter(end[:, 0], end[:, 1], s=1, lw=0, color=colors.P)
        across.scatter(out, end[:, 2], s=1, lw=0, color=colors.P)
        for radius in (config.ring - config.tube, config.ring + config.tube):
            above.plot(radius * np.cos(turn), radius * np.sin(turn), color=colors.Q, lw=0.6)
        across.plot(
            config.ring + config.tube * np.cos(turn), config.tube * np.sin(turn), color=colors.Q, lw=0.6
        )
        above.set(title=LABELS[way], xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        above.title.set_fontsize(7)
        across.set(xlim=(0, reach), ylim=(-reach, reach), aspect="equal", xlabel="distance to the axis")
        across.xaxis.label.set_fontsize(7)
        for panel in (above, across):
            panel.set_visible(True)
            panel.tick_params(labelsize=6)
        if column == 0:
            above.set_ylabel("from above", fontsize=8)
            across.set_ylabel("x_3", fontsize=8)
    figure.savefig(path)
