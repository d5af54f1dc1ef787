"""Few steps: which methods on which pairs of laws, and how their lines are followed."""

from dataclasses import dataclass, field

from experiments.toy_table import config as toy_table


@dataclass(frozen=True)
class Config:
    """The toys. What is not here is as in the toy table."""

    methods: tuple[str, ...] = (
        "I-CFM",
        "OT-CFM",
        "EFM, superposed",
        "EFM, per plate",
        "C2FM, cut at 0.5",
        "IFM, one plan",
        "EFM, straight tubes",
        "PFGM++, K = 8",
    )
    """Rows of the toy table."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of data, parameters and draws."""
    toys: toy_table.Config = field(
        default_factory=lambda: toy_table.Config(
            columns=(("gaussian:2", "eight_gaussians"), ("moons", "eight_gaussians")),
            seeds=(),
            batch=256,
            test=2000,
        )
    )
    """The toy table's network and training, but half its batch and a fifth of its held-out samples."""
    evaluations: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    """Field evaluations a line."""
    many: int = 100
    """Evaluations of the lines that few are compared with: Euler's for W2, twice as many by midpoint for distances."""
    pilots: int = 128
    """Lines by whose curvature steps are placed, from training samples."""
    resolution: int = 64
    """Steps of the pilots."""


@dataclass(frozen=True)
class DigitsConfig:
    """Trained runs on digits."""

    evaluations: tuple[int, ...] = (1, 2, 4, 8)
    """Field evaluations a line."""
    samples: int = 500
    """Held-out samples transported."""
    pilots: int = 32
    """Lines by whose curvature steps are placed, from training samples."""
    resolution: int = 32
    """Steps of the pilots."""


EVERY_STEP = {"euler": 1, "ab2": 1, "midpoint": 2, "heun": 2}
"""Evaluations a step of each solver."""
EQUAL = ("euler", "midpoint", "heun", "ab2")
"""Solvers with equal steps in the method's own clock."""
PLACED = ("euler", "midpoint", "ab2")
"""Solvers whose steps are placed by the curvature of the lines."""


def ways(solvers: tuple[str, ...], evaluations: tuple[int, ...]) -> list[tuple[str, int]]:
    """Solvers with the numbers of evaluations that they can spend; one step of ab2 is one of Euler's."""
    return [
        (solver, count)
        for solver in solvers
        for count in evaluations
        if count % EVERY_STEP[solver] == 0 and (solver, count) != ("ab2", 1)
    ]
