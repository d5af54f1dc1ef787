"""The runs of the paper: its own hyper-parameters, and where it leaves one open the choice made here.

[paper] Kolesov, Manukhov, Palyulin, Korotin (2025), "Field matching", arXiv 2502.02367, its slides, its published notebooks;
[IFM] Manukhov et al. (2025), arXiv 2506.02950. docs/paper_settings.md says which number comes from where.
"""

from dataclasses import replace

from efm_jax.configs import Data, Network, Optimizer, Recipe, Run, Sampling

EULER_STEP = 0.25
"""dz of Algorithm 2."""


def _sampling(gap: float) -> Sampling:
    return Sampling(solver="euler", steps=round(gap / EULER_STEP), clock="linear", samples=500)


def _gap(run: Run, gap: float, **recipe) -> Run:
    return replace(run, recipe=replace(run.recipe, gap=gap, **recipe), sampling=_sampling(gap))


_DIGITS = Run(
    data=Data("noise", "mnist:mnist"),
    recipe=Recipe(
        method="efm",
        gap=30.0,
        convention="superposed",
        target="direction",
        gamma=5.0,  # of `per_plate`: its name is then all that the published code's field takes
        points="segment",
        noise=1.0,
        height="uniform",
        coupling="independent",
        charges=64,
        num_points=64,
    ),
    network=Network(
        kind="unet", width=128, multipliers=(1, 2, 2, 2), blocks=4, attention=(16,), patch=1, dropout=0.1
    ),
    optimizer=Optimizer(learning_rate=2e-4, warmup=5000, cosine=False, clip=1.0, ema_decay=0.9999),
    sampling=_sampling(30.0),
    steps=1_000_000,
    save_every=5000,
    log_every=100,
    seed=0,
)
_CIFAR = _gap(replace(_DIGITS, data=Data("noise", "cifar10:cifar-10-batches-bin")), 500.0, charges=1024)

PAPER: dict[str, tuple[str, Run]] = {
    "paper-cmnist": (
        "The paper's settings: white noise -> coloured digits of full MNIST: --data.target mnist:FOLDER.",
        _DIGITS,
    ),
    "paper-translation": (
        "The paper's settings: coloured 3 -> 2: --data.source mnist:FOLDER:3 --data.target mnist:FOLDER:2.",
        _gap(replace(_DIGITS, data=Data("mnist:mnist:3", "mnist:mnist:2")), 10.0),
    ),
    "paper-cifar10": (
        "The paper's settings: white noise -> CIFAR-10: --data.target cifar10:FOLDER.",
        _CIFAR,
    ),
    "paper-celeba64": (
        "The paper's settings for CIFAR-10 on faces, 64x64: --data.target folder:FOLDER; cut before: --data.crop None.",
        replace(_CIFAR, data=Data("noise", "folder:img_align_celeba", size=64, crop=140)),
    ),
}
