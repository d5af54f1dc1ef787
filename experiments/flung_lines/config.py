"""The battery: which pairs, gaps and seeds, what budget."""

from dataclasses import dataclass, field

from experiments.toy_table.config import Config as Table


@dataclass(frozen=True)
class Config:
    """Everything a result depends on."""

    gaps: tuple[float, ...] = (6.0, 1.0, 12.0, 30.0)
    """Distances between the plates."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each with data, parameters and draws of its own."""
    methods: tuple[str, ...] = ("EFM, made safe", "EFM, superposed")
    """Rows of the toy table."""
    table: Table = field(default_factory=lambda: Table(steps=1000))
    """Pairs, network and training: those of the toy table, a quarter as long."""
    scored: int = 1000
    """Lines that the adaptive solver follows, and ends that W2 compares with as many held-out samples."""
