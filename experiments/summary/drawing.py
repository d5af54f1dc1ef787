"""The figure: what colored digits 3 -> 2 reach against the minutes of training, at every budget that was run."""

import json
import statistics
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._lib import colors
from experiments._lib.tables import least_minutes

EQUAL, PRESETS = "images/results/digits_3_2", "digits_translation/results"
RUNS = {
    "IFM, one plan, width 0.3": (
        colors.PAIRS,
        (f"{PRESETS}/quick", f"{EQUAL}/ifm_one_plan_width_0_3_?", f"{PRESETS}/full"),
    ),
    "CFM, one plan, width 0.3": (colors.FLOW_MATCHING, (f"{EQUAL}/cfm_one_plan_width_0_3_?",)),
    "EFM": (
        colors.TWO_PLATES,
        (
            f"{PRESETS}/brief",
            f"{PRESETS}/quick_superposed",
            f"{EQUAL}/efm_superposed_?",
            f"{PRESETS}/full_superposed",
        ),
    ),
    "EFM, per plate": (
        colors.PER_PLATE,
        (f"{PRESETS}/brief_per_plate", f"{PRESETS}/quick_per_plate", f"{EQUAL}/efm_per_plate_?"),
    ),
}
"""By method: its color, and the reports of each budget, which are seeds of one another."""
SCORES = {"read_as_target": ("read as 2, %", 100.0), "kid": ("KID", 1.0)}


def minutes(root: Path, path: Path) -> None:
    """One panel a score and one point a budget, with its steps; bars span the scores of the seeds."""
    figure = Figure(figsize=(9.0, 4.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (key, (label, scale)) in zip(figure.subplots(1, len(SCORES)), SCORES.items(), strict=True):
        for color, patterns in RUNS.values():
            for pattern in patterns:
                found = (*root.glob(f"{pattern}.json"), *root.glob(f"{pattern}_seed_*.json"))
                reports = [json.loads(one.read_text()) for one in sorted(found)]
                if reports:
                    _point(axes, reports, key, scale, color)
        axes.set(xscale="log", xlabel="minutes of training", ylabel=label, xlim=(2.5, 110))
        axes.set_xticks([3, 5, 10, 20, 40, 80], ["3", "5", "10", "20", "40", "80"])
        axes.minorticks_off()
    named = [Line2D([], [], color=color, marker="o", ls="", label=name) for name, (color, _) in RUNS.items()]
    data = [
        Line2D([], [], color="#555555", marker="o", ls="", label="MNIST"),
        Line2D([], [], color="#555555", marker="o", ls="", mfc="white", label="400 digits"),
    ]
    figure.legend(handles=named + data, loc="outside lower center", ncols=3, fontsize=8)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path)


def span(values: list[float]) -> tuple[float, list[list[float]]]:
    """The mean, and how far the least and the largest lie below and above it."""
    mean = statistics.mean(values)
    return mean, [[mean - min(values)], [max(values) - mean]]


def _point(axes, reports: list[dict], key: str, scale: float, color: str) -> None:
    scores = [next(iter(report["maps"].values()))[key] for report in reports]
    x = least_minutes(reports)
    y, up = span([scale * score["value"] for score in scores])
    if len(scores) == 1:
        up = scale * scores[0]["standard_error"]
    mnist = "mnist:" in reports[0]["config"]["data"]["source"]
    axes.errorbar(
        x,
        y,
        up,
        color=color,
        marker="o",
        markerfacecolor=color if mnist else "white",
        lw=1,
    )
    axes.annotate(f"{reports[0]['step']:,}", (x, y), (4, 4), textcoords="offset points", fontsize=7)
