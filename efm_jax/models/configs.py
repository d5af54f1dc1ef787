"""Configurations: a whole run as frozen dataclasses, and the presets by name.

Nothing below the command line and the experiments reads them; `build` turns one into sources, a recipe, a network
and an optimizer.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Data:
    """The two distributions."""

    source: str = "digits:3"
    """P, the charges on z = 0: a specification such as `digits:3`, `mnist:PATH:3`, `cifar10:PATH`, `folder:PATH`,
    `npz:PATH:KEY`, `noise:32x32x3`, or a toy by name."""
    target: str = "digits:2"
    """Q, the charges on z = gap: a specification like `source`."""
    size: int | None = None
    """Side to which the pictures of a folder are resized; None keeps them."""
    crop: int | None = None
    """Side of the square cut from the middle of a folder's pictures before that; None for the largest there is."""
    components: int | None = None
    """Learn the field in the space of so many principal components of both sides' data, in which gaps are in units of the
    spread of a typical component; None for the space of the samples themselves. Needs an mlp."""


@dataclass(frozen=True)
class Recipe:
    """What the network regresses on, and where."""

    method: Literal["efm", "c2fm", "ifm", "pfgm", "cfm"] = "efm"
    """Two plates; the capacitor chain, endless mirror plates; interaction fields of pairs; one plate whose lines come from
    a hemisphere of noise; flow matching."""
    gap: float = 10.0
    """Distance L between the plates, in units of the data (pictures span -1..1); of pfgm the height of the noise."""
    convention: Literal["superposed", "per_plate"] = "superposed"
    """Of efm: the total field, or each plate's own normalized field added up."""
    law: Literal["conserving", "official"] = "conserving"
    """Of ifm: lines that conserve flux, or the official formula."""
    target: Literal["direction", "velocity", "robust"] = "direction"
    """Form of the field: unit direction, velocity `(E_x / E_z, 1)`, or (efm, c2fm) velocity cut where it is extreme; cfm has
    velocities only."""
    width: float = 0.1
    """Of ifm and cfm: how far the lines of a pair bulge, in units of the data."""
    reach: float | None = None
    """Of c2fm: greatest distance at which the chain is accurate, in units of the data; None for 8 gaps."""
    gamma: float | None = None
    """Softening of `per_plate` and of pfgm, a length; None for the library's default."""
    extra: int = 1
    """Of pfgm: extra dimensions, 1 for PFGM, more for PFGM++."""
    points: Literal["segment", "box", "near_plate", "flux"] = "segment"
    """Law of the supervised points; `flux` is the density `E_z` of the method's own field. pfgm and cfm have laws of their
    own."""
    noise: float = 1.0
    """Scale of the segment's noise."""
    height: Literal["linear", "sine", "logit", "log_both"] = "linear"
    """How the heights of segment, box and flux are distributed."""
    coupling: Literal["independent", "minibatch_ot", "sinkhorn", "one_plan", "given"] = "independent"
    """Which pairs the segments join, and of which pairs ifm and cfm are made; `one_plan` pairs the training set once, before
    training, and keeps the pairs; `given` keeps those of a reflow."""
    plan_features: str | None = None
    """Of `one_plan`: compare pictures by features, `efficientnet`, `digits` or `inception:FILE`; None for samples as they
    are."""
    charges: int = 64
    """Charges per plate and step."""
    field: Literal["minibatch", "whole"] = "minibatch"
    """Of efm and c2fm: whose field is the target, that of the step's own charges or that of the whole training set, every
    sample a charge; a law without end takes part with as many draws as the other side has samples."""
    num_points: int = 64
    """Supervised points per step."""
    label_dropout: float = 0.1
    """Of a network with classes: share of the minibatches that are of all classes and have no label, from which the field
    without a condition is learned: guidance needs it."""
    label_groups: int = 1
    """Of a network with classes: labels a step. Charges and points come in so many groups of one class each."""


@dataclass(frozen=True)
class Network:
    """The network, sized by hand or by preset."""

    kind: Literal["unet", "mlp"] = "unet"
    """U-Net for pictures, multilayer perceptron for vectors."""
    width: int = 128
    """Channels at full resolution, or hidden units."""
    output: Literal["field", "velocity", "flow", "slope"] = "field"
    """Whether the network gives a field as it is, a velocity made to grow toward the plates as those of charges do, a
    velocity as it is, or the slope of a field's lines as a velocity."""
    height: Literal["linear", "log"] = "linear"
    """How the network sees heights; `log` for pfgm."""
    depth: int = 3
    """Hidden layers of the mlp."""
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """Channel multipliers of the unet, one per resolution."""
    blocks: int = 4
    """Residual blocks per resolution of the unet."""
    attention: tuple[int, ...] = (16,)
    """Resolutions at which the unet attends."""
    patch: int = 1
    """Side of the squares of pixels folded into channels before the unet."""
    dropout: float = 0.1
    """Dropout of the unet."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the unet's products."""
    classes: int | None = None
    """Classes of the data, for a network that is given labels; None for one without."""


@dataclass(frozen=True)
class Optimizer:
    """How the parameters move."""

    learning_rate: float = 2e-4
    """Adam's rate after the warm-up."""
    warmup: int = 5000
    """Steps of linear warm-up."""
    cosine: bool = False
    """Let the rate fall to zero along a cosine that ends with the run."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    weight_decay: float = 0.0
    """Decoupled weight decay."""
    ema_decay: float = 0.9999
    """Decay of the moving average of the parameters."""


@dataclass(frozen=True)
class Sampling:
    """How samples follow the lines."""

    solver: Literal["euler", "midpoint", "heun", "ab2", "tsit5", "dopri5"] = "midpoint"
    """ODE solver; the last two choose their own steps. An evaluation a step: euler, ab2; two: midpoint, heun."""
    steps: int = 20
    """Steps of a fixed-step solver."""
    clock: Literal["linear", "sine", "logit", "log"] = "sine"
    """How the height advances; `sine` and `logit` refine near both plates, `log` near z = 0: that of pfgm."""
    samples: int = 500
    """Held-out samples transported for pictures and scores."""


@dataclass(frozen=True)
class Parallel:
    """Where a run is trained: on how many devices, of which hosts. What is computed does not depend on it."""

    devices: int | None = None
    """Devices to split each step over, of all hosts together; 0 for all there are. None: one, or all where there are several
    hosts."""
    shard_state: bool = False
    """Split parameters, their average and the optimizer's state over the devices too: less memory, more traffic."""
    coordinator: str | None = None
    """For several hosts: HOST:PORT of process 0, reachable from all; `auto` on a cluster that jax knows (SLURM, Open MPI,
    Kubernetes, Cloud TPU), which then needs neither of the two below."""
    processes: int | None = None
    """How many processes train together."""
    process_index: int | None = None
    """Which of them this is, from 0; process 0 keeps the run folder."""
    data_threads: int = 1
    """Threads of the host that make batches ahead: more where a batch takes longer to make than a step to compute."""


@dataclass(frozen=True)
class Reflow:
    """A second training, on pairs that the lines of a first one make: `efm reflow` fills this in."""

    run: str | None = None
    """Run folder of the first training; None for a run of its own data."""
    step: int | None = None
    """The step of its checkpoint; another one is refused."""
    pairs: int = 10_000
    """Lines followed, once, from samples of the training set."""
    reverse: bool = False
    """Follow them from Q to P."""
    trained: bool = True
    """Begin with the parameters of the first run; else with new ones."""


@dataclass(frozen=True)
class Run:
    """A whole run: data, method, network, training, sampling."""

    data: Data = field(default_factory=Data)
    recipe: Recipe = field(default_factory=Recipe)
    network: Network = field(default_factory=Network)
    optimizer: Optimizer = field(default_factory=Optimizer)
    sampling: Sampling = field(default_factory=Sampling)
    parallel: Parallel = field(default_factory=Parallel)
    reflow: Reflow = field(default_factory=Reflow)
    steps: int = 1_000_000
    """Training steps."""
    max_seconds: float | None = None
    """End training after so many seconds, over all resumes; None for no limit."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of the log."""
    seed: int = 0
    """Seeds data, parameters and every draw."""


_OF_LABELS = (("network", "classes"), ("recipe", "label_dropout"), ("recipe", "label_groups"))

_HEIGHTS_BEFORE = {"uniform": "linear", "arcsine": "sine", "log": "log_both"}
"""Old names of `recipe.height`, and those of today."""

_LATER = (("data", "components"), ("data", "crop"), ("recipe", "plan_features"))
"""Options that were not always there: where they are as ever, a run is written as it was before, and goes on."""


def to_dict(config: Run) -> dict[str, Any]:
    """Return the configuration as plain JSON values; without `parallel`, which says where it runs and not what.

    Examples:
        >>> to_dict(Run(seed=3))["seed"]
        3
    """
    values = dataclasses.asdict(config)
    del values["parallel"]
    for part, name in _LATER:
        if values[part][name] == getattr(getattr(Run(), part), name):
            del values[part][name]
    if config.reflow == Reflow():
        del values["reflow"]
    if config.network.classes is None:  # runs without labels are written as ever
        for part, name in _OF_LABELS:
            if values[part][name] == getattr(getattr(Run(), part), name):
                del values[part][name]
    return json.loads(json.dumps(values))


def from_dict(values: dict[str, Any]) -> Run:
    """Rebuild a configuration from `to_dict`, refusing what it does not know.

    Args:
        values: Nested plain values; missing keys take their defaults.

    Raises:
        ValueError: An unknown key or a value of the wrong type, named with its place and the keys known there.

    Examples:
        >>> from_dict({"seed": 3, "recipe": {"gap": 30.0}}).recipe.gap
        30.0
    """
    return _rebuild(Run, renewed(values), "config")


def renewed(values: Any) -> Any:
    """Return plain values of a configuration with today's words for those of older versions.

    Examples:
        >>> renewed({"recipe": {"height": "arcsine"}})
        {'recipe': {'height': 'sine'}}
    """
    recipe = values.get("recipe") if isinstance(values, dict) else None
    if not isinstance(recipe, dict) or recipe.get("height") not in [*_HEIGHTS_BEFORE]:
        return values
    return {**values, "recipe": {**recipe, "height": _HEIGHTS_BEFORE[recipe["height"]]}}


def load(path: str | Path) -> Run:
    """Read a configuration from a JSON file, e.g. a run folder's `config.json`.

    Raises:
        ValueError: The file is not JSON, or not a configuration.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}.") from None
    try:
        return from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rebuild(cls, values, place: str):
    if not isinstance(values, dict):
        raise ValueError(f"{place} must be a JSON object, got {values!r}.")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise ValueError(f"{place}.{key} is not known; {place} has {', '.join(fields)}.")
    made = {}
    default = cls()
    for key, value in values.items():
        like = getattr(default, key)
        if dataclasses.is_dataclass(like):
            value = _rebuild(type(like), value, f"{place}.{key}")
        else:
            value = _fit(value, fields[key].type, f"{place}.{key}")
        made[key] = value
    return cls(**made)


def _fit(value, kind, place: str):
    options: tuple = getattr(kind, "__args__", ())
    if getattr(kind, "__origin__", None) is Literal:
        if value not in options:
            raise ValueError(f"{place} must be one of {', '.join(map(repr, options))}, got {value!r}.")
        return value
    if getattr(kind, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
            raise ValueError(f"{place} must be a list of whole numbers, got {value!r}.")
        return tuple(value)
    kinds = options or (kind,)
    if float in kinds and type(value) is int:
        value = float(value)
    if type(value) not in kinds:
        names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise ValueError(f"{place} must be {names}, got {value!r}.")
    return value
