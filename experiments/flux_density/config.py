"""Which dimensions, distances and fields."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Everything the table depends on."""

    dims: tuple[int, ...] = (1, 2, 784)
    """Dimensions D of the samples."""
    distances: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    """Distance a between the two charges, in gaps L."""
    draws: int = 100_000
    """Points drawn from the flux density for each cell."""
    rows: int = 20_000
    """Points evaluated at once."""
    seed: int = 0
    """Seeds every draw."""
