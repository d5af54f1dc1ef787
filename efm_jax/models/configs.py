"""Configurations: a whole run as frozen dataclasses that survive JSON.

Nothing below the command line and the experiments reads them; `build` turns one into sources, a recipe, a network
and an optimizer.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from efm_jax._core import files
from efm_jax.datasets import tables
from efm_jax.datasets.opening import specification
from efm_jax.models._old_configs import renewed

try:
    from tyro.conf import Suppress, arg
except ImportError:  # only the command line reads these marks
    Suppress, arg = None, dict

__all__ = [
    "C2FM",
    "CFM",
    "EFM",
    "IFM",
    "METHODS",
    "PFGM",
    "Data",
    "Network",
    "Optimizer",
    "Parallel",
    "Recipe",
    "Reflow",
    "Run",
    "Sampling",
    "Tubes",
    "canonical",
    "complete",
    "from_dict",
    "load",
    "named",
    "of_method",
    "to_dict",
]

Coupling = Literal["independent", "minibatch_ot", "sinkhorn", "field_lines", "one_plan", "lines_plan"]
Height = Literal["linear", "sine", "logit", "log_both"]
Points = Literal["segment", "box", "near_plate", "flux"]
Output = Literal["field", "capacitor", "velocity", "flow", "slope", "capacitor_slope", "tail", "denoiser"]


@dataclass(frozen=True)
class Data:
    """The two distributions."""

    source: str = "digits:3"
    """P, at z = 0: `digits:3`, `mnist:PATH:3`, `cifar10:PATH`, `folder:PATH`, `npz:PATH:KEY`, `csv:PATH`, `noise`, a toy."""
    target: str = "digits:2"
    """Q, the charges on z = gap, given like `source`. The path of a folder, npy or npz file alone will do."""
    size: Annotated[int | tuple[int, int] | None, arg(metavar="{None}|SIDE|HEIGHT WIDTH")] = None
    """Side, or height and width, to which the pictures of a folder are resized; None keeps them."""
    crop: int | None = None
    """Side of the square cut from the middle of a folder's pictures before that; None for the largest there is."""
    gray: bool = False
    """Make pictures gray."""
    flip: bool = False
    """Mirror each training picture left to right half of the time (not digits)."""
    held_out: float = 0.2
    """Share of the samples kept from training for scores, where no published split exists."""
    on_error: Literal["stop", "skip"] = "stop"
    """Whether a picture of a folder that cannot be read stops the run, or is skipped."""
    background: int = 255
    """Gray level, 0 to 255, behind transparent pixels of a folder's pictures."""
    levels: int | None = None
    """Level that is white in a folder's 16-bit gray pictures, such as 4095 for 12 bits; None for 65535."""
    jitter: float = 0.0
    """Turn, slant, size and move each training picture a little, at random; 1 suits a few hundred pictures."""
    cache: Annotated[str, arg(metavar="auto|memory|disk|none|FOLDER")] = "auto"
    """Where decoded pictures lie: disk: a file below ~/.cache; auto: there if they fill 1/4 of the memory; none: nowhere."""
    noise: Literal["host", "device"] | None = None
    """Who draws white noise; None: in a new run the device, unless it is a CPU. A resumed run goes on as it began."""
    components: int | None = None
    """Learn the field of so many principal components of the data, in units of their typical spread (mlp); None: all."""
    standardize: bool = False
    """Learn each number of a vector about its mean, in units of its own deviation (mlp)."""
    log1p: bool = False
    """Learn `log(1 + x)` of each number, before units or components (mlp); for counts and other numbers of many sizes."""
    table: Annotated[tables.Reading, arg(name="")] = tables.ALL
    """What of a table is read."""

    @property
    def in_space(self) -> bool:
        """Whether the network sees coordinates of a space of the run, not samples as they are."""
        return self.components is not None or self.standardize or self.log1p


@dataclass(frozen=True)
class _Method:
    """What every method has."""

    heights: ClassVar[Literal["linear", "log"]] = "linear"
    clock: ClassVar[Literal["linear", "sine", "logit", "log"]] = "sine"

    method: str = ""
    """The method: efm, c2fm, ifm, tubes, cfm or pfgm. Each has its own options: give it before `--help` to see them."""
    gap: float = 10.0
    """Distance L between the plates, in units of the data (pictures span -1..1)."""
    charges: int = 64
    """Charges per plate and step."""
    num_points: int = 64
    """Supervised points per step."""
    label_dropout: float = 0.1
    """Of a network with classes: share of minibatches of all classes and without a label, which guidance needs."""
    label_groups: int = 1
    """Of a network with classes: labels a step; charges and points come in so many groups of one class each."""

    @property
    def output(self) -> Output:
        """Form of the network's output that the targets need."""
        target = getattr(self, "target", "velocity")
        return "field" if target == "direction" else "velocity" if target == "robust" else "flow"


@dataclass(frozen=True)
class EFM(_Method):
    """Two plates of opposite charges: electrostatic field matching."""

    method: Literal["efm"] = "efm"
    convention: Literal["superposed", "per_plate"] = "superposed"
    """The total field, or each plate's own normalized field added up."""
    target: Literal["direction", "velocity", "robust"] = "direction"
    """Form of the field: unit direction, velocity `(E_x / E_z, 1)`, or that velocity cut where it is extreme."""
    gamma: float | None = None
    """Softening of `per_plate` alone, a length; None for the library's default."""
    points: Points | Literal["defensive"] | None = None
    """Where to supervise: `flux` by E_z, `defensive` three kinds mixed; None: segment for pictures, else defensive."""
    noise: float = 0.05
    """Scale of the segment's noise."""
    height: Height = "linear"
    """Distribution of the heights of the points."""
    coupling: Coupling = "minibatch_ot"
    """Which pairs the segments join; `one_plan` and `lines_plan` pair the training set once, before training."""
    plan_features: str | None = None
    """Of `one_plan`: compare by `components:64`, `efficientnet`, `digits` or `inception:FILE`; None for by pixels."""
    plan_samples: int | None = None
    """Samples a side that a plan of the training set pairs; None: as many as the larger side has, at most 10,000."""
    field: Literal["minibatch", "whole"] = "minibatch"
    """Whose field is the target: that of the step's own charges, or of the whole training set."""

    def complete(self, *, pictures: bool) -> "EFM":
        """Return the options with what suits pictures, or vectors, in place of None."""
        safe = self.is_direction and not pictures
        return dataclasses.replace(self, points=self.points or ("defensive" if safe else "segment"))

    @property
    def is_direction(self) -> bool:
        """Whether the target is the direction of the total field."""
        return self.convention == "superposed" and self.target == "direction"


@dataclass(frozen=True)
class C2FM(_Method):
    """The capacitor chain: plates mirrored without end, so that lines never leave the slab."""

    clock: ClassVar[Literal["linear", "sine", "logit", "log"]] = "logit"

    method: Literal["c2fm"] = "c2fm"
    target: Literal["direction", "velocity", "robust"] | None = None
    """Form of the field: unit direction, velocity `(E_x / E_z, 1)`, a cut velocity; None: as the data need."""
    frame: Literal["rms", "whitened"] | None = None
    """Of velocities: move and scale each plate by itself, by its spread or its covariance; None: the data as they are."""
    reach: float | None = None
    """Greatest distance at which the chain is accurate, in units of the data; None for 8 gaps."""
    points: Points | None = None
    """Distribution of the supervised points; None: segments for pictures, the field's flux for vectors."""
    noise: float = 0.05
    """Scale of the segment's noise."""
    height: Height | None = None
    """Distribution of the heights of segment, box and flux; None: linear for directions, else logit."""
    coupling: Coupling = "minibatch_ot"
    """Which pairs the segments join; `one_plan` and `lines_plan` pair the training set once, before training."""
    plan_features: str | None = None
    """Of `one_plan`: compare by `components:64`, `efficientnet`, `digits` or `inception:FILE`; None for by pixels."""
    plan_samples: int | None = None
    """Samples a side that a plan of the training set pairs; None: as many as the larger side has, at most 10,000."""
    field: Literal["minibatch", "whole"] = "minibatch"
    """Whose field is the target: that of the step's own charges, or of the whole training set."""

    def complete(self, *, pictures: bool) -> "C2FM":
        """Return the options with what suits pictures, or vectors, in place of None."""
        target = self.target or ("direction" if pictures else "robust")
        return dataclasses.replace(
            self,
            target=target,
            points=self.points or ("segment" if pictures else "flux"),
            height=self.height or ("linear" if target == "direction" else "logit"),
        )


@dataclass(frozen=True)
class IFM(_Method):
    """Interaction fields of pairs."""

    clock: ClassVar[Literal["linear", "sine", "logit", "log"]] = "linear"

    method: Literal["ifm"] = "ifm"
    gap: float = 1.0
    """Distance between the plates, a unit of time: it hardly changes the lines."""
    law: Literal["conserving", "official"] = "conserving"
    """Lines that conserve flux, or the published formula."""
    target: Literal["direction", "velocity"] = "velocity"
    """Form of the field: unit direction or velocity `(E_x / E_z, 1)`."""
    width: float = 0.1
    """How far the lines of a pair bulge, in units of the data."""
    points: Points = "flux"
    """Distribution of the supervised points; `flux` is the density `E_z` of the field itself."""
    noise: float = 0.05
    """Scale of the segment's noise."""
    height: Height = "linear"
    """Distribution of the heights of segment, box and flux."""
    coupling: Coupling | Literal["given"] = "minibatch_ot"
    """Of which pairs the field is made; `one_plan`, `lines_plan` pair the training set once; `given`: those of a reflow."""
    plan_features: str | None = None
    """Of `one_plan`: compare by `components:64`, `efficientnet`, `digits` or `inception:FILE`; None for by pixels."""
    plan_samples: int | None = None
    """Samples a side that a plan of the training set pairs; None: as many as the larger side has, at most 10,000."""


@dataclass(frozen=True)
class Tubes(_Method):
    """Straight tubes between the ends of exact lines: electrostatic field matching of two plates far apart."""

    clock: ClassVar[Literal["linear", "sine", "logit", "log"]] = "linear"

    method: Literal["tubes"] = "tubes"
    gap: float = 1.0
    """Distance between the plates, a unit of time: it hardly changes the lines."""
    coupling: Literal["field_lines", "lines_plan"] = "field_lines"
    """Lines between the charges of each step, or once, before training, between those of the training set."""
    extra: int | None = None
    """Extra dimensions of the field whose lines make the pairs: 1 is Coulomb's law; None: infinitely many."""
    flux: float = 0.0
    """How lines leave their charges: 0 upright, 1 in random directions by the flux."""
    frame: Literal["rms", "whitened"] = "rms"
    """Units of each plate: its own root mean square, or its own covariance, for data much longer than wide."""
    one_to_one: bool = False
    """Of `lines_plan`: give each sample of Q one partner, by the least changes of the lines' ends."""
    width: float = 0.1
    """How wide the tubes are, in units of the data."""
    height: Height = "linear"
    """Distribution of the heights of the points."""
    plan_features: str | None = None
    """Of `lines_plan`: compare by `components:64`, `efficientnet`, `digits` or `inception:FILE`; None for by pixels."""
    plan_samples: int | None = None
    """Samples a side that a plan of the training set pairs; None: as many as the larger side has, at most 10,000."""


@dataclass(frozen=True)
class CFM(_Method):
    """Conditional flow matching."""

    clock: ClassVar[Literal["linear", "sine", "logit", "log"]] = "linear"

    method: Literal["cfm"] = "cfm"
    gap: float = 1.0
    """Height at which lines end, a unit of time: it does not change the lines."""
    width: float = 0.1
    """How far the path of a pair is blurred, in units of the data."""
    height: Height = "linear"
    """Distribution of the heights of the points."""
    coupling: Coupling | Literal["given"] = "minibatch_ot"
    """Which pairs the paths join; `one_plan`, `lines_plan` pair the training set once; `given`: those of a reflow."""
    plan_features: str | None = None
    """Of `one_plan`: compare by `components:64`, `efficientnet`, `digits` or `inception:FILE`; None for by pixels."""
    plan_samples: int | None = None
    """Samples a side that a plan of the training set pairs; None: as many as the larger side has, at most 10,000."""


@dataclass(frozen=True)
class PFGM(_Method):
    """Poisson flow: one plate of data, lines from noise with heavy tails to them; generation only."""

    clock: ClassVar[Literal["linear", "sine", "logit", "log"]] = "linear"

    method: Literal["pfgm"] = "pfgm"
    gap: float = 1.0
    """Height at which lines end, a unit of time: it does not change the lines."""
    extra: int | None = 8
    """Extra dimensions: 1 for PFGM, more for PFGM++; None, infinitely many: flow matching from noise, exact targets."""
    width: float = 0.01
    """Scale of the noise left at the end, in units of the data."""
    height: Height = "linear"
    """Distribution of the heights of the points."""
    field: Literal["minibatch", "whole"] = "minibatch"
    """Whose field is the target: that of the step's own charges, or of the whole training set."""
    target: Annotated[Literal["direction", "velocity"] | None, Suppress] = None
    """Of runs of earlier versions, which went by the height above the plate: form of the field."""
    gamma: Annotated[float | None, Suppress] = None
    """Of runs of earlier versions: length below which a direction shrinks."""

    @property
    def output(self) -> Output:
        """Form of the network's output that the targets need."""
        if self.target is not None:
            return "denoiser" if self.target == "velocity" else "field"
        return "flow" if self.extra is None else "tail"


Recipe = EFM | C2FM | IFM | Tubes | CFM | PFGM
"""The options of one of the methods."""

METHODS: dict[str, type[Recipe]] = {cls.method: cls for cls in get_args(Recipe)}
"""The methods by name."""


@dataclass(frozen=True)
class Network:
    """The network, sized by hand or by preset."""

    kind: Literal["unet", "dit", "mlp"] = "unet"
    """U-Net or transformer (dit) for pictures, multilayer perceptron for vectors."""
    width: int = 128
    """Channels at full resolution, or hidden units."""
    output: Output | None = None
    """Form of the output, e.g. `capacitor` (efm) or `tail` (pfgm); None: what the method needs."""
    height: Literal["linear", "log"] | None = None
    """How the network sees heights; None for what the method needs."""
    depth: int = 3
    """Hidden layers of the mlp, or blocks of the dit: S is width 384 and depth 12, B 768 and 12, L 1024 and 24."""
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    """Channel multipliers of the unet, one per resolution."""
    blocks: int = 4
    """Residual blocks per resolution of the unet."""
    attention: tuple[int, ...] = (16,)
    """Resolutions at which the unet attends."""
    patch: int = 1
    """Side of the squares of pixels folded into channels before the unet, or of the dit's patches."""
    dropout: float = 0.1
    """Dropout of the unet."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Numbers that the unet multiplies and keeps between its layers; parameters are float32."""
    precision: Literal["default", "high", "highest"] = "default"
    """How products of float32 are rounded on a GPU or TPU: `default` fast, `highest` not at all (an mlp always)."""
    classes: int | None = None
    """Classes of the data, for a network that takes labels; None for one without."""


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
    """ODE solver; the last two choose their own steps. Evaluations a step: euler and ab2 one, midpoint and heun two."""
    steps: int = 20
    """Steps of a fixed-step solver."""
    clock: Literal["linear", "sine", "logit", "log"] | None = None
    """How the height advances: `sine`, `logit` refine near both plates, `log` near z = 0; None for what the method needs."""
    samples: int = 500
    """Held-out samples transported for pictures and scores."""
    guidance: float = 1.0
    """Of a network with classes: scale of guidance toward the label; 1 follows the class as learned, more exaggerates it."""


@dataclass(frozen=True)
class Parallel:
    """Where a run is trained: on how many devices, of which hosts. It does not change what is computed."""

    devices: int | None = None
    """Devices to split each step over, of all hosts; 0 for all. None: one, or all where there are several hosts."""
    shard_state: bool = False
    """Split parameters, their average and the optimizer's state over the devices too: less memory, more traffic."""
    coordinator: str | None = None
    """For several hosts: HOST:PORT of process 0, or `auto` on a cluster that jax knows: nothing else is needed."""
    processes: int | None = None
    """How many processes train together."""
    process_index: int | None = None
    """Which of them this is, from 0; process 0 writes the run folder."""
    data_threads: int = 1
    """Threads that make batches ahead: more where a batch takes longer to make than a step to compute."""
    device_data: float | None = None
    """GiB of 8-bit pictures that each device may hold, so that none go over; None: 1, and 0 on a CPU."""
    profile: Annotated[str | None, arg(name="profile", prefix_name=False, metavar="FIRST:LAST")] = None
    """Write a trace of these steps to the folder `profile` of the run, for xprof or TensorBoard, e.g. 20:30."""
    compiled: str | None = "~/.cache/efm_jax/compiled"
    """Folder of compiled programs of a GPU or TPU, which later runs reuse; None for none."""


@dataclass(frozen=True)
class Reflow:
    """Training on pairs that the lines of an earlier run make; `efm reflow` fills this in."""

    run: str | None = None
    """Run folder of the first training; None for a run on its own data."""
    step: int | None = None
    """Step of its checkpoint; another one is refused."""
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
    recipe: Recipe = field(default_factory=EFM)
    network: Network = field(default_factory=Network)
    optimizer: Optimizer = field(default_factory=Optimizer)
    sampling: Sampling = field(default_factory=Sampling)
    parallel: Parallel = field(default_factory=Parallel)
    reflow: Annotated[Reflow, Suppress] = field(default_factory=Reflow)
    init: Annotated[str | None, arg(metavar="RUN_OR_MODEL")] = None
    """Begin with the averaged weights of this run, model folder or released model; None: with new ones."""
    steps: int = 1_000_000
    """Training steps."""
    max_seconds: float | None = None
    """End training, and a cosine with it, after so many seconds, over all resumes; None for no limit."""
    save_every: int = 1000
    """Steps between checkpoints."""
    log_every: int = 50
    """Steps between lines of the log."""
    picture_every: float = 60.0
    """Seconds between pictures of held-out samples, `progress.png` in the run folder; 0 for none."""
    seed: int = 0
    """Seeds data, parameters and every draw."""
    log: Literal["tensorboard", "wandb"] = "tensorboard"
    """Where losses and progress pictures go too: TensorBoard, if tensorboardX is installed, or Weights & Biases."""


def complete(run: Run) -> Run:
    """Return the run with what its method needs in place of None: form of the output, heights, clock, points.

    Examples:
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


def to_dict(run: Run) -> dict[str, Any]:
    """Return the complete configuration as plain JSON values.

    `parallel` and `log` are left out, since they say where a run trains and not what; so are `reflow`, `init` and
    `data.table` of a run without.

    Examples:
        >>> to_dict(Run(seed=3))["seed"]
        3
    """
    values = dataclasses.asdict(complete(run))
    del values["parallel"], values["log"]
    if run.reflow == Reflow():
        del values["reflow"]
    if run.init is None:
        del values["init"]
    if run.data.table == tables.ALL:
        del values["data"]["table"]
    return json.loads(json.dumps(values))


def from_dict(values: dict[str, Any]) -> Run:
    """Rebuild a configuration from `to_dict`, of this version or an older one; what is not known is refused.

    Args:
        values: Nested plain values; missing keys take their defaults.

    Raises:
        ValueError: An unknown key or a value of the wrong type, named with its place and the keys known there.

    Examples:
        >>> from_dict({"seed": 3, "recipe": {"gap": 30.0}}).recipe.gap
        30.0
    """
    return complete(_rebuild(Run, renewed(values), "config"))


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """Return the plain values of a run as this version writes them; those of anything else unchanged.

    Examples:
        >>> canonical({"seed": 3}) == to_dict(Run(seed=3)), canonical({"rate": 3})
        (True, {'rate': 3})
    """
    try:
        return to_dict(from_dict(values))
    except ValueError:
        return values


def load(path: str | Path) -> Run:
    """Read a configuration from a JSON file, e.g. a run folder's `config.json`.

    Raises:
        ValueError: The file is not JSON, or not a configuration.
    """
    path = Path(path)
    values = files.read_json(path, "restore it")
    try:
        return from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rebuild(cls: Any, values: Any, place: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{place} must be a JSON object, got {values!r}.")
    if cls is Recipe:
        method = values.get("method", EFM.method)
        if method not in METHODS:
            raise ValueError(f"{place}.method must be one of {', '.join(METHODS)}, got {method!r}.")
        cls = METHODS[method]
    fields = {f.name: f.type for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            of = [name for name, other in METHODS.items() if hasattr(other, key) and issubclass(cls, _Method)]
            whose = f"is an option of {' and '.join(of)}" if of else "is not known"
            raise ValueError(f"{place}.{key} {whose}; {place} has {', '.join(fields)}.")
    return cls(**{key: _fit(value, fields[key], f"{place}.{key}") for key, value in values.items()})


def _fit(value: Any, kind: Any, place: str) -> Any:
    if hasattr(kind, "__metadata__"):  # Annotated
        kind = kind.__origin__
    if kind is Recipe or dataclasses.is_dataclass(kind):
        return _rebuild(kind, value, place)
    options: tuple = getattr(kind, "__args__", ())
    pairs = [option for option in options if option == tuple[int, int]]
    if pairs and isinstance(value, list | tuple):
        if len(value) != 2 or not all(type(v) is int and abs(v) < 2**63 for v in value):
            raise ValueError(f"{place} must be a whole number or a pair of them, got {value!r}.")
        return tuple(value)
    if tuple[str, ...] in (kind, *options) and isinstance(value, list | tuple):
        if not value or not all(isinstance(name, str) for name in value):
            raise ValueError(f"{place} must be a list of names, got {value!r}.")
        return tuple(value)
    if getattr(kind, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple) or not all(type(v) is int and abs(v) < 2**63 for v in value):
            raise ValueError(f"{place} must be a list of whole numbers, got {value!r}.")
        return tuple(value)
    literals = [get_args(k) for k in (kind, *options) if getattr(k, "__origin__", None) is Literal]
    if literals:
        words = sum(literals, ()) + ((None,) if type(None) in options else ())
        if value not in words:
            raise ValueError(f"{place} must be one of {', '.join(map(repr, words))}, got {value!r}.")
        return value
    if isinstance(value, int | float) and not abs(value) < 2**63:  # NaN too
        raise ValueError(f"{place} must be a finite number below 2^63, got {str(value)[:30]}.")
    kinds = options or (kind,)
    if float in kinds and type(value) is int:
        value = float(value)
    if type(value) not in kinds:
        names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise ValueError(f"{place} must be {names}, got {value!r}.")
    return value
