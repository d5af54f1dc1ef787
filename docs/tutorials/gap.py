# %% [markdown]
# # What the gap does
#
# The gap L is the distance of the plates. We follow exact lines from a
# Gaussian to a Swiss roll at three gaps. Nothing is trained.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from efm_jax import charges, fields, gaps, launches
from efm_jax import lines, metrics, whole_space
from efm_jax.datasets.toys import gaussian, swiss_roll
from efm_jax.evaluation.drawing import END, TARGET

rng = np.random.default_rng(0)
P, Q = gaussian(2), swiss_roll()
x_pos, x_neg = P.draw(rng, 512), Q.draw(rng, 512)
new, fresh = P.draw(rng, 400), Q.draw(rng, 400)
floors = [metrics.wasserstein2(Q.draw(rng, 400), fresh) for _ in range(5)]
floor = np.mean(floors)

# %% [markdown]
# ## Forward lines of two plates
#
# Each line starts upwards at a new sample of P and ends on Q's plate. The
# steps adapt to the line, so what we see is the field and no error of steps.

# %%
GAPS = 1.0, 6.0, 30.0
found, scores = {}, {}
for gap in GAPS:
    field = fields.field_fn(charges.capacitor(x_pos, x_neg, gap))
    start = np.c_[new, np.zeros(len(new))]
    found[gap] = lines.trace(field, start, gap, save=60)
    ends = np.asarray(found[gap].end[:, :-1])
    scores[gap] = metrics.wasserstein2(ends, fresh)
    print(f"L = {gap:4.0f}: W2 {scores[gap]:.2f}, floor {floor:.2f}")

# %%
figure, axes = plt.subplots(2, 3, figsize=(11, 7), constrained_layout=True)
for above, below, gap in zip(*axes, GAPS, strict=True):
    for x, _, z in np.asarray(found[gap].path)[:, :80].transpose(1, 2, 0):
        above.plot(x, z / gap, lw=0.5, color="gray")
    above.set(title=f"L = {gap:.0f}", xlabel="x", ylabel="height / L")
    ends = np.asarray(found[gap].end)
    below.scatter(*x_neg.T, s=4, color=TARGET, alpha=0.4, label="Q")
    below.scatter(*ends[:, :2].T, s=3, color=END, label="ends of lines")
    below.set(title=f"W2 {scores[gap]:.2f}", xlabel="x", ylabel="y")
    below.set_aspect("equal")
names = below.get_legend_handles_labels()
figure.legend(*names, loc="outside lower center", ncols=2, markerscale=3)
plt.show()

# %% [markdown]
# At L = 1 each sample sees few charges, so its line goes straight up. At
# L = 30 lines bulge far outwards, and some end beside the roll. Of these
# three gaps the middle one is best. With more charges all scores are lower:
# see "Toys" in the evidence.
#
# `suggest_gap` finds a good start from the samples alone. When to use it:
# see "Choose the gap" under how-to.

# %%
suggested = gaps.suggest_gap(x_pos, x_neg)
print(f"suggested gap: {suggested:.1f}")

# %% [markdown]
# ## Lines without this bias
#
# In the capacitor chain the plates repeat for ever, and all flux goes up.
# Its lines carry P to Q at every gap; we take the largest.

# %%
chain = charges.capacitor_chain(x_pos, x_neg, 30.0)
launch = launches.from_charges(
    jax.random.key(0), chain, 400, height=0.0, hemisphere="up"
)
ended = whole_space.to_charges(launch.points, chain)
ends = np.asarray(ended.end[:, :-1])
of_chain = metrics.wasserstein2(ends, fresh)
print(f"L = 30: W2 {of_chain:.2f} along the chain, floor {floor:.2f}")

# %%
assert scores[6.0] < min(scores[1.0], scores[30.0])
# ends of the chain are as good as new samples of Q, whose W2 varies by a third
assert of_chain < 1.5 * floor
assert 2.0 < suggested < 8.0
