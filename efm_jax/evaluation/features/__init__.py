"""What pictures look like to a network: features for distances between sets of pictures.

An `Extractor` turns pictures into rows of numbers: `efficientnet_lite0()` (ImageNet, any content), `digits()` (the
package's digit classifier), `inception(file)` (FID's network, from a file of its weights) or `own(function, ...)`. `extract`
applies one in batches, with a cache on disk. Numbers on one extractor's features are not
comparable with those on another's, least of all with published FID, which is that of one file of Inception's weights.
"""

from efm_jax.evaluation.features.extractors import (
    Extractor,
    cache_folder,
    digits,
    efficientnet_lite0,
    extract,
    own,
)
from efm_jax.evaluation.features.fid import check_activations, inception, open_extractor
from efm_jax.evaluation.features.torch_file import read_tensors

__all__ = [
    "Extractor",
    "cache_folder",
    "check_activations",
    "digits",
    "efficientnet_lite0",
    "extract",
    "inception",
    "open_extractor",
    "own",
    "read_tensors",
]
