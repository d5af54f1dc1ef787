"""What jitter costs: `python -m experiments.digits_translation.jitter --mnist FOLDER`.

Real training digits, jittered, are scored against real digits as they are. A map that learned jittered digits exactly would
score as they do.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from efm_jax.datasets import batch, open_source
from efm_jax.evaluation import digits
from experiments._lib import places
from experiments._lib.record import Record

RESULTS = places.results(__file__)


@dataclass(frozen=True)
class Config:
    """What is scored."""

    digits: tuple[int, ...] = (2, 3)
    amounts: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    jittered: int = 500
    training: int = 2000
    held_out: int = 1000


def row(config: Config, mnist: Path, digit: int, amount: float, seed: int) -> dict[str, float]:
    """Score jittered digits of one class: the share read as it, their KID and its floor."""
    source = f"mnist:{mnist}:{digit}"
    moved = batch(open_source(source, jitter=amount), seed, 0, 0, config.jittered)
    training = batch(open_source(source), seed, 1, 0, config.training)
    held_out = batch(open_source(source, split="test"), seed, 2, 0, config.held_out)
    scores = digits.translation_report(
        *(np.asarray(x) for x in (moved, moved, training, held_out)),
        target_digit=digit,
        arrived=np.ones(config.jittered, bool),
        num_evaluations=np.zeros(config.jittered, int),
    )
    return {
        "read": scores["read_as_target"]["value"],
        "kid": scores["kid"]["value"],
        "floor": scores["kid"]["floor"],
    }


def main(mnist: Path = Path("mnist")) -> None:
    """Score jittered digits of MNIST.

    Args:
        mnist: Folder of MNIST's four IDX files.
    """
    config = Config()
    Record(RESULTS / "jitter.json", config, "rows").fill(
        "rows",
        (
            {"digit": digit, "amount": amount, "seed": seed}
            for digit in config.digits
            for amount in config.amounts
            for seed in config.seeds
        ),
        lambda place: row(config, mnist, **place),
    )


if __name__ == "__main__":
    tyro.cli(main)
