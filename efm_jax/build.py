"""From a configuration to values: sources, recipe, network, optimiser."""

from dataclasses import replace

import optax

from efm_jax import configs, couplings, matching, networks, points, training
from efm_jax._types import FieldMatching, Network
from efm_jax.datasets import Source, open_source


def sources(data: configs.Data, *, split: str = "train") -> tuple[Source, Source]:
    """Open P and Q of one split, and see that they live in one space.

    Returns:
        The source of positive charges and the source of negative ones.

    Raises:
        ValueError: A specification is not known or cannot be read, or the two have samples of different shapes.
    """
    if data.source == "noise":
        target = open_source(data.target, size=data.size, split=split)
        return open_source("noise:" + "x".join(map(str, target.shape)), size=None, split=split), target
    source_pos, source_neg = (
        open_source(spec, size=data.size, split=split) for spec in (data.source, data.target)
    )
    if source_pos.shape != source_neg.shape:
        raise ValueError(
            f"the two distributions must have samples of one shape, got {data.source} with {source_pos.shape} and "
            f"{data.target} with {source_neg.shape}; for folders of pictures set data.size."
        )
    return source_pos, source_neg


def recipe(config: configs.Recipe) -> FieldMatching:
    """Make the recipe.

    Raises:
        ValueError: The method has no such convention, or a number does not fit.

    Example:
        >>> recipe(configs.Recipe(gap=6.0)).span
        (0.0, 6.0)
    """
    coupling = {"independent": couplings.independent, "minibatch_ot": couplings.minibatch_ot}[
        config.coupling
    ]()
    law = {
        "segment": lambda: points.segment(noise=config.noise, coupling=coupling, height=config.height),
        "box": lambda: points.box(height=config.height),
        "near_plate": points.near_plate,
        "flux": lambda: points.flux(
            {"efm": "two_plates", "c2fm": "chain"}[config.method], height=config.height
        ),
    }[config.points]()
    if config.method == "c2fm":
        if config.convention != "superposed":
            raise ValueError(
                f"recipe.method 'c2fm' knows the total field only, got recipe.convention {config.convention!r}; take "
                "'superposed'."
            )
        return matching.c2fm(
            config.gap, target=config.target, reach=config.reach, points=law, num_points=config.num_points
        )
    return matching.efm(
        config.gap,
        convention=config.convention,
        target=config.target,
        gamma=config.gamma,
        points=law,
        num_points=config.num_points,
    )


def network(config: configs.Network, shape: tuple[int, ...], gap: float) -> Network:
    """Make the network for samples of `shape`.

    Raises:
        ValueError: A unet is asked for samples that are not pictures (H, W, C), or a size does not fit.
    """
    if config.output == "velocity":
        return matching.velocity_network(network(replace(config, output="field"), shape, gap), gap)
    if config.kind == "mlp":
        dim = 1
        for side in shape:
            dim *= side
        return networks.mlp(dim, gap=gap, width=config.width, depth=config.depth)
    if len(shape) != 3:
        raise ValueError(
            f"network.kind 'unet' needs pictures of shape (H, W, C), got samples of shape {shape}; use 'mlp'."
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
    )


def optimizer(config: configs.Optimizer, steps: int) -> optax.GradientTransformation:
    """Make the optimiser; `steps` is where a cosine ends."""
    return training.adam(
        config.learning_rate,
        warmup=config.warmup,
        clip=config.clip,
        weight_decay=config.weight_decay,
        cosine_steps=steps if config.cosine else None,
    )
