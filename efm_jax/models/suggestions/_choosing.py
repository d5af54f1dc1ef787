"""Method, size and network for two sets of data, by the project's tables."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from efm_jax.datasets import spaces, tables
from efm_jax.models import build, configs
from efm_jax.models.presets import PRESETS
from efm_jax.models.suggestions._looking import Side, look

FEW = 64
"""Fewer samples a side than this are warned of."""
MOST_COMPONENTS = 50
"""Of vectors."""
RANKED = 500
"""Samples of a side of which it is found how many components they have."""
SMALL = 64 * 64 * 3
"""Pictures of at most so many numbers are generated in principal components on a CPU."""
MANY = 10_000
"""Fewer pictures are moved and turned a little at each draw (`--data.jitter`)."""
A_CLASS = 50
"""Pictures a class, of which labels are learned."""
FAR = 20
"""Deviations of the mean of a column from zero, beyond which its numbers are learned about it: what changes in them is
little of what a network sees."""


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


def suggest(
    source: str | Path,
    target: str | Path,
    *,
    reading: tables.Reading = tables.ALL,
    held_out: float = 0.2,
    size: int | tuple[int, int] | None = None,
) -> Suggestion:
    """Look at P and Q and choose what to train.

    Two sets of pictures: interaction fields of wide tubes, at 32 pixels on a CPU and 64 on other devices. Two sets of
    vectors: straight tubes on exact lines. Noise and pictures: on a CPU flow matching in principal components, by class
    where there are classes; on other devices the field of two plates in pixels.

    Args:
        source: P by name, as `datasets.open_source` takes it; `noise` to generate.
        target: Q by name.
        reading: What of tables is read.
        held_out: Share of the samples kept from training, in (0, 1).
        size: Side of pictures, or (height, width); None for one that fits them.

    Raises:
        ValueError: Data are not known or cannot be read, or the two do not go together.
        FileNotFoundError: Data are not there.

    Examples:
        >>> found = suggest("gaussian:2", "swiss_roll")
        >>> found.run.recipe.method, found.run.network.kind
        ('tubes', 'mlp')
    """
    sides = look(str(source), reading, size), look(str(target), reading, size)
    if sides[1].kind == "noise":
        raise ValueError(
            f"{target} is noise, and would be what is generated.\nGive it first: efm train {target} {source}"
        )
    kinds = {side.kind for side in sides} - {"noise"}
    if len(kinds) == 2:
        raise ValueError(
            f"{source} holds {sides[0].kind} and {target} {sides[1].kind}.\nGive two sets of one kind, or `noise` and one."
        )
    found = (
        _pictures(*sides, held_out, size) if kinds == {"pictures"} else _vectors(*sides, reading, held_out)
    )
    if any(side.told for side in sides):
        build.sources(found.run.data)  # two tables must have the same columns
    return found


def _pictures(p: Side, q: Side, held_out: float, size: int | tuple[int, int] | None) -> Suggestion:
    fast = jax.default_backend() != "cpu"
    sides = [side for side in (p, q) if side.kind == "pictures"]
    generates = len(sides) == 1
    own = next((side.shape for side in sides if side.shape is not None), None)
    base = PRESETS["generate-pictures" if generates else "translate-quick"][1]
    data = configs.Data(
        p.spec, q.spec, held_out=held_out, gray=own is None and all(side.gray for side in sides)
    )
    warnings = _warned(p, q)
    if own is None:
        smallest, largest = min(side.smallest for side in sides), max(side.largest for side in sides)
        limit = 64 if fast else 32
        side = max(16, min(limit, smallest // 8 * 8))
        data, shape = replace(data, size=side), (side, side, 1 if data.gray else 3)
        why = f"the pictures are larger; {'' if fast else 'on a CPU '}small ones are learned in minutes"
        if smallest <= limit:
            why = "that of the pictures" if smallest == largest == side else "the smallest picture fills it"
        if smallest < side:
            why, warnings = (
                "the smallest that is learned",
                [*warnings, f"pictures of {smallest} pixels are enlarged."],
            )
    else:
        shape, why = own, "that of the data"
        if any(side.shape is None for side in sides):
            data = replace(data, size=own[:2] if own[0] != own[1] else own[0], gray=own[-1] == 1)
        elif size is None and len({side.shape for side in sides}) > 1:
            raise ValueError(
                f"the two sets differ in the shape of their samples: {' and '.join(str(s.shape) for s in sides)}."
            )
    if size is not None:
        data = replace(data, size=size)
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
    most = _spanned(q, data.held_out)
    data = replace(
        data,
        components=min(base.data.components or most, most, int(np.prod(shape))),
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


def _vectors(p: Side, q: Side, reading: tables.Reading, held_out: float) -> Suggestion:
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
    data, why = configs.Data(p.spec, q.spec, held_out=held_out, table=reading), "that of the data"
    samples = [side.sample for side in (p, q) if side.sample is not None]
    if len(shapes) > 1:
        build.sources(data)  # says which columns differ
    if _wide(samples):
        data = replace(data, log1p=True)
        samples = [spaces.logarithm(sample) for sample in samples]
    # sums of float32 round away the deviation of numbers far from zero
    spreads = np.stack([sample.std(axis=0, dtype=np.float64) for sample in samples])
    if dim > MOST_COMPONENTS:
        most = [_rank(samples), *(_spanned(side, held_out) for side in finite)]
        data = replace(data, components=min(MOST_COMPONENTS, *most))
        why = "many numbers are learned as their principal components (--data.components)"
    elif len(samples) == 1 and "noise" in (p.kind, q.kind):
        data, why = (
            replace(data, standardize=True),
            "noise has deviation 1, and so get the data (--data.standardize)",
        )
    elif spreads.min() < 0.3 or spreads.max() > 10:
        data = replace(data, standardize=True)
        why = "columns of different scales are learned in units of their deviation (--data.standardize)"
    elif _far_off(samples):
        data = replace(data, standardize=True)
        why = "columns far from zero are learned about their mean, in units of their deviation (--data.standardize)"
    if data.log1p:
        why = f"counts are learned by their logarithm (--data.log1p); {why}"
    reasons = {
        "recipe.method": "pairs by exact lines are near those of an optimal plan (docs/evidence/toys.md)",
        "data.size": why,
    }
    run = replace(base, data=data, network=replace(base.network, width=128 if dim <= 8 else 256))
    return Suggestion(run, (p, q), shape, reasons, _warned(p, q))


def _far_off(samples: Sequence[np.ndarray]) -> bool:
    """Whether a column lies many deviations from zero; what lies between P and Q counts as deviation and is learned."""
    units = spaces.standardized(samples[0], samples[-1])
    return bool((np.abs(units.mean) > FAR * units.scale).any())


def _spanned(side: Side, held_out: float) -> int:
    """Directions that the training samples of a side span at least, if no two are alike."""
    trained = (1 - held_out) * (side.count or FEW)
    # files fall to a split by their names, as if at random; rows by their numbers, two more or fewer
    spare = 2 if side.shape is not None else 3 * (held_out * trained) ** 0.5
    return max(1, int(trained - spare) - 1)


def _rank(samples: Sequence[np.ndarray]) -> int:
    """Directions in which some samples of all sides together vary, counted as `spaces.principal_components` does."""
    some = [sample[:RANKED].astype(np.float64) for sample in samples]
    center = np.mean([x.mean(axis=0) for x in some], axis=0)
    rows = np.concatenate([(x - center) / np.sqrt(len(x)) for x in some])
    values = np.linalg.eigvalsh(rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows)
    return max(1, int((values > 1e-10 * values[-1]).sum()))


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
