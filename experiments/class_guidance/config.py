"""One conditional run, and the scales of guidance it is sampled with."""

from dataclasses import dataclass, replace

from efm_jax.models.configs import Data, Run
from efm_jax.models.presets import PRESETS


@dataclass(frozen=True)
class Config:
    """What is trained and what is drawn from it."""

    steps: int = 1200
    """Training steps."""
    groups: int = 4
    """Labels a step; charges and points are divided among them."""
    charges: int = 256
    """Charges per plate and step, of all groups together."""
    dropout: float = 0.1
    """Share of steps without a label."""
    guidance: tuple[float, ...] = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0)
    """Scales; 0 is the field without a label, 1 that of the class."""
    each: int = 30
    """Samples of each class and scale."""
    seed: int = 0
    """Seeds the run; samples start from the same noise at every scale."""


def run(config: Config, mnist: str) -> Run:
    """The U-Net of `generate-pictures` with ten classes of MNIST."""
    base = PRESETS["generate-pictures"][1]
    return replace(
        base,
        data=Data("noise", f"mnist:{mnist}"),
        recipe=replace(
            base.recipe, charges=config.charges, label_dropout=config.dropout, label_groups=config.groups
        ),
        network=replace(base.network, classes=10),
        steps=config.steps,
        seed=config.seed,
    )
