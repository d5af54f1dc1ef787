"""The runs: tasks, each with one budget, and methods, each a change of recipe, form of network and clock."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from efm_jax.configs import Data, Network, Optimizer, Recipe, Run, Sampling


@dataclass(frozen=True)
class Task:
    """Two distributions and what every method may spend on them.

    Attributes:
        data: The two sides, by the folder that holds `mnist`, `cifar-10-batches-bin` and the two folders of emoji.
        steps: Training steps.
        solver_steps: Steps of the midpoint rule along a line; two evaluations each.
        patch: Side of the squares of pixels that the network folds into channels, so that it works on 16 x 16 of them.
        seeds: How many.
        scores: How ends are scored: `digits` are read, `pictures` are compared on features, `partners` with the true one.
        generates: Whether P is noise.
    """

    data: Data
    steps: int
    solver_steps: int
    patch: int
    scores: str
    generates: bool = False


def tasks(folder: Path) -> dict[str, Task]:
    """The tasks, with data in `folder`."""
    digits, cifar = f"mnist:{folder / 'mnist'}", f"cifar10:{folder / 'cifar10' / 'cifar-10-batches-bin'}"
    emoji = Data(f"folder:{folder / 'emoji' / 'noto'}", f"folder:{folder / 'emoji' / 'twemoji'}", size=64)
    return {
        "digits 3 - 2": Task(Data(f"{digits}:3", f"{digits}:2"), 600, 12, 2, "digits"),
        "noise - digits": Task(Data("noise", digits), 1000, 24, 2, "digits", True),
        "noise - CIFAR-10": Task(Data("noise", cifar), 1000, 24, 2, "pictures", True),
        "emoji": Task(emoji, 600, 12, 4, "partners"),
    }


@dataclass(frozen=True)
class Method:
    """One row of the table: what it changes of a task's run."""

    recipe: dict[str, Any]
    network: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    generates_only: bool = False
    """Whether lines start from a prior of the method's own."""


_FLOW = {"output": "flow"}
_OT = {"coupling": "minibatch_ot"}
_PAIRS = {"gap": 1.0, "width": 0.1}
_PLAN = {"coupling": "one_plan"}
_IFM = {"method": "ifm", "target": "velocity", "points": "flux", **_PAIRS}
_EFM = {"gap": 10.0, "noise": 0.05}
_LINEAR = {"clock": "linear"}
_CHAIN = {
    "method": "c2fm",
    "gap": 1.0,
    "points": "flux",
    "target": "robust",
    "height": "logit",
    "reach": 60.0,
}

METHODS: dict[str, Method] = {
    "I-CFM": Method({"method": "cfm", **_PAIRS}, _FLOW, _LINEAR),
    "OT-CFM": Method({"method": "cfm", **_OT, **_PAIRS}, _FLOW, _LINEAR),
    "CFM, one plan": Method({"method": "cfm", **_PLAN, **_PAIRS}, _FLOW, _LINEAR),
    "IFM": Method({**_IFM, **_OT}, _FLOW, _LINEAR),
    "IFM, one plan": Method({**_IFM, **_PLAN}, _FLOW, _LINEAR),
    "EFM, superposed": Method({**_EFM, **_OT}),
    "EFM, one plan": Method({**_EFM, **_PLAN}),
    "EFM, per plate": Method({**_EFM, **_OT, "convention": "per_plate", "gamma": 5.0}),
    "C2FM": Method(_CHAIN, {"output": "velocity"}, {"clock": "logit"}),
    "PFGM": Method({"method": "pfgm", "gap": 40.0}, {"height": "log"}, {"clock": "log"}, generates_only=True),
}

AS_IT_IS = "as it is"
"""The row of pictures that nobody carried."""

LEVERS: dict[str, Method] = {}
"""One thing changed at a time."""


def run(task: Task, method: Method, seed: int) -> Run:
    """The whole run of one method on one task."""
    return Run(
        data=task.data,
        recipe=replace(Recipe(charges=256, num_points=64), **method.recipe),
        network=replace(
            Network(width=32, multipliers=(1, 2, 2), blocks=1, attention=(4,), patch=task.patch, dropout=0.0),
            **method.network,
        ),
        optimizer=Optimizer(learning_rate=1e-3, warmup=100, cosine=True, ema_decay=0.999),
        sampling=replace(
            Sampling(solver="midpoint", steps=task.solver_steps, samples=500), **method.sampling
        ),
        steps=task.steps,
        save_every=250,
        log_every=25,
        seed=seed,
    )
