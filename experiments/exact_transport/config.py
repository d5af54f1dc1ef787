"""Exact transport: which laws and gaps, how many charges and lines, which seeds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on."""

    pairs: tuple[tuple[str, str], ...] = (
        ("gaussian:2", "swiss_roll"),
        ("gaussian:2", "two_gaussians"),
        ("moons", "eight_gaussians"),
    )
    """P and Q by name."""
    gaps: tuple[float, ...] = (30.0, 6.0, 1.0)
    """Distances between the plates."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each with charges, lines and test sets of its own."""
    charges: int = 4096
    """Charges per plate."""
    lines: int = 2048
    """Lines, samples they are compared with, and samples of the floor."""
    solver: str = "bosh3"
    """Solver of the lines."""
    tolerance: float = 3e-3
    """Error of a step, as a share of the distance to the nearest charge."""
    chain_tolerance: float = 1e-4
    """Error of the truncated chain, relative to the field of one charge and its images."""
    launch: float = 1e-3
    """Height, as a share of the gap, at which forward-only lines start and end."""
    steps: int = 100
    """Euler steps of forward-only lines (Algorithm 2), at least."""
    step: float = 0.1
    """Their greatest length in height, the paper's: 300 steps at L = 30."""


@dataclass(frozen=True)
class Far:
    """Lines between plates far apart."""

    pairs: tuple[tuple[str, str], ...] = (
        ("gaussian:2", "eight_gaussians"),
        ("moons", "eight_gaussians"),
        ("gaussian:2", "moons"),
        ("gaussian:2", "s_curve"),
        ("gaussian:2", "swiss_roll"),
        ("gaussian:2", "two_gaussians"),
    )
    """P and Q by name."""
    extra: tuple[int | None, ...] = (1, None)
    """Extra dimensions of the field."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """As in `Config`."""
    charges: int = 4096
    """Charges per plate."""
    lines: int = 2048
    """Lines, samples they are compared with, and samples of the floor."""
    first: float = 0.003
    """Angle of the first and last step, a fraction of the distance between neighbors among the charges."""
    steps: int = 40
    """Steps of each plate."""
