"""What training on eight virtual devices gives, as a program: `python _devices.py FOLDER` writes FOLDER/told.json.

A process of its own, since a backend can be told how many devices it has only before the first computation.
"""

import functools
import json
import os
import sys
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 8)

import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from parallel_cases import (
    DIM,
    DROPPING,
    OPTIMIZER,
    PLAIN,
    RECIPE,
    STEPS,
    draw,
    fit,
    numbers,
    start,
)

from efm_jax import checkpoint, matching, networks, parallel, sampling, training
from efm_jax.datasets import batch, from_pictures, white_noise, with_classes
from efm_jax.lines import fixed
from efm_jax.runs import _fit as runs
from efm_jax.training import hosts, on_devices
from efm_jax.training.devices import check_division

# most of a short run is its compilation: runs of one kind share one
runs.make_train_step = functools.cache(training.make_train_step)
runs.data_parallel_step = functools.cache(parallel.data_parallel_step)


def one_device(network):
    return runs.make_train_step(RECIPE, network, OPTIMIZER, ema_decay=0.9999)


def eight_devices(network, shard_state=False):
    options = {"ema_decay": 0.9999, "shard_state": shard_state}
    return runs.data_parallel_step(RECIPE, network, OPTIMIZER, parallel.data_mesh(8), **options)


def trained(step, state, steps=STEPS) -> tuple[training.TrainState, list[list[float]]]:
    told = []
    for t in range(steps):
        rng = np.random.default_rng(t)
        x_pos, x_neg = (rng.normal(size=(16, DIM)).astype(np.float32) for _ in range(2))
        state, info = step(state, x_pos, x_neg + np.float32(3.0))
        told.append([float(info.loss), float(info.grad_norm)])
    return state, told


def mapped_by_hand(mesh):
    """The step of one device under a map of the caller's own."""
    step = training.make_train_step(RECIPE, PLAIN, OPTIMIZER, axis_name="data")
    rows = P("data")
    return jax.shard_map(step, mesh=mesh, in_specs=(P(), rows, rows), out_specs=P(), check_vma=False)


def steps_of_every_kind() -> dict:
    """Losses and states of each way of dividing a step, against one device."""
    mesh, found = parallel.data_mesh(), {}
    for name, network in (("plain", PLAIN), ("dropout", DROPPING)):
        one = trained(one_device(network), start(network))
        ways = {"jit": eight_devices(network)}
        if name == "plain":
            ways["sharded"] = eight_devices(network, shard_state=True)
            ways["pmap"] = parallel.pmap_step(RECIPE, network, OPTIMIZER)
            ways["own map"] = jax.jit(mapped_by_hand(mesh)), lambda state: state
        for way, (step, place) in ways.items():
            state, told = trained(step, place(start(network)))
            if way == "sharded":
                first = state.params["first"]
                found["held"] = [list(first.addressable_shards[0].data.shape), len(first.addressable_shards)]
                found["average held"] = list(state.ema["first"].addressable_shards[0].data.shape)
                moments = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.shape == first.shape]
                found["moments held"] = [list(leaf.addressable_shards[0].data.shape) for leaf in moments]
            if way == "pmap":
                copies = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
                found["copies agree"] = all((leaf == leaf[:1]).all() for leaf in copies)
                state = jax.tree.map(lambda leaf: leaf[0], state)
            apart = np.abs(numbers(state) - numbers(one[0])).max()
            found[f"{name} {way}"] = {
                "losses": float(np.abs(np.array(told) / np.array(one[1]) - 1).max()),
                "numbers": float(apart),
                "step": int(state.step),
                "moved": float(np.abs(numbers(state) - numbers(start(network))).max()),
            }
    return found


def steps_by_the_loss() -> dict:
    """Each way of dividing a step whose optimizer asks for the loss, against one device."""
    # thrice loss / |gradient|^2 against the gradient
    asking = optax.chain(optax.polyak_sgd(max_learning_rate=1e4), optax.scale(3.0))
    given = (RECIPE, PLAIN, asking)

    def begun():
        return training.init_state(jax.random.key(0), PLAIN, asking)

    by_hand = training.make_train_step(*given, axis_name="data")
    rows, mesh = P("data"), parallel.data_mesh()
    mapped = jax.shard_map(by_hand, mesh=mesh, in_specs=(P(), rows, rows), out_specs=P(), check_vma=False)
    ways = {
        "jit": parallel.data_parallel_step(*given, mesh),
        "sharded": parallel.data_parallel_step(*given, mesh, shard_state=True),
        "pmap": parallel.pmap_step(*given),
        "own map": (jax.jit(mapped), lambda state: state),
    }
    one, losses = trained(training.make_train_step(*given), begun())
    found = {"moved": float(np.abs(numbers(one) - numbers(begun())).max())}
    for way, (step, place) in ways.items():
        state, told = trained(step, place(begun()))
        if way == "pmap":
            state = jax.tree.map(lambda leaf: leaf[0], state)
        found[way] = {
            "losses": float(np.abs(np.array(told) / np.array(losses) - 1).max()),
            "numbers": float(np.abs(numbers(state) - numbers(one)).max()),
        }
    return found


def evaluations() -> dict:
    """Charges that a device sees and points that it evaluates, for a recipe that can be asked for a part or not."""
    seen, found = {}, {}

    def watched(name):
        def with_part(key, x_pos, x_neg, *, part=None):
            batch = draw(key, x_pos, x_neg, part=part)
            seen[name] = [len(x_pos), len(batch.points)]
            return batch

        return with_part if name == "part" else lambda key, x_pos, x_neg: with_part(key, x_pos, x_neg)

    x = np.zeros((16, DIM), np.float32)
    for name in ("part", "whole"):
        recipe = RECIPE._replace(draw=watched(name))
        step, place = parallel.data_parallel_step(recipe, PLAIN, OPTIMIZER, parallel.data_mesh())
        if name == "part":
            step.lower(place(start()), x, x)
        else:
            found["loss of whole"] = trained(step, place(start()), 1)[1][0][0]
    found["loss"] = trained(one_device(PLAIN), start(), 1)[1][0][0]
    return {"seen": seen, **found}


def held_arrays() -> dict:
    """A recipe that holds an array is divided too, the array being on every device."""

    def holding(held, key, x_pos, x_neg, *, part=None):
        batch = draw(key, x_pos, x_neg, part=part)
        return batch._replace(target=batch.target * jnp.mean(held))

    held = jnp.arange(16.0) / 7.5  # of mean 1: the whole array, and no part of it
    recipe = RECIPE._replace(draw=jax.tree_util.Partial(holding, held))
    one = trained(one_device(PLAIN), start(), 2)[1]
    makers = {
        "jit": lambda: parallel.data_parallel_step(recipe, PLAIN, OPTIMIZER, parallel.data_mesh()),
        "pmap": lambda: parallel.pmap_step(recipe, PLAIN, OPTIMIZER),
    }
    found = {}
    for name, make in makers.items():
        step, place = make()
        found[name] = float(np.abs(np.array(trained(step, place(start()), 2)[1]) / np.array(one) - 1).max())
    return found


def compiled() -> dict:
    """What the compiler makes of the step on eight devices."""
    step, place = eight_devices(PLAIN)
    x = np.zeros((16, DIM), np.float32)
    program = step.lower(place(start()), x, x).compile()
    text = program.as_text()
    names = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter")
    alone = one_device(PLAIN).lower(start(), x, x).compile()
    return {
        "collectives": {name: text.count(f" {name}(") + text.count(f" {name}-start(") for name in names},
        "share": program.cost_analysis()["flops"] / alone.cost_analysis()["flops"],
    }


def lines() -> dict:
    """Field lines of samples that are split over the devices, as a jitted call follows them."""
    recipe, network = matching.efm(2.0), networks.mlp(DIM, gap=2.0, width=128)
    state = training.init_state(jax.random.key(0), network, OPTIMIZER)
    x = np.random.default_rng(0).normal(size=(64, DIM)).astype(np.float32)
    follow = jax.jit(
        lambda state, x: sampling.transport(state, recipe, network, x, stepping=fixed(steps=4)).end
    )
    mesh = parallel.data_mesh(8)
    split, everywhere = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    program = follow.lower(jax.device_put(state, everywhere), jax.device_put(x, split)).compile()
    text, alone = program.as_text(), follow.lower(state, x).compile()
    ends = program(jax.device_put(state, everywhere), jax.device_put(x, split))
    return {
        "apart": float(np.abs(np.asarray(ends) - np.asarray(follow(state, x))).max()),
        "rows": list(ends.addressable_shards[0].data.shape),
        "gathers": text.count(" all-gather("),
        "share": program.cost_analysis()["flops"] / alone.cost_analysis()["flops"],
    }


def refusals() -> dict:
    """What is said of work that cannot be divided."""
    said = {}

    def note(name, work):
        try:
            work()
        except ValueError as error:
            said[name] = str(error)

    step, place = eight_devices(PLAIN)
    x, y = np.zeros((12, DIM), np.float32), np.zeros((16, DIM), np.float32)
    note("rows", lambda: step(place(start()), x, y))
    odd = matching.cfm(4.0, num_points=30)
    step, place = parallel.data_parallel_step(odd, PLAIN, OPTIMIZER, parallel.data_mesh())
    note("points", lambda: step(place(start()), y, y))
    note(
        "axis",
        lambda: parallel.data_parallel_step(RECIPE, PLAIN, OPTIMIZER, parallel.data_mesh(), axis="model"),
    )
    note("devices", lambda: parallel.data_mesh(9))
    explicit = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    note("explicit", lambda: parallel.data_parallel_step(RECIPE, PLAIN, OPTIMIZER, explicit))
    note("explicit run", lambda: check_division(RECIPE, explicit, 16, 16, DIM))
    other = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    note("other run", lambda: check_division(RECIPE, other, 16, 16, DIM))
    note("explicit rows", lambda: hosts.global_rows(y, explicit, 16))
    return said


def made_on_devices() -> dict:
    """White noise that eight devices and two draw, and pictures that they hold, beside that of one and the host's."""
    rng = np.random.default_rng(0)
    images = rng.integers(256, size=(30, 4, 5, 3), dtype=np.uint8)
    pair = white_noise((6,), std=2.0), with_classes(from_pictures(images, flip=True), np.arange(30) % 3)
    labels = np.array([2, -1])
    whole = [
        np.asarray(on_devices.drawn(pair[0].draw, 16, None, 3, 0, 7)),
        batch(pair[1], 3, 1, 7, 16, labels=labels),
    ]
    found = {"same": [], "rows": []}
    for count in (2, 8):
        makers = on_devices.makers(pair, (16, 16), parallel.data_mesh(count), noise=True, held=images.nbytes)
        made = [make(3, side, 7, labels) for side, make in enumerate(makers)]
        found["same"] += [np.asarray(x).tobytes() == y.tobytes() for x, y in zip(made, whole, strict=True)]
        found["rows"] += [[shard.data.shape[0] for shard in x.addressable_shards] for x in made]
    return found


def a_run(folder: Path) -> dict:
    """A run on one device, on eight, and in three parts: on eight with a split state, on four, on one."""

    def on(name, steps, devices, **more):
        return fit(folder / name, steps, mesh=parallel.data_mesh(devices), **more)

    one = numbers(fit(folder / "one"))
    eight = numbers(on("eight", STEPS, 8))
    on("parts", 2, 8, shard_state=True)
    on("parts", 4, 4)
    parts = numbers(fit(folder / "parts"))
    on("twice", 4, 8, shard_state=True)
    again = numbers(on("twice", STEPS, 8, shard_state=True))
    straight = numbers(on("straight", STEPS, 8, shard_state=True))
    logs = [[line["loss"] for line in runs.read_log(folder / name)] for name in ("one", "eight", "parts")]
    restored, _ = checkpoint.restore(folder / "straight" / "checkpoints", start())
    found = {
        "eight": float(np.abs(eight - one).max()),
        "parts": float(np.abs(parts - one).max()),
        "moved": float(np.abs(one - numbers(start())).max()),
        "logs": logs,
        "again": again.tobytes() == straight.tobytes(),
        "saved": numbers(restored).tobytes() == straight.tobytes(),
    }
    try:
        on("odd", STEPS, 3)
    except ValueError as error:
        found["odd"] = [str(error), (folder / "odd").exists()]
    return found


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    works = [
        steps_of_every_kind,
        steps_by_the_loss,
        evaluations,
        held_arrays,
        compiled,
        lines,
        made_on_devices,
        refusals,
    ]
    result = {work.__name__: work() for work in works}
    result["a_run"] = a_run(Path(sys.argv[1]))
    Path("told.json").write_text(json.dumps(result))
