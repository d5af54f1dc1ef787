"""The two panels of a figure of field lines, drawn on matplotlib axes that the caller made."""

import numpy as np

SOURCE, TARGET, END, LOST = "#3b6fb6", "#c44e52", "#2e8b57", "#999999"


def draw_plates(axes, lines, there, source, target, gap, limits, dims) -> None:
    """Lines [t, n, D+1] between the plates over z and `dims` of the x, with samples on both plates."""
    for line, ok in zip(lines.swapaxes(0, 1), there, strict=True):
        style = {"color": "#555555", "lw": 0.5} if ok else {"color": LOST, "lw": 0.5, "ls": "--"}
        axes.plot(line[:, -1], *line[:, :dims].T, **style)
    for samples, z, color, name in (
        (source, 0.0, SOURCE, "P, z = 0"),
        (target, gap, TARGET, f"Q, z = {gap:g}"),
    ):
        where = [samples[:, k] for k in range(dims)]
        axes.scatter(np.full(len(samples), z), *where, s=3, color=color, label=name)
    axes.set(xlabel="z", ylabel="x_1", xlim=(-0.04 * gap, 1.04 * gap), ylim=limits[0])
    if dims == 2:
        axes.set(zlabel="x_2", zlim=limits[1])
        axes.set_box_aspect((1.7, 1.0, 1.0))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)


def draw_map(axes, start, end, wanted, color, name, limits) -> None:
    """Where lines start and end beside the samples they should reach, in the plane or as densities."""
    if wanted.shape[1] == 1:
        bins = np.linspace(limits[0, 0], limits[0, 1], 40)
        axes.hist(wanted[:, 0], bins, density=True, color=color, alpha=0.4, label=name)
        if len(end):
            axes.hist(end[:, 0], bins, density=True, histtype="step", color=END, label="ends of lines")
        axes.set(xlabel="x_1", ylabel="density")
    else:
        for a, b in zip(start[:150], end[:150], strict=True):
            axes.plot(*np.stack([a, b], axis=1), color="#bbbbbb", lw=0.4, zorder=0)
        axes.scatter(*wanted.T, s=4, color=color, alpha=0.5, label=name)
        axes.scatter(*end.T, s=4, color=END, label="ends of lines")
        axes.set(xlabel="x_1", ylabel="x_2", xlim=limits[0], ylim=limits[1], aspect="equal")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)
