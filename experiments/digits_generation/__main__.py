"""Train, score and publish: `python -m experiments.digits_generation quick [more names ...]`."""

from pathlib import Path

import tyro

from experiments._lib.publish import perform
from experiments.digits_generation.config import runs


def main(
    names: tyro.conf.Positional[tuple[str, ...]],
    mnist: str = "mnist",
    folder: Path = Path("runs"),
    seeds: tuple[int, ...] = (0,),
) -> None:
    """Train, score and publish runs of the experiment.

    Args:
        names: Which runs, see config.py.
        mnist: Folder of MNIST's four IDX files, for the full runs.
        folder: Where run folders are kept; a run that was cut short goes on.
        seeds: Seeds of the trainings.
    """
    perform(runs(mnist), names, "digits_generation", folder, seeds)


if __name__ == "__main__":
    tyro.cli(main)
