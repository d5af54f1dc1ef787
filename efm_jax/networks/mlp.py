"""A multilayer perceptron for points of few dimensions."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efm_jax._core import checks
from efm_jax.networks import _frame, embedding, layers
from efm_jax.networks.precision import at_precision
from efm_jax.types import Key, Network

__all__ = ["ACTIVATIONS", "Mlp", "mlp"]

ACTIVATIONS = {
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
}


def mlp(
    dim: int,
    *,
    gap: float,
    loc=0.0,
    scale=1.0,
    width: int = 64,
    depth: int = 3,
    activation: str = "selu",
    octaves: int = 3,
    height: str | float = "linear",
    num_classes: int | None = None,
) -> Network:
    """Make a multilayer perceptron on points between the plates.

    Its input is `(x - loc) / scale` and the height features `2u - 1, sin(pi 2^k u), cos(pi 2^k u)`, k < octaves, of `u
    = z / gap`, so gap and range of the data do not matter to it. `depth` hidden layers of `width` follow; the last
    layer starts at zero, so the network starts as the zero field. The last output times sqrt(D + 1) is E_z.

    Args:
        dim: Number of x dimensions D.
        gap: Distance between the plates.
        loc: What is subtracted from x, a number or one per dimension [D].
        scale: What x is divided by after that, a number > 0 or one per dimension [D].
        width: Units of each hidden layer.
        depth: Number of hidden layers.
        activation: One of "selu", "silu", "gelu", "softplus", "tanh", "relu".
        octaves: Number of frequencies in the height features; 0 leaves `2u - 1` alone. The finest has
            period `gap / 2^(octaves - 2)`.
        height: "linear", or for a single plate at z = 0, whose lines come from far above the data (`matching.pfgm`), the
            height `least` at which logs begin; "log" is 1e-3. Then `u = log(z / least) / log(gap / least)`, lower heights
            count as `least`, and x is divided by `sqrt(scale^2 + z^2)`, the size of a cloud that spreads with the height.
        num_classes: Number of classes, or None. Labels are integers in 0 .. num_classes - 1; -1 is the null
            label with an embedding of its own, used also when no `cond` is given.

    Returns:
        The network. `apply(params, points [n, D+1], key=None, cond=None) -> field [n, D+1]`; it has no
        dropout, so the key changes nothing. Its products are float32 on every device: those of TF32 move the ends of
        lines by more than a solver's error. Under `jit` a label out of range gives NaN.

    Raises:
        ValueError: A size does not fit, or an argument of `apply` does not belong to this network.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from efm_jax.networks import mlp
        >>> network = mlp(2, gap=6.0)
        >>> params = network.init(jax.random.key(0))
        >>> jax.jit(network.apply)(params, jnp.ones((5, 3))).shape
        (5, 3)

    Source: the 3 x 64 SeLU network of Tong et al. (2023), arXiv 2307.03672, with the height embedded.
    """
    dim = checks.count("dim", dim)
    width, depth = checks.count("width", width), checks.count("depth", depth, most=_frame.MOST_LAYERS)
    octaves = checks.count("octaves", octaves, 0)
    checks.choice("activation", activation, tuple(ACTIVATIONS))
    network = _frame.frame(
        partial(Mlp, dim, width, depth, activation, octaves, num_classes),
        dim,
        gap=gap,
        loc=loc,
        scale=scale,
        num_classes=num_classes,
        height=height,
    )
    return at_precision(network, "highest")


class Mlp(nnx.Module):
    """The module behind `mlp`; its arguments are checked there."""

    def __init__(self, dim, width, depth, activation, octaves, num_classes):
        sizes = [dim + 1 + 2 * octaves] + [width] * depth
        self.layers = nnx.List([layers.Dense(m, n, variance=1 / m) for m, n in itertools.pairwise(sizes)])
        self.end = layers.Dense(width, dim + 1, variance=0.0)
        self.labels = None if num_classes is None else embedding.Labels(num_classes, width)
        self.activation, self.octaves = activation, octaves

    def __call__(
        self, x: Float[Array, "n d"], u: Float[Array, " n"], labels: Int[Array, " n"] | None, key: Key | None
    ) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
        """Return `(f_x, f_z)` at normalized points."""
        h = self.layers[0](jnp.concatenate([x, embedding.fourier(u, self.octaves)], axis=1))
        if self.labels is not None and labels is not None:
            h = h + self.labels(labels)
        for layer in list(self.layers)[1:]:
            h = layer(ACTIVATIONS[self.activation](h))
        out = self.end(ACTIVATIONS[self.activation](h))
        return out[:, :-1], out[:, -1]
