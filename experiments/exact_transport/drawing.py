"""The pictures: lines of two plates and of the chain, and one pair of distributions under four fields."""

import itertools
import statistics
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from efm_jax import fields
from efm_jax.charges import capacitor, far_plates
from efm_jax.datasets import batch, open_source
from experiments._lib import colors
from experiments.exact_transport.config import Config
from experiments.exact_transport.run import follow, forward_only, plates

FORWARD, BACKWARD, P, Q = colors.LINE, "#c98a1b", colors.P, colors.Q
_LINES, _ENDS, _CHARGES, _GAP = 120, 400, 1024, 6.0
_TITLES = {
    "forward only": "two plates, forward only",
    "stochastic map": "two plates, stochastic map",
    "capacitor chain": "capacitor chain",
    "far": "plates far apart",
}


def draw(config: Config, folder: Path) -> None:
    """One png of the first pair, from fewer charges."""
    source, target = config.pairs[0]
    x, y = (samples[:_CHARGES] for samples in plates(config, source, target, 0))
    figure = Figure(figsize=(9.0, 4.0), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{colors.named(source, target)}, L = {_GAP:g}")
    for k, name in enumerate(("stochastic map", "capacitor chain")):
        axes = figure.add_subplot(1, 2, k + 1)
        found = follow(config, x, y, _GAP, 0, name, _LINES, save=200)
        _panel(axes, np.asarray(found.path), np.asarray(x), np.asarray(y), _GAP)
        axes.set_ylabel("x₁")
        axes.set_title(_TITLES[name], fontsize=10)
        axes.legend(loc="upper right", fontsize=8)
    figure.savefig(folder / f"{target}_L{_GAP:g}.png")


def _panel(axes, path, x, y, gap) -> None:
    outside = (path[..., -1].min(0) < -1e-3 * gap) | (path[..., -1].max(0) > 1.001 * gap)
    for line, out in zip(path.swapaxes(0, 1), outside, strict=True):
        axes.plot(line[:, -1], line[:, 0], color=BACKWARD if out else FORWARD, lw=0.5, zorder=int(not out))
    axes.scatter(np.zeros(300), x[:300, 0], s=3, color=P, zorder=3, label="P")
    axes.scatter(np.full(300, gap), y[:300, 0], s=3, color=Q, zorder=3, label="Q")
    spread = np.ptp(np.r_[x[:, 0], y[:, 0]])
    room = max(gap, 0.8 * spread)
    axes.set(xlabel="z", xlim=(-room, gap + room), ylim=(-1.2 * spread, 1.2 * spread))


def which_field(config: Config, rows: list[dict], far: list[dict], path: Path) -> None:
    """Lines of one pair of distributions under four fields, and their ends over Q with W2 of the tables."""
    source, target = config.pairs[0]
    x, y = (samples[:_CHARGES] for samples in plates(config, source, target, 0))
    new = jnp.asarray(batch(open_source(source), 0, 4, 2, _ENDS))
    towards = fields.directions(jax.random.key(0), (_ENDS, x.shape[1]))
    found = {
        "forward only": forward_only(config, capacitor(x, y, _GAP), new, _GAP, save=200),
        **{
            name: follow(config, x, y, _GAP, 0, name, _ENDS, save=200)
            for name in ("stochastic map", "capacitor chain")
        },
        "far": fields.far_lines(far_plates(x, y), x[:_ENDS], towards=towards, steps=40, save=True),
    }
    scores = {
        name: [
            row["wasserstein2"]
            for row in rows
            if (row["target"], row["gap"], row["map"]) == (target, _GAP, name)
        ]
        for name in found
    }
    scores["far"] = [
        row["by flux"] for row in far if (row["source"], row["target"], row["extra"]) == (source, target, 1)
    ]
    figure = Figure(figsize=(11.0, 5.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(found), sharey="row")
    for (above, below), (name, title) in zip(panels.T, _TITLES.items(), strict=True):
        if name == "far":
            way = np.asarray(found[name].path)
            above.plot(way[:, 0, -1] / np.pi, way[:, :_LINES, 0], color=FORWARD, lw=0.5)
            above.set(xlabel="angle / π (P at 0, Q at 1)")
        else:
            _panel(above, np.asarray(found[name].path)[:, :_LINES], np.asarray(x), np.asarray(y), _GAP)
        above.set_title(title, fontsize=10)
        below.scatter(*np.asarray(y).T, s=2, color=Q, alpha=0.3)
        below.scatter(*np.asarray(found[name].end)[:, :2].T, s=3, color=colors.END, label="ends of lines")
        below.set(xlabel="x₁", aspect="equal", xlim=(-6, 6), ylim=(-6, 6))
        below.set_title(f"W2 to Q {statistics.mean(scores[name]):.2f}", fontsize=10)
    panels[0, 0].set_ylabel("x₁")
    panels[1, 0].set_ylabel("x₂")
    named = [axes.get_legend_handles_labels() for axes in panels[:, 0]]
    figure.legend(
        *map(itertools.chain.from_iterable, zip(*named, strict=True)), loc="outside lower center", ncols=3
    )
    figure.savefig(path)
