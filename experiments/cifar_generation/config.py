"""The trainings, and how their pictures are read."""

from dataclasses import dataclass, replace

from efm_jax.models.configs import Data, Run, of_method
from efm_jax.models.presets import PRESETS

CLASSES = 10


@dataclass(frozen=True)
class Config:
    """What is drawn and how it is read."""

    guidance: tuple[float, ...] = (1.0, 2.0, 4.0)
    """Scales of guidance toward the class."""
    each: int = 50
    """Samples of each class and scale."""
    shown: int = 8
    """Samples of each class in the picture."""
    fitted: int = 10_000
    """Training pictures on which the reader is fitted."""
    tested: int = 1_000
    """Test pictures on which it is tested, and against which samples are compared."""
    decays: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    """Weights of the squared weights in the reader's loss; a fifth of the pictures that it is fitted on chooses."""
    seed: int = 0
    """Seeds the draws."""


def runs(cifar10: str) -> dict[str, Run]:
    """Return the trainings by name; `cifar10` is the folder of the binary version."""
    data = Data("noise", f"cifar10:{cifar10}", flip=True)
    full = PRESETS["generate-full"][1]
    means = of_method(full, "pfgm")
    pictures = PRESETS["generate-pictures"][1]
    flow = of_method(pictures, "cfm")
    return {
        "components": replace(
            means,
            data=replace(data, components=192),
            recipe=replace(means.recipe, extra=None),
            steps=6_000,
        ),
        "pixels": replace(
            flow,
            data=data,
            recipe=replace(flow.recipe, charges=64, num_points=64, label_groups=8, coupling="independent"),
            network=replace(flow.network, classes=CLASSES),
            steps=4_000,
        ),
    }
