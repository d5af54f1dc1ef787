"""The toys: which laws, which gaps, how many charges, what network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on."""

    pairs: tuple[tuple[str, str], ...] = (("gaussian:2", "swiss_roll"), ("gaussian:2", "two_gaussians"))
    """P and Q by name."""
    gaps: tuple[float, ...] = (6.0, 30.0)
    """Distances between the plates."""
    charges: int = 4096
    """Charges per plate of the exact field."""
    lines: int = 2000
    """Held-out samples of P that are transported, and samples of Q they are compared with."""
    launch: float = 1e-3
    """Height, as a share of the gap, at which lines of the exact field start."""
    step: float = 0.1
    """dz of Algorithm 2."""
    width: int = 128
    """Hidden units of the learned field's mlp."""
    depth: int = 3
    """Its hidden layers."""
    batch: int = 512
    """Charges per plate and supervised points per training step."""
    steps: int = 3000
    """Training steps."""
    learning_rate: float = 2e-3
    """Adam's rate, falling to zero along a cosine."""
    seed: int = 0
    """Seeds every draw."""
