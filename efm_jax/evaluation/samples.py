"""Reports on samples of any kind: their distances to real samples."""

import numpy as np
from jaxtyping import Bool, Float, Int

from efm_jax.evaluation import entries
from efm_jax.evaluation.entries import Report

__all__ = ["samples_report"]


def samples_report(
    y: Float[np.ndarray, "n dim"],
    real_a: Float[np.ndarray, "a dim"],
    real_b: Float[np.ndarray, "b dim"],
    *,
    inputs: Float[np.ndarray, "n dim"] | None = None,
    arrived: Bool[np.ndarray, " n"] | None = None,
    num_evaluations: Int[np.ndarray, " n"] | None = None,
    most: int = 2000,
) -> Report:
    """Score samples of any kind by their distances in sample space to real ones.

    Args:
        y: Outputs, [n, D].
        real_a: Real samples, [a, D]: what they score against `b` is the floor.
        real_b: Others of them, disjoint from the first, [b, D].
        inputs: What the outputs were made from, [n, D]: they are scored as they are too; None leaves it out.
        arrived: Which field lines arrived, [n]; None leaves it out of the report.
        num_evaluations: Field evaluations of each line, [n]; None leaves it out.
        most: Samples compared at most; the exact assignment costs the cube of it. The distances of finite
            samples fall with their number, so value and floor are taken on equally many.

    Returns:
        A dict of `wasserstein2` and `energy_distance` (value, floor, n, how, and inputs where given), `not_finite`, and
        `arrived`, `evaluations` where given.

    Raises:
        ValueError: If shapes do not fit each other or `most` is below 2.

    Examples:
        >>> import numpy as np
        >>> y, real_a, real_b = np.random.default_rng(0).normal(size=(3, 100, 2))
        >>> report = samples_report(y + 3.0, real_a, real_b)
        >>> bool(report["wasserstein2"]["value"] > 5.0 * report["wasserstein2"]["floor"])
        True
    """
    y, real_a, real_b = entries.same_dim(y=y, real_a=real_a, real_b=real_b)
    if inputs is not None:
        inputs = entries.same_dim(inputs=inputs, y=y)[0]
    if most < 2:
        raise ValueError(f"most must be at least 2, got {most}.")
    return {
        "n": len(y),
        "not_finite": entries.share(~entries.finite_rows(y), "outputs that hold NaN or infinity; left out"),
        "wasserstein2": entries.distance("wasserstein2", y, real_a, real_b, most, inputs),
        "energy_distance": entries.distance("energy_distance", y, real_a, real_b, most, inputs),
        **entries.lines(len(y), arrived, num_evaluations),
    }
