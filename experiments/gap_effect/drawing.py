"""The figure: W2 and the length of lines against the gap, from 1 to infinity on one axis."""

import statistics
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments._lib import colors

PANELS = {
    ("w2", "exact lines: W2 to Q"): {
        "exact: two plates, forward only": colors.TWO_PLATES,
        "exact: two plates, stochastic map": colors.ALL_DIRECTIONS,
        "exact: capacitor chain": colors.CHAIN,
        "exact: plates far apart, by flux": colors.FAR_PLATES,
    },
    ("w2", "learned lines: W2 to Q"): {
        "learned: EFM, made safe": colors.TWO_PLATES,
        "learned: EFM, per plate": colors.PER_PLATE,
        "learned: C2FM": colors.CHAIN,
        "learned: EFM, straight tubes": colors.FAR_PLATES,
    },
    ("detour", "exact lines: length / distance of ends"): {
        "exact: two plates, forward only": colors.TWO_PLATES,
        "exact: two plates, stochastic map": colors.ALL_DIRECTIONS,
        "exact: capacitor chain": colors.CHAIN,
    },
}
"""By what is drawn and what it is called: the fields, each with its color."""

INFINITE = 100.0
"""Where the infinite gap stands on the axis."""


def draw(rows: list[dict], suggested: list[dict], path: Path) -> None:
    """One column a pair of distributions; bars span the seeds, the dotted line is the suggested gap."""
    pairs = list(dict.fromkeys((row["source"], row["target"]) for row in rows))
    figure = Figure(figsize=(4.6 * len(pairs), 3.2 * len(PANELS)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    every = figure.subplots(len(PANELS), len(pairs), squeeze=False)
    for i, ((key, label), curves) in enumerate(PANELS.items()):
        for k, pair in enumerate(pairs):
            axes = every[i, k]
            mine = [row for row in rows if (row["source"], row["target"]) == pair and row[key] is not None]
            for name, color in curves.items():
                _curve(axes, [row for row in mine if row["field"] == name], key, name, color)
            for row in suggested:
                if (row["source"], row["target"]) == pair:
                    axes.axvline(
                        row["gap"], color="#777777", linestyle=":", linewidth=1, label="suggested gap"
                    )
            ticks = sorted({row["gap"] for row in rows if row["gap"] is not None})
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(ticks[0] / 1.2, INFINITE * 1.2)
            axes.set_xticks([*ticks, INFINITE], [*(f"{gap:g}" for gap in ticks), "∞"])
            axes.minorticks_off()
            if key == "w2":
                axes.set_yticks([0.3, 0.5, 1, 2], ["0.3", "0.5", "1", "2"])
            axes.set_xlabel("gap L")
            axes.set_ylabel(label)
            if i == 0:
                axes.set_title(colors.named(*pair), fontsize=10)
            if k == 0:
                axes.legend(fontsize=7)
    figure.savefig(path)


def _curve(axes, rows: list[dict], key: str, name: str, color: str) -> None:
    cells: dict[float, list[float]] = {}
    for row in rows:
        cells.setdefault(INFINITE if row["gap"] is None else row["gap"], []).append(row[key])
    gaps = sorted(cells)
    middle = [statistics.mean(cells[gap]) for gap in gaps]
    spread = [
        [m - min(cells[gap]) for gap, m in zip(gaps, middle, strict=True)],
        [max(cells[gap]) - m for gap, m in zip(gaps, middle, strict=True)],
    ]
    marker = "*" if gaps == [INFINITE] else "o"
    size = 9 if marker == "*" else 3
    axes.errorbar(
        gaps, middle, spread, label=name, color=color, marker=marker, markersize=size, linewidth=1.2
    )
