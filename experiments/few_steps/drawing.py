"""The figure: W2 against evaluations, a panel for every method and pair of laws."""

import statistics
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WAYS = {
    ("equal", "euler"): ("Euler, equal steps", "#999999", "-"),
    ("equal", "midpoint"): ("midpoint, equal steps", "#999999", "--"),
    ("placed", "euler"): ("Euler, placed", "#3b6fb6", "-"),
    ("placed", "midpoint"): ("midpoint, placed", "#3b6fb6", "--"),
    ("placed", "ab2"): ("AB2, placed", "#5a8f4e", "-"),
    ("reflow", "euler"): ("reflow, Euler", "#c44e52", "-"),
}
"""What is shown: label, color, style."""
HIGHEST = 8.0
"""W2 above which a curve leaves its panel: about that of standing still."""


def draw(rows: list[dict], floors: list[dict], path: Path) -> None:
    """Means over seeds; dotted, the floor; at the right of each panel the lines of many steps."""
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(2.3 * len(methods), 2.7 * len(pairs) + 0.7), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for i, pair in enumerate(pairs):
        for k, method in enumerate(methods):
            mine = [row for row in rows if (row["source"], row["target"], row["method"]) == (*pair, method)]
            if not mine:
                continue
            axes = figure.add_subplot(len(pairs), len(methods), i * len(methods) + k + 1)
            for (way, solver), (label, color, style) in WAYS.items():
                values: dict[int, list[float]] = {}
                for row in mine:
                    for score in row["scores"]:
                        if (score["way"], score["solver"]) == (way, solver):
                            values.setdefault(score["evaluations"], []).append(score["w2"])
                if values:
                    counts, middle = zip(
                        *((n, statistics.mean(v)) for n, v in sorted(values.items())), strict=True
                    )
                    axes.plot(
                        counts,
                        middle,
                        style,
                        label=label,
                        color=color,
                        marker="o",
                        markersize=2.5,
                        linewidth=1.1,
                    )
            lowest = statistics.mean(row["w2"] for row in floors if row["target"] == pair[1])
            axes.axhline(lowest, color="#222222", linestyle=":", linewidth=0.9, label="floor: two sets of Q")
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_ylim(0.8 * lowest, HIGHEST)
            axes.set_xticks([1, 2, 4, 8, 100], ["1", "2", "4", "8", "100"])
            axes.minorticks_off()
            axes.tick_params(labelsize=7)
            if k == 0:
                axes.set_ylabel(f"{pair[0].replace('gaussian:2', 'N')} -> {pair[1]}\nW2", fontsize=8)
                axes.set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
            else:
                axes.set_yticks([0.5, 1, 2, 4, 8], [""] * 5)
            if i == 0:
                axes.set_title(method, fontsize=9)
            if i == len(pairs) - 1 or method.startswith("PFGM"):
                axes.set_xlabel("evaluations a line", fontsize=8)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=7, fontsize=8)
    figure.savefig(path)
