"""The runs behind the models of `efm_jax/models`: toys for the fields of charges and of pairs, digits, cells, the Earth."""

from dataclasses import replace
from pathlib import Path

from efm_jax.datasets.tables import Reading
from efm_jax.models.configs import C2FM, IFM, Data, Network, Optimizer, Run, Sampling
from efm_jax.models.presets import PRESETS
from experiments.two_folders import run as two_folders
from experiments.two_folders.config import Config

_BRIEF = Optimizer(learning_rate=2e-3, warmup=50, cosine=True, ema_decay=0.99)

LICENCE = "Apache-2.0, as efm_jax is. The data are draws of a law, which bind nobody."
LICENCE_OF_DIGITS = (
    "Apache-2.0, as efm_jax is. The data are MNIST (Y. LeCun, C. Cortes, C. J. C. Burges), colored."
)

LICENCE_OF_CELLS = (
    "Apache-2.0, as efm_jax is. The data are blood cells of 10x Genomics (Zheng et al. 2017, doi 10.1038/ncomms14049): "
    "the 700 of the file `10x_pbmc68k_reduced.h5ad` in the package scanpy (BSD-3-Clause), with its 50 principal components "
    "and its types. No cell is part of this model, only the range of each component."
)

LICENCE_OF_EARTH = (
    "Apache-2.0, as efm_jax is. The data are pieces of two maps in the public domain: NASA's Blue Marble Next Generation "
    "and NOAA's ETOPO1 (doi 10.7289/V5C8276M)."
)

HALVED = ("digits", "digit_generator", "earth")
"""Models whose weights are kept as float16, so that all of them stay below 12 MB."""

RUNS = {
    "eight_gaussians": Run(
        data=Data("gaussian:2", "eight_gaussians"),
        recipe=C2FM(
            gap=6.0,
            target="robust",
            points="flux",
            height="logit",
            reach=18.0,
            noise=1.0,
            coupling="independent",
            charges=256,
            num_points=512,
        ),
        network=Network(kind="mlp", width=64, depth=3, output="velocity"),
        optimizer=_BRIEF,
        sampling=Sampling(solver="midpoint", steps=24, clock="logit", samples=1000),
        steps=1500,
    ),
    "moons": Run(
        data=Data("gaussian:2", "moons"),
        recipe=IFM(
            gap=1.0,
            target="velocity",
            points="flux",
            noise=1.0,
            coupling="minibatch_ot",
            charges=128,
            num_points=512,
        ),
        network=Network(kind="mlp", width=64, depth=3, output="flow"),
        optimizer=_BRIEF,
        sampling=Sampling(solver="midpoint", steps=12, clock="linear", samples=1000),
        steps=1500,
    ),
}


def digits(data: Path) -> Run:
    """Colored digits 3 <-> 2 of MNIST, preset `digits-full`; `data` holds the folder `mnist`."""
    run, mnist = PRESETS["digits-full"][1], f"mnist:{data / 'mnist'}"
    return replace(run, data=replace(run.data, source=f"{mnist}:3", target=f"{mnist}:2"))


def digit_generator(data: Path) -> Run:
    """White noise to colored digits by class: preset `generate-quick` on MNIST, with half of its hidden units."""
    run = PRESETS["generate-quick"][1]
    return replace(
        run,
        data=replace(run.data, target=f"mnist:{data / 'mnist'}", jitter=0.0),
        network=replace(run.network, width=512),
        sampling=replace(run.sampling, guidance=2.5),
        steps=8000,
        save_every=500,
    )


def cells(file: Path) -> Run:
    """CD14+ monocytes <-> dendritic cells, by their 50 principal components in scanpy's file."""
    source, target = (f"h5ad:{file}:bulk_labels={kind}" for kind in ("CD14+ Monocyte", "Dendritic"))
    return Run(
        data=Data(source, target, table=Reading(layer="obsm/X_pca")),
        recipe=IFM(width=1.0, coupling="minibatch_ot", charges=64, num_points=256),
        network=Network(kind="mlp", width=64, depth=3),
        optimizer=_BRIEF,
        sampling=Sampling(solver="midpoint", steps=12, samples=1000),
        steps=1000,
    )


def earth(root: Path) -> Run:
    """Photographs from space <-> relief, seed 0 of `experiments.two_folders`; `root` holds the two folders of pieces."""
    return two_folders.suggested(Config(), root, 0)
