# %% [markdown]
# # Your own network
#
# Four libraries, one training. A network maps `[n, D+1]` points to `[n, D+1]`
# vectors. An adapter makes it a `Network`, a pair of pure functions.

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import linen, nnx

from efm_jax import datasets, lines, matching, metrics
from efm_jax import networks, sampling, training
from efm_jax.datasets import toys
from efm_jax.evaluation.drawing import END, TARGET

P, Q = toys.gaussian(2), toys.eight_gaussians()
DIM, WIDTH, STEPS = 2, 64, 300

# %% [markdown]
# ## Flax NNX
#
# `from_nnx` takes a function that builds the module.


# %%
class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.a = nnx.Linear(DIM + 1, WIDTH, rngs=rngs)
        self.b = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.c = nnx.Linear(WIDTH, DIM + 1, rngs=rngs)

    def __call__(self, points):
        return self.c(nnx.silu(self.b(nnx.silu(self.a(points)))))


# %% [markdown]
# ## Flax Linen
#
# `from_linen` takes the module and the dimension of a sample.


# %%
class Linen(linen.Module):
    @linen.compact
    def __call__(self, points):
        hidden = linen.silu(linen.Dense(WIDTH)(points))
        hidden = linen.silu(linen.Dense(WIDTH)(hidden))
        return linen.Dense(DIM + 1)(hidden)


# %% [markdown]
# ## Equinox
#
# `from_equinox` takes a function of a key. The module sees one point; the
# adapter maps it over all of them.


# %%
def equinox_mlp(key):
    return eqx.nn.MLP(DIM + 1, DIM + 1, WIDTH, 2, jax.nn.silu, key=key)


# %% [markdown]
# ## Two functions
#
# `from_function` takes `init(key)` and `apply(params, points)`.


# %%
def init(key):
    keys = jax.random.split(key, 3)
    sizes = (DIM + 1, WIDTH, WIDTH, DIM + 1)
    return [
        (jax.random.normal(k, (n, m)) / np.sqrt(n), jnp.zeros(m))
        for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)
    ]


def apply(params, points):
    *hidden, (w, b) = params
    for weight, bias in hidden:
        points = jax.nn.silu(points @ weight + bias)
    return points @ w + b


# %%
NETWORKS = {
    "nnx": networks.from_nnx(Nnx),
    "linen": networks.from_linen(Linen(), DIM),
    "equinox": networks.from_equinox(equinox_mlp),
    "function": networks.from_function(init, apply),
}

# %% [markdown]
# ## The same training for each

# %%
recipe = matching.tubes()
new = datasets.batch(P, 1, 0, 0, 500)
fresh = datasets.batch(Q, 1, 1, 0, 500)
before = metrics.wasserstein2(new, fresh)
floor = metrics.wasserstein2(datasets.batch(Q, 2, 1, 0, 500), fresh)
print(f"W2 before: {before:.2f}, floor: {floor:.2f}")
optimizer = training.adam(5e-3, warmup=20, cosine_steps=STEPS)
ends, scores = {}, {}
for name, plain in NETWORKS.items():
    network = matching.flow_network(plain)
    state = training.init_state(jax.random.key(0), network, optimizer)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.98)
    for t in range(STEPS):
        x = datasets.batch(P, 0, 0, t, 128)
        y = datasets.batch(Q, 0, 1, t, 128)
        state, info = step(state, x, y)
    end = sampling.transport(
        state, recipe, network, new, stepping=lines.fixed(steps=12)
    ).end
    ends[name] = np.asarray(end[:, :-1])
    scores[name] = metrics.wasserstein2(ends[name], fresh)
    print(f"{name:9s} W2 {scores[name]:.2f}")

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3), sharex=True, sharey=True)
for axis, (name, where) in zip(axes, ends.items(), strict=True):
    axis.scatter(*fresh.T, s=1, color=TARGET, alpha=0.4)
    axis.scatter(*where.T, s=1, color=END)
    axis.set(title=f"{name}: W2 {scores[name]:.2f}", xlabel="x")
axes[0].set_ylabel("y")
plt.show()

# %% [markdown]
# Red: samples of Q. Green: ends of lines. All four learn nearly the same map.

# %%
# the floor is large: eight modes differ in their counts
assert max(scores.values()) < 0.45 * before, scores
