"""What is rehearsed, and what of the presets is changed for it: only what a machine without an accelerator cannot do."""

from dataclasses import dataclass

from efm_jax.models.presets import PRESETS

NAMES = tuple(name for name in PRESETS if name.startswith("paper-"))

SMALL = {"recipe.num-points": "4", "sampling.steps": "4", "sampling.samples": "4", "log-every": "1"}
"""Options of every rehearsal: 4 points a step for 64, 4 Euler steps for 40 to 2,000, 4 held-out pictures for 500, every loss
in the log. Network, charges, optimizer and the size of pictures are those of the preset."""

STOP, END, PICTURES = 10, 20, 4
"""Steps at which the run is stopped and ended; pictures drawn from the model."""


@dataclass(frozen=True)
class Data:
    """Folders of the data.

    Attributes:
        mnist: MNIST's four IDX files.
        cifar10: CIFAR-10's binary files, `cifar-10-batches-bin`.
        pictures: Pictures for `paper-celeba64`, of any size; CelebA's own aligned ones, or others in their place.
        crop: Side of the square cut from the middle of these; None for the largest there is.
    """

    mnist: str = "mnist"
    cifar10: str = "cifar-10-batches-bin"
    pictures: str = "img_align_celeba"
    crop: int | None = None


def options(name: str, data: Data) -> dict[str, str]:
    """Options of `efm train NAME` for these folders."""
    return {
        "paper-cmnist": {"data.target": f"mnist:{data.mnist}"},
        "paper-translation": {
            "data.source": f"mnist:{data.mnist}:3",
            "data.target": f"mnist:{data.mnist}:2",
        },
        "paper-cifar10": {"data.target": f"cifar10:{data.cifar10}"},
        "paper-celeba64": {"data.target": f"folder:{data.pictures}", "data.crop": str(data.crop)},
    }[name]


def draw(name: str, data: Data) -> list[str]:
    """Options of the command that draws `PICTURES` pictures from the exported model."""
    if name == "paper-translation":
        return ["translate", "--input", f"mnist:{data.mnist}:3", "--limit", str(PICTURES)]
    return ["generate", "--count", str(PICTURES)]
