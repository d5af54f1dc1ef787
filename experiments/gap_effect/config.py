"""The effect of the gap: which laws, gaps and fields, what budget."""

from dataclasses import dataclass, field

from experiments.toy_table.config import Config as Table


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on."""

    pairs: tuple[tuple[str, str], ...] = (("gaussian:2", "swiss_roll"), ("gaussian:2", "eight_gaussians"))
    """P and Q by name."""
    gaps: tuple[float, ...] = (1.0, 2.0, 4.0, 6.0, 12.0, 30.0)
    """Distances between the plates."""
    seeds: tuple[int, ...] = (0, 1)
    """Each with data, parameters and draws of its own."""
    charges: int = 2048
    """Charges per plate of the exact field."""
    lines: int = 1024
    """Lines of the exact field."""
    points: int = 201
    """Points kept along each, of which its length is made."""
    table: Table = field(default_factory=lambda: Table(test=2000, steps=2000))
    """Budget of the learned fields, and how many lines are followed."""
