"""Plans of whole training sets, in which each sample of P is paired with one of Q once, and of minibatches, ahead of them.

A plan of a minibatch sees a few hundred samples; a plan of the whole set finds closer pairs. It compares samples as they
are, or pictures by features, which recognize a shape in another style (docs/evidence/images.md).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, Int

from efm_jax.datasets import Source, as_pictures, batch, from_pairs
from efm_jax.datasets.spaces import principal_components
from efm_jax.evaluation import features
from efm_jax.matching import couplings
from efm_jax.models import configs, seeds

__all__ = ["BLOCK", "EACH_STEP", "MOST", "PLANS", "ahead", "check", "of_batch", "paired", "samples"]

MOST = 10_000
"""Most samples a side that one plan pairs unless `recipe.plan_samples` says so."""

_COMPONENTS = "components:"

LARGEST = 1_000_000
"""Most that may be asked for."""

PLANS = ("one_plan", "lines_plan")
"""Couplings that pair the training set once."""

EACH_STEP = {"one_plan": "minibatch_ot", "lines_plan": "field_lines"}
"""The couplings that do the same for each step's charges."""

BLOCK = 2500
"""Samples a side that are paired at a time: the time of a plan grows like the cube of them."""


def paired(
    config: configs.Run,
    pair: tuple[Source, Source],
    *,
    cache: str | Path | None = None,
    tell: Callable[[str], object] | None = None,
) -> tuple[Source, Source]:
    r"""Return the training sets as pairs of one plan if `recipe.coupling` is 'one_plan' or 'lines_plan'.

    `recipe.plan_samples` samples of either side, or as many as the larger finite one has, at most `MOST`, are paired once,
    in blocks of `BLOCK`. Of distributions and of pictures whose draws differ (colors, mirror images) these are the draws
    that training sees: more of them than there are pictures show more colors. The plan is

    $$\min_\pi \sum_i |f(x_i) - f(y_{\pi(i)})|^2,$$

    f the identity, principal components or the features named by `recipe.plan_features`; or, of 'lines_plan', that of the
    exact lines of these f(x_i) and f(y_j) as charges of plates far apart.

    Args:
        config: The run.
        pair: The training sets of P and Q, as the network sees them.
        cache: Folder that keeps features; None for none.
        tell: Called with a line on the plan that was made: how far apart partners are, and how many samples have one.

    Returns:
        The sources of P and Q; where they are paired, batches of one number hold the same pairs.

    Raises:
        ValueError: See `check`.
        ImportError: The features' weights are not installed.

    Examples:
        >>> import numpy as np
        >>> from efm_jax.datasets import from_array
        >>> x = np.arange(6.0)[:, None]
        >>> run = configs.Run(recipe=configs.EFM(coupling="one_plan"))
        >>> p, q = paired(run, (from_array(x), from_array(x[::-1] + 10.0)))
        >>> bool((batch(p, 0, 0, 0, 6) + 10.0 == batch(q, 0, 1, 0, 6)).all())
        True

    Source: Monge's problem; Tong et al., arXiv 2302.00482, section 3.2, solve it a minibatch at a time.
    """
    check(config, pair)
    recipe, shape, count = config.recipe, pair[0].shape, samples(config, pair)
    if isinstance(recipe, configs.PFGM) or not count:
        return pair
    by_features = recipe.plan_features
    drawn = [batch(source, seeds.PLANS, side, 0, count) for side, source in enumerate(pair)]
    seen = drawn
    if by_features is not None and by_features.startswith(_COMPONENTS):
        # a few thousand samples know the leading directions
        x, y = (samples[:MOST] for samples in drawn)
        space = principal_components(x, y, int(by_features.removeprefix(_COMPONENTS)))
        seen = [space.encode(x) for x in drawn]
    elif by_features is not None:
        extractor = features.open_extractor(by_features)
        seen = [features.extract(extractor, as_pictures(x, shape), cache=cache) for x in drawn]
    plan = couplings.whole_plan
    if recipe.coupling == "lines_plan":
        how = recipe if isinstance(recipe, configs.Tubes) else configs.Tubes()
        options = {name: getattr(how, name) for name in ("extra", "flux", "frame", "one_to_one")}
        plan = partial(couplings.lines_plan, **options, seed=config.seed)
    partner = plan(*seen, block_size=BLOCK)
    if tell is not None:
        tell(_told(seen[0], seen[1], partner))
    drawn[1] = drawn[1][partner]
    pos, neg = from_pairs(*(x.reshape(-1, *shape) for x in drawn))
    return pos, neg


def samples(config: configs.Run, pair: tuple[Source, Source]) -> int:
    """Return how many samples of either side the plan of a run pairs; 0 without a plan.

    Examples:
        >>> from efm_jax.datasets import toys
        >>> samples(configs.Run(), (toys.moons(), toys.rings()))
        0
    """
    recipe = config.recipe
    if isinstance(recipe, configs.PFGM) or recipe.coupling not in PLANS:
        return 0
    sizes = [source.size for source in pair if source.size is not None]
    return recipe.plan_samples or min(max(sizes), MOST)


def _told(x: np.ndarray, y: np.ndarray, partner: np.ndarray) -> str:
    """How near the pairs are beside those in the order of the draws, which are independent, and how many of y are met."""

    def apart(other: np.ndarray) -> float:
        return math.sqrt(np.mean(np.linalg.norm(x - other, axis=1) ** 2))

    met = len(np.unique(partner)) / len(y)
    return (
        f"Paired {len(x):,} samples: partners are {apart(y[partner]):.3g} apart, of independent pairs {apart(y):.3g}; "
        f"{met:.0%} of Q's samples have one."
    )


def ahead(config: configs.Run) -> configs.Run | None:
    """Return the run whose step takes pairs as they come, for minibatches that are paired before it; None if they are not.

    The plans of `minibatch_ot` are made ahead, by `of_batch`, where the step sees nothing of the samples but their pairs.
    Its numbers are the same. A host that reads only its rows of a batch cannot pair them.

    Examples:
        >>> ahead(configs.Run(recipe=configs.CFM())).recipe.coupling
        'given'
        >>> ahead(configs.Run(recipe=configs.EFM(coupling="minibatch_ot")))  # the field is that of all charges
    """
    recipe = config.recipe
    of_pairs = isinstance(recipe, configs.CFM | configs.IFM) and recipe.coupling == "minibatch_ot"
    if not of_pairs or jax.process_count() > 1:
        return None
    return replace(config, recipe=replace(recipe, coupling="given"))


def of_batch(x_pos: Float[np.ndarray, "n dim"], x_neg: Float[np.ndarray, "n dim"]) -> Int[np.ndarray, " n"]:
    """Return the plan of least squared distance of a minibatch, as `couplings.whole_plan`.

    NaN and infinity count as 0: the step's own check finds them.

    Examples:
        >>> of_batch(np.array([[3.0], [10.0], [np.nan]]), np.array([[11.0], [3.0], [0.0]])).tolist()
        [1, 0, 2]
    """
    a, b = (np.asarray(x, np.float64) for x in (x_pos, x_neg))
    return couplings.whole_plan(*(np.where(np.abs(x) < 1e100, x, 0.0) for x in (a, b)))


def check(config: configs.Run, pair: tuple[Source, Source]) -> None:
    """Check that the training sets can be paired as the configuration asks.

    Raises:
        ValueError: Neither side is finite and no number of samples is given, the network has classes, features are asked for
            of what are not two sets of pictures, or features or a number of samples for another coupling.
    """
    if isinstance(config.recipe, configs.PFGM):
        return
    by_features = config.recipe.plan_features
    coupling, count = config.recipe.coupling, config.recipe.plan_samples
    if count is not None and (coupling not in PLANS or not 1 <= count <= LARGEST):
        raise ValueError(
            f"recipe.plan_samples is a number from 1 to {LARGEST:,} for recipe.coupling 'one_plan' or 'lines_plan', got "
            f"{count} with {coupling!r}."
        )
    if coupling not in PLANS:
        if getattr(config.recipe, "one_to_one", False):
            raise ValueError(
                "recipe.one_to_one is for recipe.coupling 'lines_plan'; leave it out, or take that."
            )
        if by_features is not None:
            raise ValueError(
                f"recipe.plan_features {by_features!r} is for recipe.coupling 'one_plan' or 'lines_plan', got {coupling!r}; "
                "leave it out, or take one of these."
            )
        return
    if config.network.classes is not None:
        raise ValueError(
            f"recipe.coupling {coupling!r} pairs all classes at once; with network.classes take {EACH_STEP[coupling]!r}."
        )
    sizes = [source.size for source in pair if source.size is not None]
    if not sizes and count is None:
        raise ValueError(
            f"recipe.coupling {coupling!r} pairs a finite training set, got two distributions without end; take "
            f"{EACH_STEP[coupling]!r}, or give recipe.plan_samples."
        )
    shape = pair[0].shape
    if by_features is not None and by_features.startswith(_COMPONENTS):
        number, dim = by_features.removeprefix(_COMPONENTS), math.prod(shape)
        if not (number.isdecimal() and 1 <= int(number) <= dim):
            raise ValueError(
                f"recipe.plan_features {by_features!r} needs a number of components from 1 to {dim}, such as components:64."
            )
    elif by_features is not None and (len(sizes) < 2 or len(shape) != 3):
        raise ValueError(
            f"recipe.plan_features {by_features!r} compares pictures with pictures, got {config.data.source} and "
            f"{config.data.target} as samples of shape {shape}; leave it out to pair samples as they are."
        )
