"""Reflow runs: trained on pairs that the lines of an earlier run make, for straighter lines.

A reflow run has the data of the first one: it is scored on them and carries them. Only its training pairs come from the
lines of the first run, which are followed when the reflow starts or resumes, the same every time.
"""

from dataclasses import replace
from pathlib import Path

from efm_jax import checkpoint, training
from efm_jax.datasets import Source, batch, from_pairs
from efm_jax.models import build, configs, seeds
from efm_jax.models.loading import load
from efm_jax.models.model import Trained
from efm_jax.sampling import reflow
from efm_jax.types import Params

__all__ = ["WIDTH", "asked_for", "check", "initial", "of_run", "opened", "training_pairs"]

WIDTH = 1e-3
"""How far the straight paths of the pairs are blurred, in units of the data."""
_FORMS = {form: form for form in ("slope", "capacitor_slope", "flow")}
_LEFT_OUT = {
    "components": "--data.components None",
    "standardize": "--data.no-standardize",
    "log1p": "--data.no-log1p",
}
"""Options without which a run has a space of its own, and how they are left out."""
_FORMS |= {"field": "slope", "capacitor": "capacitor_slope"}


def of_run(
    first: str | Path,
    *,
    steps: int | None = None,
    pairs: int = 10_000,
    reverse: bool = False,
    trained: bool = True,
) -> configs.Run:
    """Return the configuration of a reflow of a run, made from that run's own configuration.

    The reflow is flow matching on given pairs with a quarter of the steps, sampled by Euler's method in height; data,
    network, optimizer and seed stay. With the trained parameters the gap stays too, and a network of directions is read as
    that of their slopes; with new parameters the gap is 1.

    Args:
        first: The run folder of the first training.
        steps: Training steps; None for a quarter of the first's.
        pairs: Lines followed.
        reverse: Follow them from Q to P.
        trained: Begin with the parameters of the first run.

    Raises:
        ValueError: There is no run, or no checkpoint of it; it has classes; its lines start at random points (pfgm); or its
            parameters are to be kept and are those of a velocity that grows toward the plates.

    Examples:
        >>> import tempfile
        >>> of_run(tempfile.mkdtemp())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: ... is not a run folder: it holds no config.json; train one with `efm train`.
    """
    first = Path(first)
    if not (first / "config.json").is_file():
        raise ValueError(f"{first} is not a run folder: it holds no config.json; train one with `efm train`.")
    config, step = configs.load(first / "config.json"), checkpoint.latest(first / "checkpoints")
    if step is None:
        raise ValueError(f"{first} holds no checkpoint yet; resume it by `efm resume {first}`.")
    _check_first(config)
    output = _FORMS.get(str(config.network.output)) if trained else "flow"
    if output is None:
        raise ValueError(
            f"a network of output {config.network.output!r} grows toward the plates, which no straight line does: begin "
            "with new parameters (--no-trained)."
        )
    steps = max(config.steps // 4, 1) if steps is None else steps
    optimizer = replace(config.optimizer, warmup=min(config.optimizer.warmup, steps // 10))
    return replace(
        config,
        recipe=configs.CFM(
            gap=config.recipe.gap if trained else 1.0,
            width=WIDTH,
            coupling="given",
            charges=config.recipe.charges,
            num_points=config.recipe.num_points,
        ),
        network=replace(config.network, output=output),
        optimizer=optimizer,
        sampling=replace(config.sampling, solver="euler", steps=4, clock="linear"),
        reflow=configs.Reflow(str(first.resolve()), step, pairs, reverse, trained),
        init=None,
        steps=steps,
        max_seconds=None,
    )


def asked_for(config: configs.Run) -> bool:
    """Whether a run is a reflow.

    Raises:
        ValueError: It names a first run and does not train on its pairs, or the other way round.
    """
    coupling = getattr(config.recipe, "coupling", None)
    if (config.reflow.run is None) == (coupling == "given"):
        raise ValueError(
            "reflow.run and recipe.coupling 'given' of method 'cfm' or 'ifm' go together, got "
            f"{config.reflow.run!r}, {coupling!r} and {config.recipe.method!r}; `efm reflow` sets all."
        )
    return coupling == "given"


def opened(config: configs.Run, pair: tuple[Source, Source]) -> Trained | None:
    """Open the first run of a reflow and check that it fits; None for a run on its own data.

    Args:
        config: The reflow.
        pair: Training sets of P and Q.

    Raises:
        ValueError: See `asked_for`, `check` and `models.load`.
    """
    if not asked_for(config):
        return None
    try:
        first = load(str(config.reflow.run), step=config.reflow.step)
    except ValueError as error:
        if Path(str(config.reflow.run)).exists():
            raise
        raise ValueError(
            f"the first run of this reflow is not at {config.reflow.run}.\nSay where it is: efm resume RUN --first FOLDER"
        ) from error
    check(config, first, pair)
    return first


def training_pairs(
    config: configs.Run, first: Trained, pair: tuple[Source, Source]
) -> tuple[tuple[Source, Source], Params | None]:
    """Follow the first run's lines and return sources of the pairs, and the parameters to begin with, None for new ones.

    Args:
        config: The reflow.
        first: The first run, opened.
        pair: Training sets of P and Q.

    Raises:
        ValueError: See `check`; or `reflow.pairs` refuses.
    """
    check(config, first, pair)
    wanted = config.reflow
    side = int(wanted.reverse)
    x = batch(pair[side], seeds.REFLOW + config.seed, side, 0, wanted.pairs)
    found = reflow.pairs(
        first.state,
        first.recipe,
        first.network,
        x,
        reverse=wanted.reverse,
        stepping=build.stepping(first.config),
        batch_size=250,
    )
    if found.lost:
        print(f"{found.lost} of {len(x)} lines of {wanted.run} did not arrive and are left out", flush=True)
    sources = from_pairs(*(side.reshape(-1, *first.shape) for side in found[:2]))
    return sources, initial(config, first)


def initial(config: configs.Run, first: Trained) -> Params | None:
    """The parameters that a reflow begins with; None for new ones."""
    return training.ema_params(first.state) if config.reflow.trained else None


def check(config: configs.Run, first: Trained, pair: tuple[Source, Source]) -> None:
    """Check that a reflow can be made of a first run, before lines are followed.

    Raises:
        ValueError: The first run has another checkpoint than it had, other data or another gap.
    """
    wanted = config.reflow
    _check_first(first.config)
    _check_first(config)
    if wanted.step not in (None, int(first.state.step)):
        raise ValueError(
            f"{wanted.run} is at step {int(first.state.step)} and was at {wanted.step} when this run began: its lines "
            "have changed. Start a new run by `efm reflow`."
        )
    if first.shape != pair[0].shape:
        raise ValueError(
            f"the first run has samples of shape {first.shape}, these data of shape {pair[0].shape}; give it its own data."
        )
    if wanted.trained and config.recipe.gap != first.config.recipe.gap:
        raise ValueError(
            f"with the trained parameters the gap stays {first.config.recipe.gap:g}, got {config.recipe.gap:g}; set "
            "reflow.trained to false for another."
        )


def _check_first(config: configs.Run) -> None:
    if config.network.classes is not None:
        raise ValueError(
            f"reflow does not support classes, and this run has network.classes {config.network.classes}; train one without."
        )
    if config.data.in_space:
        used = [name for name in _LEFT_OUT if getattr(config.data, name) not in (None, False)]
        raise ValueError(
            f"reflow needs lines of the samples as they are; this run has {' and '.join(f'data.{name}' for name in used)}.\n"
            f"Train a first run with {' '.join(_LEFT_OUT[name] for name in used)}."
        )
    if isinstance(config.recipe, configs.PFGM) and config.recipe.extra is not None:
        raise ValueError(
            "reflow needs lines that start in the samples; those of pfgm start at random points, unless recipe.extra is "
            "None: train efm, c2fm, ifm or cfm first."
        )
