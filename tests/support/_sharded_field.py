"""The sharded field on eight virtual devices: `python tests/_sharded_field.py NAME ...` prints what was measured as JSON.

A program of its own, since the number of devices is fixed when JAX starts.
"""

import json
import math
import re
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from field_cases import cases, segment
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from reference import coulomb as reference_coulomb
from reference import error_over_tolerance

from efm_jax.charges import far_plates
from efm_jax.charges.plates import Charges, capacitor
from efm_jax.fields import coulomb, far_lines
from efm_jax.parallel import sharded_field, split_charges


def mesh(charges: int, points: int) -> jax.sharding.Mesh:
    return jax.make_mesh((charges, points), ("charges", "points"), axis_types=(AxisType.Auto,) * 2)


def battery(dim, shape, convention, count=13, num_points=12, gamma=None):
    """Worst error over tolerance of all cases, and their names where it is over; 65 charges divide by no mesh."""
    worst = {}
    for case in cases(dim, count, num_points):
        empty = 5 * count - len(case.charge)
        mixed = np.random.default_rng(0).permutation(5 * count)  # what cancels lies on different devices
        charges = Charges(
            np.pad(case.positions, ((0, empty), (0, 0)), mode="edge")[mixed],
            np.pad(case.charge, (0, empty))[mixed],
        )
        over = {"charges_over": "charges", "points_over": "points"}
        out = sharded_field(case.points, charges, mesh(*shape), convention=convention, gamma=gamma, **over)
        truth = reference_coulomb(case.points, case.positions, case.charge, convention, gamma or 0.0)
        worst[case.name] = float(error_over_tolerance(out, truth).max())
    return {"worst": max(worst.values()), "cases": len(worst), "over": [n for n, w in worst.items() if w > 1]}


def problem(dim=3, count=21, num_points=7):
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((count, dim)).astype(np.float32) for _ in range(2))
    return segment(rng, x, y, 6.0, num_points).astype(np.float32), capacitor(x, y, 6.0)


def scalar(field, along):
    return (field.direction * along).sum() + field.log_magnitude.sum()


def gradient_of_sharded(shape, convention, certified, along):
    def sharded(points, positions, charge):
        policy = {"points_over": "points", "convention": convention, "certified": certified}
        return scalar(sharded_field(points, Charges(positions, charge), mesh(*shape), **policy), along)

    points, charges = problem()
    return jax.grad(sharded, (0, 1, 2))(jnp.asarray(points), *charges)


def directions(seed=2):
    points, charges = problem()
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(np.shape(values)) for values in (points, points, *charges)]


def slope(shape, convention):
    """The derivative along random changes of points, positions and charge, and that of a float64 reference."""
    points, charges = problem()
    along, *changes = directions()
    changes[-1] *= 0.01  # no charge changes its sign
    ours = gradient_of_sharded(shape, convention, certified=False, along=along.astype(np.float32))
    ours = sum(float((np.asarray(g, np.float64) * v).sum()) for g, v in zip(ours, changes, strict=True))

    def at(h):
        moved = [np.asarray(a, np.float64) + h * v for a, v in zip((points, *charges), changes, strict=True)]
        return scalar(reference_coulomb(*moved, convention), along)

    return [ours, float((at(1e-5) - at(-1e-5)) / 2e-5)]


def gradient(shape, convention):
    """Largest difference between gradients of the sharded and of the dense field, over their size."""
    points, charges = problem()
    along = directions()[0].astype(np.float32)

    def dense(points, positions, charge):
        return scalar(coulomb(points, Charges(positions, charge), convention=convention), along)

    ours = gradient_of_sharded(shape, convention, certified=True, along=along)
    theirs = jax.grad(dense, (0, 1, 2))(jnp.asarray(points), *charges)
    return [float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in zip(ours, theirs, strict=True)]


def off(field, points, charges):
    return float(error_over_tolerance(field, reference_coulomb(points, *charges)).max())


def axes():
    """Only one axis used; charges placed beforehand; what is sent between devices."""
    points, charges = problem(count=210, num_points=8)
    grid = mesh(4, 2)
    placed = split_charges(jax.tree.map(np.asarray, charges), grid)
    f = jax.jit(lambda p, c: sharded_field(p, c, grid, certified=False))
    program = f.lower(points, placed).compile()
    by_charges = program(jax.device_put(points, NamedSharding(grid, P())), placed)
    over = {"charges_over": None, "points_over": "points"}
    by_points = sharded_field(points, placed, grid, certified=False, **over)
    return {
        "charges": off(by_charges, points, charges),
        "points": off(by_points, points, charges),
        "split": by_points.direction.sharding.is_equivalent_to(NamedSharding(grid, P("points")), 2),
        "shares": sorted({shard.data.shape[0] for shard in placed.positions.addressable_shards}),
        "charged": int((placed.charge != 0).sum()),
        "sent": sum(map(_numbers, re.findall(r"= (.+) all-reduce", program.as_text()))),
    }


def far():
    """Lines between far plates on meshes of several shapes: how far from those of one device, partners that differ."""
    rng = np.random.default_rng(4)
    x, y = (rng.standard_normal((count, 3)).astype(np.float32) for count in (45, 67))
    groups = tuple(rng.integers(3, size=len(rows)) for rows in (x, y))
    worst, others = 0.0, 0
    for extra, given, shapes in ((1, None, [(8, 1), (1, 8)]), (None, groups, [(4, 2)])):
        policy = {"extra": extra, "groups": given, "stretch": True, "save": True, "steps": 8}
        one = far_lines(far_plates(x, y), x, **policy)
        for shape in shapes:
            split = far_lines(far_plates(x, y), x, mesh=mesh(*shape), **policy)
            for a, b in ((one.end, split.end), (one.path, split.path)):
                worst = max(worst, float((jnp.abs(a - b) / (1 + jnp.abs(a))).max()))
            others += int((one.partner != split.partner).sum())
    return {"worst": worst, "others": others}


def _numbers(shapes: str) -> int:
    """How many numbers arrays of these shapes hold, as XLA writes them: (f32[8,4]{1,0}, f32[8]{0})."""
    sizes = [
        [int(side) for side in sides.split(",") if side] for sides in re.findall(r"\w+\[([\d,]*)\]", shapes)
    ]
    return sum(math.prod(sides) for sides in sizes)


MEASURES = {
    "battery": lambda: battery(80, (4, 2), "superposed", count=5, num_points=6),
    "slope": lambda: slope((4, 2), "superposed"),
    "axes": axes,
    "far": far,
}
for shape in ((1, 1), (2, 1), (1, 2), (4, 1), (4, 2), (8, 1), (1, 8)):
    for dim in (2, 80):
        for convention in ("superposed", "per_plate"):
            MEASURES[f"slow {dim} dims, {shape[0]}x{shape[1]}, {convention}"] = (
                lambda dim=dim, shape=shape, convention=convention: battery(
                    dim, shape, convention, gamma=0.5 if convention == "per_plate" else None
                )
            )
for convention in ("superposed", "per_plate"):
    MEASURES[f"slow gradient, {convention}"] = lambda convention=convention: gradient((4, 2), convention)


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 8)
    chosen = [n for n in MEASURES if n.startswith("slow ") == (sys.argv[1:] == ["slow"])]
    told = {}
    for name in [n for n in MEASURES if n in sys.argv[1:]] or chosen:
        began = time.process_time()
        told[name] = MEASURES[name]()
        print(f"{name}: {time.process_time() - began:.1f} s of a core", file=sys.stderr)
    print(json.dumps(told))
