"""A whole run as frozen dataclasses."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from efm_jax.datasets import tables
from efm_jax.models.configs._recipes import EFM, Output, Recipe

try:
    from tyro.conf import Suppress, arg
except ImportError:  # only the command line reads these marks
    Suppress, arg = None, dict


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
