# %% [markdown]
# # Digits 3 → 2
#
# We turn handwritten 3s into 2s of the same color, first with a model that
# comes with the package, then with a short training of our own.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from efm_jax import couplings, lines, matching, models
from efm_jax import networks, points, sampling, training
from efm_jax.datasets import batch, open_source
from efm_jax.evaluation.digit_classifier import read_digits

threes = batch(open_source("digits:3", split="test"), 1, 0, 0, 48)


def show(rows, titles):
    figure, axes = plt.subplots(len(rows), 12, figsize=(11, len(rows)))
    for pictures, title, line in zip(rows, titles, axes, strict=True):
        line[0].set_title(title, loc="left", fontsize=9)
        for picture, axis in zip(pictures, line, strict=False):
            axis.imshow(np.clip(picture.reshape(32, 32, 3) / 2 + 0.5, 0, 1))
            axis.axis("off")
    plt.show()


# %% [markdown]
# ## The released model
#
# `models.load` takes the name of a released model, or the path of a run or a
# model folder. The digit classifier of the package reads the result. This
# model was trained on the 60,000 training digits of MNIST, and these 3s are
# among them. [Its scores](../how_to/share.md) are on digits it has not seen.

# %%
digits = models.load("digits")
translated = np.asarray(models.transport(digits, threes).end[:, :-1])
labels, _ = read_digits(translated)
released = np.mean(labels == 2)
print(f"read as 2: {released:.0%}")
show([threes, translated], ["3s", "ends of lines"])

# %% [markdown]
# ## Your own training
#
# A recipe: pairs of each batch by optimal transport, and the direction of the
# field at points near the segments between them. These steps are few. The
# preset `digits-quick` takes 3,000 of another recipe.

# %%
STEPS = 40
P, Q = open_source("digits:3"), open_source("digits:2")
segments = points.segment(noise=0.05, coupling=couplings.minibatch_ot())
recipe = matching.efm(gap=10.0, points=segments, num_points=32)
sizes = {"width": 16, "multipliers": (1, 2, 2), "blocks": 1, "patch": 4}
network = networks.unet(P.shape, gap=10.0, attention=(), **sizes)
optimizer = training.adam(2e-3, warmup=10, cosine_steps=STEPS)
state = training.init_state(jax.random.key(0), network, optimizer)
step = training.make_train_step(recipe, network, optimizer, ema_decay=0.9)
losses = []
for t in range(STEPS):
    state, info = step(state, batch(P, 0, 0, t, 64), batch(Q, 0, 1, t, 64))
    losses.append(float(info.loss))
print(f"loss: {losses[0]:.3f} at first, {np.mean(losses[-10:]):.3f} at last")

# %%
found = sampling.transport(
    state, recipe, network, threes[:12], stepping=lines.fixed(steps=8)
)
mine = np.asarray(found.end[:, :-1])
show([threes, mine], ["held-out 3s", f"after {STEPS} steps of training"])

# %% [markdown]
# After so few steps the pictures have hardly begun to change. The next
# command goes the whole way: `efm train digits-quick --run runs/quick`.

# %%
# 97 % of 3s are read as 2 by this model; 48 pictures, more than 3 deviations
assert released > 0.75
assert np.mean(losses[-10:]) < 0.9 * losses[0]
assert np.isfinite(mine).all()
