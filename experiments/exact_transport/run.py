"""One row per pair, gap, seed and map: W2 of the ends to fresh samples of Q, beside the floor of two fresh sets."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efm_jax import fields, lines, metrics
from efm_jax.charges import far_plates
from efm_jax.charges.plates import Charges, capacitor, capacitor_chain, plate
from efm_jax.datasets import batch, open_source
from efm_jax.lines import launches, whole_space
from experiments.exact_transport.config import Config, Far

MAPS = ("stochastic map", "capacitor chain", "forward only")


def row(config: Config, source: str, target: str, gap: float, seed: int, name: str) -> dict[str, Any]:
    """Launch, follow and score the lines of one map."""
    began = time.perf_counter()
    x, y = plates(config, source, target, seed)
    q = open_source(target)
    wanted, floor_set = (batch(q, seed, side, 2, config.lines) for side in (2, 3))
    if name == "forward only":
        p = jnp.asarray(batch(open_source(source), seed, 4, 2, config.lines))
        found = forward_only(config, capacitor(x, y, gap), p, gap)
        ends, arrived, counts = found.end, found.arrived, {"arrived": int(found.arrived.sum())}
    else:
        found = follow(config, x, y, gap, seed, name, config.lines)
        ends, arrived, counts = found.end, found.arrived, whole_space.tally(found)
    # a line that does not arrive ends where it was left: it counts
    distance = metrics.wasserstein2(np.asarray(ends)[:, :-1], wanted)
    floor = metrics.wasserstein2(floor_set, wanted)
    return {
        "source": source,
        "target": target,
        "gap": gap,
        "seed": seed,
        "map": name,
        "wasserstein2": float(distance),
        "floor": float(floor),
        "arrived": float(np.mean(arrived)),
        "reasons": counts,
        "evaluations": float(np.mean(found.num_evaluations)),
        "length": float(np.median(found.length)) if name != "forward only" else None,
        "seconds": round(time.perf_counter() - began, 1),
    }


def far_row(config: Far, source: str, target: str, seed: int, extra: int | None) -> dict[str, Any]:
    """Score the ends of forward lines between plates far apart: launched by flux from charges, upright from new samples.

    Lines launched by flux hit every charge of Q equally often, at random. They are compared with random charges of Q,
    drawn with replacement (`perfect` in the results).
    """
    x, y = plates(config, source, target, seed)
    q, p = open_source(target), open_source(source)
    wanted, floor_set = (batch(q, seed, side, 2, config.lines) for side in (2, 3))
    apart = far_plates(x, y)
    key_rows, key_tau = jax.random.split(jax.random.key(seed))
    rows = jax.random.choice(key_rows, len(x), (config.lines,), replace=False)
    starts = {
        "by flux": (x[rows], fields.directions(key_tau, (config.lines, x.shape[1]), extra=extra)),
        "upright": (jnp.asarray(batch(p, seed, 4, 2, config.lines)), None),
    }
    policy = {"extra": extra, "first": config.first, "steps": config.steps}
    ends = {
        name: fields.far_lines(apart, start, towards=towards, **policy).end
        for name, (start, towards) in starts.items()
    }
    hits = np.random.default_rng(seed).integers(0, len(y), config.lines)
    sets = ends | {"perfect": y[hits], "floor": floor_set}
    distances = {name: float(metrics.wasserstein2(np.asarray(end), wanted)) for name, end in sets.items()}
    return distances | {"arrived": float(np.isfinite(ends["upright"]).all(1).mean())}


def perfect(config: Config, target: str, seed: int) -> dict[str, Any]:
    """W2 of distinct charges of Q: as many as there are lines, none twice."""
    q = open_source(target)
    own, wanted = batch(q, seed, 1, 0, config.charges), batch(q, seed, 2, 2, config.lines)
    chosen = np.random.default_rng(seed).permutation(config.charges)[: config.lines]
    return {"target": target, "seed": seed, "wasserstein2": float(metrics.wasserstein2(own[chosen], wanted))}


def plates(config: Config | Far, source: str, target: str, seed: int) -> tuple[jax.Array, jax.Array]:
    """The charges' places on either plate."""
    p, q = open_source(source), open_source(target)
    return jnp.asarray(batch(p, seed, 0, 0, config.charges)), jnp.asarray(
        batch(q, seed, 1, 0, config.charges)
    )


def follow(
    config: Config,
    x: jax.Array,
    y: jax.Array,
    gap: float,
    seed: int,
    name: str,
    count: int,
    save: int | None = None,
) -> whole_space.EndedLines:
    """Lines from the charges of P to those of Q, of two plates launched by flux in all directions, of the chain upwards."""
    caught = capacitor(x, y, gap)
    stepping = lines.adaptive(config.solver, rtol=config.tolerance)
    if name == "stochastic map":
        launch = launches.from_charges(jax.random.key(seed), caught, count)
        return whole_space.to_charges(
            launch.points,
            caught,
            field=fields.field_fn(caught, certified=False),
            stepping=stepping,
            save=save,
        )
    farthest = float(jnp.linalg.norm(jnp.concatenate([x, y]), axis=1).max())
    charges = capacitor_chain(x, y, gap, tolerance=config.chain_tolerance, reach=2 * farthest + 4 * gap)
    launch = launches.from_charges(jax.random.key(seed), charges, count, height=0.0, hemisphere="up")
    # a rounding may carry a line that leaves sideways across its own plate, a mirror: below, all is the same
    caught = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), caught, plate(y, -gap, -1.0))
    field = fields.field_fn(charges, certified=False)
    found = whole_space.to_charges(
        launch.points, caught, field=field, stepping=dataclasses.replace(stepping, max_steps=120), save=save
    )
    # lines that loop far out, beyond the reach of few images, once more in the field of all of them
    lost = np.flatnonzero(~np.asarray(found.arrived))
    if len(lost) == 0:
        return found
    rows = np.resize(lost, max(32, len(lost)))
    again = whole_space.to_charges(
        launch.points[rows], caught, field=fields.chain_fn(x, y, gap), stepping=stepping, save=save
    )
    return _replaced(found, lost, again)


def forward_only(
    config: Config, charges: Charges, x: jax.Array, gap: float, save: int | None = None
) -> lines.FieldLines:
    """Algorithm 2: fresh samples, upwards, Euler in height."""
    start = jnp.c_[x, jnp.full(len(x), config.launch * gap)]
    field = fields.field_fn(charges)
    return lines.trace(
        field,
        start,
        gap * (1 - config.launch),
        stepping=lines.fixed("euler", max(config.steps, round(gap / config.step)), clock="linear"),
        save=save,
    )


def _replaced(
    lines: whole_space.EndedLines, rows: np.ndarray, by: whole_space.EndedLines
) -> whole_space.EndedLines:
    """The lines with those of the given rows replaced by the first of others."""

    def leaf(old, new):
        axis = 1 if old.ndim == 3 else 0  # a path has the line second
        return jnp.moveaxis(
            jnp.moveaxis(old, axis, 0).at[rows].set(jnp.moveaxis(new, axis, 0)[: len(rows)]), 0, axis
        )

    return jax.tree.map(leaf, lines, by)
