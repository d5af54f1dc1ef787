"""The network of a run, in the form that its recipe is made for."""

import math

import numpy as np

from efm_jax import matching, networks
from efm_jax.datasets import Source, batch
from efm_jax.matching import by_height
from efm_jax.models import configs, seeds
from efm_jax.models.build._data import sample_shape
from efm_jax.types import Network


def network(
    config: configs.Run, shape: tuple[int, ...], pair: tuple[Source, Source] | None = None
) -> Network:
    """Make the network for samples of `shape`, or for their principal components.

    Args:
        config: The whole run.
        shape: Shape of a sample.
        pair: Training sets of P and Q as the network sees them, whose moments the parameters of `capacitor` keep; None
            where parameters are read.

    Raises:
        ValueError: A unet is asked for samples that are not pictures (H, W, C), or a size does not fit.

    Examples:
        >>> config = configs.Run(recipe=configs.EFM(gap=6.0), network=configs.Network(kind="mlp"))
        >>> network(config, (2,)).gap
        6.0
    """
    config = configs.complete(config)
    inner, gap = sample_shape(config, shape), config.recipe.gap
    plain = networks.at_precision(_plain(config.network, inner, gap), config.network.precision)
    return {
        "field": lambda: plain,
        "capacitor": lambda: _capacitor(plain, config.recipe, gap, inner, pair),
        "capacitor_slope": lambda: matching.slope_network(_capacitor(plain, None, gap, inner, pair)),
        "velocity": lambda: matching.velocity_network(plain, gap),
        "flow": lambda: matching.flow_network(plain),
        "tail": lambda: matching.tail_network(plain),
        "denoiser": lambda: _denoiser(plain, config.recipe),
        "slope": lambda: matching.slope_network(plain),
    }[str(config.network.output)]()


def _capacitor(plain, recipe: configs.Recipe | None, gap: float, shape, pair) -> Network:
    if recipe is not None and not (isinstance(recipe, configs.EFM) and recipe.is_direction):
        raise ValueError(
            "network.output 'capacitor' is for the directions of method 'efm', convention 'superposed', got "
            f"{recipe.method!r}; leave it out for what the method needs."
        )
    if pair is None:
        sides = 2 * [np.outer([-1.0, 1.0], np.ones(math.prod(shape)))]
    else:
        few = 10_000
        sides = [
            batch(source, seeds.PLANS, side, 0, min(source.size or few, few))
            for side, source in enumerate(pair)
        ]
    return matching.capacitor_network(plain, gap, *sides)


def _denoiser(plain: Network, recipe: configs.Recipe) -> Network:
    if not isinstance(recipe, configs.PFGM) or recipe.target is None:
        raise ValueError(
            "network.output 'denoiser' is for runs of pfgm of earlier versions; leave it out for what the method needs."
        )
    return by_height.denoising_network(plain, num_extra=recipe.extra or 1)


def _plain(config: configs.Network, shape: tuple[int, ...], gap: float) -> Network:
    if config.kind == "mlp":
        return networks.mlp(
            math.prod(shape),
            gap=gap,
            width=config.width,
            depth=config.depth,
            height=str(config.height),
            num_classes=config.classes,
        )
    if len(shape) != 3:
        raise ValueError(
            f"network.kind {config.kind!r} needs pictures of shape (H, W, C), got samples of shape {shape}; use 'mlp'."
        )
    if config.kind == "dit":
        return networks.dit(
            shape,
            gap=gap,
            width=config.width,
            depth=config.depth,
            patch=config.patch,
            num_classes=config.classes,
            dtype=config.dtype,
            height=str(config.height),
        )
    return networks.unet(
        shape,
        gap=gap,
        width=config.width,
        multipliers=config.multipliers,
        blocks=config.blocks,
        attention=config.attention,
        dropout=config.dropout,
        dtype=config.dtype,
        patch=config.patch,
        height=str(config.height),
        num_classes=config.classes,
    )
