"""What a field line costs: error of its end against field evaluations, per solver and clock.

    python -m benchmarks.lines

Two fields: the plane dipole, whose lines are circles (`exact` ends), and a capacitor of two
samples (Gaussian to eight Gaussians, 256 charges a plate, D = 2, gap 6), whose ends are taken from a trace at tolerance
1e-6. `evaluations` are those of the slowest line, which the whole batch costs; `mean_evaluations` is over the lines;
`median` and `p90` are errors of the end in units of the data; `wall_ms` is the least of three runs, compilation apart.
The baseline `diffrax` solves the batch as one state whose steps suit its worst line. Last, what carrying 1,000 samples
takes: `sampling.transport` by the mlp of the toys (3 x 64, its start values: time does not depend on them), Euler with 100
steps; `lines.trace` of the exact field of 1,024 charges a plate, at tolerance 1e-3 and by its defaults; and the mlp by
midpoint with 24 steps, without and with the gradient of the ends with respect to its parameters.
"""

import argparse
import time
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from benchmarks import _rows
from efm_jax import fields, matching, networks, sampling, training
from efm_jax.charges.plates import capacitor
from efm_jax.datasets.toys import eight_gaussians, gaussian
from efm_jax.lines import adaptive, fixed, trace
from efm_jax.lines.clocks import logit
from efm_jax.lines.whole_space import to_height
from efm_jax.types import FieldLines

GAP, LAUNCH, LINES, CHARGES = 6.0, 0.02, 256, 256
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)


def coulomb(charges, points):
    """The superposed field by its bare formula: what is measured here is lines, not the field."""
    away = points[:, None] - charges.positions
    weight = charges.charge * jnp.sum(away**2, axis=-1) ** (-0.5 * points.shape[1])
    return jnp.sum(weight[..., None] * away, axis=1)


def dipole():
    """Field, starts and exact ends of lines that leave the lower charge at up to 60 degrees from the axis."""
    field = Partial(coulomb, capacitor(jnp.zeros((1, 1)), jnp.zeros((1, 1)), GAP))
    z = LAUNCH * GAP
    x = z * np.tan(np.linspace(-np.pi / 3, np.pi / 3, LINES))
    # mirror symmetry about the middle of the gap
    return field, jnp.asarray(np.c_[x, np.full(LINES, z)], jnp.float32), x[:, None]


def two_samples():
    """Field, starts and ends of lines between a Gaussian and eight Gaussians."""
    rng = np.random.default_rng(0)
    p, q = gaussian(), eight_gaussians()
    field = Partial(
        coulomb, capacitor(jnp.asarray(p.draw(rng, CHARGES)), jnp.asarray(q.draw(rng, CHARGES)), GAP)
    )
    points = jnp.c_[jnp.asarray(p.draw(rng, LINES)), jnp.full(LINES, LAUNCH * GAP)]
    best = trace(field, points, (1 - LAUNCH) * GAP, stepping=adaptive(rtol=1e-6, clock="sine"))
    return field, points, np.asarray(best.end)[:, :-1]


def as_one_state(field, tolerance):
    """Tsit5 with one step size for all lines, as diffrax solves a batch."""

    @jax.jit
    def run(points):
        start, stop = points[0, -1], (1 - LAUNCH) * GAP

        def rate(t, x, _):
            e = field(jnp.concatenate([x, jnp.full_like(x[:, :1], t)], axis=1))
            return e[:, :-1] / e[:, -1:]

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(rate),
            diffrax.Tsit5(),
            start,
            stop,
            0.01 * (stop - start),
            points[:, :-1],
            stepsize_controller=diffrax.PIDController(
                tolerance,
                tolerance,
                pcoeff=0.3,
                icoeff=0.4,
                norm=lambda e: jnp.max(jnp.sqrt(jnp.mean(e**2, axis=1))),
            ),
            throw=False,
        )
        end = jnp.concatenate([solution.ys[0], jnp.full_like(points[:, -1:], stop)], axis=1)
        count = jnp.full(len(points), 6 * solution.stats["num_steps"] + 1)
        return FieldLines(end, None, solution.result == diffrax.RESULTS.successful, count)

    return run


def measure(run, points):
    """Compile, warm up; return the lines and the least time of three runs."""
    lines = jax.block_until_ready(run(points))
    wall = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(run(points))
        wall.append(time.perf_counter() - start)
    return lines, round(1e3 * min(wall), 2)


def row(name, solver, clock, setting, ends, run, points):
    """One row."""
    lines, wall = measure(run, points)
    error = np.linalg.norm(np.asarray(lines.end)[:, :-1] - ends, axis=1)
    return {
        "field": name,
        "solver": solver,
        "clock": clock,
        **setting,
        "evaluations": int(jnp.max(lines.num_evaluations)),
        "mean_evaluations": round(float(jnp.mean(lines.num_evaluations)), 1),
        "arrived": round(float(jnp.mean(lines.arrived)), 4),
        "median": float(f"{np.median(error):.2g}"),
        "p90": float(f"{np.quantile(error, 0.9):.2g}"),
        "wall_ms": wall,
        "lines": len(points),
    }


def thousand():
    """Rows of 1,000 samples on their way."""
    rng = np.random.default_rng(0)
    p, q = gaussian(), eight_gaussians()
    x = p.draw(rng, 1000)
    network, recipe = matching.flow_network(networks.mlp(2, gap=GAP)), matching.efm(GAP)
    state = training.init_state(jax.random.key(0), network, training.adam())
    charges = capacitor(jnp.asarray(p.draw(rng, 1024)), jnp.asarray(q.draw(rng, 1024)), GAP)
    stepping = adaptive(rtol=1e-3, clock="sine")
    exact = partial(trace, fields.field_fn(charges), to=(1 - LAUNCH) * GAP, stepping=stepping)

    @jax.jit
    def ends(params, x):
        lines = trace(
            sampling.learned_field(network, params), jnp.c_[x, jnp.zeros(1000)], GAP, stepping=fixed()
        )
        return jnp.mean(lines.end**2), lines

    by_parameters = jax.jit(jax.value_and_grad(ends, has_aux=True))
    params = training.ema_params(state)
    ways = {
        "mlp 3 x 64, Euler 100": lambda x: sampling.transport(
            state, recipe, network, x, stepping=fixed("euler", 100)
        ),
        "exact field, 2 x 1,024 charges, tolerance 1e-3": lambda x: exact(
            jnp.c_[x, jnp.full(1000, LAUNCH * GAP)]
        ),
        "exact field, 2 x 1,024 charges, plate to plate, as `trace` does": lambda x: trace(
            fields.field_fn(charges), jnp.c_[x, jnp.zeros(1000)], GAP
        ),
        "mlp 3 x 64, midpoint 24": lambda x: ends(params, x)[1],
        "the same with the gradient": lambda x: by_parameters(params, x),
    }
    rows = []
    for name, way in ways.items():
        found, wall = measure(way, jnp.asarray(x))
        lines = found if isinstance(found, FieldLines) else found[0][1]
        rows.append(
            {
                "field": name,
                "lines": 1000,
                "evaluations": int(jnp.max(lines.num_evaluations)),
                "arrived": round(float(jnp.mean(lines.arrived)), 4),
                "wall_ms": wall,
                "lines_per_s": round(1e6 / wall),
            }
        )
    return rows


def main():
    """A row for each field, solver, clock and setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 lines only; nothing is written")
    if parser.parse_args().quick:
        print(*thousand(), sep="\n")
        return
    rows = []

    def add(*what):
        rows.append(row(*what))
        print(rows[-1], flush=True)

    to = (1 - LAUNCH) * GAP
    clocks = {"linear": "linear", "sine": "sine", "logit(0.02)": logit(LAUNCH)}
    for name, make in (("dipole", dipole), ("two samples", two_samples)):
        field, points, ends = make()
        run = partial(trace, field, to=to)
        for solver, stages in (("euler", 1), ("heun", 2), ("midpoint", 2), ("tsit5", 6)):
            for clock, value in clocks.items():
                for steps in (24 // stages, 48 // stages, 96 // stages):
                    by = partial(run, stepping=fixed(solver, steps, clock=value))
                    add(name, solver, clock, {"steps": steps}, ends, by, points)
        for tolerance in TOLERANCES:
            setting = {"tolerance": tolerance}
            for solver in ("bosh3", "tsit5", "dopri5"):
                for clock, value in clocks.items():
                    by = partial(run, stepping=adaptive(solver, rtol=tolerance, clock=value))
                    add(name, solver, clock, setting, ends, by, points)
            by = partial(to_height, field, to=to, stepping=adaptive(rtol=tolerance))
            add(name, "tsit5", "arc length", setting, ends, by, points)
            add(name, "tsit5 (diffrax)", "linear", setting, ends, as_one_state(field, tolerance), points)
    print(_rows.write("lines", rows, thousand=thousand()))


if __name__ == "__main__":
    main()
