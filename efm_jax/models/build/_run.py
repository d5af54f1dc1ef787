"""All of a run: data, recipe, network, optimizer."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import optax

from efm_jax import lines, training
from efm_jax._core import checks, memory
from efm_jax.datasets import Source
from efm_jax.datasets.classes import common_names
from efm_jax.datasets.spaces import Space
from efm_jax.models import columns, configs, seeds
from efm_jax.models.build._classes import labeled
from efm_jax.models.build._data import check_data, check_noise, encoded, sources
from efm_jax.models.build._network import network
from efm_jax.models.build._recipe import recipe
from efm_jax.types import FieldMatching, Network, Params

Pairs = Iterable[tuple[Any, Any]] | Callable[[int], Iterable[tuple[Any, Any]]]


class Built(NamedTuple):
    """What a run is made of.

    Attributes:
        sources: Training sets of P and Q, as the network sees them. `runs.fit` also takes an iterable of pairs of arrays, or
            a function from the number of a step to one.
        recipe: What to regress on; see `efm_jax.matching`.
        network: The network.
        optimizer: An optax transformation that `training.make_train_step` takes, e.g. `training.adam()`.
        initial: Parameters to begin with; None for new ones.
        notes: Facts of the data that checkpoints keep for readers who have none.
        ending: The optimizer whose schedule ends at a step; None where it does not end. A run that the clock will end is
            given the one that ends with the time.
    """

    sources: tuple[Source, Source] | Pairs
    recipe: FieldMatching
    network: Network
    optimizer: optax.GradientTransformation
    initial: Params | None = None
    notes: Mapping[str, Any] = MappingProxyType({})
    ending: Callable[[int], optax.GradientTransformation] | None = None


def run(
    config: configs.Run, *, space: Callable[[tuple[Source, Source]], Space | None] = lambda pair: None
) -> Built:
    """Build a run: open its data, make its recipe, network and optimizer.

    Args:
        config: The whole run.
        space: From the training sets to the space that the network sees, for a run in components; see `models.space`.

    Raises:
        ValueError: The data cannot be read, or an option does not fit the data or another option.

    Examples:
        >>> from efm_jax.models.presets import PRESETS
        >>> run(PRESETS["toy-swiss-roll"][1]).recipe.span
        (0.0, 6.0)
    """
    config = configs.complete(config)
    checks.count("seed", config.seed, least=0, most=seeds.MOST)
    update = optimizer(config.optimizer, config.steps)
    _check_sampling(config)
    check_data(config.data)
    check_noise(config)
    pair = sources(config.data)
    shape = pair[0].shape
    _check_memory(config, math.prod(shape))
    net = network(config, shape)
    inside = encoded(config.data, pair, space(pair))
    if str(config.network.output).startswith("capacitor"):
        net = network(config, shape, inside)
    of_all = recipe(labeled(config, inside), inside)
    notes = {"shape": list(shape), "sizes": [source.size for source in pair]}
    if config.network.classes is not None:
        notes["classes"] = common_names(*pair)
    if pair[1].columns is not None:
        notes["columns"] = columns.to_record((pair[0].columns, pair[1].columns))
    ending = partial(optimizer, config.optimizer) if config.optimizer.cosine else None
    return Built(inside, of_all, net, update, notes=notes, ending=ending)


def _check_sampling(config: configs.Run) -> None:
    """See before training that what comes after it can be done."""
    sampling = config.sampling
    if sampling.steps < 1:
        raise ValueError(f"sampling.steps must be a whole number >= 1, got {sampling.steps!r}.")
    if sampling.samples < 2:
        raise ValueError(f"sampling.samples must be at least 2 for a report, got {sampling.samples!r}.")
    guided = math.isfinite(sampling.guidance) and config.network.classes and config.recipe.label_dropout
    if sampling.guidance != 1.0 and not guided:
        raise ValueError(
            f"sampling.guidance {sampling.guidance} goes from the field without a label toward that of a class.\n"
            "Give a finite number, network.classes, and a recipe.label_dropout above 0."
        )


def _check_memory(config: configs.Run, dim: int) -> None:
    """See before training that a step and a report of samples of `dim` numbers can fit the memory.

    Raises:
        ValueError: One size alone needs more than there is.
    """
    least = {
        "recipe.charges": (config.recipe.charges, 2 * dim),  # a batch of either side
        "recipe.num_points": (config.recipe.num_points, 2 * dim),  # points and targets
        # weights, their average, two moments of Adam
        "network.width": (config.network.width, 4 * config.network.width),
        # starts, ends, and the samples as they are written
        "sampling.samples": (config.sampling.samples, 3 * dim),
        "pairs": (0 if config.reflow.run is None else config.reflow.pairs, 3 * dim),
    }
    for name, (value, numbers) in least.items():
        option = name.replace("_", "-")
        memory.check(f"{name} {value}", 4 * value * numbers, f"Give a smaller --{option}.")


def optimizer(config: configs.Optimizer, steps: int) -> optax.GradientTransformation:
    """Make the optimizer; `steps` is where a cosine ends.

    Raises:
        ValueError: A cosine would end before the warm-up does.
    """
    if config.cosine and steps <= config.warmup:
        raise ValueError(
            f"steps must be more than those of the warm-up, {config.warmup}, from which the rate falls along a cosine, got "
            f"{steps}; shorten the warm-up too, e.g. --optimizer.warmup {max(steps // 10, 0)}."
        )
    return training.adam(
        config.learning_rate,
        warmup=config.warmup,
        clip=config.clip,
        weight_decay=config.weight_decay,
        cosine_steps=steps if config.cosine else None,
    )


def stepping(config: configs.Run) -> lines.Stepping:
    """Return how a run's samples follow lines."""
    sampling = configs.complete(config).sampling
    if sampling.solver in ("tsit5", "dopri5"):
        return lines.adaptive(sampling.solver, clock=str(sampling.clock))
    return lines.fixed(sampling.solver, sampling.steps, clock=str(sampling.clock))
