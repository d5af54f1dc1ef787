"""What tests of metrics share: two sets of samples, a key, and how close float64 sums are."""

import jax
import numpy as np

KEY = jax.random.key(0)
# float64 on both sides: only sums in another order differ
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def sets(n: int, m: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, dim)), 1.3 * rng.normal(size=(m, dim)) + 0.7
