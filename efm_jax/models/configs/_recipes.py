"""The options of each method."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

try:
    from tyro.conf import Suppress
except ImportError:  # only the command line reads this mark
    Suppress = None

Coupling = Literal["independent", "minibatch_ot", "sinkhorn", "field_lines", "one_plan", "lines_plan"]
Height = Literal["linear", "sine", "logit", "log_both"]
Points = Literal["segment", "box", "near_plate", "flux"]
Output = Literal["field", "capacitor", "velocity", "flow", "slope", "capacitor_slope", "tail", "denoiser"]


@dataclass(frozen=True)
class Method:
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
class EFM(Method):
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
class C2FM(Method):
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
class IFM(Method):
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
class Tubes(Method):
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
    """How lines are launched from their charges: 0 upright, 1 by flux, in random directions."""
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
class CFM(Method):
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
class PFGM(Method):
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
