"""What tests of lines to charges share: two plates at random and their lines; all have the shapes of one program."""

import jax
import numpy as np
import pytest

from efm_jax.charges.plates import capacitor
from efm_jax.lines import launches, whole_space

KEY = jax.random.key(7)
LINES = 2048


def plates(dim, n=128, gap=6.0, seed=0):
    rng = np.random.default_rng(seed)
    return capacitor(
        rng.normal(size=(n, dim)).astype(np.float32),
        (0.7 * rng.normal(size=(n, dim)) + 1).astype(np.float32),
        gap,
    )


def mapped(charges, num=LINES, draws="independent", **policy):
    launch = launches.from_charges(KEY, charges, num, draws=draws)
    return launch, whole_space.to_charges(launch.points, charges, **policy)


@pytest.fixture(scope="module")
def plane():
    """Lines of 128 + 128 charges at D = 2."""
    charges = plates(2)
    launch, lines = mapped(charges)
    return charges, launch, lines
