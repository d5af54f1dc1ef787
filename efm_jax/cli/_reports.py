"""Commands that score: evaluate, compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from efm_jax.cli._options import Number, Place, optional


@dataclass(frozen=True)
class HeldOut:
    """Options of `evaluate`: the samples to score."""

    step: Annotated[int | None, optional("N", "the newest")] = None
    """Step of the checkpoint of a run."""
    samples: Annotated[int | None, optional("N", "as configured")] = None
    """Number of samples to transport."""
    source: Annotated[str | None, optional("SPEC", "as configured")] = None
    """Where P is, as a specification."""
    target: Annotated[str | None, optional("SPEC", "as configured")] = None
    """Where Q is, as a specification."""
    round_trip: Annotated[int, Number] = 100
    """Number of samples carried there and back, if the method allows it; 0 for none."""


@dataclass(frozen=True)
class Features:
    """Options: the network that compares pictures."""

    features: Annotated[str | None, optional("NAME", "efficientnet")] = None
    """`efficientnet` (needs the extra `metrics`), `digits`, `inception:FILE` (for FID), or `none`."""
    cache: Annotated[Path | None, optional("FOLDER", "the run folder or ~/.cache/efm_jax")] = None
    """Folder that keeps the features of pictures between calls."""


def evaluate(
    model: Place,
    /,
    data: Annotated[HeldOut, OmitArgPrefixes],
    features: Annotated[Features, OmitArgPrefixes],
    *,
    output: Annotated[Path | None, optional("FOLDER", "the run folder, or none")] = None,
    overwrite: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Score a run or a model on held-out samples.

    Args:
        model: Run folder, model folder, or a released model's name.
        data: Which samples to score.
        features: Which network compares pictures.
        output: Folder to write report.html, report.json and pictures to, for a model or other data.
        overwrite: Overwrite files in it that efm did not write.
    """
    from efm_jax.models import reports

    where = {"source": data.source, "target": data.target, "output": output}
    report = reports.evaluate(
        model,
        step=data.step,
        samples=data.samples,
        round_trip=data.round_trip,
        features=features.features,
        cache=features.cache,
        overwrite=overwrite,
        **where,
    )
    print_report(reports.destination(model, data.step, **where), report)


@dataclass(frozen=True)
class Folders:
    """Options of `compare`: the pictures."""

    held_out: Annotated[Path | None, optional("FOLDER", "a random half of B")] = None
    """Folder of real pictures not used in training."""
    size: Annotated[int | None, optional("N", "the smallest found")] = None
    """Crop and resize all pictures to this side."""
    most: Annotated[int, Number] = 10_000
    """Use at most this many pictures of each folder."""
    seed: Annotated[int, Number] = 0
    """Seed of the choice and of the split."""
    paired: bool = False
    """Also score each picture of A against the picture of the same name in B."""
    skip_unreadable: bool = False
    """Leave out pictures that cannot be read, and name them in the report."""


def compare(
    a: Annotated[Path, arg(metavar="A")],
    b: Annotated[Path, arg(metavar="B")],
    /,
    pictures: Annotated[Folders, OmitArgPrefixes, FlagCreatePairsOff],
    features: Annotated[Features, OmitArgPrefixes],
    *,
    output: Annotated[Path | None, optional("FILE", "none")] = None,
    overwrite: Annotated[bool, FlagCreatePairsOff] = False,
) -> None:
    """Compare the pictures of folder A with the real pictures of folder B.

    Args:
        a: Folder of pictures to judge.
        b: Folder of real pictures.
        pictures: Which pictures to compare.
        features: Which network compares them.
        output: File to write the report to, e.g. report.json; its table goes to report.md.
        overwrite: Overwrite these files even if efm did not write them.
    """
    from efm_jax.evaluation import paired
    from efm_jax.evaluation.features import cache_folder, open_extractor
    from efm_jax.evaluation.pictures import check_output, folders_report, table, write

    if output is not None:
        check_output(output, overwrite=overwrite)

    if features.features == "none":
        raise ValueError(
            "two folders are compared on features.\nTake efficientnet, digits or inception:FILE."
        )
    common = {
        "size": pictures.size,
        "on_error": "skip" if pictures.skip_unreadable else "raise",
        "most": pictures.most,
        "seed": pictures.seed,
        "extractor": open_extractor(features.features or "efficientnet"),
        "cache": features.cache or cache_folder(),
    }
    report = folders_report(a, b, pictures.held_out, **common)
    print(table(report))
    if pictures.paired:
        report["partners"] = paired.paired_folders_report(a, b, **common)
        print(f"\n{paired.table(report['partners'])}")
    if output is not None:
        write(report, output, overwrite=overwrite)
        print(f"Saved the report to {output}")


def print_report(folder: Path | None, report: dict) -> None:
    """Print the scores of a report, and where it is."""
    from efm_jax.models import reports

    print(reports.summary(report))
    if folder is not None:
        print(f"Saved the report to {folder / 'report.json'}")
        if (folder / "pictures").is_dir():
            print(f"Saved pictures to {folder / 'pictures'}/")
        print(f"Open {folder / 'report.html'}")
