"""The runs: tasks, each with one budget, and methods, each a change of recipe, form of network and clock."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from efm_jax.models import configs
from efm_jax.models.configs import Data, Network, Optimizer, Run, Sampling

_UNET = Network(width=32, multipliers=(1, 2, 2), blocks=1, attention=(4,), patch=2, dropout=0.0)
CHARGES = 256
"""Charges a plate and step."""
_MLP = Network(kind="mlp", width=512, depth=4)


@dataclass(frozen=True)
class Task:
    """Two distributions and what every method may spend on them.

    Attributes:
        data: The two sides, by the folder that holds `mnist`, `cifar-10-batches-bin` and the two folders of emoji.
        steps: Training steps.
        solver_steps: Steps of the midpoint rule along a line; two evaluations each.
        scores: How ends are scored: `digits` are read, `pictures` are compared on features, `partners` with the true one.
        generates: Whether P is noise.
        network: The network; a U-Net works on 16 x 16 squares of pixels.
        num_points: Supervised points a step.
    """

    data: Data
    steps: int
    solver_steps: int
    scores: str
    generates: bool = False
    network: Network = _UNET
    num_points: int = 64


def tasks(folder: Path) -> dict[str, Task]:
    """The tasks, with data in `folder`."""
    digits, cifar = f"mnist:{folder / 'mnist'}", f"cifar10:{folder / 'cifar10' / 'cifar-10-batches-bin'}"
    three_two = Data(f"{digits}:3", f"{digits}:2")
    emoji = Data(f"folder:{folder / 'emoji' / 'noto'}", f"folder:{folder / 'emoji' / 'twemoji'}", size=64)
    return {
        "digits 3 - 2": Task(three_two, 600, 12, "digits"),
        "digits 3 - 2, 64 components": Task(
            replace(three_two, components=64), 2000, 12, "digits", network=_MLP, num_points=256
        ),
        "noise - digits": Task(Data("noise", digits), 1000, 24, "digits", True),
        "noise - digits, 192 components": Task(
            Data("noise", digits, components=192), 2000, 24, "digits", True, _MLP, 256
        ),
        "noise - CIFAR-10": Task(Data("noise", cifar), 1000, 24, "pictures", True),
        "noise - CIFAR-10, 192 components": Task(
            Data("noise", cifar, components=192), 2000, 24, "pictures", True, _MLP, 256
        ),
        "cat - dog, 192 components": Task(
            Data(f"{cifar}:3", f"{cifar}:5", components=192), 2000, 12, "pictures", False, _MLP, 256
        ),
        "emoji": Task(emoji, 600, 12, "partners", network=replace(_UNET, patch=4)),
    }


@dataclass(frozen=True)
class Method:
    """One row of the table: what it changes of a task's run."""

    recipe: dict[str, Any]
    network: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    only: Callable[[Task], bool] | None = None
    """The tasks that it suits; None for all."""

    def made(self, **sizes: int) -> configs.Recipe:
        """The recipe with so many charges and points a step."""
        return configs.METHODS[self.recipe["method"]](**{**sizes, **self.recipe})

    def suits(self, task: Task) -> bool:
        """Whether the method can be asked to do it."""
        return self.only is None or self.only(task)


_FLOW = {"output": "flow"}
_OT = {"coupling": "minibatch_ot"}
_PAIRS = {"gap": 1.0, "width": 0.1}
_PLAN = {"coupling": "one_plan"}
_BY_FEATURES = {**_PLAN, "plan_features": "efficientnet"}
_IFM = {"method": "ifm", "target": "velocity", "points": "flux", "noise": 1.0, **_PAIRS}
_EFM = {"method": "efm", "gap": 10.0, "noise": 0.05, "coupling": "independent"}
_TUBES = {"method": "tubes", "coupling": "lines_plan", "plan_features": "components:64", **_PAIRS}
_POISSON = {"method": "pfgm", "charges": 1024}
_LINEAR = {"clock": "linear"}
_CHAIN = {
    "method": "c2fm",
    "gap": 10.0,
    "points": "flux",
    "target": "robust",
    "height": "logit",
    "reach": 60.0,
    "noise": 1.0,
    "coupling": "independent",
}

_OF_CHAIN = {"output": "velocity"}, {"clock": "logit"}


def _of_partners(task: Task) -> bool:
    """Features of ImageNet's classes are for pictures of things."""
    return task.scores == "partners"


def _of_noise(task: Task) -> bool:
    return task.generates


METHODS: dict[str, Method] = {
    "I-CFM": Method({"method": "cfm", "coupling": "independent", **_PAIRS}, _FLOW, _LINEAR),
    "OT-CFM": Method({"method": "cfm", **_OT, **_PAIRS}, _FLOW, _LINEAR),
    "CFM, one plan": Method({"method": "cfm", **_PLAN, **_PAIRS}, _FLOW, _LINEAR),
    "IFM": Method({**_IFM, **_OT}, _FLOW, _LINEAR),
    "IFM, one plan": Method({**_IFM, **_PLAN}, _FLOW, _LINEAR),
    "EFM, straight tubes": Method({**_TUBES}, _FLOW, _LINEAR),
    "EFM, straight tubes, one to one": Method(
        {**_TUBES, "one_to_one": True}, _FLOW, _LINEAR, only=lambda task: not task.generates
    ),
    "EFM, superposed": Method({**_EFM, **_OT}),
    "EFM, one plan": Method({**_EFM, **_PLAN}),
    "EFM, per plate": Method({**_EFM, **_OT, "convention": "per_plate", "gamma": 5.0}),
    "C2FM": Method(_CHAIN, *_OF_CHAIN),
    "PFGM": Method({**_POISSON, "extra": 1}, only=_of_noise),
    "PFGM++, K = 8": Method({**_POISSON, "extra": 8}, only=_of_noise),
    "PFGM++, K = infinity": Method({**_POISSON, "extra": None}, only=_of_noise),
    "CFM, plan by features": Method(
        {"method": "cfm", **_BY_FEATURES, **_PAIRS}, _FLOW, _LINEAR, only=_of_partners
    ),
    "IFM, plan by features": Method({**_IFM, **_BY_FEATURES}, _FLOW, _LINEAR, only=_of_partners),
    "EFM, straight tubes, lines by features": Method(
        {**_TUBES, "plan_features": "efficientnet"}, _FLOW, _LINEAR, only=_of_partners
    ),
    "EFM, straight tubes, lines by features, one to one": Method(
        {**_TUBES, "plan_features": "efficientnet", "one_to_one": True},
        _FLOW,
        _LINEAR,
        only=_of_partners,
    ),
    "EFM, plan by features": Method({**_EFM, **_BY_FEATURES}, only=_of_partners),
}

AS_IT_IS = "as it is"
"""The row of pictures that nobody carried."""

_EFM_OT, _IFM_OT = {**_EFM, **_OT}, {**_IFM, **_OT}

LEVERS: dict[str, Method] = {
    "EFM, gap 1": Method({**_EFM_OT, "gap": 1.0}),
    "EFM, gap 3": Method({**_EFM_OT, "gap": 3.0}),
    "EFM, gap 30": Method({**_EFM_OT, "gap": 30.0}),
    "EFM, independent segments": Method({**_EFM}),
    "EFM, noise 0.5": Method({**_EFM_OT, "noise": 0.5}),
    "EFM, points of the flux density": Method({**_EFM, "points": "flux"}),
    "EFM, velocities": Method({**_EFM_OT, "target": "velocity"}, _FLOW),
    "EFM, heights by arcsine": Method({**_EFM_OT, "height": "sine"}),
    "EFM, linear clock": Method(_EFM_OT, {}, _LINEAR),
    "EFM, 64 charges": Method({**_EFM_OT, "charges": 64}),
    "EFM, 1,024 charges": Method({**_EFM_OT, "charges": 1024}),
    "OT-CFM, width 0.3": Method({"method": "cfm", **_OT, **_PAIRS, "width": 0.3}, _FLOW, _LINEAR),
    "IFM, width 0.3": Method({**_IFM_OT, "width": 0.3}, _FLOW, _LINEAR),
    "CFM, one plan, width 0.3": Method({"method": "cfm", **_PLAN, **_PAIRS, "width": 0.3}, _FLOW, _LINEAR),
    "IFM, one plan, width 0.3": Method({**_IFM, **_PLAN, "width": 0.3}, _FLOW, _LINEAR),
    "EFM, straight tubes, width 0.3": Method({**_TUBES, "width": 0.3}, _FLOW, _LINEAR),
    "EFM, straight tubes, lines of each step": Method({**_TUBES, "coupling": "field_lines"}, _FLOW, _LINEAR),
    "EFM, straight tubes, launched by flux": Method({**_TUBES, "flux": 1.0}, _FLOW, _LINEAR),
    "EFM, straight tubes, one to one, width 0.3": Method(
        {**_TUBES, "one_to_one": True, "width": 0.3}, _FLOW, _LINEAR
    ),
    "EFM, straight tubes, one to one, lines in 16 components": Method(
        {**_TUBES, "one_to_one": True, "plan_features": "components:16"}, _FLOW, _LINEAR
    ),
    "IFM, width 1": Method({**_IFM_OT, "width": 1.0}, _FLOW, _LINEAR),
    "IFM, 64 pairs": Method({**_IFM_OT, "charges": 64}, _FLOW, _LINEAR),
    "IFM, 1,024 pairs": Method({**_IFM_OT, "charges": 1024}, _FLOW, _LINEAR),
    "C2FM, gap 1": Method({**_CHAIN, "gap": 1.0}, *_OF_CHAIN),
    "C2FM, gap 3": Method({**_CHAIN, "gap": 3.0}, *_OF_CHAIN),
    "C2FM, gap 30": Method({**_CHAIN, "gap": 30.0}, *_OF_CHAIN),
    "C2FM, uniform heights": Method({**_CHAIN, "height": "linear"}, *_OF_CHAIN),
}
"""One thing changed at a time: of EFM superposed, of OT-CFM, of IFM with a plan of each minibatch, of the chain."""


def run(task: Task, method: Method, seed: int) -> Run:
    """The whole run of one method on one task."""
    return Run(
        data=task.data,
        recipe=method.made(charges=CHARGES, num_points=task.num_points),
        network=replace(task.network, **method.network),
        optimizer=Optimizer(learning_rate=1e-3, warmup=100, cosine=True, ema_decay=0.999),
        sampling=replace(
            Sampling(solver="midpoint", steps=task.solver_steps, samples=500), **method.sampling
        ),
        steps=task.steps,
        save_every=250,
        log_every=25,
        seed=seed,
    )


def slug(name: str) -> str:
    """A name of files."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
