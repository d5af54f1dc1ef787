"""The toy table: which pairs of laws, what budget, how ends are scored."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Config:
    """Everything that is the same for every method."""

    stratified: ClassVar[bool] = False
    """Even samples instead of random ones: as many of each mode, a Sobol sequence within."""

    columns: tuple[tuple[str, str], ...] = (
        ("gaussian:2", "eight_gaussians"),
        ("moons", "eight_gaussians"),
        ("gaussian:2", "moons"),
        ("gaussian:2", "s_curve"),
        ("gaussian:2", "swiss_roll"),
    )
    """P and Q by name; the first four are the published columns."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each with data, parameters and draws of its own, the same for every method."""
    train: int = 10_000
    """Training samples per plate."""
    test: int = 10_000
    """Held-out samples transported, and held-out samples of Q they are compared with."""
    width: int = 64
    """Hidden units of the mlp."""
    depth: int = 3
    """Its hidden layers."""
    octaves: int = 3
    """Frequencies of its height features."""
    batch: int = 512
    """Charges per plate, and supervised points, per training step, unless the method says otherwise."""
    steps: int = 4000
    """Training steps."""
    learning_rate: float = 1e-3
    """AdamW's rate, falling to zero along a cosine."""
    weight_decay: float = 1e-5
    """AdamW's decay."""
    ema_decay: float = 0.999
    """Decay of the average whose lines are followed."""
    euler: int = 100
    """Euler steps, in the method's clock."""
    tolerance: float = 1e-3
    """Of the adaptive solver, relative and absolute."""


@dataclass(frozen=True)
class LowNoise(Config):
    """The same table on even samples, whose floor is a third: differences of methods stand out."""

    stratified: ClassVar[bool] = True

    train: int = 8192
    test: int = 4096


LEVER_COLUMNS = 2
"""Levers are pulled on the first so many columns."""


def fast() -> Config:
    """The same table in minutes: one seed, short training, fewer samples."""
    return Config(seeds=(0,), train=2000, test=1000, steps=500)
