"""From the configuration of a method to its recipe."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from efm_jax import charges, matching
from efm_jax.charges.plates import Charges
from efm_jax.datasets import Source, batch
from efm_jax.fields import widths
from efm_jax.matching import by_height, couplings, points
from efm_jax.models import configs, seeds
from efm_jax.types import FieldMatching, PointSampler


def recipe(config: configs.Recipe, pair: tuple[Source, Source] | None = None) -> FieldMatching:
    """Make the recipe.

    Args:
        config: What it is.
        pair: The training sets of P and Q, for the field of the whole of them.

    Raises:
        ValueError: A number does not fit, or the field is that of whole training sets and neither is finite.

    Examples:
        >>> recipe(configs.EFM(gap=6.0)).span
        (0.0, 6.0)
    """
    match config:
        case configs.EFM():
            config = config.complete(pictures=True)
            return matching.efm(
                config.gap,
                convention=config.convention,
                target=config.target,
                gamma=config.gamma if config.convention == "per_plate" else None,
                points=_points(config) or points.flux("two_plates", height=config.height),
                num_points=config.num_points,
                charges=_placed(config, pair),
            )
        case configs.C2FM():
            config = config.complete(pictures=False)
            placed = _placed(config, pair)
            return matching.c2fm(
                config.gap,
                target=str(config.target),
                frame=config.frame,
                reach=config.reach if placed is None else None,
                points=_points(config) or points.flux("chain", height=str(config.height)),
                num_points=config.num_points,
                charges=placed,
            )
        case configs.IFM():
            return matching.ifm(
                config.gap,
                law=config.law,
                target=config.target,
                coupling=_COUPLINGS[config.coupling](),
                width=widths.constant(config.width),
                points=_points(replace(config, coupling="given")),
                height=config.height,
                num_points=config.num_points,
            )
        case configs.Tubes():
            lines = couplings.field_lines(extra=config.extra, flux=config.flux, frame=config.frame)
            return matching.tubes(
                config.gap,
                coupling=couplings.given() if config.coupling == "lines_plan" else lines,
                width=widths.constant(config.width),
                height=config.height,
                num_points=config.num_points,
            )
        case configs.CFM():
            return matching.cfm(
                config.gap,
                coupling=_COUPLINGS[config.coupling](),
                width=widths.constant(config.width),
                height=config.height,
                num_points=config.num_points,
            )
        case configs.PFGM(target=None):
            return matching.pfgm(
                config.gap,
                num_extra=config.extra,
                width=config.width,
                height=config.height,
                num_points=config.num_points,
                charges=_placed(config, pair),
            )
        case configs.PFGM():
            return by_height.pfgm_by_height(
                config.gap,
                gamma=5.0 if config.gamma is None else config.gamma,
                target=str(config.target),
                num_extra=config.extra or 1,
                num_points=config.num_points,
            )


def lines_recipe(config: configs.Recipe) -> FieldMatching:
    """Make the recipe as lines need it, which start and end alike whatever field was trained on: no data is needed."""
    if isinstance(config, configs.EFM | configs.C2FM | configs.PFGM):
        config = replace(config, field="minibatch")
    return recipe(config)


_COUPLINGS = {
    "independent": couplings.independent,
    "minibatch_ot": couplings.minibatch_ot,
    "sinkhorn": lambda: couplings.sinkhorn(0.05),
    "field_lines": couplings.field_lines,
    "one_plan": couplings.given,
    "lines_plan": couplings.given,
    "given": couplings.given,
}


def _points(config: configs.EFM | configs.C2FM | configs.IFM) -> PointSampler | None:
    """The distribution of the points; None for the density of the method's own field."""
    height = str(config.height)
    return {
        "segment": lambda: points.segment(
            noise=config.noise, coupling=_COUPLINGS[config.coupling](), height=height
        ),
        "box": lambda: points.box(height=height),
        "defensive": lambda: points.defensive(
            noise=config.noise, coupling=_COUPLINGS[config.coupling](), height=height
        ),
        "near_plate": points.near_plate,
        "flux": lambda: None,
    }[str(config.points)]()


def _placed(
    config: configs.EFM | configs.C2FM | configs.PFGM, pair: tuple[Source, Source] | None
) -> Charges | None:
    """The whole training set as the charges of every step, where the configuration asks for it."""
    if config.field != "whole":
        return None
    x_neg = _whole_set(pair, 1)
    if isinstance(config, configs.PFGM):
        return charges.plate(x_neg, config.gap, -1.0)
    x_pos = _whole_set(pair, 0)
    if isinstance(config, configs.EFM):
        return charges.capacitor(x_pos, x_neg, config.gap)
    reach = 8.0 * config.gap if config.reach is None else config.reach
    return charges.capacitor_chain(x_pos, x_neg, config.gap, tolerance=1e-3, reach=reach)


def _whole_set(pair: tuple[Source, Source] | None, side: int) -> jax.Array:
    """Every sample of a side, once; of a distribution, as many as the other side has."""
    sizes = [source.size for source in pair or () if source.size is not None]
    if pair is None or not sizes:
        raise ValueError(
            "recipe.field 'whole' makes charges of a finite training set, got distributions without end.\nTake "
            "'minibatch' with more recipe.charges, or data of finite size."
        )
    return jnp.asarray(batch(pair[side], seeds.PLANS, side, 0, pair[side].size or max(sizes)))
