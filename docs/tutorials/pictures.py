# %% [markdown]
# # Your pictures
#
# From two folders to a model that you can share. The commands are those of
# the shell; here `efm("...")` runs them. Put your own folders in place of
# `threes` and `twos`.

# %%
import shlex
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from efm_jax import cli
from efm_jax.datasets import batch, open_source

work = Path(tempfile.mkdtemp())


def efm(command):
    cli.main(shlex.split(command.format(work=work)))


for name, digit in (("threes", 3), ("twos", 2)):
    folder = work / name
    folder.mkdir()
    pixels = batch(open_source(f"digits:{digit}"), 0, 0, 0, 400)
    pixels = np.uint8((pixels.reshape(-1, 32, 32, 3) + 1) * 127.5)
    for k, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{k}.png")

# %% [markdown]
# ## What would be trained
#
# `efm suggest` looks at the folders and trains nothing.

# %%
efm("suggest {work}/threes {work}/twos")

# %% [markdown]
# ## Train
#
# We take 32 principal components and a small network, so that a minute is
# enough. Leave the last line out to train in pixels.

# %%
efm("""train {work}/threes {work}/twos --run {work}/mine --no-progress
    --steps 150 --sampling.samples 40
    --data.components 32 --network.kind mlp --network.width 128""")

# %% [markdown]
# ## Share and use it
#
# The model folder holds weights, settings and a card. It needs neither the
# run nor the data.

# %%
efm("export {work}/mine --output {work}/model")
efm(
    "translate {work}/model --input {work}/threes --limit 12"
    " --output {work}/translated"
)
print(sorted(path.name for path in (work / "model").iterdir()))

# %%
figure, axes = plt.subplots(2, 12, figsize=(11, 2.2))
results = sorted((work / "translated").glob("[0-9]*.png"))
for before, after, path in zip(*axes, results, strict=False):
    before.imshow(Image.open(work / "threes" / path.name))
    after.imshow(Image.open(path))
for axis in axes.flat:
    axis.axis("off")
plt.show()

# %% [markdown]
# Above: the 3s. Below: where their lines end, after 150 steps in 32
# components. `report.html` in the run folder shows more. Its W2 in pixels
# favors blurred pictures: compare it with that of the reconstructions alone.

# %%
assert (work / "mine" / "report.html").is_file()
assert (work / "model" / "model.safetensors").is_file()
assert len(results) == 12
