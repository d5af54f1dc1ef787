"""What tests of class conditions share: two labeled plates, quick recipes, and a network with a vector for each class."""

import jax
import jax.numpy as jnp
import numpy as np
import parallel_cases

from efm_jax import training
from efm_jax.datasets import from_array, with_classes
from efm_jax.types import Network

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 3, 60)
POS = with_classes(from_array(RNG.normal(size=(60, 2))), LABELS)
NEG = with_classes(from_array(RNG.normal(size=(60, 2)) + 3.0), LABELS[::-1])
OPTIMIZER = training.adam(1e-2, warmup=1)
RECIPE = parallel_cases.RECIPE  # 32 points, each target of all charges, and quick to compile


def linear(params, points, *, key=None, cond=None):
    """A network with a vector for each class and a last one for none; -1 and no labels at all are that one."""
    return points @ params["w"] + params["rows"][jnp.full(len(points), -1) if cond is None else cond]


LINEAR = Network(
    lambda key: {"w": jax.random.normal(key, (3, 3)), "rows": jnp.zeros((4, 3))}, linear, num_classes=3
)
