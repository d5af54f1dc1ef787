"""Commands that use a trained model: export, translate, generate."""

import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from efm_jax.cli._options import Number, Place, optional

if TYPE_CHECKING:
    from efm_jax.models import apply


def export(
    model: Place,
    /,
    output: Annotated[Path, arg(aliases=("--out",))],
    *,
    weights: Literal["average", "last"] = "average",
    license: Annotated[str | None, optional("TEXT", "to be written")] = None,
    picture: Annotated[bool, FlagCreatePairsOff] = False,
    half: Annotated[bool, FlagCreatePairsOff] = False,
    overwrite: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Export a run as a shareable model folder.

    Args:
        model: Run folder. A model folder or a released model's name is copied.
        output: Model folder to write.
        weights: Which parameters to export: their moving average, or the last ones.
        license: License to state on the model card.
        picture: Show held-out samples of the report on the card; they then go with the model.
        half: Round the weights to float16: half the size.
        overwrite: Replace a model folder that is there.
    """
    from efm_jax import models

    options: dict[str, Any] = {"weights": weights, "license": license, "picture": picture, "half": half}
    written = models.export(model, output, **options, overwrite=overwrite)
    todo = "" if license else "; state the license in its README.md"
    print(f"Saved the model to {written}{todo}")


@dataclass(frozen=True)
class Samples:
    """Options of `translate`: the samples."""

    input: Annotated[str, arg(metavar="SAMPLES")]
    """A folder of pictures, one picture, a table, or a specification: `npy:FILE`, `npz:FILE:KEY`, `csv:FILE`, ..."""
    limit: Annotated[int | None, optional("N", "all")] = None
    """Translate at most this many samples."""
    fit: Literal["crop", "pad"] = "crop"
    """Crop pictures at the center as in training, or pad them and cut the margin off again."""
    own_size: bool = False
    """Write pictures at the size of the input, not of the model."""


@dataclass(frozen=True)
class Draw:
    """Options of `generate`: the samples."""

    count: Annotated[int, Number]
    """Number of samples."""
    seed: Annotated[int, Number] = 0
    """Seed of the samples of P."""


@dataclass(frozen=True)
class OutputFolder:
    """Options: where to save the results."""

    output: Annotated[Path, arg(metavar="FOLDER")]
    """Folder to write; of a table also a file, .csv, .parquet or .h5ad."""
    clip: bool = False
    """Cut the numbers of a table to the range of their column in the training data."""
    overwrite: bool = False
    """Replace all results of an earlier call, and files that efm did not write."""


@dataclass(frozen=True)
class Lines:
    """Options: the lines to follow."""

    label: Annotated[str | None, optional("CLASS", "all classes")] = None
    """Class to follow, by its name or number; with RUN_OR_MODEL this help names the classes."""
    guidance: Annotated[float | None, optional("SCALE", "that of the run")] = None
    """Guidance toward the class: 1 follows the class as learned, more exaggerates it."""


@dataclass(frozen=True)
class TranslateLines(Lines):
    """Options of `translate`: the lines to follow."""

    reverse: bool = False
    """Translate Q to P."""


def translate(
    model: Place,
    /,
    samples: Annotated[Samples, OmitArgPrefixes, FlagCreatePairsOff],
    output: Annotated[OutputFolder, OmitArgPrefixes, FlagCreatePairsOff],
    lines: Annotated[TranslateLines, OmitArgPrefixes, FlagCreatePairsOff],
) -> None:
    """Translate samples of P, the first set of a training, into samples of Q, the second.

    Args:
        model: Run folder, model folder, or a released model's name.
        samples: Which samples. Pictures that cannot be read are named and left out; the status is then 1.
        output: Where to save the results: pictures as png, other samples as translated.npy, and lines.json.
        lines: Which lines to follow.
    """
    from efm_jax.models import apply

    saved = apply.translate(
        model,
        samples.input,
        output.output,
        reverse=lines.reverse,
        limit=samples.limit,
        label=lines.label,
        guidance=lines.guidance,
        fit=samples.fit,
        own_size=samples.own_size,
        clip=output.clip,
        overwrite=output.overwrite,
    )
    for why, names in (("cannot be read", saved.unreadable), ("format not supported", saved.unsupported)):
        if names:
            print(f"efm: left out, {why}: {', '.join(names)}", file=sys.stderr)
    _print_saved(saved, left_out=bool(saved.unreadable or saved.unsupported))


def generate(
    model: Place,
    /,
    samples: Annotated[Draw, OmitArgPrefixes],
    output: Annotated[OutputFolder, OmitArgPrefixes, FlagCreatePairsOff],
    lines: Annotated[Lines, OmitArgPrefixes],
) -> None:
    """Generate samples of Q from new samples of P, such as noise.

    Args:
        model: Run folder, model folder, or a released model's name.
        samples: Which samples.
        output: Where to save the results: pictures as png, other samples as generated.npy, and lines.json.
        lines: Which lines to follow.
    """
    from efm_jax.models import apply

    saved = apply.generate(
        model,
        samples.count,
        output.output,
        seed=samples.seed,
        label=lines.label,
        guidance=lines.guidance,
        clip=output.clip,
        overwrite=output.overwrite,
    )
    _print_saved(saved)


def name_classes(arguments: list[str]) -> None:
    """Let the help of `translate` and `generate` name the classes of the run or model that the arguments name."""
    from efm_jax.models import loading

    names: tuple[str, ...] = ()
    if arguments[0] in ("translate", "generate") and {"-h", "--help"} & {*arguments}:
        for place in arguments[1:]:
            with suppress(ValueError):
                names = names or loading.class_names(place)
    default = f"all classes: {', '.join(names)}" if names else "all classes"
    Lines.__annotations__["label"] = Annotated[str | None, optional("CLASS", default)]


def _print_saved(saved: "apply.Saved", *, left_out: bool = False) -> None:
    """Print what was saved and which lines did not arrive; the status is 1 if none did or a file was left out."""
    missed, file = saved.missed, saved.folder.is_file()
    where = f"column arrived in {saved.folder}" if file else str(saved.folder / "lines.json")
    lines = (
        f"{saved.arrived} of {saved.samples} lines arrived; see {where}"
        if missed
        else f"all {saved.samples} lines arrived"
        if saved.samples != 1
        else "its line arrived"
    )
    print(*saved.told, sep="\n", end="\n" * bool(saved.told))
    what = f"{saved.samples} {'row' if file else 'sample'}{'s' * (saved.samples != 1)}"
    print(f"Saved {what} to {saved.folder}{'' if file else '/'} ({lines})")
    if missed:
        more = f" and {len(missed) - 3} more" if len(missed) > 3 else ""
        print(f"efm: did not arrive: {', '.join(missed[:3])}{more}", file=sys.stderr)
    if left_out or not saved.arrived:
        raise SystemExit(1)
