"""The sizes of the models that come with the package."""

from functools import partial
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "efm_jax" / "models" / "released"
NAMES = ("digits", "digit_generator", "earth", "cells", "eight_gaussians", "moons")


def size(name: str) -> str:
    """The size of a model's file of weights."""
    path = RESULTS / name / "model.safetensors"
    if not path.is_file():
        return "?"
    number = path.stat().st_size
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.0f} kB"


TABLES: dict = {}
VALUES = {f"size_{name}": partial(size, name) for name in NAMES}
