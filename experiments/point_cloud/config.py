"""Which surfaces, which methods, what budget."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on."""

    radius: float = 2.0
    """Radius of the sphere, P."""
    ring: float = 2.0
    """Radius of the circle in the middle of the torus, Q."""
    tube: float = 0.7
    """Radius of its tube."""
    cloud: int = 4096
    """Points of either cloud in training."""
    held: int = 1000
    """Fresh points of the sphere that are transported, and of the torus that they are compared with."""
    methods: tuple[str, ...] = ("efm", "c2fm", "ifm", "ifm_ot", "cfm", "cfm_ot", "cfm_plan", "tubes")
    """Names of `experiments._lib.domains.METHODS`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each with clouds, parameters and draws of its own."""
    gap: float = 5.0
    """Distance between the plates: what `gaps.suggest_gap` says for these clouds."""
    scale: float = 1.2
    """What networks divide by and interaction fields are as wide as: the deviation of the clouds per dimension."""
    batch: int = 128
    """Charges per plate, and supervised points, per step."""
    steps: int = 1000
    """Training steps."""
    learning_rate: float = 2e-3
    """Adam's rate, falling to zero along a cosine."""
    weight_decay: float = 1e-5
    """AdamW's decay."""
    ema_decay: float = 0.99
    """Decay of the average whose lines are followed."""
    width: int = 64
    """Hidden units of the mlp."""
    depth: int = 3
    """Its hidden layers."""
    evaluations: int = 100
    """Evaluations of the network along a line: midpoint steps in the method's clock."""
