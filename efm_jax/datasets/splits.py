"""Splits into training and test samples: the same ones always, by their index or by their file's name."""

import hashlib

import numpy as np

__all__ = ["chosen_split", "split_by_name", "split_mask"]


def split_mask(n: int, split: str, held_out: float) -> np.ndarray:
    """Return which of n samples belong to a split: index i is held out when `frac(i (sqrt(5) - 1)/2) < held_out`.

    The golden-ratio sequence is spread evenly, so every run of indices (a class of a sorted set) holds out
    its share, and it depends on no random generator.

    Args:
        n: Number of samples.
        split: "train", "test" (held out) or "all".
        held_out: Share held out, in (0, 1).

    Raises:
        ValueError: If the split is unknown, the share is outside (0, 1), or nothing is left.

    Examples:
        >>> split_mask(10, "test", 0.2).astype(int).tolist()
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    """
    golden = (np.sqrt(5.0) - 1.0) / 2.0
    return chosen_split(np.mod(np.arange(n) * golden, 1.0), split, held_out)


def split_by_name(names: list[str], split: str, held_out: float) -> np.ndarray:
    """Which pictures belong to a split, by a hash of the name: `sha256(name without extension) < held_out`.

    The hash is read as a number in [0, 1). A picture stays on its side when others are added, and two folders
    with equal names hold out the same ones, so a translation can be scored against the true partner.

    Args:
        names: Paths below the folder, as `read_folder` returns them.
        split: "train", "test" (held out) or "all".
        held_out: Share held out, in (0, 1).

    Raises:
        ValueError: If the split is unknown, the share is outside (0, 1), or nothing is left.

    Examples:
        >>> split_by_name(["a.png", "b.png"], "all", 0.5).tolist()
        [True, True]
    """
    digests = [
        hashlib.sha256(name.rpartition(".")[0].encode("utf-8", "surrogateescape")).digest() for name in names
    ]
    return chosen_split(
        np.array([int.from_bytes(digest[:8], "big") / 2.0**64 for digest in digests]), split, held_out
    )


def chosen_split(numbers: np.ndarray, split: str, held_out: float) -> np.ndarray:
    """Return the mask of a split, given each sample's number in [0, 1): those below `held_out` are the test set."""
    if split not in ("train", "test", "all"):
        raise ValueError(f"split must be 'train', 'test' or 'all', got {split!r}.")
    if not 0.0 < held_out < 1.0:
        raise ValueError(f"held_out must be a share in (0, 1), got {held_out!r}.")
    test = numbers < held_out
    mask = np.ones_like(test) if split == "all" else test if split == "test" else ~test
    if not mask.any():
        raise ValueError(
            f"the {split} split of {len(numbers)} samples is empty at held_out={held_out}; change held_out "
            "or add samples."
        )
    return mask
