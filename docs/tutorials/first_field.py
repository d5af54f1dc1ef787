# %% [markdown]
# # First trained field
#
# We train a small network on the field between two sets of points: two
# moons below, eight Gaussians above. Then we carry new moons along the
# field lines.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from efm_jax import datasets, lines, matching, metrics
from efm_jax import networks, sampling, training
from efm_jax.datasets import toys
from efm_jax.evaluation.drawing import END, SOURCE, TARGET

P, Q = toys.moons(), toys.eight_gaussians()

# %% [markdown]
# ## Recipe, network, optimizer
#
# The *recipe* says what the network learns. `tubes` pairs the samples of a
# batch by exact field lines of plates far apart. It joins each pair by a
# straight tube. The network maps a point and its height to a velocity.

# %%
STEPS = 1000
recipe = matching.tubes()
network = matching.flow_network(networks.mlp(2, gap=1.0, width=64))
optimizer = training.adam(3e-3, warmup=50, cosine_steps=STEPS)
state = training.init_state(jax.random.key(0), network, optimizer)
step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)

# %% [markdown]
# ## Train
#
# `batch` draws the same samples for the same seed, side and step. `step`
# donates its input state, so we keep only the state that it returns.

# %%
losses = []
for t in range(STEPS):
    x = datasets.batch(P, 0, 0, t, 256)
    y = datasets.batch(Q, 0, 1, t, 256)
    state, info = step(state, x, y)
    losses.append(info.loss)
losses = np.array(losses)
print(f"loss: first {losses[:50].mean():.3f}, last {losses[-50:].mean():.3f}")

# %% [markdown]
# ## Carry new samples
#
# `transport` follows the line through each new sample. Twelve steps of the
# midpoint rule are enough here. The floor is the distance of two sets of Q.

# %%
new = datasets.batch(P, 1, 0, 0, 2000)
fresh = datasets.batch(Q, 1, 1, 0, 2000)
other = datasets.batch(Q, 2, 1, 0, 2000)
stepping = lines.fixed(steps=12)
found = sampling.transport(
    state, recipe, network, new, stepping=stepping, save=20
)
ends = np.asarray(found.end[:, :-1])
w2 = metrics.wasserstein2(ends, fresh)
print(f"W2 before: {metrics.wasserstein2(new, fresh):.2f}")
print(f"W2 after:  {w2:.2f}")
print(f"floor:     {metrics.wasserstein2(other, fresh):.2f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), sharex=True, sharey=True)
panels = {
    "new samples of P": (new, SOURCE),
    "ends of their lines": (ends, END),
    "samples of Q": (fresh, TARGET),
}
for axis, (title, (points, color)) in zip(axes, panels.items(), strict=True):
    axis.scatter(*points.T, s=2, color=color)
    axis.set(title=title, xlabel="x", aspect="equal")
path = np.asarray(found.path)[:, :60]
for line in path.transpose(1, 0, 2):
    axes[1].plot(line[:, 0], line[:, 1], color="gray", lw=0.4, zorder=0)
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# The lines (gray) run almost straight. The ends fill all eight Gaussians,
# and after this short training some lie between them.

# %%
assert bool(np.all(found.arrived))
# moons are 2.6 away; the floor is 0.2 to 0.5, by the counts of each Gaussian
assert w2 < 1.0, w2
