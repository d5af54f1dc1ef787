"""Compiles for a TPU v5e 2x2 without having one, and reports what the compiler says.

    pip install "jax[tpu]==0.10.1"      # in an environment of its own, beside this package
    python -m benchmarks.tpu [field sharded-field train-bfloat16 train-float32 sample-bfloat16 sample-float32]

The exact field, the training step at the paper's settings (57.6 M parameters, 1,024 charges a plate, 64 points a device,
gap 500) with the network in float32 and in bfloat16, and the sampler. For each, on one device of the four: `ideal_flops`
by formula (`field_flops`; `benchmarks/roofline.py` for the network), `flops` of the products in the optimized program with
the rounds of loops counted, `bytes_accessed` and memory from the compiler, collectives, the compiler's own estimate of the
time, and `below_float32`: products that feed log-weights and would run below float32 precision. The program fails if there
is one.

On a TPU a float32 product of default precision is one bfloat16 pass; precision HIGHEST makes it six, which keep float32's
digits. The network asks for the default; everything that feeds log-weights asks for HIGHEST.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial, wraps
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from benchmarks import _hlo, _rows, roofline
from benchmarks.roofline import DIM, PAPER, SHAPE
from efm_jax import lines, sampling, training
from efm_jax.charges.plates import Charges
from efm_jax.fields import coulomb
from efm_jax.models import build
from efm_jax.parallel import sharded_field
from efm_jax.training.devices import data_parallel_step
from efm_jax.training.packing import packing

TOPOLOGY = "v5e:2x2"
AXIS = "data"
CLOCK = 1.5e9
"""Cycles per second of a v5e: four units of 128 x 128 multiply-adds make 197 TFLOP/s at this rate."""
FIELDS = [(64, 1024), (256, 8192), (64, 50_000)]
"""Points a device and charges a plate; the last is the whole training set of CIFAR-10."""
STEPS = roofline.EVALUATIONS // 2
"""Of the midpoint rule, `transport`'s default."""
SUPERVISION, NETWORK = "supervision", "network"
Asked = tuple[dict[str, Any], Any, tuple, dict[str, int]]
"""What a row is of, a jitted function, shapes of its arguments, and its ideal flops."""


def main() -> None:
    """Compile what is asked for, write the rows, fail if a product that feeds log-weights is not float32."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "what", nargs="*", metavar="WHAT", help=f"some of {', '.join(PROGRAMS)}; all when none is given"
    )
    what = parser.parse_args().what or list(PROGRAMS)
    for name in what:
        if name not in PROGRAMS:
            parser.error(f"{name} is none of {', '.join(PROGRAMS)}")
    chips = chips_without_devices()
    below = []
    for name in what:
        for row, function, shapes, ideal in PROGRAMS[name](chips):
            row = row | _compiled(function, shapes, **ideal)
            print(row, flush=True)
            _write(row)
            below += row["below_float32"]
    if below:
        sys.exit(f"products that feed log-weights run below float32 precision: {below}")


def chips_without_devices() -> Mesh:
    """The four chips as the compiler knows them, on one axis."""
    os.environ |= {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # there is no device to share
    }
    jax.config.update("jax_platforms", "cpu")
    from jax.experimental import topologies

    chips = topologies.get_topology_desc(TOPOLOGY, platform="tpu").devices
    return Mesh(np.array(chips), (AXIS,), axis_types=(AxisType.Auto,))


def field(mesh: Mesh) -> Iterator[Asked]:
    """The exact field, points split over the devices, every charge on every device."""
    rows, whole = PartitionSpec(AXIS), PartitionSpec()
    split = jax.shard_map(coulomb, mesh=mesh, in_specs=(rows, whole), out_specs=rows, check_vma=False)
    for points, charges in FIELDS:
        where = _shape(mesh, rows, points * mesh.size, DIM + 1)
        ideal = {"field": field_flops(points, charges)}
        row = _field_row("field", points, charges)
        yield row, jax.jit(split), (where, _charges(mesh, whole, charges)), ideal


def sharded(mesh: Mesh) -> Iterator[Asked]:
    """The field of charges split over the devices, of both plates on each, at points that every device has."""
    points, charges = FIELDS[-1]
    where = _shape(mesh, PartitionSpec(), points, DIM + 1)
    yield (
        _field_row("sharded field", points, charges),
        jax.jit(partial(sharded_field, mesh=mesh, charges_over=AXIS)),
        (where, _charges(mesh, PartitionSpec(AXIS), charges)),
        {"field": field_flops(points, charges) // mesh.size},
    )


def train(mesh: Mesh, dtype: str) -> Iterator[Asked]:
    """The training step over the devices, the state on every one."""
    points = PAPER.recipe.num_points
    recipe = build.recipe(replace(PAPER.recipe, num_points=points * mesh.size))
    network, optimizer = _network(dtype), build.optimizer(PAPER.optimizer, PAPER.steps)

    @wraps(recipe.draw)
    def draw(*arguments, **more):
        with jax.named_scope(SUPERVISION):
            return recipe.draw(*arguments, **more)

    network = packing(network, optimizer).network
    step, _ = data_parallel_step(recipe._replace(draw=draw), network, optimizer, mesh, axis=AXIS)
    samples = _shape(mesh, PartitionSpec(AXIS), PAPER.recipe.charges, DIM)
    ideal = roofline.training(dtype)
    row = {"what": "train", "points": points, "charges": PAPER.recipe.charges, "dim": DIM, "dtype": dtype}
    flops = {"field": ideal.field_flops, "network": ideal.network_flops}
    yield row, step, (_state(mesh, network, optimizer), samples, samples), flops


def sample(mesh: Mesh, dtype: str) -> Iterator[Asked]:
    """`transport` of samples split over the devices."""
    recipe, network = build.recipe(PAPER.recipe), _network(dtype)
    state = _state(mesh, network, build.optimizer(PAPER.optimizer, PAPER.steps))
    run = jax.jit(
        lambda state, x: sampling.transport(state, recipe, network, x, stepping=lines.fixed(steps=STEPS)).end
    )
    shapes = (state, _shape(mesh, PartitionSpec(AXIS), PAPER.recipe.num_points * mesh.size, DIM))
    ideal = roofline.sampling(dtype)
    row = {
        "what": "sample",
        "lines": PAPER.recipe.num_points,
        "evaluations": 2 * STEPS,
        "dim": DIM,
        "dtype": dtype,
    }
    yield row, run, shapes, {"network": ideal.network_flops, "rounds": STEPS}


PROGRAMS = {
    "field": field,
    "sharded-field": sharded,
    "train-bfloat16": partial(train, dtype="bfloat16"),
    "train-float32": partial(train, dtype="float32"),
    "sample-bfloat16": partial(sample, dtype="bfloat16"),
    "sample-float32": partial(sample, dtype="float32"),
}
"""What can be compiled, by name: each yields what `_compiled` makes rows of."""


def field_flops(points: int, charges: int) -> int:
    """Two products a plate, distances and weighted sum, each of points x charges x (D+1)."""
    return 2 * 2 * (2 * points * charges * (DIM + 1))


def below_float32(program: _hlo.Program) -> list[dict[str, Any]]:
    """Products that feed log-weights, that is all but the network's, which are not of float32 at highest precision."""
    feeding = [p for p in program.all_products() if NETWORK not in p["place"]]
    return [p for p in feeding if (*p["operands"], p["precision"]) != ("f32", "f32", "highest,highest")]


def _compiled(
    function: Any, shapes: tuple, *, field: int = 0, network: int = 0, rounds: int = 1
) -> dict[str, Any]:
    """A row of what the compiler says of a jitted function; `field` and `network` are the ideal flops."""
    began = time.perf_counter()
    ready = function.lower(*shapes).compile()
    seconds = time.perf_counter() - began
    memory, cost = ready.memory_analysis(), ready.cost_analysis()
    # each block of charges is passed over in the sum of the other plate
    program = _hlo.Program(ready.as_text(), rounds=rounds, skips=0.5)
    flops = {True: 0, False: 0}
    for product in program.products():
        flops[NETWORK in product["place"]] += product["flops"]
    cycles = program.cycles(SUPERVISION, NETWORK) | {"products": program.cycles_of_products()}
    return {
        "compile_s": round(seconds, 1),
        "ideal_flops": {"field": field, "network": network},
        "flops": {"field": flops[False], "network": flops[True]},
        "compiler_flops": rounds * cost["flops"],
        "bytes_accessed": rounds * cost["bytes accessed"],
        "arguments_MiB": _mib(memory.argument_size_in_bytes),
        "temporary_MiB": _mib(memory.temp_size_in_bytes),
        "result_MiB": _mib(memory.output_size_in_bytes - memory.alias_size_in_bytes),
        "collectives": program.collectives(),
        "estimated_ms": {scope: round(1e3 * count / CLOCK, 3) for scope, count in cycles.items()},
        "costliest": program.costliest(5),
        "endless_loops": program.endless(),
        "below_float32": below_float32(program),
    }


def _field_row(what: str, points: int, charges: int) -> dict[str, Any]:
    return {"what": what, "points": points, "charges": charges, "dim": DIM, "dtype": "float32"}


def _charges(mesh: Mesh, spec: PartitionSpec, count: int) -> Charges:
    return Charges(_shape(mesh, spec, 2 * count, DIM + 1), _shape(mesh, spec, 2 * count))


def _write(row: dict[str, Any]) -> None:
    """Put the row in the place of an older one of the same sizes, or at the end."""
    path = _rows.RESULTS / "tpu_v5e.json"
    old = json.loads(path.read_text())["rows"] if path.exists() else []
    place = ("what", "dtype", "points", "charges", "lines", "evaluations")
    rows = {tuple(r.get(name) for name in place): r for r in (*old, row)}
    more = {"compiled_for": TOPOLOGY, "libtpu": metadata.version("libtpu"), "clock": CLOCK}
    _rows.write("tpu_v5e", list(rows.values()), **more)


def _state(mesh: Mesh, network, optimizer):
    init = partial(training.init_state, network=network, optimizer=optimizer)
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(lambda leaf: leaf.update(sharding=whole), jax.eval_shape(init, jax.random.key(0)))


def _network(dtype: str):
    network = build.network(replace(PAPER, network=replace(PAPER.network, dtype=dtype)), SHAPE)

    def apply(*arguments, **more):
        with jax.named_scope(NETWORK):
            return network.apply(*arguments, **more)

    return network._replace(apply=apply)


def _shape(mesh: Mesh, spec: PartitionSpec, *sizes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(sizes, jnp.float32, sharding=NamedSharding(mesh, spec))


def _mib(count: float) -> float:
    return round(count / 2**20, 1)


if __name__ == "__main__":
    main()
