"""Which cells, which methods, what budget."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Everything a result of this experiment depends on but the cells."""

    pairs: tuple[tuple[str, str], ...] = (("CD14+ Monocyte", "Dendritic"), ("CD19+ B", "Dendritic"))
    """Types P and Q. The three are the largest of the ten: 129, 95 and 240 cells."""
    methods: tuple[str, ...] = (
        "efm",
        "c2fm",
        "c2fm_segment",
        "ifm",
        "ifm_ot",
        "cfm",
        "cfm_ot",
        "cfm_plan",
        "tubes",
    )
    """Names of `experiments._lib.domains.METHODS`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each with a split, parameters and draws of its own."""
    held_out: float = 1 / 3
    """Share of the cells of each type that no training sees."""
    gap: float = 28.0
    """Distance between the plates: `gaps.suggest_gap` says 26 to 30 for these pairs and splits."""
    scale: float = 1.3
    """What networks divide by and interaction fields are as wide as: the deviation of one type per component."""
    noise: float = 0.7
    """Standard deviation of what is added to the training cells of P at every step, in units of the components."""
    batch: int = 64
    """Cells of either type, and supervised points, per step."""
    steps: int = 1000
    """Training steps."""
    learning_rate: float = 1e-3
    """Adam's rate, falling to zero along a cosine."""
    weight_decay: float = 1e-5
    """AdamW's decay."""
    ema_decay: float = 0.99
    """Decay of the average whose lines are followed."""
    width: int = 128
    """Hidden units of the mlp."""
    depth: int = 3
    """Its hidden layers."""
    evaluations: int = 100
    """Evaluations of the network along a line: midpoint steps in the method's clock."""
    classifier_decay: float = 1e-2
    """Squared weights in the loss of the classifier that reads the types."""
