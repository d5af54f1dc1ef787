# %% [markdown]
# # Eight devices
#
# One training step, split over eight devices. Without eight, a CPU can act
# as eight: set this variable before JAX is imported. They share its cores,
# so nothing gets faster here.

# %%
import os

os.environ.setdefault("JAX_NUM_CPU_DEVICES", "8")

import jax
import matplotlib.pyplot as plt
import numpy as np

from efm_jax import charges, datasets, fields, matching, networks
from efm_jax import parallel, training
from efm_jax.datasets import toys
from efm_jax.parallel import sharded_field, split_charges

print(jax.device_count(), "devices")
P, Q = toys.moons(), toys.eight_gaussians()

# %% [markdown]
# ## A step on all devices
#
# `data_parallel_step` returns a step and a function that places the state.
# Batches are whole; the step spreads their rows over the mesh.

# %%
STEPS = 60
recipe = matching.tubes()
network = matching.flow_network(networks.mlp(2, gap=1.0, width=64))
optimizer = training.adam(3e-3, warmup=10)
mesh = parallel.data_mesh()
together, place = parallel.data_parallel_step(recipe, network, optimizer, mesh)
alone = training.make_train_step(recipe, network, optimizer)


def losses(step, state):
    found = []
    for t in range(STEPS):
        x = datasets.batch(P, 0, 0, t, 128)
        y = datasets.batch(Q, 0, 1, t, 128)
        state, info = step(state, x, y)
        found.append(float(info.loss))
    return np.array(found)


def start():
    return training.init_state(jax.random.key(0), network, optimizer)


many = losses(together, place(start()))
one = losses(alone, start())
print(f"largest difference of the losses: {np.abs(many - one).max():.1e}")

# %% [markdown]
# Each step draws the samples, points and dropout that one device would draw.
# So losses agree up to rounding.

# %%
plt.plot(one, lw=4, alpha=0.4, label="one device")
plt.plot(many, lw=1, label=f"{jax.device_count()} devices")
plt.xlabel("step")
plt.ylabel("loss")
plt.legend()
plt.show()

# %% [markdown]
# ## An exact field, its charges split
#
# Each device keeps an eighth of the charges and sums over them. The sum of
# these sums is that of one device up to rounding.

# %%
rng = np.random.default_rng(0)
capacitor = charges.capacitor(P.draw(rng, 4000), Q.draw(rng, 4000), 6.0)
points = rng.uniform(0.5, 5.5, (64, 3)).astype(np.float32)
auto = (jax.sharding.AxisType.Auto,) * 2
grid = jax.make_mesh(
    (jax.device_count(), 1), ("charges", "points"), axis_types=auto
)
split = split_charges(capacitor, grid)
shared = sharded_field(points, split, grid, points_over="points")
whole = fields.coulomb(points, capacitor)
apart = float(np.abs(shared.direction - whole.direction).max())
print(f"largest difference of the directions: {apart:.1e}")

# %% [markdown]
# On the command line one option does the same:
# `efm train digits-quick --run runs/digits --parallel.devices 8`.

# %%
# sums in another order; 60 steps of Adam magnify their rounding
assert np.abs(many - one).max() < 1e-3 * one.max()
assert apart < 1e-5
assert one[-10:].mean() < one[:10].mean()
