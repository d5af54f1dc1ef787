"""The figure: W2 and curvature against the gap."""

import statistics
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLORS = ("#444444", "#3b6fb6", "#999999", "#c98a1b", "#c44e52", "#5a8f4e", "#8a5fb0", "#b07a55")


def draw(rows: list[dict], suggested: list[dict], path: Path) -> None:
    """One column a pair of laws, W2 above the detour of lines; bars span the seeds, dots mark the suggested gap."""
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    fields = list(dict.fromkeys(row["field"] for row in rows))
    figure = Figure(figsize=(4.6 * len(pairs), 6.8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for i, (key, label) in enumerate((("w2", "W2 to Q"), ("detour", "length of lines / distance of ends"))):
        for k, pair in enumerate(pairs):
            axes = figure.add_subplot(2, len(pairs), i * len(pairs) + k + 1)
            for name, color in zip(fields, COLORS, strict=False):
                mine = [
                    row
                    for row in rows
                    if (row["source"], row["target"], row["field"]) == (*pair, name) and row[key] is not None
                ]
                gaps = sorted({row["gap"] for row in mine})
                values = [[row[key] for row in mine if row["gap"] == gap] for gap in gaps]
                middle = [statistics.mean(v) for v in values]
                spread = [
                    [m - min(v) for m, v in zip(middle, values, strict=True)],
                    [max(v) - m for m, v in zip(middle, values, strict=True)],
                ]
                style = "--" if name.startswith("exact") else "-"
                axes.errorbar(
                    gaps,
                    middle,
                    spread,
                    label=name,
                    color=color,
                    linestyle=style,
                    marker="o",
                    markersize=3,
                    linewidth=1.2,
                )
            for row in suggested:
                if (row["source"], row["target"]) == pair:
                    axes.axvline(row["gap"], color="#777777", linestyle=":", linewidth=1, label="suggest_gap")
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel("gap L")
            axes.set_ylabel(label)
            if i == 0:
                axes.set_title(f"{pair[0]} -> {pair[1]}", fontsize=10)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7
    )
    figure.savefig(path)
