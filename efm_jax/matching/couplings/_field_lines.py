"""Pairs by exact field lines: each sample of P is paired with the charge of Q on which its line ends."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from efm_jax._core import checks
from efm_jax._core.assignment import assignment
from efm_jax.charges.far_plates import FRAMES, far_plates
from efm_jax.fields.far_lines import FarLines, far_lines, first_angle
from efm_jax.fields.far_plates import directions
from efm_jax.matching.couplings._pairing import checked, in_turn, none_without
from efm_jax.types import LabeledCoupling


def field_lines(
    *,
    extra: int | None = None,
    flux: float = 0.0,
    stretch: bool = True,
    frame: str = "rms",
    steps: int = 20,
    first: float = 0.01,
) -> LabeledCoupling:
    """Pair samples by the exact lines between their plates, far apart: sums over charges, no assignment.

    The line of a sample of P goes up in the field of all samples of P and down in that of Q's to one of them
    (`fields.far_lines`). The pairs cost about as much as those of the optimal plan; a sample of Q may have several
    partners, or none. It runs under `jit`, on the device.

    With labels, lines go from the charges of a label to those of the same.

    Args:
        extra: Extra dimensions K of the field: 1 is Coulomb's law; None, infinitely many, has the least cost.
        flux: How lines leave their charge: 0 upright, the least cost; 1 in a random direction by its flux; or between.
        stretch: Stretch the directions between the plates, see `fields.far_lines`: in many dimensions upright lines reach
            few samples of Q without.
        frame: "rms" or "whitened", see `charges.far_plates`.
        steps: Steps of each plate.
        first: Angle at which lines start and end, see `fields.far_lines`.

    Returns:
        The coupling; i goes through the rows of P in random order.

    Raises:
        ValueError: An option is out of range.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[0.0], [10.0], [20.0]])
        >>> i, j = field_lines()(jax.random.key(0), x, x[::-1] + 1.0, 3)
        >>> bool((i + j == 2).all())
        True

    Source: docs/concepts/far_plates.md; the Gaussian limit is the map of dual diffusion bridges, Su et al.
    (2022), arXiv 2203.08382.
    """
    return partial(_field_lines, _checked(extra, flux, stretch, frame, steps, first))


def _field_lines(options, key, x_pos, x_neg, num_pairs, *, labels=None):
    key_i, key_tau = jax.random.split(key)
    labels = None if labels is None else checked(labels, x_pos, x_neg)
    both = jnp.ones((len(x_pos), 1), bool) if labels is None else labels[0][:, None] == labels[1]
    paired = both.any(1)
    i = in_turn(key_i, paired, num_pairs)
    return none_without(paired.any(), i, _lines(key_tau, x_pos, x_neg, labels, *options).partner[i])


def lines_plan(
    x_pos: Float[np.ndarray, "n dim"],
    x_neg: Float[np.ndarray, "m dim"],
    *,
    block_size: int | None = None,
    extra: int | None = None,
    flux: float = 0.0,
    stretch: bool = True,
    frame: str = "rms",
    steps: int = 20,
    first: float = 0.01,
    one_to_one: bool = False,
    seed: int = 0,
) -> Int[np.ndarray, " n"]:
    """Pair a whole training set by exact field lines, see `field_lines`.

    The time grows like the rows times those of a block, the memory like the rows. Frames are those of the blocks.

    Args:
        x_pos: Samples of P, [n, D].
        x_neg: Samples of Q, [m, D]; in blocks as many.
        block_size: Rows that are paired at a time, each run of them within itself; None for all.
        extra: As in `field_lines`.
        flux: As in `field_lines`.
        stretch: As in `field_lines`.
        frame: As in `field_lines`.
        steps: As in `field_lines`.
        first: As in `field_lines`.
        one_to_one: Give each sample of Q one partner: the plan of least squared distance from the ends of the lines to the
            samples of Q, solved on the host as that of `whole_plan`.
        seed: Of the directions, where flux is not 0.

    Returns:
        `j` [n]: `x_neg[j]` is row by row the partner of `x_pos`.

    Raises:
        ValueError: As `field_lines` does; in blocks, or one to one, the two differ in shape.

    Examples:
        >>> x = np.array([[0.0], [10.0], [20.0]])
        >>> lines_plan(x, x[::-1]).tolist()
        [2, 1, 0]
    """
    options = _checked(extra, flux, stretch, frame, steps, first)
    x_pos, x_neg = (np.asarray(x, np.float32) for x in checks.both_plates(x_pos, x_neg))
    size = max(len(x_pos), len(x_neg)) if block_size is None else checks.count("block_size", block_size)
    if (one_to_one or size < max(len(x_pos), len(x_neg))) and x_pos.shape != x_neg.shape:
        raise ValueError(
            f"{'one_to_one pairs' if one_to_one else 'blocks pair'} as many rows of either side, got {x_pos.shape} and "
            f"{x_neg.shape}; leave {'one_to_one' if one_to_one else 'block_size'} out."
        )
    partners = []
    for begin in range(0, len(x_pos), size):
        key = jax.random.fold_in(jax.random.key(seed), begin)
        x, y = (side[begin : begin + size] for side in (x_pos, x_neg))
        lines = _lines(key, x, y, None, *options)
        partner = assignment(*np.asarray((lines.end, y), np.float64)) if one_to_one else lines.partner
        partners.append(begin + np.asarray(partner))
    return np.concatenate(partners)


def _checked(extra, flux, stretch, frame, steps, first) -> tuple:
    extra = None if extra is None else checks.count("extra", extra)
    if not 0 <= checks.finite("flux", flux) <= 1:
        raise ValueError(f"flux must be between 0 (upright) and 1 (by the flux of the charge), got {flux}.")
    return (
        extra,
        float(flux),
        bool(stretch),
        checks.choice("frame", frame, FRAMES),
        checks.count("steps", steps),
        first_angle(first),
    )


def _lines(key, x_pos, x_neg, labels, extra, flux, stretch, frame, steps, first) -> FarLines:
    """The line of each row of P to a row of Q."""
    x_pos, x_neg = jnp.asarray(x_pos), jnp.asarray(x_neg)
    towards = flux * directions(key, x_pos.shape, extra=extra).astype(x_pos.dtype) if flux else None
    plates = far_plates(x_pos, x_neg, frame=frame)
    policy = {"extra": extra, "stretch": stretch, "steps": steps, "first": first}
    return far_lines(plates, x_pos, towards=towards, groups=labels, **policy)
