"""Reports on translated and generated digits: each score with its n, how it was made, and what real digits score.

A report is a dict of plain numbers, text, lists and None (for what is undefined), ready for `json.dump`. Pictures that hold
NaN or infinity stay in the count and never score. Draw sets of real digits at random from one pool: MNIST's files are
ordered by writer, and two slices of them lie far apart. The KID is on features of the package's digit classifier
([efm_jax.evaluation.digit_classifier][]) and is not comparable with Inception numbers.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from efm_jax.evaluation import digit_classifier, entries
from efm_jax.evaluation.entries import Report

__all__ = ["CONFIDENT", "generation_report", "translation_report"]

CONFIDENT = 0.9


def translation_report(
    x: Float[np.ndarray, "n dim"],
    y: Float[np.ndarray, "n dim"],
    real_target_a: Float[np.ndarray, "a dim"],
    real_target_b: Float[np.ndarray, "b dim"],
    *,
    target_digit: int,
    arrived: Bool[np.ndarray, " n"],
    num_evaluations: Int[np.ndarray, " n"],
    confident: float = CONFIDENT,
    kid_subsets: int = 100,
    kid_subset_size: int = 500,
    seed: int = 0,
) -> Report:
    """Score digits translated to another digit whose color should stay.

    Args:
        x: Inputs, colored digits flattened HWC in [-1, 1], [n, D].
        y: Outputs in the order of `x`, [n, D].
        real_target_a: Real colored digits of the target class, [a, D].
        real_target_b: Others of them, disjoint from the first, [b, D]: what real digits score against `a`.
        target_digit: The digit `y` should show, 0..9.
        arrived: Which field lines arrived, [n].
        num_evaluations: Field evaluations of each line, [n].
        confident: Confidence above which a digit counts as clearly read.
        kid_subsets: Subsets the KID is averaged over.
        kid_subset_size: Size of one; at most half the smallest of the three sets is taken.
        seed: Seed of the subsets.

    Returns:
        A dict of:
            `read_as_target`: share of all n outputs read as the target (+ standard error, 95 % interval, n);
            `read_as_target_confidently`: the same, with confidence >= `confident`;
            `read_as_target_inputs`, `read_as_target_real`: the same share of `x` and of the real ones, and so on;
            `read_as`: how many outputs are read as each digit;
            `hue_change_degrees`: median, quantiles and share within 10 degrees;
            `kid`: of `y` to `real_target_a`; the floor is that of `real_target_b`, `inputs` that of `x`;
            `nearest_training_neighbor`: distance in brightness to `real_target_a`, of `y`, `real_target_b` and `x`;
            `arrived`, `evaluations`.

    Raises:
        ValueError: If shapes do not fit each other or the target is no digit.

    Examples:
        >>> import numpy as np
        >>> from efm_jax.datasets.digits import hue_color
        >>> bars = np.zeros((12, 32, 32, 1))
        >>> for i in range(12):
        ...     bars[i, 6:26, 10 + i : 13 + i] = 1.0  # ones
        >>> red, blue = ((2 * bars * hue_color(turn) - 1).reshape(12, -1) for turn in (0.0, 2 / 3))
        >>> report = translation_report(red, blue, red, blue, target_digit=1, arrived=np.ones(12, bool),
        ...                             num_evaluations=np.full(12, 40))
        >>> round(report["hue_change_degrees"]["median"])
        120
    """
    x, y, real_a, real_b = entries.same_dim(
        x=x, y=y, real_target_a=real_target_a, real_target_b=real_target_b
    )
    if x.shape != y.shape:
        raise ValueError(f"x and y must be pairs of one shape, got {x.shape} and {y.shape}.")
    if target_digit not in range(digit_classifier.NUM_CLASSES):
        raise ValueError(f"target_digit must be one of 0..9, got {target_digit!r}.")
    read, left, real = entries.Read(y), entries.Read(x), entries.Read(real_b)
    is_target = read.labels == target_digit

    def confidently(of: entries.Read, how: str) -> Report:
        return entries.share((of.labels == target_digit) & of.clearly(confident), how)

    return {
        "n": len(y),
        "target_digit": int(target_digit),
        "not_finite": entries.share(
            ~read.finite, "outputs that hold NaN or infinity; they count as failures"
        ),
        "read_as_target": entries.share(is_target, "outputs whose most probable digit is the target"),
        "read_as_target_confidently": confidently(read, f"the same, with confidence >= {confident}"),
        "read_as_target_confidently_inputs": confidently(left, "the same share of the inputs"),
        "read_as_target_confidently_real": confidently(real, "the same share of real_target_b"),
        "read_as_target_inputs": entries.share(left.labels == target_digit, "the same share of the inputs"),
        "read_as_target_real": entries.share(real.labels == target_digit, "the same share of real_target_b"),
        "read_as": entries.counts(read.labels),
        "hue_change_degrees": entries.hue_change(x, y),
        "kid": entries.kid(y, real_a, real_b, kid_subsets, kid_subset_size, seed, x[left.finite]),
        "nearest_training_neighbor": entries.neighbors(y[read.finite], real_a, real_b, x[left.finite]),
        **entries.lines(len(y), arrived, num_evaluations),
    }


def generation_report(
    y: Float[np.ndarray, "n dim"],
    real_a: Float[np.ndarray, "a dim"],
    real_b: Float[np.ndarray, "b dim"],
    *,
    inputs: Float[np.ndarray, "n dim"] | None = None,
    arrived: Bool[np.ndarray, " n"] | None = None,
    num_evaluations: Int[np.ndarray, " n"] | None = None,
    confident: float = CONFIDENT,
    kid_subsets: int = 100,
    kid_subset_size: int = 500,
    seed: int = 0,
) -> Report:
    """Score digits generated from noise: whether they are digits, show all ten classes, and are new.

    Args:
        y: Generated digits flattened HWC in [-1, 1], [n, D].
        real_a: Real digits the network was trained on, [a, D].
        real_b: Real digits it never saw, [b, D]: what real ones score on every line of the report.
        inputs: What the outputs were translated from, [n, D]: they are scored as they are too; None leaves it out.
        arrived: Which field lines arrived, [n]; None leaves it out of the report.
        num_evaluations: Field evaluations of each line, [n]; None leaves it out.
        confident: Confidence from which a picture counts as a digit.
        kid_subsets: Subsets the KID is averaged over.
        kid_subset_size: Size of one; at most half the smallest of the three sets is taken.
        seed: Seed of the subsets.

    Returns:
        A dict of:
            `read_with_confidence`, `read_with_confidence_real`: share read with confidence >= `confident`;
            `classes`: counts over ten digits, their entropy, and their KL divergence to the real ones'
            classes; `kid`: of `y` to `real_a`; the floor is that of `real_b`;
            `nearest_training_neighbor`: distance in brightness to `real_a`, of `y` and of `real_b`;
            `arrived`, `evaluations` where given.

    Raises:
        ValueError: If shapes do not fit each other.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> noise = np.clip(rng.normal(size=(3, 20, 32 * 32)), -1, 1)
        >>> report = generation_report(*noise)
        >>> report["read_with_confidence"]["value"] < 0.5
        True
    """
    y, real_a, real_b = entries.same_dim(y=y, real_a=real_a, real_b=real_b)
    read, real = entries.Read(y), entries.Read(real_b)
    threshold = f"read with confidence >= {confident}"
    classes, of_inputs = entries.classes(read.labels[read.finite], real.labels), {}
    if inputs is not None:
        inputs = entries.same_dim(inputs=inputs, y=y)[0]
        left = entries.Read(inputs)
        of_inputs["read_with_confidence_inputs"] = entries.share(
            left.clearly(confident), f"inputs {threshold}"
        )
        classes["kl_to_real_nats_inputs"] = entries.classes(left.labels, real.labels)["kl_to_real_nats"]
    return {
        "n": len(y),
        "not_finite": entries.share(
            ~read.finite, "outputs that hold NaN or infinity; they count as failures"
        ),
        "read_with_confidence": entries.share(read.clearly(confident), f"outputs {threshold}"),
        "read_with_confidence_real": entries.share(
            real.clearly(confident), f"pictures of real_b {threshold}"
        ),
        **of_inputs,
        "classes": classes,
        "kid": entries.kid(y, real_a, real_b, kid_subsets, kid_subset_size, seed, inputs),
        "nearest_training_neighbor": entries.neighbors(y[read.finite], real_a, real_b, inputs),
        **entries.lines(len(y), arrived, num_evaluations),
    }
