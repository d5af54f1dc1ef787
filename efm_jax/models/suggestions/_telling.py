"""What is said of a suggestion before it is trained, and where it goes."""

import itertools
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import jax

from efm_jax.datasets import tables
from efm_jax.models import build, configs
from efm_jax.models.suggestions._choosing import A_CLASS, Suggestion
from efm_jax.models.suggestions._looking import Side
from efm_jax.models.suggestions._pacing import Timing, seconds_of


def described(found: Suggestion, run: configs.Run, *, given: Collection[str] = ()) -> list[str]:
    """Say in four lines what is going to be trained and which option changes it, as far as no timing decides it.

    What is `given` has no other reason.
    """
    reasons = {name: "as given" if name in given else why for name, why in found.reasons.items()}
    recipe, data = run.recipe, run.data
    how = [
        recipe.method,
        *(f"{name} {getattr(recipe, name)}" for name in ("width", "coupling") if hasattr(recipe, name)),
    ]
    size, pictures = "x".join(map(str, _shape(run, found.shape))), len(found.shape) == 3
    size, option = (f"{size} pixels", " (--data.size)") if pictures else (f"{size} numbers", "")
    if data.components is not None:
        size, option = f"{data.components} principal components of {size}", " (--data.components)"
    return [
        *(f"{name}        {_facts(side)}" for name, side in zip("PQ", found.sides, strict=True)),
        f"method   {', '.join(how)} (--recipe.method): {reasons['recipe.method']}",
        f"samples  {size}{option}: {reasons['data.size']}",
    ]


def expected(found: Suggestion, run: configs.Run, timing: Timing, minutes: float) -> list[str]:
    """Say in two lines, and one a warning, which network is going to be trained and for how long."""
    network = run.network
    count = sum(leaf.size for leaf in jax.tree.leaves(_params(run, found.shape)))
    total = seconds_of(run, timing)
    lines = [
        f"network  {network.kind} of width {network.width}, {count:,} weights (--network.width)",
        f"time     {_short(timing.step)} a step, {run.steps:,} steps: about {_long(total)} with compiling and scores "
        "(--minutes, --steps)",
    ]
    warnings = [*found.warnings, *_of_partners(*found.sides, run), *_of_classes(*found.sides, run)]
    if total > 1.3 * 60 * minutes:
        warnings.append(f"{run.steps:,} steps do not fit into {minutes:g} minutes.")
    return lines + [f"warning  {text}" for text in warnings]


def _of_partners(p: Side, q: Side, run: configs.Run) -> list[str]:
    """A warning where most pictures of two folders may have a partner, which plans of pixels seldom find."""
    common, fewer = len(p.names & q.names), min(len(p.names), len(q.names))
    if p.spec == q.spec or not common or 2 * common < fewer or getattr(run.recipe, "plan_features", None):
        return []
    return [
        f"names of {common:,} of {fewer:,} pictures occur in both sets. If pictures of one name belong together, "
        "--recipe.coupling one_plan --recipe.plan-features efficientnet pairs more of them right; "
        "to give the pairs: docs/how_to/your_data.md, My pictures come in pairs."
    ]


def _of_classes(p: Side, q: Side, run: configs.Run) -> list[str]:
    """A warning where pictures are generated in components, but not by class, because a class has few."""
    few = len(q.classes) > 1 and q.rarest < A_CLASS
    if not few or p.kind != "noise" or run.data.components is None or run.network.classes is not None:
        return []
    return [
        f"the {len(q.classes)} classes are not learned: the rarest has {q.rarest} pictures, fewer than {A_CLASS}. "
        f"To learn them: --network.classes {len(q.classes)}."
    ]


def new_folder(*specs: str) -> Path:
    """Return a run folder that is not there yet: `runs/A-to-B` of two sets of data, `runs/PRESET` of a preset's name.

    Examples:
        >>> new_folder("folder:photos/cats", "dogs.npy").as_posix(), new_folder("toy-swiss-roll").as_posix()
        ('runs/cats-to-dogs', 'runs/toy-swiss-roll')
    """
    return next(path for path in _folders(specs) if not path.exists())


def earlier_run(*specs: str) -> Path | None:
    """Return the run folder that `new_folder` named last, if it holds a run.

    Examples:
        >>> earlier_run("none-of-this-name") is None
        True
    """
    taken = [*itertools.takewhile(Path.exists, _folders(specs))]
    return taken[-1] if taken and (taken[-1] / "config.json").is_file() else None


def _folders(specs: Collection[str]) -> Iterator[Path]:
    """The run folder named after data or a preset, and the same with a number, without end."""
    base = Path("runs", "-to-".join(re.sub(r"[^\w.-]+", "_", _stem(spec)) for spec in specs))
    yield base
    yield from (Path(f"{base}-{k}") for k in itertools.count(2))


def _stem(spec: str) -> str:
    path = spec.partition(":")[2] or spec
    if spec.partition(":")[0] in tables.KINDS and (value := tables.split(path)[2]):
        return value
    return Path(path).stem or "data"


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
