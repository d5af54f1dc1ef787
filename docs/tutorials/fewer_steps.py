# %% [markdown]
# # Fewer steps
#
# A line costs as many network evaluations as its solver takes. We train one
# field and follow its lines with few of them: with equal steps, with steps
# where the lines bend, and along a second field with straighter lines.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from efm_jax import couplings, datasets, grids, lines, matching
from efm_jax import metrics, networks, reflow, sampling, training, widths
from efm_jax.datasets import toys

P, Q = toys.gaussian(2), toys.eight_gaussians()
STEPS = 800


def fit(recipe, source_p, source_q):
    network = matching.flow_network(networks.mlp(2, gap=1.0, width=64))
    optimizer = training.adam(3e-3, warmup=50, cosine_steps=STEPS)
    state = training.init_state(jax.random.key(0), network, optimizer)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    for t in range(STEPS):
        x = datasets.batch(source_p, 0, 0, t, 256)
        y = datasets.batch(source_q, 0, 1, t, 256)
        state, info = step(state, x, y)
    return state, recipe, network


# %% [markdown]
# Flow matching on independent pairs has bent lines, so steps matter.

# %%
first = fit(matching.cfm(), P, Q)
new = datasets.batch(P, 1, 0, 0, 1000)
fresh = datasets.batch(Q, 1, 1, 0, 1000)
fine = sampling.transport(*first, new, stepping=lines.fixed(steps=48))


def error(found, exact=fine):
    """Root mean square distance to the ends of fine lines."""
    return float(np.sqrt(np.mean((found.end - exact.end) ** 2)))


# %% [markdown]
# ## Steps where lines bend
#
# `grids.pilots` follows a few fine lines. `grids.place` puts the steps where
# the error of the solver arises.

# %%
pilots = grids.pilots(*first, datasets.batch(P, 2, 0, 0, 128))
equal, placed = {}, {}
for count in (1, 2, 4, 8):
    plain = lines.fixed("midpoint", count, clock="linear")
    equal[count] = error(sampling.transport(*first, new, stepping=plain))
    better = grids.place(pilots, count, solver="midpoint")
    placed[count] = error(sampling.transport(*first, new, stepping=better))
    print(
        f"{2 * count:2d} evaluations: {equal[count]:.3f} with equal steps,"
        f" {placed[count]:.3f} with placed ones"
    )

# %% [markdown]
# ## Reflow
#
# Follow lines once, keep each start with its end, and train again on these
# pairs. The new lines are nearly straight.

# %%
found = reflow.pairs(*first, datasets.batch(P, 3, 0, 0, 4000))
pairs_p, pairs_q = datasets.from_pairs(found.x_pos, found.x_neg)
narrow = widths.constant(1e-3)
second = fit(
    matching.cfm(coupling=couplings.given(), width=narrow), pairs_p, pairs_q
)
w2 = {}
for name, fields in {"first": first, "reflow": second}.items():
    for count in (1, 4, 24):
        euler = lines.fixed("euler", count, clock="linear")
        end = sampling.transport(*fields, new, stepping=euler).end
        w2[name, count] = metrics.wasserstein2(np.asarray(end[:, :2]), fresh)
    scores = ", ".join(f"{w2[name, count]:.2f}" for count in (1, 4, 24))
    print(f"{name:6s} W2 with 1, 4, 24 evaluations: {scores}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
counts = [2, 4, 8, 16]
left.plot(counts, list(equal.values()), "o-", label="equal steps")
left.plot(counts, list(placed.values()), "s-", label="placed steps")
left.set(xlabel="evaluations (midpoint)", ylabel="distance to fine lines")
left.set(xscale="log", yscale="log")
left.set_yticks([0.02, 0.1, 0.5], ["0.02", "0.1", "0.5"])
for name in ("first", "reflow"):
    values = [w2[name, count] for count in (1, 4, 24)]
    right.plot([1, 4, 24], values, "o-", label=name)
right.set(xlabel="evaluations (Euler)", ylabel="W2 to Q", xscale="log")
for axis, ticks in ((left, counts), (right, [1, 4, 24])):
    axis.set_xticks(ticks, ticks)
    axis.minorticks_off()
    axis.legend()
plt.show()

# %%
assert placed[4] < equal[4]
# one step of the first field ends at the mean of Q, its radius away
assert w2["reflow", 1] < 0.6 * w2["first", 1]
