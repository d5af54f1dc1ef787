"""A training step and the exact field on eight virtual devices beside one: do they agree, what does a device do and hold?

    python -m benchmarks.devices

Eight devices are made of this machine's CPU, so there is nothing to time. For each recipe, `STEPS` steps of a network of
128 x 2 from the same state: `loss` and `parameters` are the greatest differences between eight devices and one, relative and
absolute, beside how far the parameters have `moved`; `flops` are those of one device by the compiler's count, which adds up
all branches, so that only steps without any have one; `arguments_kB` is what it is handed, `messages`
are the collectives of the compiled step. For the field, the greatest differences of direction and
log-magnitude, and the messages.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType

from benchmarks import _rows
from efm_jax import charges, fields, matching, networks, parallel, training
from efm_jax.types import FieldMatching, Network

DIM, GAP, POINTS, CHARGES, STEPS = 16, 6.0, 64, 256, 6
RECIPES: dict[str, Callable[[int], FieldMatching]] = {
    "efm": lambda k: matching.efm(GAP, num_points=k),
    "c2fm": lambda k: matching.c2fm(GAP, num_points=k),
    "ifm": lambda k: matching.ifm(GAP, num_points=k),
}
OPTIMIZER = training.adam(1e-2, warmup=2)
COLLECTIVE = re.compile(r" (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")


def main() -> None:
    """Compare every way of dividing and write the rows."""
    jax.config.update("jax_num_cpu_devices", 8)  # before anything is computed
    rows = [row for name in RECIPES for row in steps(name)] + [
        field(axes) for axes in ((8, 1), (4, 2), (1, 8))
    ]
    for row in rows:
        print(row)
    print(_rows.write("devices", rows))


def steps(name: str) -> list[dict[str, Any]]:
    """The step of one recipe, divided in each way."""
    recipe = RECIPES[name](POINTS)
    undivided = recipe._replace(draw=lambda key, x, y: recipe.draw(key, x, y))  # knows of no part
    network, mesh = networks.mlp(DIM, gap=GAP, width=128, depth=2), parallel.data_mesh()
    ways = {
        "one device": (training.make_train_step(recipe, network, OPTIMIZER), lambda state: state),
        "jit": parallel.data_parallel_step(recipe, network, OPTIMIZER, mesh),
        "jit, state split": parallel.data_parallel_step(recipe, network, OPTIMIZER, mesh, shard_state=True),
        "jit, all points on each": parallel.data_parallel_step(undivided, network, OPTIMIZER, mesh),
        "pmap": parallel.pmap_step(recipe, network, OPTIMIZER),
    }
    rows, one = [], None
    for way, (step, place) in ways.items():
        row = {"what": "step", "recipe": name, "way": way}
        if way != "pmap":  # whose step is compiled inside
            row |= program(step.lower(place(start(network)), *samples(0)).compile())
        losses, numbers = trained(step, place(start(network)), copies=way == "pmap")
        if one is None:
            one = losses, numbers
            row["moved"] = float(np.abs(numbers - flat(start(network).params)).max())
        else:
            row["loss"] = float(f"{np.abs(losses / one[0] - 1).max():.2g}")
            row["parameters"] = float(f"{np.abs(numbers - one[1]).max():.2g}")
        rows.append(row)
    return rows


def field(axes: tuple[int, int]) -> dict[str, Any]:
    """The field of charges that are split over the first axis, at points split over the second."""
    mesh = jax.make_mesh(axes, ("charges", "points"), axis_types=(AxisType.Auto,) * 2)
    x, y = (np.asarray(side) for side in samples(0))
    law = charges.capacitor(x, y, GAP)
    rng = np.random.default_rng(1)
    points = np.c_[rng.standard_normal((POINTS, DIM)), rng.uniform(0, GAP, POINTS)].astype(np.float32)
    split = parallel.split_charges(law, mesh)
    found = jax.jit(lambda points: parallel.sharded_field(points, split, mesh, points_over="points"))
    dense, divided = fields.coulomb(points, law), found(points)
    return {
        "what": "field",
        "charges_over": axes[0],
        "points_over": axes[1],
        "direction": float(f"{jnp.abs(divided.direction - dense.direction).max():.2g}"),
        "log_magnitude": float(f"{jnp.abs(divided.log_magnitude - dense.log_magnitude).max():.2g}"),
        **program(found.lower(points).compile()),
    }


def program(ready: Any) -> dict[str, Any]:
    """What one device does, is handed and tells the others."""
    text = ready.as_text()
    known = {} if " conditional(" in text else {"flops": ready.cost_analysis()["flops"]}
    return {
        **known,
        "arguments_kB": round(ready.memory_analysis().argument_size_in_bytes / 1e3, 1),
        "messages": dict(Counter(COLLECTIVE.findall(text))),
    }


def samples(step: int) -> list[np.ndarray]:
    """Batches of both plates."""
    rng = np.random.default_rng(step)
    x, y = rng.standard_normal((2, CHARGES, DIM), np.float32)
    return [x, y + 3]


def start(network: Network) -> training.TrainState:
    return training.init_state(jax.random.key(0), network, OPTIMIZER)


def trained(step: Callable, state: training.TrainState, *, copies: bool) -> tuple[np.ndarray, np.ndarray]:
    """Losses and last parameters; of a map, those of its first device."""
    losses = []
    for t in range(STEPS):
        state, info = step(state, *samples(t))
        losses.append(float(np.ravel(info.loss)[0]))
    params = jax.tree.map(lambda leaf: leaf[0], state.params) if copies else state.params
    return np.array(losses), flat(params)


def flat(params: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


if __name__ == "__main__":
    main()
