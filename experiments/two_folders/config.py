"""What is run: the pieces of the two maps, and the trainings on them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        piece: Side of a square piece of the maps, in their pixels of 1/15 degree.
        training: Pieces of each folder, at places of its own.
        held_out: Places of the part that no training sees, shown by both maps; half of them only say what is real.
        size: Side of the pictures that are learned.
        steps: Training steps: what the command chose for ten minutes of two cores.
        seeds: Seeds of the training.
    """

    piece: int = 64
    training: int = 4000
    held_out: int = 800
    size: int = 32
    steps: int = 2000
    seeds: tuple[int, ...] = (0, 1, 2)
