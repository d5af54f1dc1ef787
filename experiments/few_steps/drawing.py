"""The figure: W2 against evaluations, a panel for every way of stepping and pair of distributions."""

import statistics
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments._lib import colors

WAYS = {
    ("equal", "euler"): "Euler, equal steps",
    ("placed", "ab2"): "AB2, placed steps",
    ("reflow", "euler"): "Euler after reflow",
}
"""The panels of a row."""
METHODS = {
    "EFM, superposed": colors.TWO_PLATES,
    "C2FM, cut at 0.5": colors.CHAIN,
    "EFM, straight tubes": colors.FAR_PLATES,
    "I-CFM": colors.FLOW_MATCHING,
}
"""The curves of a panel; the table holds the others."""
HIGHEST = 8.0
"""W2 above which a curve leaves its panel: about that of standing still."""


def draw(rows: list[dict], floors: list[dict], path: Path) -> None:
    """Means over seeds; dotted, the floor."""
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    figure = Figure(figsize=(9.0, 3.0 * len(pairs) + 0.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(pairs), len(WAYS), sharex=True, sharey=True, squeeze=False)
    for line, (source, target) in zip(panels, pairs, strict=True):
        lowest = statistics.mean(row["w2"] for row in floors if row["target"] == target)
        for axes, place in zip(line, WAYS, strict=True):
            for method, color in METHODS.items():
                mine = [
                    row
                    for row in rows
                    if (row["source"], row["target"], row["method"]) == (source, target, method)
                ]
                _curve(axes, mine, place, method, color)
            axes.axhline(lowest, color="#888888", linestyle=":", label="floor: two sets of Q")
            axes.set(xscale="log", yscale="log", ylim=(0.4, HIGHEST))
            axes.set_xticks([1, 2, 4, 8, 100], ["1", "2", "4", "8", "100"])
            axes.set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
            axes.minorticks_off()
        line[0].set_ylabel(f"{colors.named(source, target)}\nW2 to Q")
    for top, bottom, title in zip(panels[0], panels[-1], WAYS.values(), strict=True):
        top.set_title(title, fontsize=10)
        bottom.set_xlabel("evaluations a line")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    figure.savefig(path)


def _curve(axes, rows: list[dict], place: tuple[str, str], method: str, color: str) -> None:
    values: dict[int, list[float]] = {}
    for row in rows:
        for score in row["scores"]:
            if (score["way"], score["solver"]) == place:
                values.setdefault(score["evaluations"], []).append(score["w2"])
    counts = sorted(values)
    middle = [statistics.mean(values[count]) for count in counts]
    axes.plot(counts, middle, label=method, color=color, marker="o", markersize=3)
