"""What is run: the two maps, their pieces, and the ways to train on them."""

from dataclasses import dataclass
from typing import Any

from efm_jax.models import configs

WAYS: dict[str, dict[str, Any] | configs.Recipe] = {
    "as suggested": {},
    "one plan": {"coupling": "one_plan"},
    "straight tubes, one to one": configs.Tubes(
        coupling="lines_plan", plan_features="components:64", one_to_one=True, width=0.3
    ),
}
"""What `efm train A B` does, changes of its recipe, and another recipe in its place."""


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        piece: Side of a square piece of the maps, in their pixels of 1/15 degree.
        training: Pieces of each folder, at places of its own.
        held_out: Places of the part that no training sees, shown by both maps; half of them only say what is real.
        size: Side of the pictures that are learned.
        steps: Training steps: what the command chose for ten minutes of two cores.
        ways: Rows of the table.
        seeds: Seeds of the training.
    """

    piece: int = 64
    training: int = 4000
    held_out: int = 800
    size: int = 32
    steps: int = 2000
    ways: tuple[str, ...] = tuple(WAYS)
    seeds: tuple[int, ...] = (0, 1, 2)
