"""What to train on two sets of data: method, size and network by the project's tables, steps by the time there is.

`suggest` looks at the data: headers and a few samples of a folder, never all of it. `paced` measures a step on this device
and fits their number, and on a fast device the network, into the minutes given.
"""

import contextlib
import itertools
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from efm_jax import training
from efm_jax._core import checks, files
from efm_jax.datasets import batch, open_source, spaces, tables
from efm_jax.datasets.folder import labels_by_folder, read_folder
from efm_jax.datasets.opening import holds_pictures, specification
from efm_jax.datasets.picture_files import listing
from efm_jax.datasets.picture_files import size as size_of
from efm_jax.models import build, configs
from efm_jax.models.presets import PRESETS

__all__ = [
    "Side",
    "Suggestion",
    "Timing",
    "described",
    "measured",
    "new_folder",
    "of_steps",
    "paced",
    "suggest",
]

FEW = 64
"""Fewer samples a side than this are warned of."""
MOST_STEPS = {"unet": 100_000, "mlp": 8000}
"""More steps bring little."""
FEWEST_STEPS = 200
"""Of less nothing comes."""
ENOUGH = 6000
"""Where so many steps of a U-Net fit, one of twice the width is tried."""
WIDEST = 128
LOOKED_AT = 16
"""Pictures of a folder that are read."""
HEADERS = 512
"""Pictures of a folder whose size is read."""
MOST_COMPONENTS = 50
"""Of vectors."""
SMALL = 64 * 64 * 3
"""Pictures of at most so many numbers are generated in principal components on a CPU."""
MANY = 10_000
"""Fewer pictures are moved and turned a little at each draw (`--data.jitter`)."""
A_CLASS = 50
"""Pictures a class, of which labels are learned."""


@dataclass(frozen=True)
class Side:
    """What a look at one set of data found.

    Attributes:
        spec: Its name.
        kind: "pictures", "vectors" or "noise".
        count: Number of samples; None for a distribution.
        shape: Shape of a sample; None of noise, and of a folder, whose pictures are given one.
        smallest, largest: Sides of the pictures of a folder, in pixels.
        gray: Whether the pictures looked at have no color.
        classes: Names of the classes, if there are any.
        rarest: Samples of the smallest class.
        sample: Some samples of vectors, [n, D].
        told: Of a table: what was read and what was left out.
        numbering: Of a table: columns that only number its rows.
    """

    spec: str
    kind: str
    count: int | None = None
    shape: tuple[int, ...] | None = None
    smallest: int = 0
    largest: int = 0
    gray: bool = False
    classes: tuple[str, ...] = ()
    rarest: int = 0
    sample: np.ndarray | None = None
    told: str = ""
    numbering: tuple[str, ...] = ()


class Suggestion(NamedTuple):
    """A run for two sets of data.

    Attributes:
        run: The run; its steps are not yet fitted to the time.
        sides: P and Q.
        shape: Shape of a sample, unless `run.data.size` says another.
        reasons: Why, by option.
        warnings: What may go wrong.
    """

    run: configs.Run
    sides: tuple[Side, Side]
    shape: tuple[int, ...]
    reasons: dict[str, str]
    warnings: list[str]


class Timing(NamedTuple):
    """Seconds of the first step, which compiles, and of one after it."""

    compilation: float
    step: float


def suggest(source: str | Path, target: str | Path, *, reading: tables.Reading = tables.ALL) -> Suggestion:
    """Look at P and Q and choose what to train.

    Two sets of pictures: interaction fields of wide tubes, at 32 pixels on a CPU and 64 on other devices. Two sets of
    vectors: straight tubes on exact lines. Noise and pictures: on a CPU flow matching in principal components, by class
    where there are classes; on other devices the field of two plates in pixels.

    Args:
        source: P by name, as `datasets.open_source` takes it; `noise` to generate.
        target: Q by name.
        reading: What of tables is read.

    Raises:
        ValueError: Data are not known or cannot be read, or the two do not go together.
        FileNotFoundError: Data are not there.

    Examples:
        >>> found = suggest("gaussian:2", "swiss_roll")
        >>> found.run.recipe.method, found.run.network.kind
        ('tubes', 'mlp')
    """
    sides = _look(str(source), reading), _look(str(target), reading)
    if sides[1].kind == "noise":
        raise ValueError(
            f"{target} is noise, and would be what is generated.\nGive it first: efm train {target} {source}"
        )
    kinds = {side.kind for side in sides} - {"noise"}
    if len(kinds) == 2:
        raise ValueError(
            f"{source} holds {sides[0].kind} and {target} {sides[1].kind}.\nGive two sets of one kind, or `noise` and one."
        )
    found = _pictures(*sides) if kinds == {"pictures"} else _vectors(*sides, reading)
    if any(side.told for side in sides):
        build.sources(found.run.data)  # two tables must have the same columns
    return found


def measured(run: configs.Run, shape: tuple[int, ...]) -> Timing:
    """Time the training step of a run on samples of `shape`, drawn at random.

    Examples:
        >>> found = suggest("moons", "rings")
        >>> timing = measured(found.run, found.shape)
        >>> 0 < timing.step < timing.compilation
        True
    """
    run = configs.complete(run)
    recipe = build.lines_recipe(run.recipe)
    network = build.network(run, shape)
    optimizer = build.optimizer(run.optimizer, max(run.steps, run.optimizer.warmup + 1))
    state = training.init_state(jax.random.key(0), network, optimizer)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=run.optimizer.ema_decay)
    dim = int(np.prod(build.sample_shape(run, shape)))
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((run.recipe.charges, dim), np.float32) for _ in range(2))
    seconds = []
    while len(seconds) < 4 or (sum(seconds[1:]) < 1.0 and len(seconds) < 100):
        began = time.perf_counter()
        state, info = step(state, x, y)
        jax.block_until_ready(info)
        seconds.append(time.perf_counter() - began)
    return Timing(seconds[0], float(np.median(seconds[1:])))


def paced(
    run: configs.Run, shape: tuple[int, ...], minutes: float, *, given: Collection[str] = ()
) -> tuple[configs.Run, Timing]:
    """Fit a run into so many minutes on this device: its steps and, where many fit, the width of its U-Net.

    The time is that of compiling, training and scoring.

    Args:
        run: The run.
        shape: Shape of a sample.
        minutes: Time for all of it.
        given: Options, such as "steps" or "network.width", that stay as they are.

    Returns:
        The run, and the time of its steps.

    Raises:
        ValueError: `minutes` is not positive.
    """
    seconds = 60 * checks.positive("minutes", minutes)
    timing = measured(run, shape)
    while (
        run.network.kind == "unet"
        and "network.width" not in given
        and "steps" not in given
        and run.network.width < WIDEST
        and _fitting(run, timing, seconds) > ENOUGH
    ):
        run = replace(run, network=replace(run.network, width=2 * run.network.width))
        timing = measured(run, shape)
    steps = (
        run.steps if "steps" in given else min(_fitting(run, timing, seconds), MOST_STEPS[run.network.kind])
    )
    return of_steps(run, max(steps, FEWEST_STEPS) if "steps" not in given else steps, given), timing


def described(
    found: Suggestion, run: configs.Run, timing: Timing, minutes: float, *, given: Collection[str] = ()
) -> list[str]:
    """Say in six lines, and one a warning, what is going to be trained, for how long, and which option changes it.

    What is `given` has no other reason.
    """
    reasons = {name: "as given" if name in given else why for name, why in found.reasons.items()}
    recipe, data, network = run.recipe, run.data, run.network
    how = [
        recipe.method,
        *(f"{name} {getattr(recipe, name)}" for name in ("width", "coupling") if hasattr(recipe, name)),
    ]
    size = "x".join(map(str, _shape(run, found.shape)))
    size, option = f"{size} {'pixels' if len(_shape(run, found.shape)) == 3 else 'numbers'}", "--data.size"
    if data.components is not None:
        size, option = f"{data.components} principal components of {size}", "--data.components"
    count = sum(leaf.size for leaf in jax.tree.leaves(_params(run, found.shape)))
    total = run.steps * timing.step + _besides(run, timing)
    lines = [
        *(f"{name}        {_facts(side)}" for name, side in zip("PQ", found.sides, strict=True)),
        f"method   {', '.join(how)} (--recipe.method): {reasons['recipe.method']}",
        f"samples  {size} ({option}): {reasons['data.size']}",
        f"network  {network.kind} of width {network.width}, {count:,} weights (--network.width)",
        f"time     {_short(timing.step)} a step, {run.steps:,} steps: about {_long(total)} with compiling and scores "
        "(--minutes, --steps)",
    ]
    warnings = [*found.warnings]
    if total > 1.3 * 60 * minutes:
        warnings.append(f"{run.steps:,} steps do not fit into {minutes:g} minutes.")
    return lines + [f"warning  {text}" for text in warnings]


def new_folder(source: str, target: str) -> Path:
    """Return a run folder `runs/A-to-B` that is not there yet.

    Examples:
        >>> new_folder("folder:photos/cats", "dogs.npy").as_posix()
        'runs/cats-to-dogs'
    """
    names = [_stem(spec) for spec in (source, target)]
    base = Path("runs", "-to-".join(re.sub(r"[^\w.-]+", "_", name) for name in names))
    return next(
        path for k in itertools.count(1) if not (path := base if k == 1 else Path(f"{base}-{k}")).exists()
    )


def _stem(spec: str) -> str:
    path = spec.partition(":")[2] or spec
    if spec.partition(":")[0] in tables.KINDS and (value := tables.split(path)[2]):
        return value
    return Path(path).stem or "data"


def _look(spec: str, reading: tables.Reading) -> Side:
    if build.is_noise(spec):
        return Side(spec, "noise")
    name = specification(spec)
    if name.startswith("folder:"):
        return _look_at_folder(name)
    if name.partition(":")[0] in tables.KINDS and not holds_pictures(name, reading):
        read = tables.read(name, reading)
        some = np.random.default_rng(0).permutation(len(read.x))[:2000]
        told, ordered = read.told, np.sort(read.x, axis=0)
        counting = (np.diff(ordered, axis=0) == 1).all(axis=0) & (len(ordered) > 2)
        numbers = tuple(one for one, counts in zip(read.columns, counting, strict=True) if counts)
        return Side(
            name, "vectors", len(read.x), read.x.shape[1:], sample=read.x[some], told=told, numbering=numbers
        )
    source = open_source(name, split="all")
    classes = tuple(source.class_names or ())
    if len(source.shape) == 3:
        gray = source.shape[-1] == 1
        rarest = min([one.size or 0 if one else 0 for one in source.classes or ()], default=0)
        return Side(
            name, "pictures", source.size, source.shape, *_ends(source.shape[:2]), gray, classes, rarest
        )
    sample = batch(source, 0, 0, 0, min(2000, source.size or 2000))
    return Side(name, "vectors", source.size, source.shape, classes=classes, sample=sample)


def _look_at_folder(name: str) -> Side:
    root = files.expanded(name.removeprefix("folder:"))
    names = listing(root).pictures
    labeled = labels_by_folder(names)
    rng = np.random.default_rng(0)
    sides: list[int] = []
    for chosen in rng.permutation(names)[:HEADERS]:
        with contextlib.suppress(ValueError, OSError):
            sides += size_of(root / chosen)
    if not sides:
        raise ValueError(f"none of the {len(names)} pictures in {root} can be read.")
    few = read_folder(root, size=32, most=LOOKED_AT, on_error="skip").images
    gray = bool((few == few[..., :1]).all())
    classes = () if labeled is None else labeled[1]
    rarest = 0 if labeled is None else int(np.bincount(np.asarray(labeled[0])).min())
    return Side(name, "pictures", len(names), None, *_ends(sides), gray, classes, rarest)


def _ends(sides: Sequence[int]) -> tuple[int, int]:
    return min(sides), max(sides)


def _pictures(p: Side, q: Side) -> Suggestion:
    fast = jax.default_backend() != "cpu"
    sides = [side for side in (p, q) if side.kind == "pictures"]
    generates = len(sides) == 1
    own = next((side.shape for side in sides if side.shape is not None), None)
    base = PRESETS["generate-pictures" if generates else "translate-quick"][1]
    data = configs.Data(p.spec, q.spec, gray=own is None and all(side.gray for side in sides))
    warnings = _warned(p, q)
    if own is None:
        smallest, limit = min(side.smallest for side in sides), 64 if fast else 32
        side = max(16, min(limit, smallest // 8 * 8))
        data, shape = replace(data, size=side), (side, side, 1 if data.gray else 3)
        why = f"the pictures are larger; {'' if fast else 'on a CPU '}small ones are learned in minutes"
        if smallest < side:
            why, warnings = (
                "the smallest that is learned",
                [*warnings, f"pictures of {smallest} pixels are enlarged."],
            )
    else:
        shape, why = own, "that of the data"
        if any(side.shape is None for side in sides):
            data = replace(data, size=own[:2] if own[0] != own[1] else own[0], gray=own[-1] == 1)
        elif len({side.shape for side in sides}) > 1:
            raise ValueError(
                f"the two sets differ in the shape of their samples: {' and '.join(str(s.shape) for s in sides)}."
            )
    if generates and not fast and int(np.prod(shape)) <= SMALL:
        return _generated(p, q, data, shape, why, warnings)
    if generates and not fast:
        warnings.append(
            "on a CPU pictures of this size stay rough for hours; 32 pixels a side are drawn in minutes."
        )
    reason = (
        "its KID is no larger than that of flow matching at equal budget (docs/evidence/images.md)"
        if generates
        else "among the best on pictures at equal budget (docs/evidence/images.md)"
    )
    network = _unet(base.network, shape)
    reasons = {"recipe.method": reason, "data.size": why}
    return Suggestion(replace(base, data=data, network=network), (p, q), shape, reasons, warnings)


def _generated(
    p: Side, q: Side, data: configs.Data, shape: tuple[int, ...], why: str, warnings: list[str]
) -> Suggestion:
    """Small pictures from noise, in minutes of a CPU: preset `generate-quick`, by class only where there are classes."""
    base = PRESETS["generate-quick"][1]
    count, classes = q.count or FEW, len(q.classes)
    most = int((1 - data.held_out) * count) - 1
    data = replace(
        data,
        components=max(1, min(base.data.components or most, most, int(np.prod(shape)))),
        jitter=base.data.jitter if count < MANY else 0.0,
    )
    labeled = classes > 1 and q.rarest >= A_CLASS
    if not labeled:
        base = replace(
            base,
            recipe=replace(base.recipe, label_groups=1),
            network=replace(base.network, classes=None),
            sampling=replace(base.sampling, guidance=1.0),
        )
    else:
        base = replace(base, network=replace(base.network, classes=classes))
    reasons = {
        "recipe.method": f"learned {'by class ' if labeled else ''}in components, small pictures come in minutes "
        "of a CPU (docs/evidence/results.md)",
        "data.size": f"{why}; moved a little at each draw (--data.jitter)" if data.jitter else why,
    }
    return Suggestion(replace(base, data=data), (p, q), shape, reasons, warnings)


def _unet(network: configs.Network, shape: tuple[int, ...]) -> configs.Network:
    """The network with as many levels as the sides of the pictures can be halved."""
    patch = 2 if all(side % 2 == 0 for side in shape[:2]) else 1
    sides = [side // patch for side in shape[:2]]
    levels = 1
    while levels < len(network.multipliers) and all(side % 2**levels == 0 for side in sides):
        levels += 1
    lowest = max(sides) // 2 ** (levels - 1)
    return replace(
        network,
        patch=patch,
        multipliers=network.multipliers[:levels],
        attention=(lowest,) if lowest <= 16 else (),
    )


def _vectors(p: Side, q: Side, reading: tables.Reading) -> Suggestion:
    finite = [side for side in (p, q) if side.count is not None]
    shapes = {side.shape for side in (p, q) if side.shape is not None}
    if len(shapes) > 1 and not all(side.told for side in (p, q)):
        raise ValueError(
            f"{p.spec} has samples of shape {p.shape} and {q.spec} of {q.shape}.\nGive two sets of the same columns."
        )
    shape = next(iter(shapes))
    dim = int(np.prod(shape))
    base = PRESETS["table-quick"][1]
    if not finite:
        base = replace(base, recipe=replace(base.recipe, coupling="field_lines"))
    data, why = configs.Data(p.spec, q.spec, table=reading), "that of the data"
    samples = [side.sample for side in (p, q) if side.sample is not None]
    if len(shapes) > 1:
        build.sources(data)  # says which columns differ
    if _wide(samples):
        data = replace(data, log1p=True)
        samples = [spaces.logarithm(sample) for sample in samples]
    spreads = np.stack([sample.std(axis=0) for sample in samples])
    if dim > MOST_COMPONENTS:
        data = replace(
            data, components=min([MOST_COMPONENTS, *(side.count - 1 for side in finite if side.count)])
        )
        why = "many numbers are learned as their principal components (--data.components)"
    elif len(samples) == 1 and "noise" in (p.kind, q.kind):
        data, why = (
            replace(data, standardize=True),
            "noise has deviation 1, and so get the data (--data.standardize)",
        )
    elif spreads.min() < 0.3 or spreads.max() > 10:
        data = replace(data, standardize=True)
        why = "columns of different scales are learned in units of their deviation (--data.standardize)"
    if data.log1p:
        why = f"counts are learned by their logarithm (--data.log1p); {why}"
    reasons = {
        "recipe.method": "as good as an optimal plan on five pairs, without its solver (docs/evidence/toys.md)",
        "data.size": why,
    }
    run = replace(base, data=data, network=replace(base.network, width=128 if dim <= 8 else 256))
    return Suggestion(run, (p, q), shape, reasons, _warned(p, q))


def _wide(samples: Sequence[np.ndarray]) -> bool:
    """Whether numbers are counts, many of them 0, or the largest of most columns lie far above their mean; none negative."""
    x = np.concatenate(samples)
    if x.min() < 0 or x.max() <= 20:
        return False
    counts = (x == 0).mean() > 0.2 and bool((x == np.round(x)).all())
    return counts or bool(np.median(x.max(axis=0) / np.maximum(x.mean(axis=0), 1e-30)) > 10)


def _warned(p: Side, q: Side) -> list[str]:
    texts = [
        f"{side.spec} has {side.count} samples; of fewer than {FEW} a network learns them by heart."
        for side in (p, q)
        if side.count is not None and side.count < FEW
    ]
    numbering = sorted({*p.numbering, *q.numbering})
    if numbering:
        texts.append(
            f"{', '.join(tables.few(numbering))} may only number the rows; choose others with --columns."
        )
    if p.spec == q.spec:
        texts.append("P and Q are the same.")
    return texts


def _fitting(run: configs.Run, timing: Timing, seconds: float) -> int:
    """Steps that fit, to two digits."""
    steps = max(int((seconds - _besides(run, timing)) / timing.step), 1)
    unit = 10 ** max(len(str(steps)) - 2, 0)
    return steps // unit * unit


def _besides(run: configs.Run, timing: Timing) -> float:
    """Seconds for compiling and for the report: a gradient costs three evaluations of the network."""
    evaluations = 2 * run.sampling.steps * (1 if run.sampling.solver in ("euler", "ab2") else 2)
    scored = evaluations * run.sampling.samples / (3 * run.recipe.num_points) * timing.step
    return 2 * timing.compilation + scored + 15.0


def of_steps(run: configs.Run, steps: int, given: Collection[str] = ()) -> configs.Run:
    """Return the run with so many steps, saved ten times and logged a hundred times on the way; what is given stays.

    Examples:
        >>> of_steps(configs.Run(), 500).save_every
        50
    """
    if "optimizer.warmup" not in given:
        run = replace(run, optimizer=replace(run.optimizer, warmup=min(run.optimizer.warmup, steps // 10)))
    often = {"save_every": max(steps // 10, 1), "log_every": max(steps // 100, 1)}
    return replace(run, steps=steps, **{name: value for name, value in often.items() if name not in given})


def _shape(run: configs.Run, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a sample, after the options of the run."""
    if run.data.size is None or len(shape) != 3:
        return shape
    size = run.data.size
    return (*((size, size) if isinstance(size, int) else size), 1 if run.data.gray else shape[-1])


def _params(run: configs.Run, shape: tuple[int, ...]):
    return jax.eval_shape(build.network(run, shape).init, jax.random.key(0))


def _facts(side: Side) -> str:
    if side.kind == "noise":
        return "white noise"
    count = "without end" if side.count is None else f"{side.count:,}"
    if side.told:
        return side.told
    if side.kind == "vectors":
        return f"{side.spec}: {count}, {side.shape[0] if side.shape else '?'} numbers each{_classes(side)}"
    sizes = f"{side.smallest} to {side.largest}" if side.smallest < side.largest else f"{side.smallest}"
    color = "gray" if side.gray else "color"
    return f"{side.spec}: {count} pictures, sides of {sizes} pixels, {color}{_classes(side)}"


def _classes(side: Side) -> str:
    return f", {len(side.classes)} classes" if side.classes else ""


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1000 * seconds:.2g} ms"


def _long(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
