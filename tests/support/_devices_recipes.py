"""Losses of every recipe and network on one device and on four: `python _devices_recipes.py FOLDER` writes `told.json`."""

import json
import math
import sys
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 4)

import numpy as np

from efm_jax import charges, matching, networks, parallel, training
from efm_jax.matching import couplings, points

GAP, DIM = 4.0, 3
WHOLE = charges.capacitor(
    *(np.random.default_rng(s).normal(size=(40, DIM)).astype(np.float32) for s in (8, 9)), GAP
)
RECIPES = {
    "efm": matching.efm(GAP, num_points=16),
    "per plate": matching.efm(GAP, num_points=16, convention="per_plate"),
    "whole set": matching.efm(GAP, num_points=16, charges=WHOLE),
    "minibatch OT": matching.efm(
        GAP, num_points=16, points=points.segment(coupling=couplings.minibatch_ot())
    ),
    "c2fm": matching.c2fm(GAP, num_points=16, target="velocity"),
    "ifm": matching.ifm(GAP, num_points=16),
    "pfgm": matching.pfgm(GAP, num_points=16),
    "cfm": matching.cfm(GAP, num_points=16),
    "tubes": matching.tubes(GAP, num_points=16),
}
NETWORK, OPTIMIZER = networks.mlp(DIM, gap=GAP, width=16, depth=1), training.adam(1e-3, warmup=1)
PICTURES = 8, 8, 1
NETWORKS = {
    "unet": networks.unet(PICTURES, gap=GAP, width=8, multipliers=(1, 2), blocks=1, attention=(4,)),
    "dit": networks.dit(PICTURES, gap=GAP, width=64, depth=2),
}


def losses(made, network=NETWORK, dim=DIM) -> list[float]:
    step, place = made if isinstance(made, tuple) else (made, lambda state: state)
    state, told = place(training.init_state(jax.random.key(0), network, OPTIMIZER)), []
    for t in range(3):
        rng = np.random.default_rng(t)
        x_pos, x_neg = (rng.normal(size=(32, dim)).astype(np.float32) for _ in range(2))
        state, info = step(state, x_pos, x_neg + np.float32(2.0))
        told.append(float(info.loss))
    return told


if __name__ == "__main__":
    mesh, found = parallel.data_mesh(), {}
    for name, recipe in RECIPES.items():
        found[name] = {
            "one": losses(training.make_train_step(recipe, NETWORK, OPTIMIZER)),
            "jit": losses(parallel.data_parallel_step(recipe, NETWORK, OPTIMIZER, mesh)),
            "pmap": losses(parallel.pmap_step(recipe, NETWORK, OPTIMIZER)),
        }
    for name, network in NETWORKS.items():
        made, dim = (matching.cfm(GAP, num_points=16), network, OPTIMIZER), math.prod(PICTURES)
        found[name] = {
            "one": losses(training.make_train_step(*made), network, dim),
            "jit": losses(parallel.data_parallel_step(*made, mesh), network, dim),
            "sharded": losses(parallel.data_parallel_step(*made, mesh, shard_state=True), network, dim),
        }
    (Path(sys.argv[1]) / "told.json").write_text(json.dumps(found))
