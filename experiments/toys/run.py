"""Train and trace the toys; each row of the table is one pair, gap, field and convention."""

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from efm_jax import fields, matching, metrics, networks, sampling, training
from efm_jax._core.versions import versions
from efm_jax.charges.plates import capacitor
from efm_jax.datasets import batch, open_source
from efm_jax.evaluation import drawing
from efm_jax.lines import fixed, trace
from efm_jax.matching import points
from efm_jax.types import FieldLines
from experiments.toys.config import Config

CONVENTIONS = ("superposed", "per_plate")


class Drawing(NamedTuple):
    """What one figure needs."""

    name: str
    title: str
    lines: FieldLines
    x: np.ndarray
    y: np.ndarray
    gap: float


def table(config: Config) -> tuple[dict[str, Any], list[Drawing]]:
    """Return the report and what to draw."""
    rows, drawings = [], []
    cases = [
        (*pair, gap, convention) for pair in config.pairs for gap in config.gaps for convention in CONVENTIONS
    ]
    for source, target, gap, convention in (bar := tqdm(cases)):
        p, q = open_source(source), open_source(target)
        x, y, floor_set = (
            batch(law, config.seed, side, 1, config.lines) for law, side in ((p, 10), (q, 11), (q, 12))
        )
        floor = metrics.wasserstein2(floor_set, y)
        common = {
            "source": source,
            "target": target,
            "gap": gap,
            "convention": convention,
            "floor": float(floor),
        }
        for field in ("exact", "learned"):
            bar.set_description(f"{target} L={gap:g} {convention} {field}")
            began = time.perf_counter()
            lines = (_exact if field == "exact" else _learned)(config, p, q, x, gap, convention)
            ends = np.asarray(lines.end)[:, :-1]
            rows.append(
                common
                | {
                    "field": field,
                    "wasserstein2": float(metrics.wasserstein2(ends, y)),
                    "arrived": float(np.mean(lines.arrived)),
                    "evaluations": float(np.mean(lines.num_evaluations)),
                    "seconds": round(time.perf_counter() - began, 1),
                }
            )
            if convention == "superposed":
                name = f"{target}_L{gap:g}_{field}"
                told = f"{source} → {target}, L = {gap:g}, {field}"
                if field == "learned":  # of exact lines the table has the mean over more seeds
                    told += f": W2 {rows[-1]['wasserstein2']:.2f}, floor {floor:.2f}"
                drawings.append(Drawing(name, told, lines, x, y, gap))
    return {"config": dataclasses.asdict(config), "versions": versions(), "rows": rows}, drawings


def figures(drawings: list[Drawing], folder: Path) -> None:
    """Draw lines and maps, one png each."""
    for d in drawings:
        drawing.lines_figure(
            folder / f"{d.name}.png",
            np.asarray(d.lines.path),
            d.x,
            d.y,
            gap=d.gap,
            arrived=np.asarray(d.lines.arrived),
            title=d.title,
        )


def _exact(config: Config, p, q, x, gap: float, convention: str) -> FieldLines:
    charges = capacitor(
        *(jnp.asarray(batch(law, config.seed, side, 0, config.charges)) for law, side in ((p, 0), (q, 1))),
        gap,
    )
    field = fields.field_fn(charges, convention=convention)
    start = jnp.c_[jnp.asarray(x), jnp.full(len(x), config.launch * gap)]
    return trace(field, start, gap * (1 - config.launch), stepping=fixed("euler", step=config.step), save=40)


def _learned(config: Config, p, q, x, gap: float, convention: str) -> FieldLines:
    recipe = matching.efm(gap, convention=convention, points=points.box())
    network = networks.mlp(2, gap=gap, scale=4.0, width=config.width, depth=config.depth)
    optimizer = training.adam(config.learning_rate, warmup=50, cosine_steps=config.steps)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    state = training.init_state(jax.random.key(config.seed), network, optimizer)
    for t in range(config.steps):
        state, _ = step(
            state, batch(p, config.seed, 0, t, config.batch), batch(q, config.seed, 1, t, config.batch)
        )
    return sampling.transport(state, recipe, network, x, stepping=fixed("euler", step=config.step), save=40)
