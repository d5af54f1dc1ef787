"""One cell: train a method on one pair of laws, follow its lines by few steps, reflow, score all ends."""

import jax
import numpy as np

from efm_jax import matching, sampling
from efm_jax.fields import widths
from efm_jax.lines import clocks, fixed
from efm_jax.sampling import grids, reflow
from experiments._lib.domains import ends, flow
from experiments.few_steps.config import EQUAL, EVERY_STEP, PLACED, Config, ways
from experiments.toy_table.methods import GIVEN, METHODS, Method
from experiments.toy_table.run import floor, samples, train, w2

REFLOW = Method(
    lambda k: matching.cfm(coupling=GIVEN, width=widths.constant(1e-3), num_points=k),
    flow,
)
"""The second training: new parameters, the same budget, on the lines of the first from the training samples."""


def cell(config: Config, place: dict) -> dict:
    """Scores of the place `{source, target, method, seed}`."""
    jax.clear_caches()  # of the cell before
    toys, seed, method = config.toys, place["seed"], METHODS[place["method"]]
    laws = place["source"], place["target"]
    p, q = (samples(name, seed, side, toys.train, "train") for side, name in enumerate(laws))
    start, goal = (samples(name, seed, side, toys.test, "test") for side, name in enumerate(laws))
    recipe, network, state, row = train(toys, method, p, q, seed)
    key = jax.random.key(seed)

    def follow(x, stepping):
        return sampling.transport(state, recipe, network, x, key=key, stepping=stepping)

    reference = ends(follow(start, fixed("midpoint", config.many, clock=method.clock)), start)

    def scored(way, solver, count, lines, off=reference):
        end = ends(lines, start)
        sound = np.abs(end) < 1e6
        return {
            "way": way,
            "solver": solver,
            "evaluations": count,
            "w2": w2(np.where(sound, end, 1e6), goal),
            "miss": float(np.sqrt(np.mean(np.sum((end.astype(float) - off) ** 2, axis=1)))),
        }

    scores = []
    for solver, count in ways(EQUAL, (*config.evaluations, config.many)):
        lines = follow(start, fixed(solver, count // EVERY_STEP[solver], clock=method.clock))
        scores.append(scored("equal", solver, count, lines))
    along = dict.fromkeys((method.clock, "linear", "sine"))
    pilots = grids.pilots(
        state, recipe, network, p[: config.pilots], key=key, along=tuple(along), resolution=config.resolution
    )
    for solver, count in ways(PLACED, config.evaluations):
        stepping = grids.place(pilots, count // EVERY_STEP[solver], solver=solver)
        lines = follow(start, stepping)
        scores.append(
            scored("placed", solver, count, lines) | {"nodes": _heights(stepping.clock, recipe.span)}
        )
    row |= {"scores": scores}
    if method.generates:
        return row
    found = reflow.pairs(
        state, recipe, network, p, stepping=fixed("midpoint", config.many // 2, clock=method.clock)
    )
    recipe, network, state, again = train(toys, REFLOW, found.x_pos, found.x_neg, seed, paired=True)
    for count in (*config.evaluations, config.many):
        lines = follow(start, fixed("euler", count, clock="linear"))
        scores.append(scored("reflow", "euler", count, lines))
    return row | {"reflow_seconds": again["seconds"], "lost": found.lost}


def floors(config: Config, place: dict) -> dict:
    """The floor of a place `{target, seed}`."""
    return {"w2": floor(config.toys, place["target"], place["seed"])}


def _heights(grid: clocks.Grid, span: tuple[float, float]) -> list[float]:
    """Heights of the nodes, as shares of the greatest."""
    shown = grid(np.linspace(0.0, 1.0, grid.steps + 1, dtype=np.float32), *map(np.float32, span))
    return [round(float(z) / max(span), 4) for z in shown]
