"""How the cost of the exact field grows with points, charges and dimensions: `python -m benchmarks.growth`.

One of the three is varied, the other two stay; both plates, float32. Time is the least of several runs, memory the
compiler's temporaries. The figure is log-log, with a line of slope 1 to compare with.
"""

from pathlib import Path

import jax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import _rows
from benchmarks.field import situation
from efm_jax import fields

BASES = {"D = 2": (512, 4096, 2), "D = 3,072": (128, 1024, 3072)}
SWEEPS = {
    "points": {"D = 2": (32, 128, 512, 2048, 8192), "D = 3,072": (8, 32, 128, 512)},
    "charges": {"D = 2": (256, 1024, 4096, 16384, 65536), "D = 3,072": (64, 256, 1024, 4096)},
    "dim": {"256 points, 1,024 charges": (1, 2, 8, 32, 128, 512, 2048, 8192)},
}
NAMES = ("points", "charges", "dim")


def measure(sizes: tuple[int, int, int]) -> dict[str, float]:
    points, charges = situation(*sizes)
    run, facts = _rows.compiled(fields.coulomb, points, charges)
    times = _rows.in_turn({"field": lambda: run(points, charges)}, seconds=2)["field"]
    return {**dict(zip(NAMES, sizes, strict=True)), "ms": times["least_ms"], **facts}


def draw(rows: list[dict], path: Path) -> None:
    figure = Figure(figsize=(11, 3.6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for k, name in enumerate(SWEEPS):
        axes = figure.add_subplot(1, 3, k + 1)
        for label in SWEEPS[name]:
            mine = [row for row in rows if row["varied"] == name and row["case"] == label]
            x = [row[name] for row in mine]
            (line,) = axes.loglog(x, [row["ms"] for row in mine], "o-", markersize=3, label=label)
            last = mine[-1]
            slope = [last["ms"] * value / last[name] for value in x]
            axes.loglog(x, slope, ":", color=line.get_color(), linewidth=1)
        axes.set_xlabel({"points": "points", "charges": "charges a plate", "dim": "dimensions D"}[name])
        axes.set_ylabel("time of the field, ms")
        axes.legend(fontsize=7)
    figure.savefig(path)


def main() -> None:
    rows = []
    for name, sweeps in SWEEPS.items():
        for label, values in sweeps.items():
            for value in values:
                sizes = list(BASES.get(label, (256, 1024, 0)))
                sizes[NAMES.index(name)] = value
                rows.append({"varied": name, "case": label, **measure(tuple(sizes))})
                print(rows[-1], flush=True)
                jax.clear_caches()
    print(_rows.write("growth", rows))
    draw(rows, _rows.RESULTS / "growth.png")


if __name__ == "__main__":
    main()
