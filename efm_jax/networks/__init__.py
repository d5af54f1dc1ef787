"""Networks that learn a field: each function makes a `Network(init, apply)` on flat points [n, D+1], z last.

`mlp` is for points of few dimensions, `unet` and `dit` (a transformer) for pictures. All see scaled x and `z / gap` only,
start as the zero field, and take integer class labels if they are made with `num_classes`. `from_nnx`, `from_linen`,
`from_equinox` and `from_function` take a model of your own; `at_precision` sets the precision of products.
"""

from efm_jax.networks.adapters import from_equinox, from_function, from_linen, from_nnx
from efm_jax.networks.dit import dit
from efm_jax.networks.mlp import mlp
from efm_jax.networks.precision import at_precision
from efm_jax.networks.unet import unet

__all__ = ["at_precision", "dit", "from_equinox", "from_function", "from_linen", "from_nnx", "mlp", "unet"]
