"""A run with what its method needs, with names of its data in full, or with another method."""

import dataclasses

from efm_jax.datasets.opening import specification
from efm_jax.models.configs._recipes import C2FM, EFM, METHODS
from efm_jax.models.configs._run import Run


def complete(run: Run) -> Run:
    """Return the run with what its method needs in place of None: form of the output, heights, clock, points.

    Examples:
        >>> from efm_jax.models.configs import PFGM, Run, complete
        >>> run = complete(Run(recipe=PFGM()))
        >>> run.network.output, run.network.height, run.sampling.clock
        ('tail', 'linear', 'linear')
    """
    recipe, network, sampling = run.recipe, run.network, run.sampling
    pictures = network.kind != "mlp" or run.data.components is not None
    if isinstance(recipe, C2FM):
        recipe = recipe.complete(pictures=network.kind != "mlp")
    output = recipe.output
    if isinstance(recipe, EFM):
        output = "capacitor" if recipe.is_direction and not pictures else output
        recipe = recipe.complete(pictures=pictures)
    return dataclasses.replace(
        run,
        recipe=recipe,
        network=dataclasses.replace(
            network, output=network.output or output, height=network.height or recipe.heights
        ),
        sampling=dataclasses.replace(sampling, clock=sampling.clock or recipe.clock),
    )


def named(run: Run) -> Run:
    """Return the run with `folder:PATH`, `npy:FILE` or `npz:FILE` where its data are given as a path alone.

    Examples:
        >>> from efm_jax.models.configs import Data, Run, named
        >>> named(Run(data=Data("/", "digits:2"))).data.source
        'folder:/'
    """
    data = run.data
    data = dataclasses.replace(data, source=specification(data.source), target=specification(data.target))
    return dataclasses.replace(run, data=data)


def of_method(run: Run, method: str) -> Run:
    """Return the run with another method, its own defaults and the network's form and clock that it needs.

    The sizes of a step stay, and the gap between methods whose plates carry charges (efm, c2fm).

    Raises:
        ValueError: There is no such method.

    Examples:
        >>> from efm_jax.models.configs import EFM, Run, of_method
        >>> of_method(Run(recipe=EFM(gap=6.0, charges=512)), "c2fm").recipe.gap
        6.0
    """
    if method not in METHODS:
        raise ValueError(f"recipe.method must be one of {', '.join(METHODS)}, got {method!r}.")
    if method == run.recipe.method:
        return run
    sampling = dataclasses.replace(run.sampling, clock=None)
    kept = ["charges", "num_points", "label_dropout", "label_groups"]
    if {method, run.recipe.method} == {"efm", "c2fm"}:
        kept.append("gap")
    return dataclasses.replace(
        run,
        recipe=METHODS[method](**{name: getattr(run.recipe, name) for name in kept}),
        network=dataclasses.replace(run.network, output=None, height=None),
        sampling=sampling,
    )
